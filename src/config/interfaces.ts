/** --interface: where to listen. Source: R2, "Interface syntax". */
import { isIP } from "node:net";
import type { Interface } from "../core/config.ts";

/** The part of the list that is for one server: items without a qualifier, and those with its own. */
export function interfacesFor(
  server: "smtp" | "pop" | "admin",
  items: readonly string[],
): Interface[] {
  return items.flatMap((item) => {
    const { qualifier, address } = splitQualifier(item);
    const ours = qualifier === null || qualifier === server;
    const found = ours ? parseInterface(address) : null;
    return found === null ? [] : [found];
  });
}

/** Null when the text cannot even be the name of a network interface. */
export function parseInterface(text: string): Interface | null {
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (isIP(bare) !== 0) return { kind: "address", host: bare };
  if (text.startsWith("/") && text.length > 1) return { kind: "unix", path: text };
  const [, descriptor] = /^fd#(\d{1,9})$/.exec(text) ?? [];
  if (descriptor !== undefined) return { kind: "fd", fd: Number(descriptor) };
  if (text === "" || /[/\s]/.test(text)) return null;
  const [, name = text, family] = /^(.+)-ipv([46])$/.exec(text) ?? [];
  return { kind: "device", name, family: family === undefined ? null : family === "4" ? 4 : 6 };
}

/** "smtp=127.0.0.1" is an address for one server; "client=" is refused elsewhere. */
export function splitQualifier(item: string): { qualifier: string | null; address: string } {
  const [, qualifier = null, address = item] = /^(smtp|pop|admin|client)=(.*)$/s.exec(item) ?? [];
  return { qualifier, address };
}
