import assert from "node:assert/strict";
import fc from "fast-check";
import { fitsPath } from "../../src/smtp/client-path.ts";
import { property, text } from "../support/property.ts";

const address = fc.oneof(
  fc
    .array(
      fc.constantFrom("a", "b@c", " ", "<", ">", '"', "\\", "(", ")", "=", "@", "SIZE=1", "é"),
      {
        maxLength: 8,
      },
    )
    .map((parts) => parts.join("")),
  text,
);

/** Hosts read up to one of these what is no proper address. */
interface Reader {
  readonly escapes: boolean;
  readonly quotes: boolean;
  readonly comments: boolean;
  readonly nests: boolean;
}

const reader: fc.Arbitrary<Reader> = fc.record({
  escapes: fc.boolean(),
  quotes: fc.boolean(),
  comments: fc.boolean(),
  nests: fc.boolean(),
});

/** Where the path ends that begins with "<", for such a host; -1 for nowhere. */
function endOf(path: string, { escapes, quotes, comments, nests }: Reader): number {
  const open: string[] = [];
  for (let at = 1; at < path.length; at += 1) {
    const one = path[at] ?? "";
    const within = open.at(-1);
    if (one === "\\" && (escapes || within === '"')) at += 1;
    else if (within !== undefined && one === within) open.pop();
    else if (one === ">" && within === undefined) return at;
    else if (within === '"') continue;
    else if (one === '"' && quotes) open.push('"');
    else if (one === "(" && comments) open.push(")");
    else if (one === "<" && nests && within !== ")") open.push(">");
  }
  return -1;
}

/** A quoted local part is a proper one: who does not know it reads no address with one. */
const isProper = (one: string): boolean => /^"(?:[^"\\]|\\.)*"(?:@|$)/u.test(one);

property(
  "an address that may be sent ends at its bracket, however a host reads it, whatever parameter follows",
  address,
  reader,
  (one, how) => {
    if (!fitsPath(one)) return;
    const path = `<${one}>`;
    const knows = isProper(one) ? { ...how, quotes: true } : how;
    assert.equal(endOf(`${path} ORCPT=rfc822;x">)>"y`, knows), path.length - 1);
    assert.doesNotMatch(path, /[\p{Cc}\u2028\u2029]/u);
  },
);
