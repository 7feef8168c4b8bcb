import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { ServerTls } from "../../src/core/config.ts";
import type { Peer } from "../../src/core/events.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { ManualClock, type TestListener, testListener } from "../support/smtp-listener.ts";
import { makeTestCa } from "../support/test-ca.ts";

/** A gate that the test opens or shuts for the client that came last. */
function heldGate() {
  const asked: { readonly peer: Peer; readonly decide: (welcome: boolean) => void }[] = [];
  const waiting: (() => void)[] = [];
  let aborted = 0;
  return {
    asked,
    aborted: () => aborted,
    /** Resolves when so many clients have come to it. */
    async reached(count: number): Promise<void> {
      while (asked.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    gate: async (peer: Peer, signal: AbortSignal) => {
      return await new Promise<boolean>((resolve, reject) => {
        asked.push({ peer, decide: resolve });
        signal.addEventListener("abort", () => {
          aborted += 1;
          reject(new Error("nobody waits"));
        });
        for (const wake of waiting.splice(0)) wake();
      });
    },
  };
}

const closing = async (listening: TestListener): Promise<string> => {
  const event = await listening.event("session.closed");
  return event.kind === "session.closed" ? event.why : "";
};

test("the greeting waits for the gate, and what came before it is thrown away", async () => {
  const held = heldGate();
  await using listening = await testListener({ gate: held.gate, detail: true });
  await using client = await RawClient.connect(listening.address);
  await held.reached(1);
  // Nine errors would end the session, half a line would spoil the next one.
  client.send(`EHLO early\r\n${"FOO\r\n".repeat(9)}HALF A LI`);
  // What was sent before another client came has arrived when that one has.
  await using other = await RawClient.connect(listening.address);
  await held.reached(2);
  for (let i = 0; i < 3; i += 1) await turn();
  assert.equal(held.asked[0]?.peer.address, "127.0.0.1");
  held.asked[0]?.decide(true);
  assert.match(await client.reply(), /^220 /);
  assert.match(await client.ask("EHLO x"), /^250-relay\.test\.localnet says hello\n/);
  const heard = listening.events.flatMap((event) =>
    event.kind === "traffic" && event.direction === "rx" ? [event.text] : [],
  );
  assert.deepEqual(heard, ["EHLO x"]);
  held.asked[1]?.decide(true);
  assert.match(await other.reply(), /^220 /);
});

test("a client that the gate does not let in is closed without a word", async () => {
  const held = heldGate();
  await using listening = await testListener({ gate: held.gate });
  await using client = await RawClient.connect(listening.address);
  await held.reached(1);
  held.asked[0]?.decide(false);
  assert.equal(await client.rest(), "");
  assert.equal(await closing(listening), "dnsbl");
});

test("a client that leaves while the gate decides ends the question", async () => {
  const held = heldGate();
  await using listening = await testListener({ gate: held.gate });
  await using client = await RawClient.connect(listening.address);
  await held.reached(1);
  client.half();
  assert.equal(await client.rest(), "");
  assert.equal(await closing(listening), "peer disconnected");
  assert.equal(held.aborted(), 1);
});

test("a gate that is out of order lets everybody in, and is told of", async () => {
  const gate = async () => await Promise.reject(new Error("no name server"));
  await using listening = await testListener({ gate });
  await using client = await RawClient.connect(listening.address);
  assert.match(await client.reply(), /^220 /);
  const note = await listening.event("note");
  assert.equal(note.kind === "note" ? note.text : "", "smtp server: no name server");
});

test("the time at the gate is not idle time", async () => {
  const held = heldGate();
  const clock = new ManualClock();
  await using listening = await testListener({
    gate: held.gate,
    clock,
    config: { idleTimeoutMs: 10_000 },
  });
  await using client = await RawClient.connect(listening.address);
  await held.reached(1);
  await clock.advance(30);
  held.asked[0]?.decide(true);
  assert.match(await client.reply(), /^220 /);
  await clock.advance(9);
  assert.equal(await client.ask("NOOP"), "250 noop");
  await clock.advance(11);
  assert.equal(await client.line(), "421 4.4.2 timed out");
});

test("drain() does not wait for the gate", async () => {
  const held = heldGate();
  await using listening = await testListener({ gate: held.gate });
  await using client = await RawClient.connect(listening.address);
  await held.reached(1);
  await listening.listener.drain(new AbortController().signal);
  assert.equal(await client.rest(), "");
  assert.equal(held.aborted(), 1);
});

const implicit: ServerTls = {
  mode: "implicit",
  required: false,
  certificate: [],
  verify: null,
  versions: { min: null, max: null },
};

test("with implicit TLS the handshake waits for the gate, and what came of it meanwhile is not lost", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  const held = heldGate();
  const tls = { ...implicit, certificate };
  await using listening = await testListener({ gate: held.gate, config: { tls } });
  await using client = await RawClient.connect(listening.address);
  await held.reached(1);
  const secured = client.startTls();
  // What was sent before another client came has arrived when that one has.
  await using _other = await RawClient.connect(listening.address);
  await held.reached(2);
  for (let i = 0; i < 3; i += 1) await turn();
  held.asked[0]?.decide(true);
  await secured;
  assert.match(await client.reply(), /^220 /);
});
