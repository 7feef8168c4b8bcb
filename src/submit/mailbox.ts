/** Addresses for the envelope: from the command line and from header fields, checked before they go anywhere. */
import { isUtf8 } from "node:buffer";
import { asciiDomain } from "../io/ascii-domain.ts";
import { type FoundAddress, parseAddressList } from "./address-list.ts";

/** Longer ones fit on no line (RFC 5322 2.1.1). Bytes. */
const LONGEST_ADDRESS = 900;

/**
 * The address as the envelope has it, its domain as A-labels; null when no server would understand
 * it: control characters, bytes that are not UTF-8, a domain that IDNA does not allow.
 */
export function envelopeAddress({ local, domain }: FoundAddress): string | null {
  const ascii = asciiDomain(domain);
  if (ascii === null) return null;
  const address = domain === "" ? local : `${local}@${ascii}`;
  // Backslash pairs in quotes may hide line ends; U+FFFD is what is left of bytes that were not UTF-8.
  if (/[\p{Cc}\p{Cs}\u2028\u2029\ufffd]/u.test(address)) return null;
  return Buffer.byteLength(address) > LONGEST_ADDRESS ? null : address;
}

/** The addresses of one argument, "joe", "joe@x.y" or a list; null when any of it is not an address. */
export function argumentAddresses(argument: string): string[] | null {
  // mailx and cron write "\joe" for "joe, without aliases".
  const plain = argument.includes('"') ? argument : argument.replace(/(^|,)\s*\\/g, "$1");
  const list = parseAddressList(plain);
  return list.kind === "invalid" ? null : everyAddress(list.addresses);
}

/** As above for field text whose characters are bytes; null for bytes that are not UTF-8 as well. */
export function fieldAddresses(found: readonly FoundAddress[]): string[] | null {
  const decoded: FoundAddress[] = [];
  for (const address of found) {
    const local = decodeBytes(address.local);
    const domain = decodeBytes(address.domain);
    if (local === null || domain === null) return null;
    decoded.push({ ...address, local, domain });
  }
  return everyAddress(decoded);
}

/** True if the part before the last "@" needs SMTPUTF8 (RFC 6531). */
export function isUtf8Mailbox(address: string): boolean {
  const at = address.lastIndexOf("@");
  return /[^\0-\x7f]/.test(at < 0 ? address : address.slice(0, at));
}

function everyAddress(found: readonly FoundAddress[]): string[] | null {
  const addresses = found.map(envelopeAddress);
  return addresses.every((address) => address !== null) ? addresses : null;
}

function decodeBytes(text: string): string | null {
  const bytes = Buffer.from(text, "latin1");
  return isUtf8(bytes) ? bytes.toString("utf8") : null;
}
