/** Masks: an HMAC key as its two half-way hash states, enough to answer a challenge, not the password itself (RFC 2104 4). */
import { createHash } from "node:crypto";
import { blockBytes, digestFrom, type HashName, stateAfter, stateBytes } from "./hash-state.ts";

/** All hashes, strongest first: the order in which mechanisms are offered and tried. */
export const HASHES: readonly HashName[] = ["sha512", "sha256", "sha1", "md5"];

/** Bytes of a mask. */
export function maskBytes(hash: HashName): number {
  return 2 * stateBytes(hash);
}

/** Inner state, then outer state. */
export function makeMask(hash: HashName, password: Buffer): Buffer {
  const size = blockBytes(hash);
  const key = Buffer.alloc(size);
  const short = password.length > size ? createHash(hash).update(password).digest() : password;
  short.copy(key);
  const inner = stateAfter(hash, Buffer.from(key.map((byte) => byte ^ 0x36)));
  const outer = stateAfter(hash, Buffer.from(key.map((byte) => byte ^ 0x5c)));
  return Buffer.concat([inner, outer]);
}

/** HMAC(password, text) from the mask of the password. */
export function hmacFromMask(hash: HashName, mask: Buffer, text: Buffer): Buffer {
  const half = stateBytes(hash);
  const inner = digestFrom(hash, mask.subarray(0, half), text);
  return digestFrom(hash, mask.subarray(half), inner);
}

/** An MD5 mask as eight decimal little-endian words joined by dots. */
export function dottedMask(mask: Buffer): string {
  return Array.from({ length: mask.length / 4 }, (_, i) => mask.readUInt32LE(i * 4)).join(".");
}

/** Reads the dotted form; null when it is not one. */
export function parseDottedMask(text: string): Buffer | null {
  const words = text.split(".");
  if (words.length !== 8) return null;
  const mask = Buffer.alloc(32);
  for (const [i, word] of words.entries()) {
    if (!/^\d{1,10}$/.test(word) || Number(word) > 0xffffffff) return null;
    mask.writeUInt32LE(Number(word), i * 4);
  }
  return mask;
}
