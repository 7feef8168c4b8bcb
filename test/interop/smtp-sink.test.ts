import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "../support/catcher.ts";
import { present, servePeer } from "../support/peer.ts";
import { canConnect, temporary, temporarySpool, until } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";
import { asClient, reasons } from "./kept-mail.ts";

/** relayd hands its mail to Postfix's smtp-sink, which can be told how to misbehave. */
const skip = present("smtp-sink");

const QUEUED = "emailrelay.1.1.1.content emailrelay.1.1.1.envelope";
const FAILED = "emailrelay.1.1.1.content emailrelay.1.1.1.envelope.bad";

async function startSink(
  ...options: readonly string[]
): Promise<{ address: string; dump: string }> {
  const dump = join(temporary(), "dump");
  mkdirSync(dump);
  const port = await freePort();
  const asRoot = process.getuid?.() === 0 ? ["-u", "root"] : [];
  const address = `127.0.0.1:${port}`;
  servePeer("smtp-sink", [...asRoot, "-d", `${dump}/`, ...options, address, "10"]);
  await until(
    async () => await canConnect(port),
    () => "smtp-sink does not listen",
  );
  return { address, dump };
}

interface Tried {
  readonly code: number | null;
  readonly stderr: string;
  /** What is in the spool afterwards. */
  readonly left: string;
  readonly reasons: readonly string[];
  readonly dumped: readonly string[];
}

/** One message to a sink with these options. */
async function trySink(options: readonly string[], ...more: readonly string[]): Promise<Tried> {
  const { address, dump } = await startSink(...options);
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const { code, stderr } = await asClient(address, spool, ...more);
  const left = readdirSync(spool).filter((name) => name.startsWith("emailrelay"));
  const dumped = readdirSync(dump).map((name) => readFileSync(join(dump, name), "latin1"));
  return { code, stderr, left: left.sort().join(" "), reasons: reasons(spool), dumped };
}

for (const [what, options, more, mail] of [
  ["plain", [], [], "<alice@example.com> BODY=8BITMIME"],
  ["without 8BITMIME", ["-8"], [], "<alice@example.com>"],
  ["with pipelining", [], ["--client-smtp-config=pipelining"], "<alice@example.com> BODY=8BITMIME"],
  [
    "with pipelining that is not offered",
    ["-p"],
    ["--client-smtp-config=pipelining"],
    "<alice@example.com> BODY=8BITMIME",
  ],
  [
    "without extended codes and authentication",
    ["-E", "-a"],
    [],
    "<alice@example.com> BODY=8BITMIME",
  ],
  ["that does not know EHLO", ["-f", "EHLO"], [], "<alice@example.com>"],
  ["that looks like a PIX", ["-P"], [], "<alice@example.com>"],
] as const) {
  test(`a sink ${what} gets the message`, { skip }, async () => {
    const tried = await trySink(options, ...more);
    assert.deepEqual([tried.code, tried.left], [0, ""], tried.stderr);
    const [dumped = ""] = tried.dumped;
    assert.ok(dumped.includes(`X-Mail-Args: ${mail}\n`), dumped);
    assert.match(dumped, /X-Rcpt-Args: <bob@example\.net>\n/);
    assert.ok(dumped.endsWith("\nSubject: put\n\n.dot\nbody\n\n"), dumped);
  });
}

test("--client-smtp-config=eightbitstrict fails 8-bit mail for a sink without 8BITMIME", {
  skip,
}, async () => {
  const tried = await trySink(["-8"], "--client-smtp-config=eightbitstrict");
  assert.deepEqual(tried.reasons, ["cannot send 8-bit message to 7-bit server ()"]);
});

for (const [command, hard, soft] of [
  ["MAIL", "5.3.0 Error: command failed (500)", "4.3.0 Error: command failed (450)"],
  ["RCPT", "one or more recipients rejected (500)", "one or more recipients rejected (450)"],
  [
    "DATA",
    "smtp error: unexpected response: 5.3.0 Error: command failed (500)",
    "smtp error: unexpected response: 4.3.0 Error: command failed (450)",
  ],
  [".", "5.3.0 Error: command failed (500)", "4.3.0 Error: command failed (450)"],
] as const) {
  test(`a sink that refuses ${command} for good fails the message`, { skip }, async () => {
    const tried = await trySink(["-f", command]);
    assert.deepEqual([tried.code, tried.left, tried.reasons], [0, FAILED, [hard]], tried.stderr);
  });

  test(`a sink that refuses ${command} for now fails the message`, { skip }, async () => {
    const tried = await trySink(["-r", command]);
    assert.deepEqual([tried.code, tried.left, tried.reasons], [0, FAILED, [soft]], tried.stderr);
  });
}

for (const [how, options] of [
  ["greets with a refusal", ["-f", "CONNECT"]],
  ["greets with a refusal for now", ["-r", "CONNECT"]],
  ["refuses EHLO for now", ["-r", "EHLO"]],
  ["hangs up on CONNECT", ["-q", "CONNECT"]],
  ["hangs up on EHLO", ["-q", "EHLO"]],
  ["hangs up on MAIL", ["-q", "MAIL"]],
  ["hangs up on RCPT", ["-q", "RCPT"]],
  ["hangs up on DATA", ["-q", "DATA"]],
  ["hangs up on the final dot", ["-q", "."]],
  ["says 421 to CONNECT", ["-Q", "CONNECT"]],
  ["says 421 to EHLO", ["-Q", "EHLO"]],
  ["says 421 to MAIL", ["-Q", "MAIL"]],
  ["says 421 to RCPT", ["-Q", "RCPT"]],
  ["says 421 to DATA", ["-Q", "DATA"]],
  ["says 421 to the final dot", ["-Q", "."]],
] as const) {
  test(`a sink that ${how} leaves the message queued`, { skip }, async () => {
    const tried = await trySink(options);
    assert.deepEqual([tried.code, tried.left], [1, QUEUED], tried.stderr);
  });
}

test("a sink that refuses the content before it has come fails the message", {
  skip,
}, async () => {
  const tried = await trySink(["-A", "0"]);
  assert.equal(tried.left, FAILED, tried.stderr);
  assert.match(tried.reasons.join(), /\(550\)$/);
});

test("a sink that hangs up on QUIT has the message all the same", { skip }, async () => {
  const tried = await trySink(["-q", "QUIT"]);
  assert.deepEqual([tried.code, tried.left, tried.dumped.length], [0, "", 1], tried.stderr);
});

test("two hundred messages go to one sink over one connection", { skip }, async () => {
  const { address, dump } = await startSink("-n", "2");
  const spool = temporarySpool();
  for (let n = 1; n <= 200; n++) putMessage(spool, `emailrelay.1.1.${n}`);
  const { code, stderr } = await asClient(address, spool, "--forward-parallel=1");
  assert.equal(code, 0, stderr);
  assert.equal(readdirSync(dump).length, 200);
});
