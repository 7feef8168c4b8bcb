/** Addresses as trust patterns: all the ways in which a `none` line may write the address of a peer. */
import { isIPv4, isIPv6 } from "node:net";

/**
 * The plain address first, then its networks from narrow to wide: "a.b.c.d/32" to "0.0.0.0/0" and
 * "a.b.c.*" to "*.*.*.*", or "<address>/128" to "::/0". Empty for what is no IP address. Source: R12.2.
 */
export function patternsOf(ip: string): readonly string[] {
  const [address = ""] = ip.split("%");
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return patternsOf(mapped);
  if (isIPv4(address)) return [address, ...networks4(address), ...wildcards(address)];
  if (isIPv6(address)) return [canonical6(address), ...networks6(address)];
  return [];
}

function networks4(address: string): string[] {
  const number = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  return Array.from({ length: 33 }, (_, i) => {
    const hostSize = 2 ** i;
    const network = Math.floor(number / hostSize) * hostSize;
    const parts = [24, 16, 8, 0].map((shift) => Math.floor(network / 2 ** shift) % 256);
    return `${parts.join(".")}/${32 - i}`;
  });
}

function wildcards(address: string): string[] {
  const parts = address.split(".");
  return [3, 2, 1, 0].map((kept) => parts.map((part, i) => (i < kept ? part : "*")).join("."));
}

function networks6(address: string): string[] {
  const words = expand6(address);
  const number = words.reduce((sum, word) => (sum << 16n) | BigInt(word), 0n);
  return Array.from({ length: 129 }, (_, i) => {
    const network = (number >> BigInt(i)) << BigInt(i);
    const text = Array.from({ length: 8 }, (_word, at) =>
      ((network >> BigInt(112 - at * 16)) & 0xffffn).toString(16),
    ).join(":");
    return `${canonical6(text)}/${128 - i}`;
  });
}

function expand6(address: string): readonly number[] {
  const [head = "", tail] = canonical6(address).split("::");
  const numbers = (text: string) =>
    text === "" ? [] : text.split(":").map((word) => Number.parseInt(word, 16));
  const front = numbers(head);
  const back = numbers(tail ?? "");
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
}

/** The shortest form, in lower case (RFC 5952), as URLs have it. */
function canonical6(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}
