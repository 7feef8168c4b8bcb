/** Mail for hosts that nobody can be asked about, and all other mail beside it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as soon } from "node:timers/promises";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { OpenFilter } from "../../src/core/filter.ts";
import { retryStateOf } from "../../src/core/retry-state.ts";
import { receptionOpener } from "../../src/relay/reception.ts";
import { house, MINUTE } from "../support/retry-house.ts";
import { accepted, ScriptedTransport } from "../support/scripted-transport.ts";
import { run } from "../support/stations.ts";

const never = new AbortController().signal;

/** A house that looks up where mail for these hosts goes; nobody can say of those in `unknown`. */
function lookingUp(...hosts: readonly string[]) {
  let asked = "";
  const unknown = new Set<string>();
  /** Hosts that something or nothing was said of, and "sent" for each message that needed no lookup. */
  const steps: string[] = [];
  const openRoutingFilter: OpenFilter = () => ({
    run: async () => {
      const host = asked;
      // What is under way goes on meanwhile.
      for (let n = 0; n < 5; n++) await soon();
      steps.push(host);
      if (!unknown.has(host)) return { kind: "pass", next: "continue" };
      const reply = { code: 452, text: "cannot route message" };
      const detail = `cannot look up "${host}"`;
      return { kind: "reject", next: "continue", reply, detail, temporary: true };
    },
    [Symbol.asyncDispose]: async () => undefined,
  });
  const made = house({ openRoutingFilter });
  const { store } = made;
  const lease = store.lease.bind(store);
  store.lease = async (id) => {
    const leased = await lease(id);
    asked = leased?.envelope.forwardTo ?? "";
    return leased;
  };
  const ids = hosts.map((forwardTo) => store.put({ forwardTo }));
  const transport = new ScriptedTransport(({ forwardTo }) => {
    if (forwardTo === "") steps.push("sent");
    return accepted;
  });
  return {
    ...made,
    ids,
    unknown,
    transport,
    /** What is done in a run. */
    inRun: async (forced = false) => {
      steps.length = 0;
      await run(made.at, async () => transport, { forced });
      return [...steps];
    },
    steps,
  };
}

test("a host that nobody can say anything about is asked about for one message at a time", async () => {
  const { store, ids, unknown, pass, inRun, transport, kinds } = lookingUp("d", "d", "d");
  unknown.add("d");
  assert.deepEqual(await inRun(), ["d"]);
  const tries = () => ids.map((id) => retryStateOf(store.kept.get(id)?.envelope ?? assert.fail()));
  assert.deepEqual(
    tries().map((state) => state.tries),
    [1, 0, 0],
  );
  assert.equal(kinds().filter((kind) => kind === "forward.skipped").length, 2);

  // New mail for there is not asked about by the next run.
  store.put({ forwardTo: "d" });
  assert.deepEqual(await inRun(), []);
  pass(MINUTE);
  assert.deepEqual(await inRun(), ["d"]);
  pass(9 * MINUTE);
  assert.deepEqual(await inRun(), []);
  unknown.clear();
  pass(MINUTE);
  assert.deepEqual(await inRun(), ["d", "d", "d", "d"]);
  assert.equal(transport.sent.length, 4);
  assert.equal(store.kept.size, 0);
});

test("a run that somebody asks for asks about such a host once more, not for each of its messages", async () => {
  const { unknown, inRun } = lookingUp("d", "d", "d");
  unknown.add("d");
  await inRun();
  assert.deepEqual(await inRun(true), ["d"]);
});

test("a host is the same however it is written, and others are asked about", async () => {
  const { unknown, pass, inRun } = lookingUp("d", "D", "x@d", "e", "f", "g");
  for (const host of ["d", "D", "x@d", "e", "f"]) unknown.add(host);
  assert.deepEqual(await inRun(), ["d", "e", "f", "g"]);
  pass(MINUTE);
  unknown.clear();
  assert.deepEqual(await inRun(), ["d", "D", "x@d", "e", "f"]);
});

test("however many hosts can never be found out about, others get their turn", async () => {
  const broken = Array.from({ length: 12 }, (_, n) => `broken${n}`);
  const { store, ids, unknown, pass, inRun } = lookingUp(...broken, "good");
  for (const host of broken) unknown.add(host);
  for (let n = 0; n < 8; n++) {
    await inRun();
    pass(15 * MINUTE);
  }
  assert.equal(store.kept.has(ids.at(-1) ?? assert.fail()), false);
});

test("a client of an immediate session does not wait for a lookup that has just failed", async () => {
  const { at, store, unknown, inRun, steps, transport } = lookingUp("d");
  unknown.add("d");
  await inRun();
  const immediate = async () => transport;
  const client = { address: "127.0.0.1", port: 1 };
  await using session = receptionOpener({ at, immediate, onClosed: () => undefined })(client);
  const envelope = { ...emptyEnvelope, from: "a@b.test", toRemote: ["c@d"], forwardTo: "d" };
  const content = { chunks: [Buffer.from("one\r\n")], refusal: () => null };
  const submission = { envelope, content, peer: client, account: "", tls: "" };
  const reply = await session.receive(submission, never);
  assert.deepEqual(reply, { code: 250, text: "message processed" });
  assert.deepEqual(steps, ["d"]);
  assert.equal(store.kept.size, 2);
});
