/** The machine's own name, for greetings and Received lines when --domain is not given. */
import { lookup } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { domainToASCII } from "node:url";

/** How long name servers may hold up the start, in milliseconds. */
const PATIENCE_MS = 3000;

/** The canonical name as A-labels; `<host name>.localnet` when nobody knows it. Source: R4 of E-MailRelay 2.6. */
export async function ownDomain(): Promise<string> {
  const host = hostname();
  const canonical = fromHosts(host, readText("/etc/hosts")) ?? (await fromResolver(host));
  const name = canonical ?? `${host}.localnet`;
  return domainToASCII(name) || name;
}

/** The first name of the line of a hosts file that has this name; null when there is none. */
export function fromHosts(host: string, hosts: string): string | null {
  for (const line of hosts.split("\n")) {
    const [address, ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (address !== undefined && names.includes(host)) return names[0] ?? null;
  }
  return null;
}

async function fromResolver(host: string): Promise<string | null> {
  const searched = host.includes(".") ? [] : searchDomains(readText("/etc/resolv.conf"));
  for (const name of [...searched.map((domain) => `${host}.${domain}`), host]) {
    if (await resolves(name)) return name;
  }
  return null;
}

function searchDomains(resolvConf: string): string[] {
  return [...resolvConf.matchAll(/^\s*(?:search|domain)\s+(.+)$/gm)]
    .flatMap(([, list = ""]) => list.trim().split(/\s+/))
    .filter((domain) => domain !== "." && domain !== "")
    .slice(0, 3);
}

async function resolves(name: string): Promise<boolean> {
  const { promise, cancel } = after(PATIENCE_MS);
  const found = lookup(name).then(
    () => true,
    () => false,
  );
  const answer = await Promise.race([found, promise]);
  cancel();
  return answer;
}

function after(ms: number): { promise: Promise<false>; cancel: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  return { promise, cancel: () => clearTimeout(timer) };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
