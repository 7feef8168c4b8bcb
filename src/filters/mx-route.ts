/** Which address takes the mail of a domain, as its DNS records say (RFC 5321 5.1). Source: R9.2 "mx:". */
import { type DnsQuestion, type DnsRecord, sameName } from "../io/dns-message.ts";
import type { Found } from "./mx-servers.ts";

export type Ask = (question: DnsQuestion) => Promise<Found>;

export type MailAddress =
  | { readonly kind: "found"; readonly address: string }
  /** `code` is the SMTP code that fits, 0 when it may be different another time. */
  | { readonly kind: "failed"; readonly code: number; readonly why: string };

type Failed = Extract<MailAddress, { kind: "failed" }>;

/** Aliases of aliases that are followed. */
const MAX_ALIASES = 8;
/** Mail hosts whose address is looked for, when those before have none. */
const MAX_HOSTS = 5;

/** The first address of the best mail host that has one. Rejects only as `ask` does. */
export async function mailAddress(domain: string, ask: Ask): Promise<MailAddress> {
  const found = await resolve({ name: domain, type: "MX" }, ask);
  if (found.kind === "failed") return found;
  const exchanges = found.records.filter((record) => record.type === "MX");
  const direct = addressIn(found.records, "A");
  if (exchanges.length === 0) {
    // Some servers give the address of a host that takes its own mail at once.
    if (direct !== null) return { kind: "found", address: direct };
    return await hostAddress(domain, ask);
  }
  const best = exchanges.toSorted((one, other) => one.preference - other.preference);
  const hosts = best.map(({ exchange }) => exchange).filter((exchange) => exchange !== "");
  if (hosts.length === 0) {
    return { kind: "failed", code: 556, why: `domain "${domain}" does not accept mail (null mx)` };
  }
  return await firstAddress(hosts.slice(0, MAX_HOSTS), found.records, ask);
}

async function firstAddress(
  hosts: readonly string[],
  known: readonly DnsRecord[],
  ask: Ask,
): Promise<MailAddress> {
  let failure: Failed | null = null;
  for (const host of hosts) {
    const own = known.filter(({ owner }) => sameName(owner, host));
    const given = addressIn(own, "A");
    if (given !== null) return { kind: "found", address: given };
    const found = await hostAddress(host, ask);
    if (found.kind === "found") return found;
    // A host whose address cannot be found out now may have one (RFC 5321 5.1): then nothing is said for good.
    if (failure === null || (found.code === 0 && failure.code !== 0)) failure = found;
  }
  return failure ?? { kind: "failed", code: 0, why: "no mail host" };
}

/** IPv4 first: it works from every network. */
async function hostAddress(host: string, ask: Ask): Promise<MailAddress> {
  for (const type of ["A", "AAAA"] as const) {
    const found = await resolve({ name: host, type }, ask);
    if (found.kind === "failed") return found;
    const address = addressIn(found.records, type);
    if (address !== null) return { kind: "found", address };
  }
  return { kind: "failed", code: 550, why: `no mail host or address for "${host}"` };
}

function addressIn(records: readonly DnsRecord[], type: "A" | "AAAA"): string | null {
  for (const record of records) if (record.type === type) return record.address;
  return null;
}

type Resolved = { readonly kind: "records"; readonly records: readonly DnsRecord[] } | Failed;

/** Asks for the target of an alias when the server does not say by itself what is there. */
async function resolve(question: DnsQuestion, ask: Ask): Promise<Resolved> {
  let { name } = question;
  for (let aliases = 0; aliases <= MAX_ALIASES; aliases += 1) {
    const found = await ask({ ...question, name });
    if (found.kind === "none") return { kind: "failed", code: 550, why: found.why };
    if (found.kind === "failed") return { kind: "failed", code: 0, why: found.why };
    const { records } = found.answer;
    const target = aliasedTo(name, records);
    const final = records.some((record) => record.type !== "CNAME") || sameName(target, name);
    if (final) return { kind: "records", records };
    name = target;
  }
  return { kind: "failed", code: 550, why: `too many aliases of "${question.name}"` };
}

function aliasedTo(name: string, records: readonly DnsRecord[]): string {
  let target = name;
  for (let aliases = 0; aliases <= MAX_ALIASES; aliases += 1) {
    const from = target;
    const alias = records.find((one) => one.type === "CNAME" && sameName(one.owner, from));
    if (alias?.type !== "CNAME") return target;
    target = alias.target;
  }
  return target;
}
