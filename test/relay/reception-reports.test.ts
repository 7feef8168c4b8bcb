import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { Receipt, RejectedRecipient } from "../../src/core/transport.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { receptionOpener } from "../../src/relay/reception.ts";
import { house, permanent, refuses, temporary } from "../support/retry-house.ts";
import { accepted, ScriptedTransport } from "../support/scripted-transport.ts";
import { always as filterSaying } from "../support/stations.ts";

const { signal } = new AbortController();
const PROCESSED = { code: 250, text: "message processed" };
const CLIENT = { address: "127.0.0.1", port: 1 };
const MODES: readonly Partial<Stations>[] = [{}, { retrying: null }];

/** What the client of an immediate session hears of a message for a and b, and its sender from a report. */
async function told(changes: Partial<Stations>, receipt: Receipt, from = "alice@example.com") {
  const { at, store, reports } = house(changes);
  const transport = new ScriptedTransport(() => receipt);
  const immediate = async () => transport;
  const open = receptionOpener({ at, immediate, onClosed: () => undefined });
  await using session = open(CLIENT);
  const reply = await session.receive(
    {
      envelope: { ...emptyEnvelope, from, toRemote: ["a@x.test", "b@x.test"] },
      content: { chunks: [Buffer.from("one\r\n")], refusal: () => null },
      peer: CLIENT,
      account: "",
      tls: "",
    },
    signal,
  );
  const reported = reports.map(({ action, recipients }) =>
    [action, ...recipients.map(({ recipient }) => recipient)].join(" "),
  );
  const [kept] = store.kept.values();
  return { reply, reported, state: kept?.state, waiting: kept?.envelope.toRemote };
}

function partly(...rejected: RejectedRecipient[]): Receipt {
  return { ...accepted, rejected } as Receipt;
}

const refusedB = { recipient: "b@x.test", reply: permanent };

test("a refusal that the client of an immediate session hears is not reported to the sender as well", async () => {
  for (const mode of MODES) {
    const { reply, reported, state } = await told(mode, refuses(permanent));
    assert.deepEqual(reply, permanent);
    assert.deepEqual(reported, []);
    assert.equal(state, "bad");
  }
});

test("nor is one of a client filter, or of a recipient without whom nobody is to get the message", async () => {
  const reply = { code: 554, text: "spam" };
  const openClientFilter = filterSaying({ kind: "reject", reply, detail: "x", next: "continue" });
  for (const mode of MODES) {
    const filtered = await told({ ...mode, openClientFilter }, accepted);
    assert.deepEqual([filtered.reply, filtered.reported], [reply, []]);
    const receipt: Receipt = {
      kind: "refused",
      step: "rcpt",
      reply: permanent,
      rejected: [{ recipient: "a@x.test", reply: permanent }],
      ended: false,
    };
    const one = await told({ ...mode, recipients: "all" }, receipt);
    assert.deepEqual([one.reply.code, one.reported], [550, []]);
  }
});

test("who got the message is not refused to the client because another's failure is reported", async () => {
  for (const mode of MODES) {
    const { reply, reported, state } = await told(mode, partly(refusedB));
    assert.deepEqual(reply, PROCESSED);
    assert.deepEqual(reported, ["failed b@x.test"]);
    assert.equal(state, "bad");
  }
});

test("a failure is reported when the client hears of success since somebody still waits", async () => {
  const late = { recipient: "a@x.test", reply: temporary };
  const receipt: Receipt = {
    kind: "refused",
    step: "rcpt",
    reply: permanent,
    rejected: [late, refusedB],
    ended: false,
  };
  const { reply, reported, waiting } = await told({}, receipt);
  assert.deepEqual(reply, PROCESSED);
  assert.deepEqual(reported, ["failed b@x.test"]);
  assert.deepEqual(waiting, ["a@x.test"]);
});

test("a failure that nobody is told of in a report is for the client", async () => {
  for (const mode of MODES) {
    const without = await told({ ...mode, reporter: null }, partly(refusedB));
    assert.equal(without.reply.code, 550);
    const fromNobody = await told(mode, partly(refusedB), "");
    assert.deepEqual([fromNobody.reply.code, fromNobody.reported], [550, []]);
    const full = { report: async () => await Promise.reject(new Error("disk full")) };
    assert.equal((await told({ ...mode, reporter: full }, partly(refusedB))).reply.code, 550);
    const silent = { report: async () => false };
    assert.equal((await told({ ...mode, reporter: silent }, partly(refusedB))).reply.code, 550);
  }
});
