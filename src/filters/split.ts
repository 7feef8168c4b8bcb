/** "split:": makes one message for each domain of the remote recipients. Source: R9.2 of E-MailRelay 2.6. */
import { basename } from "node:path";
import type { Envelope } from "../core/envelope.ts";
import { encodeXtext } from "../core/xtext.ts";
import { badParams, builtIn } from "./built-in.ts";
import { type FilterItem, type FilterTerms, OK } from "./item.ts";

interface SplitRules {
  /** Domains that differ in case are different. */
  readonly raw: boolean;
  /** ":2525", or "". */
  readonly port: string;
}

interface Group {
  /** As written by the first recipient; "" when there is none. */
  readonly domain: string;
  readonly recipients: string[];
}

/** `params`: "raw", a port number, or both. Throws CONFIG_INVALID. */
export function splitFilter(params: string, terms: FilterTerms): FilterItem {
  const rules = parseRules(params);
  return builtIn("split", terms, async ({ files }, tell) => {
    const { envelope: path, content } = files;
    const envelope = await terms.editor.readEnvelope(path);
    const [first, ...others] = groupsOf(envelope.toRemote, rules);
    if (first === undefined) return OK;
    const own = forGroup(envelope, first, rules);
    if (others.length === 0) {
      if (own.forwardTo !== envelope.forwardTo) await terms.editor.writeEnvelope(path, own);
      return OK;
    }
    const ownId = basename(content).replace(/\.content$/, "");
    const ids = await terms.editor.splitMessage(files, others.length, (newIds) => {
      const lines = splitLines([ownId, ...newIds]);
      const marked = { ...envelope, trailer: [...envelope.trailer, ...lines] };
      return {
        own: forGroup(marked, first, rules),
        others: others.map((group) => ({ ...forGroup(marked, group, rules), toLocal: [] })),
      };
    });
    for (const [at, id] of ids.entries()) {
      tell(`new message [${id}] for [${others[at]?.domain ?? ""}]`);
    }
    return OK;
  });
}

function parseRules(params: string): SplitRules {
  const words = params.split(";").filter((word) => word !== "");
  const ports = words.filter((word) => word !== "raw");
  const [port = ""] = ports;
  if (ports.length > 1 || !(port === "" || isPort(port))) throw badParams("split", params);
  return { raw: words.includes("raw"), port: port === "" ? "" : `:${Number(port)}` };
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;
}

/** In the order of their domains. Recipients without a domain are a group of their own. */
function groupsOf(recipients: readonly string[], { raw }: SplitRules): readonly Group[] {
  const groups = new Map<string, Group>();
  for (const recipient of recipients) {
    const at = recipient.lastIndexOf("@");
    const domain = at === -1 ? "" : recipient.slice(at + 1);
    const key = raw ? domain : domain.toLowerCase();
    const group = groups.get(key) ?? { domain, recipients: [] };
    group.recipients.push(recipient);
    groups.set(key, group);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
}

function forGroup(
  envelope: Envelope,
  { domain, recipients }: Group,
  { port }: SplitRules,
): Envelope {
  return { ...envelope, toRemote: recipients, forwardTo: `${encodeXtext(domain)}${port}` };
}

function splitLines(ids: readonly string[]): readonly string[] {
  return [
    `X-MailRelay-SplitGroupCount: ${ids.length}`,
    ...ids.map((id) => `X-MailRelay-SplitGroup: ${id}`),
  ];
}
