/**
 * Properties of what reads bytes that others chose. In the test-suite each is tried with the same few
 * hundred inputs; scripts/fuzz.mjs gives each its seconds, with new inputs every time.
 */
import { test } from "node:test";
import fc from "fast-check";

const USUAL_RUNS = 200;
const seconds = Number(process.env.FUZZ_SECONDS ?? "0");

export function property<Ts extends [unknown, ...unknown[]]>(
  name: string,
  ...rest: [
    ...arbitraries: { [K in keyof Ts]: fc.Arbitrary<Ts[K]> },
    predicate: (...args: Ts) => void,
  ]
): void {
  test(name, () => {
    const long = { interruptAfterTimeLimit: seconds * 1000, numRuns: Number.MAX_SAFE_INTEGER };
    const short = { seed: 20_261_121, numRuns: USUAL_RUNS };
    fc.assert(fc.property<Ts>(...rest), seconds > 0 ? long : short);
  });
}

/** Bytes that mean something to a protocol of lines come often, the others now and then. */
export const wire: fc.Arbitrary<Buffer> = fc
  .array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom("\r\n", "\r", "\n", ".", "\r\n.\r\n", "..", "\0", " "),
      },
      {
        weight: 3,
        arbitrary: fc.constantFrom("a", "-", "250", "<", ">", "@", ":", '"', "\t", "="),
      },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }).map((n) => String.fromCharCode(n)) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 600 }).map((n) => "x".repeat(n)) },
    ),
    { maxLength: 60 },
  )
  .map((parts) => Buffer.from(parts.join(""), "latin1"));

/** The same bytes in pieces, cut anywhere. */
export const cuts = fc.array(fc.nat({ max: 4096 }), { maxLength: 12 });

export function pieces(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...at.map((one) => one % (bytes.length + 1)), 0, bytes.length].sort(
    (a, b) => a - b,
  );
  return places.slice(1).map((end, index) => Buffer.from(bytes.subarray(places[index], end)));
}

/** Text with whatever a person or a program may write, and with what breaks lines. */
export const text: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ maxLength: 60 }),
  wire.map((bytes) => bytes.toString("latin1")),
);

/** One line of what fits an envelope: no control characters, no blanks at its ends. */
export const oneWord: fc.Arbitrary<string> = fc
  .string({ unit: "grapheme", maxLength: 40 })
  .map((word) => word.replace(/[\p{Cc}\p{Cs}\ufffd\s]/gu, ""));
