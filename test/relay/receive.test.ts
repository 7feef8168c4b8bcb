import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import { ClientGone, type Submission } from "../../src/core/intake.ts";
import type { Reply } from "../../src/core/reply.ts";
import { receive } from "../../src/relay/journey.ts";
import { always, stations } from "../support/stations.ts";

const { signal } = new AbortController();

function submission(
  chunks: Submission["content"]["chunks"] = [Buffer.from("one\r\n"), Buffer.from("two\r\n")],
  refusal: Reply | null = null,
): Submission {
  return {
    envelope: { ...emptyEnvelope, from: "a@b.test", toRemote: ["c@d.test"] },
    content: { chunks, refusal: () => refusal },
    peer: { address: "127.0.0.1", port: 1 },
    account: "",
    tls: "",
  };
}

test("receive() says 250 for a message that the store has committed", async () => {
  const { at, store } = stations();
  const { reply, id } = await receive(at, submission(), null, signal);
  assert.deepEqual(reply, { code: 250, text: "message processed" });
  assert.ok(id !== null);
  assert.equal(store.kept.get(id)?.content?.toString(), "one\r\ntwo\r\n");
});

test("receive() reads all the content before it answers that it cannot be stored", async () => {
  for (const on of ["create", "write"] as const) {
    const { at, store } = stations();
    store.trouble = { on, error: new RelayError("SPOOL_FULL", "", "no space") };
    let read = 0;
    async function* chunks() {
      for (; read < 5; read++) yield Buffer.from("x");
    }
    const { reply, id } = await receive(at, submission(chunks()), null, signal);
    assert.deepEqual(reply, { code: 452, text: "4.3.1 insufficient system storage" });
    assert.equal(id, null);
    assert.equal(read, 5);
    assert.equal(store.drafts, 0);
  }
});

test("receive() answers 451 and keeps nothing when the commit fails", async () => {
  const { at, store } = stations();
  store.trouble = { on: "commit", error: new RelayError("SPOOL_IO", "", "input/output error") };
  const { reply } = await receive(at, submission(), null, signal);
  assert.equal(reply.code, 451);
  assert.equal(store.drafts, 0);
  assert.equal(store.kept.size, 0);
});

test("receive() keeps nothing of a message whose content is refused", async () => {
  const { at, store } = stations();
  const refusal = { code: 552, text: "too big" };
  const { reply } = await receive(at, submission([Buffer.from("x")], refusal), null, signal);
  assert.deepEqual(reply, refusal);
  assert.equal(store.drafts, 0);
  assert.equal(store.kept.size, 0);
});

test("receive() keeps nothing and rejects with ClientGone when the client vanishes", async () => {
  const { at, store } = stations();
  async function* chunks() {
    yield Buffer.from("half");
    throw new ClientGone("peer disconnected");
  }
  await assert.rejects(receive(at, submission(chunks()), null, signal), ClientGone);
  assert.equal(store.drafts, 0);
});

test("receive() obeys the server filter's verdict", async () => {
  const reply = { code: 550, text: "spam" };
  const rejecting = stations();
  const reject = always({ kind: "reject", next: "rescan", reply, detail: "x" })();
  assert.deepEqual((await receive(rejecting.at, submission(), reject, signal)).reply, reply);
  assert.equal(rejecting.store.kept.size, 0);
  assert.deepEqual(rejecting.requested, ["rescan"]);

  const abandoning = stations();
  const abandon = always({ kind: "abandon", next: "continue" })();
  assert.equal((await receive(abandoning.at, submission(), abandon, signal)).reply.code, 250);
  assert.equal(abandoning.events.at(-1)?.kind, "message.abandoned");
});
