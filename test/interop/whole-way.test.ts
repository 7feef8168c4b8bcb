import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createReadStream, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { RawClient } from "../support/raw-smtp-client.ts";
import { TestRelay, until } from "../support/relayd.ts";
import { field, type KeptMail, keptMail } from "./kept-mail.ts";

/** Content goes byte for byte from a client through one relayd into the spool of the next. */
const PYTHON = "/usr/lib/python3.11/test/test_email/data";
const SPAMASSASSIN = "/usr/share/doc/spamassassin/examples";

interface Way {
  readonly first: TestRelay;
  readonly last: TestRelay;
}

async function openWay(...more: readonly string[]): Promise<Way> {
  const limit = "--server-smtp-config=chunking";
  const last = await TestRelay.start([limit, ...more]);
  const forward = [`--forward-to=127.0.0.1:${last.port}`, "--forward-on-disconnect"];
  const first = await TestRelay.start([limit, ...forward, ...more]);
  return { first, last };
}

type Framing = "dots" | "chunk";

/** Each content as a message of its own, from "n@a.test", over one connection; resolves when all were taken. */
async function sendAll(
  port: number,
  contents: readonly Buffer[],
  framing: Framing = "dots",
): Promise<void> {
  await using client = await RawClient.connect(`127.0.0.1:${port}`);
  await client.reply();
  await client.ask("EHLO client.test");
  const ok = async (line: string | Buffer) => {
    client.send(line);
    const reply = await client.reply();
    assert.match(reply, /^(?:250|354) /);
  };
  for (const [n, content] of contents.entries()) {
    const body = framing === "chunk" ? "BINARYMIME" : "8BITMIME";
    await ok(`MAIL FROM:<${n}@a.test> BODY=${body}\r\n`);
    await ok("RCPT TO:<x@b.test>\r\n");
    if (framing === "chunk") {
      const half = Math.floor(content.length / 2);
      if (half > 0) await ok(bdat(content.subarray(0, half), ""));
      await ok(bdat(content.subarray(half), " LAST"));
    } else {
      await ok("DATA\r\n");
      await ok(Buffer.concat([stuffed(content), Buffer.from(".\r\n")]));
    }
  }
  await client.ask("QUIT");
}

const bdat = (chunk: Buffer, last: string): Buffer =>
  Buffer.concat([Buffer.from(`BDAT ${chunk.length}${last}\r\n`), chunk]);

/** RFC 5321 4.5.2, written without a thought of speed. */
const stuffed = (content: Buffer): Buffer =>
  Buffer.from(content.toString("latin1").replace(/(^|\r\n)\./g, "$1.."), "latin1");

/** Every line ends in CRLF, the last one too. */
function withLineEnds(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1").replace(/\r\n|\r|\n/g, "\r\n");
  return Buffer.from(text.endsWith("\r\n") ? text : `${text}\r\n`, "latin1");
}

/** What has come to the end of the way, in the order in which it was sent. */
async function arrived({ first, last }: Way, count: number): Promise<KeptMail[]> {
  await until(
    () => last.files().length === 2 * count && first.files().length === 0,
    () => `${last.files().length} files of ${count} messages\n${first.log.slice(-2000)}`,
  );
  return keptMail(last.spool).sort(
    (one, other) =>
      Number.parseInt(field(one, "From"), 10) - Number.parseInt(field(other, "From"), 10),
  );
}

/** Sends and compares. */
async function passes(
  contents: readonly Buffer[],
  names: readonly string[],
  framing: Framing = "dots",
): Promise<void> {
  const way = await openWay();
  await sendAll(way.first.port, contents, framing);
  const mails = await arrived(way, contents.length);
  for (const [n, content] of contents.entries()) {
    const mail = mails[n];
    assert.equal(field(mail, "From"), `${n}@a.test`);
    const came = belowOurs(mail);
    assert.ok(Buffer.from(came, "latin1").equals(content), `${names[n]} came out different`);
  }
}

/** What stands below the two lines of the two relayds. */
function belowOurs(mail: KeptMail | undefined): string {
  const { content = "" } = mail ?? {};
  assert.match(content, /^Received: from client\.test \(/);
  return content.slice(content.indexOf("\r\n") + 2);
}

/** Real mails with every kind of damage; null, and the test is skipped, without them. */
function samples(t: TestContext, folder: string, names: RegExp): Map<string, Buffer> | null {
  if (!existsSync(folder) && process.env.CI !== "true") {
    t.skip(`needs ${folder}`);
    return null;
  }
  const found = readdirSync(folder).filter((name) => names.test(name));
  assert.ok(found.length > 0);
  t.diagnostic(`${found.length} mails`);
  return new Map(found.map((name) => [name, readFileSync(join(folder, name))]));
}

test("the sample mails of spamassassin pass byte for byte", async (t) => {
  const mails = samples(t, SPAMASSASSIN, /\.txt$/);
  if (mails !== null) await passes([...mails.values()].map(withLineEnds), [...mails.keys()]);
});

test("the sample mails of python's e-mail tests pass byte for byte", async (t) => {
  const mails = samples(t, PYTHON, /\.txt$/);
  if (mails !== null) await passes([...mails.values()].map(withLineEnds), [...mails.keys()]);
});

test("the same files, pictures and sounds pass byte for byte in binary chunks", async (t) => {
  const mails = samples(t, PYTHON, /^[^_]/);
  if (mails !== null) await passes([...mails.values()], [...mails.keys()], "chunk");
});

test("random bytes and long lines pass byte for byte", async () => {
  const contents = [
    Buffer.alloc(0),
    Buffer.from("\r\n"),
    Buffer.from(".\r\n"),
    Buffer.from("..\r\n.\r\n...\r\n\r\n.\r\n"),
    Buffer.from(`${"x".repeat(1_000_000)}\r\n`),
    Buffer.from(`.${"y".repeat(65_534)}\r\n.${"z".repeat(65_533)}\r\n.\r\n`),
    ...[100, 1000, 65_535, 65_536, 65_537, 300_000].map(textOf),
  ];
  await passes(
    contents,
    contents.map((content) => `${content.length} bytes`),
  );
});

test("random bytes pass byte for byte in binary chunks", async () => {
  const contents = [1, 2, 1000, 65_536, 999_999, 1_000_001, 2_500_000].map((n) => randomBytes(n));
  await passes(
    contents,
    contents.map((content) => `${content.length} bytes`),
    "chunk",
  );
});

/** Random bytes with line ends at random, many dots after them, and no CR, LF or NUL elsewhere. */
function textOf(size: number): Buffer {
  const bytes = randomBytes(size);
  for (let at = 0; at < size; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 13 || byte === 10 || byte === 0) bytes[at] = 46;
    if (byte < 8 && at + 2 < size) {
      bytes.write("\r\n.", at);
      at += 2;
    }
  }
  return withLineEnds(bytes);
}

test("a message of 50 MB passes byte for byte", async () => {
  const way = await openWay();
  const block = textOf(500_000);
  const blocks = 100;
  const sent = createHash("sha256");
  await using client = await RawClient.connect(`127.0.0.1:${way.first.port}`);
  await client.reply();
  for (const line of ["EHLO client.test", "MAIL FROM:<0@a.test>", "RCPT TO:<x@b.test>", "DATA"]) {
    await client.ask(line);
  }
  const wire = stuffed(block);
  for (let n = 0; n < blocks; n++) {
    const head = Buffer.from(`block ${n}\r\n`);
    sent.update(head).update(block);
    for (const piece of [head, wire]) {
      if (!client.socket.write(piece)) await once(client.socket, "drain");
    }
  }
  assert.equal(await client.ask("."), "250 message processed");
  await client.ask("QUIT");
  await until(() => way.last.files().some((name) => name.endsWith(".envelope")));
  const name = way.last.files().find((file) => file.endsWith(".content")) ?? "";
  assert.equal(await hashBelowTrace(join(way.last.spool, name)), sent.digest("hex"));
});

/** Hash of everything after the first two lines. */
async function hashBelowTrace(path: string): Promise<string> {
  const hash = createHash("sha256");
  let lines = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let start = 0;
    while (lines < 2) {
      start = chunk.indexOf("\n", start) + 1;
      lines += 1;
    }
    hash.update(chunk.subarray(start));
  }
  return hash.digest("hex");
}

const BARE = "Subject: bare\r\n\r\none\rtwo\nthree\n.\nfour\r.\rfive\n\r\r\nsix\r\n";

test("bare CR and LF are stored as they are with --bare-newlines=accept, and go on as CRLF", async () => {
  const kept = await TestRelay.start(["--bare-newlines=accept"]);
  await sendAll(kept.port, [Buffer.from(BARE)]);
  assert.equal(keptMail(kept.spool)[0]?.content, BARE);
  const way = await openWay("--bare-newlines=accept");
  await sendAll(way.first.port, [Buffer.from(BARE)]);
  const [mail] = await arrived(way, 1);
  assert.equal(belowOurs(mail), withLineEnds(Buffer.from(BARE)).toString());
});

test("bare CR and LF are stored as CRLF by default", async () => {
  const kept = await TestRelay.start([]);
  await sendAll(kept.port, [Buffer.from(BARE)]);
  assert.equal(keptMail(kept.spool)[0]?.content, withLineEnds(Buffer.from(BARE)).toString());
});

test("files with bare CRs pass unchanged into a spool that accepts them", async (t) => {
  const mails = samples(t, PYTHON, /\.txt$/);
  if (mails === null) return;
  const kept = await TestRelay.start(["--bare-newlines=accept"]);
  const contents = [...mails.values()].map((bytes) => Buffer.concat([bytes, Buffer.from("\r\n")]));
  await sendAll(kept.port, contents);
  const stored = keptMail(kept.spool);
  for (const [n, name] of [...mails.keys()].entries()) {
    assert.ok(
      Buffer.from(stored[n]?.content ?? "", "latin1").equals(contents[n] ?? Buffer.alloc(0)),
      name,
    );
  }
});
