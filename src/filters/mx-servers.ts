/** Asks several DNS servers in turn, round after round, until one of them answers. Source: R9.2 "mx:". */
import { setMaxListeners } from "node:events";
import { assertNever } from "../core/assert-never.ts";
import type { Clock } from "../core/clock.ts";
import { displayAddress, type HostPort } from "../core/endpoint.ts";
import { describeError } from "../core/errors.ts";
import { askDns } from "../io/dns.ts";
import {
  codeName,
  type DnsAnswer,
  type DnsQuestion,
  type DnsRecord,
  NO_SUCH_NAME,
} from "../io/dns-message.ts";

/** Records of an answer that are written to the log. */
const MAX_SHOWN = 10;

export interface ServersInTurn {
  readonly servers: readonly HostPort[];
  /** Between one server and the next when nothing comes. */
  readonly apartMs: number;
  /** Between one round and the next. */
  readonly roundMs: number;
  readonly clock: Clock;
  /** For the operator: what is asked, and what comes. */
  readonly tell: (text: string) => void;
}

export type Found =
  | { readonly kind: "answer"; readonly answer: DnsAnswer }
  /** There is no such name. */
  | { readonly kind: "none"; readonly why: string }
  /** No server is willing to say. */
  | { readonly kind: "failed"; readonly why: string };

/** What one server says. `final` needs no second opinion. */
type Said =
  | { readonly kind: "final"; readonly found: Found }
  | { readonly kind: "refusal"; readonly found: Found }
  | { readonly kind: "unreachable" };

/**
 * Goes on until a server answers or all of them have refused to; rejects only when the signal is
 * aborted. An answer that comes while another server is being asked is as good as any.
 */
export async function askInTurn(
  question: DnsQuestion,
  terms: ServersInTurn,
  signal: AbortSignal,
): Promise<Found> {
  for (;;) {
    const round = new AbortController();
    const either = AbortSignal.any([signal, round.signal]);
    // Every server listens to it: many of them are no leak.
    setMaxListeners(0, either);
    try {
      const found = await oneRound(question, terms, either);
      if (found !== null) return found;
    } finally {
      round.abort();
    }
  }
}

/** Null when it is time for another round. */
async function oneRound(
  question: DnsQuestion,
  terms: ServersInTurn,
  signal: AbortSignal,
): Promise<Found | null> {
  const asked: Promise<Said>[] = [];
  const refusals: Found[] = [];
  let finish: (found: Found) => void = () => undefined;
  const finished = new Promise<Found>((resolve) => {
    finish = resolve;
  });
  for (const server of terms.servers) {
    const one = askOne(question, server, terms, signal).then((said) => {
      if (said.kind === "final") finish(said.found);
      if (said.kind === "refusal") refusals.push(said.found);
      return said;
    });
    asked.push(one);
    const pause = terms.clock.sleep(terms.apartMs, signal);
    const found = await first(finished, [one, pause], signal);
    if (found !== null) return found;
  }
  const pause = terms.clock.sleep(terms.roundMs, signal);
  const found = await first(finished, [allRefused(asked, pause), pause], signal);
  return found ?? refusals.find(({ kind }) => kind === "none") ?? refusals[0] ?? null;
}

/** Null when one of the others comes before `finished`. Rejects when the signal is aborted. */
async function first(
  finished: Promise<Found>,
  others: readonly Promise<unknown>[],
  signal: AbortSignal,
): Promise<Found | null> {
  const other = Promise.race(others).then(
    () => null,
    () => null,
  );
  // An answer that is there already goes before anything else that has happened.
  const found = await Promise.race([finished, other]);
  if (found === null) signal.throwIfAborted();
  return found;
}

/** Servers that cannot be reached now may be there again after the pause. */
async function allRefused(asked: readonly Promise<Said>[], pause: Promise<void>): Promise<void> {
  const said = await Promise.all(asked);
  if (said.some(({ kind }) => kind === "unreachable")) await pause;
}

async function askOne(
  question: DnsQuestion,
  server: HostPort,
  { tell }: ServersInTurn,
  signal: AbortSignal,
): Promise<Said> {
  const from = displayAddress(server.host, server.port);
  const what = `${question.type} ${question.name}`;
  tell(`dns query [${what}] to ${from}`);
  try {
    const answer = await askDns(question, server, { resendMs: 0, signal });
    tell(`dns answer [${what}] from ${from}: ${summary(answer)}`);
    return judge(answer, question.name, from);
  } catch (error) {
    if (!signal.aborted) tell(`dns query [${what}]: ${describeError(error)}`);
    return { kind: "unreachable" };
  }
}

/** Another server may know a name that this one is not responsible for. */
function judge(answer: DnsAnswer, name: string, from: string): Said {
  if (answer.code === 0) return { kind: "final", found: { kind: "answer", answer } };
  if (answer.code === NO_SUCH_NAME) {
    const found: Found = { kind: "none", why: `no such domain "${name}" (dns server ${from})` };
    return { kind: answer.authoritative ? "final" : "refusal", found };
  }
  const why = `dns server ${from} cannot look up "${name}": ${codeName(answer.code)}`;
  return { kind: "refusal", found: { kind: "failed", why } };
}

function summary({ code, records }: DnsAnswer): string {
  if (code !== 0) return codeName(code);
  const shown = records.slice(0, MAX_SHOWN).map(shownRecord).join(", ");
  return shown === "" ? "no records" : shown;
}

function shownRecord(record: DnsRecord): string {
  switch (record.type) {
    case "CNAME":
      return `CNAME ${record.target}`;
    case "MX":
      return `MX ${record.preference} ${record.exchange || "."}`;
    case "A":
    case "AAAA":
      return `${record.type} ${record.address}`;
    default:
      return assertNever(record);
  }
}
