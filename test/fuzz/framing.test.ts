import assert from "node:assert/strict";
import fc from "fast-check";
import { LineReader as AdminLines } from "../../src/admin/line-reader.ts";
import { HeadReader, SpamdFault } from "../../src/filters/spamd-reply.ts";
import { CommandLines } from "../../src/pop/line.ts";
import { DotStuffer } from "../../src/smtp/client-content.ts";
import { DataReader } from "../../src/smtp/data.ts";
import { HopCounter } from "../../src/smtp/hops.ts";
import { LineReader } from "../../src/smtp/line.ts";
import { ReplyParser } from "../../src/smtp/reply-parser.ts";
import { cuts, pieces, property, wire } from "../support/property.ts";

function stuffed(parts: readonly Buffer[]): string {
  const stuffer = new DotStuffer(false);
  for (const part of parts) stuffer.add(part);
  stuffer.end();
  return Buffer.concat(stuffer.take()).toString("latin1");
}

const policies = fc.constantFrom("fix", "reject", "accept");

interface Framed {
  readonly content: string;
  /** null: the end has not come. */
  readonly rest: string | null;
  readonly bare: number;
  readonly nul: boolean;
  readonly longest: number;
}

function framed(parts: readonly Buffer[], policy: "fix" | "reject" | "accept"): Framed {
  const reader = new DataReader(policy);
  const content: Buffer[] = [];
  let rest: string | null = null;
  for (const [index, part] of parts.entries()) {
    const end = reader.push(part);
    content.push(...reader.content.map((piece) => Buffer.from(piece)));
    if (end < 0) continue;
    rest = Buffer.concat([part.subarray(end), ...parts.slice(index + 1)]).toString("latin1");
    break;
  }
  const { bareNewlines: bare, nul, longestLine: longest } = reader;
  return { content: Buffer.concat(content).toString("latin1"), rest, bare, nul, longest };
}

property(
  "DataReader reads any bytes the same, however they are cut",
  wire,
  cuts,
  policies,
  (bytes, at, policy) => {
    assert.deepEqual(framed(pieces(bytes, at), policy), framed([bytes], policy));
  },
);

property(
  "DataReader and DotStuffer make the same of a large buffer as of many small ones",
  wire,
  cuts,
  policies,
  fc.nat({ max: 40 }),
  (bytes, at, policy, before) => {
    const line = Buffer.from(`${"p".repeat(40)}\r\n`);
    const lines = (count: number) => Array.from({ length: count }, () => line);
    const start = Buffer.alloc(before, "x");
    const large = Buffer.concat([...lines(100), start, bytes, ...lines(100)]);
    const small = [...lines(100), start, ...pieces(bytes, at), ...lines(100)];
    assert.deepEqual(framed([large], policy), framed(small, policy));
    assert.equal(stuffed([large]), stuffed(small));
  },
);

property(
  "DataReader ends at the first CRLF.CRLF and nowhere else",
  wire,
  cuts,
  policies,
  (bytes, at, policy) => {
    const all = bytes.toString("latin1");
    const end = `\r\n${all}`.indexOf("\r\n.\r\n");
    assert.equal(framed(pieces(bytes, at), policy).rest, end < 0 ? null : all.slice(end + 3));
  },
);

property("DataReader with fix lets no bare CR or LF pass", wire, cuts, (bytes, at) => {
  assert.doesNotMatch(framed(pieces(bytes, at), "fix").content, /\r(?!\n)|(?<!\r)\n/);
});

property(
  "DataReader gives back what DotStuffer was given, both in any pieces",
  wire,
  cuts,
  cuts,
  (bytes, at, again) => {
    const stuffer = new DotStuffer(false);
    for (const part of pieces(bytes, at)) stuffer.add(part);
    stuffer.end();
    const sent = Buffer.concat(stuffer.take());
    const got = framed(pieces(sent, again), "accept");
    const fit = bytes.toString("latin1").replace(/\r\n|\r|\n/g, "\r\n");
    const whole = fit === "" || fit.endsWith("\r\n") ? fit : `${fit}\r\n`;
    assert.deepEqual([got.content, got.rest, got.bare], [whole, "", 0]);
  },
);

property("LineReader finds any lines the same, however they are cut", wire, cuts, (bytes, at) => {
  const limit = 500;
  const reader = new LineReader(limit);
  const found: string[] = [];
  for (const part of pieces(bytes, at)) {
    reader.push(part);
    for (let line = reader.line(); line !== null; line = reader.line()) found.push(String(line));
  }
  const lines = bytes.toString("latin1").split("\r\n").slice(0, -1);
  const wanted = lines.map((line) =>
    line.length > limit ? "too long" : Buffer.from(line, "latin1").toString(),
  );
  assert.deepEqual(found, wanted);
});

property("CommandLines finds any lines the same, however they are cut", wire, cuts, (bytes, at) => {
  const read = (parts: readonly Buffer[]): string[] => {
    const lines = new CommandLines(500);
    const found: string[] = [];
    for (const part of parts) {
      lines.push(part);
      for (let line = lines.next(); line !== null; line = lines.next()) {
        found.push(String(line));
        if (line === "too long") return found;
      }
    }
    return found;
  };
  assert.deepEqual(read(pieces(bytes, at)), read([bytes]));
});

property(
  "the administrator's lines are the same, however they are cut",
  wire,
  cuts,
  (bytes, at) => {
    const lines = new AdminLines();
    const found: string[] = [];
    for (const part of pieces(bytes, at)) {
      lines.push(part);
      for (let line = lines.line(); line !== null; line = lines.line()) found.push(line);
    }
    assert.deepEqual(found, bytes.toString("latin1").split("\n").slice(0, -1));
  },
);

function heard(parts: readonly Buffer[]): unknown[] {
  const parser = new ReplyParser();
  const found: unknown[] = [];
  for (const part of parts) {
    parser.push(part);
    for (let reply = parser.next(); reply !== null; reply = parser.next()) {
      if (reply.kind === "invalid") return [...found, "invalid"];
      found.push(reply.reply);
    }
  }
  return found;
}

const replyBytes = fc
  .array(
    fc.oneof(
      fc.tuple(fc.integer({ min: 0, max: 999 }), fc.constantFrom(" ", "-", "", "x"), wire),
      fc.tuple(
        fc.constantFrom(250, 550),
        fc.constantFrom(" ", "-"),
        fc.constant(Buffer.from("ok")),
      ),
    ),
    { maxLength: 8 },
  )
  .map((lines) =>
    Buffer.concat(
      lines.flatMap(([code, mark, rest]) => [
        Buffer.from(`${code}${mark}`),
        rest,
        Buffer.from("\r\n"),
      ]),
    ),
  );

property(
  "ReplyParser hears any bytes the same, however they are cut",
  replyBytes,
  cuts,
  (bytes, at) => {
    assert.deepEqual(heard(pieces(bytes, at)), heard([bytes]));
  },
);

const replyLines = fc.tuple(
  fc.integer({ min: 200, max: 599 }),
  fc.array(
    fc.string({ maxLength: 80 }).map((line) => line.replace(/[\r\n\0]/g, "")),
    {
      minLength: 1,
      maxLength: 5,
    },
  ),
);

property(
  "ReplyParser gives back every reply",
  fc.array(replyLines, { maxLength: 5 }),
  cuts,
  (replies, at) => {
    const bytes = replies.flatMap(([code, lines]) =>
      lines.map((line, n) => `${code}${n < lines.length - 1 ? "-" : " "}${line}\r\n`),
    );
    const wanted = replies.map(([code, lines]) => ({ code, text: lines.join("\n") }));
    assert.deepEqual(heard(pieces(Buffer.from(bytes.join("")), at)), wanted);
  },
);

const header = fc
  .array(
    fc.constantFrom(
      "Received:",
      "received: x",
      "RECEIVED :",
      "Rec",
      "X: y",
      "\r\n",
      "\r\n ",
      "\n",
      "\r",
    ),
    {
      maxLength: 40,
    },
  )
  .map((parts) => Buffer.from(parts.join("")));

property("HopCounter counts the same, however the bytes are cut", header, cuts, (bytes, at) => {
  const whole = new HopCounter();
  whole.push(bytes);
  const cut = new HopCounter();
  for (const part of pieces(bytes, at)) cut.push(part);
  assert.equal(cut.count, whole.count);
});

property(
  "a spamd answer reads the same, however it is cut, or is a fault",
  wire,
  cuts,
  (bytes, at) => {
    const good = Buffer.from("SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: True ; 1 / 2\r\n");
    const read = (parts: readonly Buffer[]): unknown => {
      const reader = new HeadReader();
      try {
        for (const part of parts) {
          const found = reader.take(part);
          if (found !== null) return found.head;
        }
        return null;
      } catch (error) {
        if (error instanceof SpamdFault) return "fault";
        throw error;
      }
    };
    for (const answer of [bytes, Buffer.concat([good, bytes, Buffer.from("\r\n\r\n")])]) {
      assert.deepEqual(read(pieces(answer, at)), read([answer]));
    }
  },
);
