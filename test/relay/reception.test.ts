import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { Submission } from "../../src/core/intake.ts";
import type { Trouble } from "../../src/core/transport.ts";
import { systemClock } from "../../src/io/clock.ts";
import { Agenda } from "../../src/relay/agenda.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { Pace } from "../../src/relay/pace.ts";
import { receptionOpener } from "../../src/relay/reception.ts";
import { Retrying } from "../../src/relay/retrying.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { stations } from "../support/stations.ts";

const { signal } = new AbortController();
const NOT_FORWARDED = { code: 452, text: "forwarding failed" };
const PROCESSED = { code: 250, text: "message processed" };

function submission(): Submission {
  return {
    envelope: { ...emptyEnvelope, from: "a@b.test", toRemote: ["c@d.test"] },
    content: { chunks: [Buffer.from("one\r\n")], refusal: () => null },
    peer: { address: "127.0.0.1", port: 1 },
    account: "",
    tls: "",
  };
}

/** A session whose messages are forwarded before they are answered. */
function immediate(at: Stations, transport: ScriptedTransport) {
  const open = receptionOpener({
    at,
    immediate: async () => transport,
    onClosed: () => undefined,
  });
  return open({ address: "127.0.0.1", port: 1 });
}

function retryingAt({ journal }: Stations): Retrying {
  const retry = { delaysMs: [60_000], expireMs: 3_600_000 };
  const agenda = new Agenda({ retry, monotonic: () => 0, random: () => 0.5 });
  return new Retrying({ retry, agenda, journal, now: () => 0 });
}

test("a client of an immediate session does not wait for a turn: the message is in the queue, and a run waits", async () => {
  const clock = {
    ...systemClock,
    sleep: async () => await Promise.reject(new Error("nobody waits")),
  };
  const states: string[] = [];
  const made = stations({
    pace: new Pace({ count: 1, periodMs: 3_600_000 }, clock),
    requestRun: () => states.push(...[...made.store.kept.values()].map(({ state }) => state)),
  });
  const transport = new ScriptedTransport();
  await using session = immediate(made.at, transport);
  assert.deepEqual(await session.receive(submission(), signal), PROCESSED);
  assert.deepEqual(await session.receive(submission(), signal), PROCESSED);
  assert.equal(transport.sent.length, 1);
  assert.deepEqual(states, ["queued"]);
});

test("a client of an immediate session is told not to send again what is set aside for the site's own trouble", async () => {
  for (const code of [250, 354]) {
    const trouble: Trouble = {
      kind: "tls",
      connected: true,
      why: "tls/ssl error: ok",
      reply: { code, text: "ok" },
    };
    const { at, store } = stations();
    const odd = new ScriptedTransport(
      () => accepted,
      () => trouble,
    );
    await using session = immediate(at, odd);
    const reply = { code: 554, text: "forwarding failed" };
    assert.deepEqual(await session.receive(submission(), signal), reply);
    const [kept] = store.kept.values();
    assert.equal(kept?.state, "bad");
    assert.equal(kept?.reason?.code, 0);
  }
});

test("a client of an immediate session is not told of success though the smarthost says so in a refusal", async () => {
  const { at, store } = stations();
  const reply = { code: 250, text: "ok" };
  const odd = new ScriptedTransport(() => ({
    kind: "refused",
    step: "rcpt",
    reply,
    rejected: [],
    ended: false,
  }));
  await using session = immediate(at, odd);
  assert.deepEqual(await session.receive(submission(), signal), NOT_FORWARDED);
  assert.equal([...store.kept.values()][0]?.state, "bad");
});

test("a client of an immediate session gets a code where nobody but us has refused the message", async () => {
  const { at, store } = stations();
  const why = "cannot send utf8 message to non-smtputf8 server";
  const unsendable = new ScriptedTransport(() => ({ kind: "unsendable", why }));
  await using session = immediate({ ...at, retrying: retryingAt(at) }, unsendable);
  assert.deepEqual(await session.receive(submission(), signal), { code: 554, text: why });
  assert.equal([...store.kept.values()][0]?.state, "bad");
});

test("a client of an immediate session does not wait for a smarthost that is left alone", async () => {
  const { at, store } = stations();
  const retrying = retryingAt(at);
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  await using session = immediate({ ...at, retrying }, away);
  assert.deepEqual(await session.receive(submission(), signal), PROCESSED);
  assert.deepEqual(await session.receive(submission(), signal), PROCESSED);
  assert.equal(away.prepared.length, 1);
  assert.equal(store.kept.size, 2);
  assert.equal(retrying.agenda.next(), 60_000);
});

test("a message that is in the queue and cannot be locked is accepted where it is tried again, or the client sends it twice", async () => {
  for (const tried of ["again", "once"] as const) {
    const { at, store, events } = stations();
    const retrying = tried === "again" ? retryingAt(at) : null;
    store.allStuck = true;
    await using session = immediate({ ...at, retrying }, new ScriptedTransport());
    const { code } = await session.receive(submission(), signal);
    assert.equal(code, tried === "again" ? 250 : 452);
    assert.deepEqual(
      [...store.kept.values()].map(({ state }) => state),
      ["queued"],
    );
    assert.match(JSON.stringify(events), /cannot forward .*cannot lock/);
  }
});
