import assert from "node:assert/strict";
import { test } from "node:test";
import type { RelayEvent } from "../../src/core/events.ts";
import type { RecipientQuery, Verification } from "../../src/core/verifier.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { VerifierTerms } from "../../src/verifiers/item.ts";
import { networkVerifier } from "../../src/verifiers/network.ts";
import { deadAddress, LinePeer } from "../support/line-peer.ts";

const never = new AbortController().signal;

const QUERY: RecipientQuery = {
  recipient: "r@x",
  sender: "a@b",
  client: "127.0.0.1:55692",
  domain: "relay.test.localnet",
  mechanism: "none",
  account: "",
};

function verifierTerms(timeoutMs = 10_000, events: RelayEvent[] = []): VerifierTerms {
  const journal = { detail: true, tell: (event: RelayEvent) => void events.push(event) };
  return { timeoutMs, account: null, domain: "relay.test.localnet", journal, clock: systemClock };
}

const refused = (code: number, text: string, reason = ""): Verification => ({
  kind: "refuse",
  reply: { code, text },
  reason,
});

/** What the verifier makes of this answer. */
async function resultOf(answer: string | Buffer): Promise<Verification> {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.say(answer);
    await connection.gone();
  });
  await using verifier = networkVerifier(peer.address, verifierTerms());
  return await verifier.verify(QUERY, never);
}

test("networkVerifier() asks in one line with six fields", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    assert.equal(await connection.line(), "r@x|a@b|127.0.0.1:55692|relay.test.localnet|none|");
    connection.say("1|r@x\n");
    assert.equal(await connection.line(), "r@x||/|relay.test.localnet|plain|alice");
    connection.say("1|r@x\n");
  });
  await using verifier = networkVerifier(peer.address, verifierTerms());
  await verifier.verify(QUERY, never);
  await verifier.verify(
    { ...QUERY, sender: "", client: "/", mechanism: "plain", account: "alice" },
    never,
  );
  await peer.done();
  assert.equal(peer.connections, 1);
});

test("networkVerifier() understands local and remote recipients", async () => {
  assert.deepEqual(await resultOf("0|mbox|Full Name\n"), {
    kind: "local",
    mailbox: "mbox",
    description: "Full Name",
  });
  assert.deepEqual(await resultOf("0|mbox|\r\n"), {
    kind: "local",
    mailbox: "mbox",
    description: "",
  });
  assert.deepEqual(await resultOf("1|new@addr\r\n"), { kind: "remote", address: "new@addr" });
});

test("networkVerifier() understands refusals for good and for now", async () => {
  assert.deepEqual(await resultOf("2|go away\n"), refused(550, "go away"));
  assert.deepEqual(await resultOf("2|go away|because\n"), refused(550, "go away", "because"));
  assert.deepEqual(await resultOf("3|try later|busy\r\n"), refused(450, "try later", "busy"));
  assert.deepEqual(await resultOf("3|\n"), refused(450, "mailbox unavailable"));
});

test("networkVerifier() aborts on 100", async () => {
  assert.deepEqual(await resultOf("100\r\n"), { kind: "abort" });
});

test("networkVerifier() refuses on an answer that is none, with a text", async () => {
  const malformed = refused(550, "rejected", "malformed answer from the address verifier");
  for (const answer of [
    "",
    "ok",
    "0",
    "0|mbox",
    "0||name",
    "1",
    "1|",
    "1|a@b|c",
    "4|x",
    "250 ok",
  ]) {
    assert.deepEqual(await resultOf(`${answer}\n`), malformed, answer);
  }
});

test("networkVerifier() lets no control character into an envelope", async () => {
  const malformed = refused(550, "rejected", "malformed answer from the address verifier");
  assert.deepEqual(await resultOf("1|a@b\rX-MailRelay-End: 1\n"), malformed);
  assert.deepEqual(await resultOf("0|m\u0000box|x\n"), malformed);
});

test("networkVerifier() takes no name that is not UTF-8: two of them would be one", async () => {
  const malformed = refused(550, "rejected", "malformed answer from the address verifier");
  assert.deepEqual(await resultOf(Buffer.from("1|m\xe9@x\n", "latin1")), malformed);
  assert.deepEqual(await resultOf(Buffer.from("0|m\xe9|x\n", "latin1")), malformed);
});

test("networkVerifier() does not ask what a client could forge fields with", async () => {
  await using peer = await LinePeer.listen(async () => undefined);
  await using verifier = networkVerifier(peer.address, verifierTerms());
  const { reply } = refused(550, "mailbox name not allowed") as { reply: object };
  const recipients = ["r@x|a@b|127.0.0.1:1|relay|plain|root", "a|b@x", "a\nb@x", "a\u0085b@x"];
  for (const recipient of recipients) {
    const answer = await verifier.verify({ ...QUERY, recipient }, never);
    assert.ok(answer.kind === "refuse", recipient);
    assert.deepEqual(answer.reply, reply);
  }
  const answer = await verifier.verify({ ...QUERY, sender: "a|b@x" }, never);
  assert.equal(answer.kind, "refuse");
  assert.equal(peer.connections, 0);
});

test("networkVerifier() refuses for now when nobody answers", async () => {
  const dead = await deadAddress();
  await using nobody = networkVerifier(dead, verifierTerms());
  assert.deepEqual(
    await nobody.verify(QUERY, never),
    refused(450, "cannot verify", `connect failure: cannot connect to ${dead}`),
  );

  await using leaving = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.end("1|r@");
  });
  await using left = networkVerifier(leaving.address, verifierTerms());
  assert.deepEqual(
    await left.verify(QUERY, never),
    refused(450, "cannot verify", "peer disconnected"),
  );
});

test("networkVerifier() never gives one recipient the late answer about another", async () => {
  let late = (): void => undefined;
  await using peer = await LinePeer.listen(async (connection, index) => {
    const question = await connection.line();
    if (index === 0) late = () => connection.say("0|first|First\n");
    else connection.say(`2|not ${question.split("|")[0]}\n`);
  });
  await using verifier = networkVerifier(peer.address, verifierTerms(200));
  const why = `response timeout: no response after 0.2s while connected to ${peer.address}`;
  assert.deepEqual(await verifier.verify(QUERY, never), refused(450, "cannot verify", why));
  late();
  assert.deepEqual(
    await verifier.verify({ ...QUERY, recipient: "second@x" }, never),
    refused(550, "not second@x"),
  );
});

test("networkVerifier() rejects when it is aborted", async () => {
  const stop = new AbortController();
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    stop.abort(new Error("enough"));
    await connection.gone();
  });
  await using verifier = networkVerifier(peer.address, verifierTerms());
  await assert.rejects(verifier.verify(QUERY, stop.signal), /enough/);
});

test("networkVerifier() tells the journal what was asked and answered", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.say("2|no\r\n");
  });
  const events: RelayEvent[] = [];
  await using verifier = networkVerifier(peer.address, verifierTerms(10_000, events));
  await verifier.verify(QUERY, never);
  const note = (text: string) => ({ kind: "note", level: "info", detail: true, text });
  assert.deepEqual(events, [
    note("verification request: [r@x] (127.0.0.1:55692)"),
    note("verification response: [2|no]"),
  ]);
});

test("networkVerifier() refuses what cannot be an address", () => {
  assert.throws(() => networkVerifier("nowhere", verifierTerms()), { code: "CONFIG_INVALID" });
});
