import assert from "node:assert/strict";
import { test } from "node:test";
import { DataReader } from "../../src/smtp/data.ts";

interface Read {
  readonly content: string;
  readonly rest: string | null;
  readonly bare: number;
  readonly nul: boolean;
}

/** Reads the pieces one after the other; `rest` is what follows the end, null when there was none. */
function read(pieces: readonly string[], policy: "fix" | "reject" | "accept"): Read {
  const reader = new DataReader(policy);
  let content = "";
  for (const [index, piece] of pieces.entries()) {
    const bytes = Buffer.from(piece, "latin1");
    const end = reader.push(bytes);
    content += Buffer.concat(reader.content).toString("latin1");
    const { bareNewlines: bare, nul } = reader;
    if (end < 0) continue;
    const rest = piece.slice(end) + pieces.slice(index + 1).join("");
    return { content, rest, bare, nul };
  }
  return { content, rest: null, bare: reader.bareNewlines, nul: reader.nul };
}

/** An independent reading of RFC 5321 4.5.2: the end first, then line by line. */
function expected(wire: string, policy: "fix" | "reject" | "accept"): Read {
  const at = `\r\n${wire}`.indexOf("\r\n.\r\n");
  const body = at < 0 ? wire : wire.slice(0, at);
  const lines = body.split("\r\n").map((line) => (line.startsWith(".") ? line.slice(1) : line));
  const plain = lines.join("\r\n");
  const bare = plain.replaceAll("\r\n", "").replace(/[^\r\n]/g, "").length;
  const fixed = plain.replace(/\r\n|\r|\n/g, "\r\n");
  return {
    content: policy === "fix" ? fixed : plain,
    rest: at < 0 ? null : wire.slice(at + 3),
    bare,
    nul: body.includes("\0"),
  };
}

const ENDS = ["\r\n", "\n", "\r", "\n\r", "\r\r\n", "\r\n\n", "\r\n\r", "\0\r\n", "\r\0\n", "x"];
const CORPUS = ENDS.flatMap((before) =>
  ENDS.flatMap((after) =>
    ["", ".", "..", "..."].map((dot) => `a${before}${dot}${after}RSET\r\nb\r\n.\r\nQUIT\r\n`),
  ),
);

test("DataReader ends a message at CRLF.CRLF only, however the line ends and dots are made", () => {
  for (const wire of CORPUS) {
    for (const policy of ["fix", "reject", "accept"] as const) {
      assert.deepEqual(
        read([wire], policy),
        expected(wire, policy),
        JSON.stringify([wire, policy]),
      );
    }
  }
});

test("DataReader reads the same wherever the bytes are split in two", () => {
  for (const wire of CORPUS) {
    const wanted = expected(wire, "fix");
    for (let at = 0; at <= wire.length; at += 1) {
      const pieces = [wire.slice(0, at), wire.slice(at)];
      assert.deepEqual(read(pieces, "fix"), wanted, JSON.stringify(pieces));
    }
  }
});

test("DataReader reads the same byte by byte", () => {
  for (const wire of CORPUS) {
    for (const policy of ["fix", "accept"] as const) {
      assert.deepEqual(read(wire.split(""), policy), expected(wire, policy), JSON.stringify(wire));
    }
  }
});

test("DataReader reads the same wherever short wires are split in three", () => {
  const wires = [
    "a\r\n..b\r\n.\r\nQ",
    ".\r\n",
    "\r\n.\r.\r\n.\r\n",
    "..\r\n.\n.\r\r\n.\r\nQ",
    "\n.\r\n\r\n.\r\n",
  ];
  for (const wire of wires) {
    const wanted = expected(wire, "fix");
    for (let one = 0; one <= wire.length; one += 1) {
      for (let two = one; two <= wire.length; two += 1) {
        const pieces = [wire.slice(0, one), wire.slice(one, two), wire.slice(two)];
        assert.deepEqual(read(pieces, "fix"), wanted, JSON.stringify(pieces));
      }
    }
  }
});

test("DataReader reads random mixtures of the dangerous bytes like the independent reading", () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
  const alphabet = [
    "\r",
    "\n",
    "\r\n",
    ".",
    "\r\n.",
    "a",
    "\0",
    "long enough to be copied as a block ",
  ];
  for (let round = 0; round < 3000; round += 1) {
    const body = Array.from({ length: 1 + random(30) }, () => alphabet[random(8)] ?? "").join("");
    const wire = `${body}\r\n.\r\n`;
    const at = random(wire.length);
    for (const policy of ["fix", "accept"] as const) {
      const pieces = [wire.slice(0, at), wire.slice(at)];
      assert.deepEqual(read(pieces, policy), expected(wire, policy), JSON.stringify(pieces));
    }
  }
});

test("DataReader reads all of this the same in the middle of a large buffer, wherever it lies there", () => {
  const pad = `${"p".repeat(62)}\r\n`.repeat(64);
  for (const [index, wire] of CORPUS.entries()) {
    const large = `${pad}${"x".repeat(index % 17)}${wire}${"y".repeat(index % 37)}${pad}`;
    for (const policy of ["fix", "accept"] as const) {
      assert.deepEqual(read([large], policy), expected(large, policy), JSON.stringify(wire));
      // The second of two begins in the middle of it.
      const cut = pad.length + (index % 23);
      const two = [large.slice(0, cut), large.slice(cut)];
      assert.deepEqual(read(two, policy), expected(large, policy), JSON.stringify([wire, cut]));
    }
  }
});

test("DataReader passes on clean content as parts of the buffer it came in", () => {
  const bytes = Buffer.from("a\r\nb\r\n");
  const reader = new DataReader("fix");
  reader.push(bytes);
  assert.equal(reader.content.length, 1);
  assert.equal(reader.content[0]?.buffer, bytes.buffer);
});

test("DataReader gives few buffers for a message that is all stuffed dots", () => {
  const reader = new DataReader("fix");
  reader.push(Buffer.from("..\r\n".repeat(16384)));
  assert.ok(reader.content.length < 8);
  assert.equal(Buffer.concat(reader.content).toString(), ".\r\n".repeat(16384));
});

test("DataReader measures the longest line, wherever the bytes are split", () => {
  const wire = `a\r\n${"x".repeat(1500)}\r\nbb\r\n.\r\n`;
  for (const at of [0, 1, 2, 3, 700, 1503, 1504, 1505, 1509]) {
    const reader = new DataReader("fix");
    reader.push(Buffer.from(wire.slice(0, at)));
    reader.push(Buffer.from(wire.slice(at)));
    assert.equal(reader.longestLine, 1500, String(at));
  }
});

test("DataReader reads on where its help does not reach", () => {
  const line = `${"p".repeat(62)}\r\n`;
  for (const before of [262_080, 262_144, 262_208, 300_032]) {
    const wire = `${line.repeat(before / 64)}a\n..\r\n${line}.\r\nQUIT\r\n`;
    assert.deepEqual(read([wire], "fix"), expected(wire, "fix"), String(before));
  }
});

test("DataReader measures a line that is longer than it should be, also among thousands", () => {
  const lines = `${"y".repeat(998)}\r\n`.repeat(20);
  for (const [length, found] of [
    [998, 0],
    [999, 999],
    [5000, 5000],
  ]) {
    const reader = new DataReader("fix");
    reader.push(Buffer.from(`${lines}${"x".repeat(length ?? 0)}\r\n${lines}`));
    assert.equal(reader.longestLine, found);
  }
});
