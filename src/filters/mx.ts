/** The "mx:" filter: turns a message's routing domain into the address of its mail host. Source: R9.2. */
import { isIP, isIPv6 } from "node:net";
import type { HostPort } from "../core/endpoint.ts";
import { RelayError } from "../core/errors.ts";
import { parseDnsServer, systemDnsServers } from "../io/dns.ts";
import { TimeLimit } from "../io/time-limit.ts";
import {
  type FilterItem,
  type FilterJob,
  type FilterResult,
  type FilterTerms,
  failure,
  OK,
} from "./item.ts";
import { type MailAddress, mailAddress } from "./mx-route.ts";
import { askInTurn } from "./mx-servers.ts";
import { parseMxTarget } from "./mx-target.ts";

const RESPONSE = "cannot route message";

interface MxParams {
  /** Empty: those of the system, as they are when they are needed. */
  readonly servers: readonly HostPort[];
  readonly apartMs: number;
  readonly roundMs: number;
}

/** `params` is "[nst=<s>;][rt=<s>;][<dns ip[:port]>;...]". Throws CONFIG_INVALID. */
export function mxFilter(params: string, terms: FilterTerms): FilterItem {
  const parsed = parseParams(params);
  return {
    id: "mx:",
    run: async (job, signal) => await route(job, { ...terms, ...parsed }, signal),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function parseParams(params: string): MxParams {
  const servers: HostPort[] = [];
  let apartMs = 1000;
  let roundMs = 15_000;
  for (const word of params.split(/[;,]/).filter((one) => one !== "")) {
    const [, name, digits] = /^(nst|rt)=(\d{1,6})$/.exec(word) ?? [];
    const server = parseDnsServer(word);
    if (name === "nst") apartMs = Number(digits) * 1000;
    // Rounds without any pause between them would flood the servers.
    else if (name === "rt") roundMs = Math.max(1, Number(digits)) * 1000;
    else if (server !== null) servers.push(server);
    else {
      const wanted = `expected "nst=<seconds>", "rt=<seconds>" or "<dns ip>[:<port>]"`;
      throw new RelayError("CONFIG_INVALID", "", `invalid value for mx: "${word}": ${wanted}`);
    }
  }
  return { servers, apartMs, roundMs };
}

async function route(
  { id, files }: FilterJob,
  terms: FilterTerms & MxParams,
  signal: AbortSignal,
): Promise<FilterResult> {
  signal.throwIfAborted();
  const envelope = await terms.editor.readEnvelope(files.envelope);
  const wanted = parseMxTarget(envelope.forwardTo);
  if (wanted === null)
    return failure(RESPONSE, `invalid forward-to "${plain(envelope.forwardTo)}"`);
  if (wanted.host === "") return OK;

  const tell = (text: string): void =>
    terms.journal.tell({
      kind: "note",
      level: "info",
      detail: true,
      text: `${terms.role} [mx:]: [${id}]: ${text}`,
    });
  const found: MailAddress =
    isIP(wanted.host) === 0
      ? await lookUp(wanted.host, { ...terms, tell }, signal)
      : { kind: "found", address: wanted.host };
  if (found.kind === "failed") {
    return { ...failure(RESPONSE, found.why, found.code), temporary: found.code === 0 };
  }

  const forwardToAddress = transportAddress(found.address, wanted.port);
  tell(`[${plain(envelope.forwardTo)}]: forward-to-address [${forwardToAddress}]`);
  if (forwardToAddress !== envelope.forwardToAddress) {
    await terms.editor.writeEnvelope(files.envelope, { ...envelope, forwardToAddress });
  }
  return OK;
}

async function lookUp(
  domain: string,
  terms: FilterTerms & MxParams & { readonly tell: (text: string) => void },
  signal: AbortSignal,
): Promise<MailAddress> {
  const limit = new TimeLimit(terms.timeoutMs, terms.clock);
  const stop = new AbortController();
  const watch = limit.watch(signal, () => stop.abort());
  const servers = terms.servers.length > 0 ? terms.servers : systemDnsServers();
  try {
    return await mailAddress(
      domain,
      async (question) => await askInTurn(question, { ...terms, servers }, stop.signal),
    );
  } catch (error) {
    signal.throwIfAborted();
    if (!stop.signal.aborted) throw error;
    const why = `no answer from dns after ${terms.timeoutMs / 1000}s: "${domain}"`;
    return { kind: "failed", code: 0, why };
  } finally {
    watch[Symbol.dispose]();
  }
}

/** "0.0.0.0" stands for: the usual smarthost. */
function transportAddress(address: string, port: number): string {
  if (address === "0.0.0.0" || address === "::") return "";
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}

/** For people: nothing that is not printable. */
function plain(text: string): string {
  return text.replace(/[^ -~]/g, "?");
}
