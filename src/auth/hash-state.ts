/**
 * MD5, SHA-1, SHA-256 and SHA-512 from a state in the middle: what `node:crypto` cannot do and the
 * masks of secrets files need (they hold the two half-way states of an HMAC, not a password).
 * Nothing here depends on secret data by branch or table. Sources: RFC 1321, FIPS 180-4.
 */

export type HashName = "md5" | "sha1" | "sha256" | "sha512";

interface Algorithm {
  readonly blockBytes: 64 | 128;
  readonly littleEndian: boolean;
  readonly initial: Buffer;
  /** One block; the new state in the same encoding. */
  compress(state: Buffer, block: Buffer): Buffer;
}

const PRIMES = firstPrimes(80);
const SHA512_K = PRIMES.map((prime) => rootFraction(prime, 3n));
const SHA512_START = PRIMES.slice(0, 8).map((prime) => rootFraction(prime, 2n));
const SHA256_K = SHA512_K.slice(0, 64).map((word) => Number(word >> 32n));
const SHA256_START = SHA512_START.map((word) => Number(word >> 32n));
const MD5_K = Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32));
const MD5_ROTATIONS = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
] as const;
const SHA1_START = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
const SHA1_K = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6] as const;

const ALGORITHMS: Readonly<Record<HashName, Algorithm>> = {
  md5: {
    blockBytes: 64,
    littleEndian: true,
    initial: little(SHA1_START.slice(0, 4)),
    compress: compressMd5,
  },
  sha1: { blockBytes: 64, littleEndian: false, initial: big(SHA1_START), compress: compressSha1 },
  sha256: {
    blockBytes: 64,
    littleEndian: false,
    initial: big(SHA256_START),
    compress: compressSha256,
  },
  sha512: {
    blockBytes: 128,
    littleEndian: false,
    initial: long(SHA512_START),
    compress: compressSha512,
  },
};

/** Bytes that the hash takes at a time. */
export function blockBytes(hash: HashName): number {
  return ALGORITHMS[hash].blockBytes;
}

/** Bytes of a state, and of the digest. */
export function stateBytes(hash: HashName): number {
  return ALGORITHMS[hash].initial.length;
}

/** The state after one block. Words of MD5 are little-endian, all others big-endian, as in digests. */
export function stateAfter(hash: HashName, block: Buffer): Buffer {
  const { initial, compress } = ALGORITHMS[hash];
  return compress(initial, block);
}

/** The digest of one block, which led to this state, followed by `rest`. */
export function digestFrom(hash: HashName, state: Buffer, rest: Buffer): Buffer {
  const { blockBytes: size, littleEndian, compress } = ALGORITHMS[hash];
  const lengthBytes = size / 8;
  const padded = Buffer.alloc(Math.ceil((rest.length + 1 + lengthBytes) / size) * size);
  rest.copy(padded);
  padded[rest.length] = 0x80;
  const bits = BigInt(size + rest.length) * 8n;
  if (littleEndian) padded.writeBigUInt64LE(bits, padded.length - 8);
  else padded.writeBigUInt64BE(bits, padded.length - 8);
  let now = state;
  for (let at = 0; at < padded.length; at += size) now = compress(now, padded.subarray(at));
  return now;
}

function compressMd5(state: Buffer, block: Buffer): Buffer {
  const start = [0, 4, 8, 12].map((at) => state.readUInt32LE(at));
  let [a = 0, b = 0, c = 0, d = 0] = start;
  for (let i = 0; i < 64; i += 1) {
    const round = i >> 4;
    const mixed = md5Mix(round, b, c, d);
    const word = block.readUInt32LE(md5Word(round, i) * 4);
    const sum = (a + mixed + word + (MD5_K[i] ?? 0)) | 0;
    [a, d, c, b] = [d, c, b, (b + rotateLeft(sum, MD5_ROTATIONS[round]?.[i & 3] ?? 0)) | 0];
  }
  return little([a, b, c, d].map((word, i) => word + (start[i] ?? 0)));
}

function md5Mix(round: number, b: number, c: number, d: number): number {
  if (round === 0) return (b & c) | (~b & d);
  if (round === 1) return (d & b) | (~d & c);
  return round === 2 ? b ^ c ^ d : c ^ (b | ~d);
}

function md5Word(round: number, i: number): number {
  const [factor = 1, offset = 0] =
    [
      [1, 0],
      [5, 1],
      [3, 5],
      [7, 0],
    ][round] ?? [];
  return (factor * i + offset) & 15;
}

function compressSha1(state: Buffer, block: Buffer): Buffer {
  const start = [0, 4, 8, 12, 16].map((at) => state.readUInt32BE(at));
  const words = Array.from({ length: 16 }, (_, i) => block.readUInt32BE(i * 4));
  const word = (i: number) => words[i] ?? 0;
  for (let i = 16; i < 80; i += 1) {
    words.push(rotateLeft(word(i - 3) ^ word(i - 8) ^ word(i - 14) ^ word(i - 16), 1));
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0] = start;
  for (let i = 0; i < 80; i += 1) {
    const round = Math.floor(i / 20);
    const next = rotateLeft(a, 5) + sha1Mix(round, b, c, d) + e + (SHA1_K[round] ?? 0) + word(i);
    [e, d, c, b, a] = [d, c, rotateLeft(b, 30), a, next | 0];
  }
  return big([a, b, c, d, e].map((one, i) => one + (start[i] ?? 0)));
}

function sha1Mix(round: number, b: number, c: number, d: number): number {
  if (round === 0) return (b & c) | (~b & d);
  return round === 2 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
}

function compressSha256(state: Buffer, block: Buffer): Buffer {
  const start = [0, 4, 8, 12, 16, 20, 24, 28].map((at) => state.readUInt32BE(at));
  const words = Array.from({ length: 16 }, (_, i) => block.readUInt32BE(i * 4));
  const word = (i: number) => words[i] ?? 0;
  const turn = (value: number, n: number) => rotateLeft(value, 32 - n);
  for (let i = 16; i < 64; i += 1) {
    const s0 = turn(word(i - 15), 7) ^ turn(word(i - 15), 18) ^ (word(i - 15) >>> 3);
    const s1 = turn(word(i - 2), 17) ^ turn(word(i - 2), 19) ^ (word(i - 2) >>> 10);
    words.push((word(i - 16) + s0 + word(i - 7) + s1) | 0);
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = start;
  for (let i = 0; i < 64; i += 1) {
    const s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + (SHA256_K[i] ?? 0) + word(i);
    const s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  return big([a, b, c, d, e, f, g, h].map((one, i) => one + (start[i] ?? 0)));
}

function compressSha512(state: Buffer, block: Buffer): Buffer {
  const start = [0, 8, 16, 24, 32, 40, 48, 56].map((at) => state.readBigUInt64BE(at));
  const words = Array.from({ length: 16 }, (_, i) => block.readBigUInt64BE(i * 8));
  const word = (i: number) => words[i] ?? 0n;
  const wrap = (value: bigint) => BigInt.asUintN(64, value);
  const turn = (value: bigint, n: bigint) => wrap((value >> n) | (value << (64n - n)));
  for (let i = 16; i < 80; i += 1) {
    const s0 = turn(word(i - 15), 1n) ^ turn(word(i - 15), 8n) ^ (word(i - 15) >> 7n);
    const s1 = turn(word(i - 2), 19n) ^ turn(word(i - 2), 61n) ^ (word(i - 2) >> 6n);
    words.push(wrap(word(i - 16) + s0 + word(i - 7) + s1));
  }
  let [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n, g = 0n, h = 0n] = start;
  for (let i = 0; i < 80; i += 1) {
    const s1 = turn(e, 14n) ^ turn(e, 18n) ^ turn(e, 41n);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + (SHA512_K[i] ?? 0n) + word(i);
    const s0 = turn(a, 28n) ^ turn(a, 34n) ^ turn(a, 39n);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, wrap(d + t1), c, b, a, wrap(t1 + t2)];
  }
  return long([a, b, c, d, e, f, g, h].map((one, i) => wrap(one + (start[i] ?? 0n))));
}

function rotateLeft(word: number, n: number): number {
  return (word << n) | (word >>> (32 - n));
}

function little(words: readonly number[]): Buffer {
  const out = Buffer.alloc(words.length * 4);
  for (const [i, word] of words.entries()) out.writeUInt32LE(word >>> 0, i * 4);
  return out;
}

function big(words: readonly number[]): Buffer {
  const out = Buffer.alloc(words.length * 4);
  for (const [i, word] of words.entries()) out.writeUInt32BE(word >>> 0, i * 4);
  return out;
}

function long(words: readonly bigint[]): Buffer {
  const out = Buffer.alloc(words.length * 8);
  for (const [i, word] of words.entries()) out.writeBigUInt64BE(word, i * 8);
  return out;
}

function firstPrimes(count: number): bigint[] {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n += 1) {
    if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  }
  return primes.map(BigInt);
}

/** The first 64 bits behind the point of a root: where the constants of SHA-2 come from. */
function rootFraction(prime: bigint, degree: 2n | 3n): bigint {
  const target = prime << (64n * degree);
  const estimate = Number(prime) ** (1 / Number(degree)) * 2 ** 48;
  let root = (BigInt(Math.ceil(estimate)) + 16n) << 16n;
  // Newton's method from slightly above comes down to the exact integer root.
  for (let smaller = root; smaller <= root; ) {
    root = smaller;
    smaller = ((degree - 1n) * root + target / root ** (degree - 1n)) / degree;
    if (smaller === root) break;
  }
  return BigInt.asUintN(64, root);
}
