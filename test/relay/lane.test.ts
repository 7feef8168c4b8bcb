import assert from "node:assert/strict";
import { test } from "node:test";
import type { Envelope } from "../../src/core/envelope.ts";
import type { Receipt, Smarthost } from "../../src/core/transport.ts";
import { accepted, ScriptedTransport } from "../support/scripted-transport.ts";
import { always, run, stations } from "../support/stations.ts";

/** How many connections a run over so many messages opens; `tookMs`: what the first, second ... takes by the clock. */
async function connectionsFor(messages: number, parallel: number, tookMs = (_: number) => 0) {
  const { at, store } = stations({ parallel });
  let now = 0;
  let sent = 0;
  const clock = { ...at.clock, monotonic: () => now };
  for (let n = 0; n < messages; n++) store.put();
  const opened: ScriptedTransport[] = [];
  const open = async () => {
    const transport = new ScriptedTransport();
    const prepare = transport.prepare.bind(transport);
    // A little time passes, as with a real smarthost.
    transport.prepare = async (to) => {
      await new Promise((resolve) => setImmediate(resolve));
      sent += 1;
      now += tookMs(sent);
      return await prepare(to);
    };
    opened.push(transport);
    return transport;
  };
  await run({ ...at, clock }, open);
  assert.equal(store.kept.size, 0);
  assert.ok(opened.every(({ quits }) => quits === 1));
  return opened.length;
}

test("a few messages go over one connection", async () => {
  assert.equal(await connectionsFor(30, 4), 1);
});

test("messages that take long go over more connections as soon as some wait", async () => {
  assert.equal(await connectionsFor(30, 4, () => 20), 4);
  assert.equal(await connectionsFor(16, 4, () => 20), 3);
  assert.equal(await connectionsFor(4, 4, () => 20), 1);
  assert.equal(await connectionsFor(30, 4, () => 3), 1);
});

test("one slow message, or the way to the host, is no reason for more connections", async () => {
  assert.equal(await connectionsFor(40, 4, (n) => (n === 1 || n === 9 ? 200 : 1)), 1);
  assert.equal(await connectionsFor(40, 4, (n) => (n < 4 ? 200 : 1)), 4);
});

test("many messages go over as many connections as are allowed", async () => {
  assert.equal(await connectionsFor(1000, 4), 4);
  assert.equal(await connectionsFor(1000, 1), 1);
});

test("a message that takes long gets another connection beside it", async () => {
  const { at, store } = stations({ parallel: 2 });
  store.put({ toRemote: ["slow@x.test"] });
  store.put();
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const transports: ScriptedTransport[] = [];
  const open = async () => {
    const transport = new ScriptedTransport();
    const send = transport.send.bind(transport);
    transport.send = async (envelope) => {
      if (envelope.toRemote[0] === "slow@x.test") await gate;
      else letGo();
      return await send(envelope);
    };
    transports.push(transport);
    return transport;
  };
  await run(at, open);
  assert.equal(store.kept.size, 0);
  assert.equal(transports.length, 2);
});

/** Takes more messages while the first waits; `answers` are let go one by one. */
class OverlappingTransport extends ScriptedTransport {
  override readonly overlaps = true;
  readonly waiting: ((receipt: Receipt | null) => void)[] = [];
  most = 0;
  /** Messages that had to go another way. */
  withdrawn = 0;

  override async send(envelope: Envelope): Promise<Receipt | null> {
    await super.send(envelope);
    const receipt = new Promise<Receipt | null>((resolve) => this.waiting.push(resolve));
    this.most = Math.max(this.most, this.waiting.length);
    return await receipt;
  }

  answer(): boolean {
    const first = this.waiting.shift();
    first?.(accepted);
    return first !== undefined;
  }

  override withdraw(): void {
    for (const resolve of this.waiting.splice(1)) {
      this.withdrawn += 1;
      resolve(null);
    }
  }
}

test("where a smarthost takes it, three messages are under way on a connection, and no more", async () => {
  const { at, store } = stations({ parallel: 1 });
  for (let n = 0; n < 10; n++) store.put();
  const transport = new OverlappingTransport();
  let ended = false;
  const running = run(at, async () => transport).finally(() => {
    ended = true;
  });
  for (let turn = 0; !ended; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    // There is time enough for more.
    if (turn % 20 === 0) transport.answer();
  }
  await running;
  assert.equal(store.kept.size, 0);
  assert.equal(transport.most, 3);
});

test("with a client filter, or several smarthosts, one message follows the other", async () => {
  const openClientFilter = always({ kind: "pass", next: "continue" });
  const route = (): [Smarthost, Smarthost] => [
    { address: "one.test:25", account: "" },
    { address: "two.test:25", account: "" },
  ];
  for (const changes of [{ openClientFilter }, { route }]) {
    const { at, store } = stations({ parallel: 1, ...changes });
    for (let n = 0; n < 5; n++) store.put();
    const transport = new OverlappingTransport();
    let ended = false;
    const running = run(at, async () => transport).finally(() => {
      ended = true;
    });
    while (!ended) {
      await new Promise((resolve) => setImmediate(resolve));
      transport.answer();
    }
    await running;
    assert.equal(store.kept.size, 0);
    assert.equal(transport.most, 1);
  }
});

test("messages that wait behind a slow one go over another connection", async () => {
  const { at, store } = stations({ parallel: 2 });
  for (const name of ["slow", "one", "two"]) store.put({ toRemote: [name] });
  const transports: OverlappingTransport[] = [];
  const running = run(at, async () => {
    const transport = new OverlappingTransport();
    transports.push(transport);
    return transport;
  });
  // The first one hangs; what waits behind it is answered elsewhere.
  while (store.kept.size > 1) {
    await new Promise((resolve) => setImmediate(resolve));
    transports[1]?.answer();
  }
  assert.equal(transports[0]?.waiting.length, 1);
  assert.deepEqual(transports[1]?.sent.flatMap(({ toRemote }) => toRemote).sort(), ["one", "two"]);
  transports[0]?.answer();
  await running;
  assert.equal(store.kept.size, 0);
});

/** A clock that goes on when it is told to. */
class SteppedClock {
  #now = 0;
  #sleepers: { readonly until: number; readonly wake: () => void }[] = [];
  readonly monotonic = () => this.#now;
  readonly sleep = async (ms: number) =>
    await new Promise<void>((wake) => this.#sleepers.push({ until: this.#now + ms, wake }));

  step(ms: number): void {
    this.#now += ms;
    const due = this.#sleepers.filter(({ until }) => until <= this.#now);
    this.#sleepers = this.#sleepers.filter(({ until }) => until > this.#now);
    for (const { wake } of due) wake();
  }
}

/** Resolves to how many messages were taken back; `tookMs`: what the first, second ... takes once it is its connection's first. */
async function withdrawnOf(messages: number, parallel: number, tookMs: (n: number) => number) {
  const { at, store } = stations({ parallel });
  for (let n = 0; n < messages; n++) store.put();
  const clock = new SteppedClock();
  const opened: { transport: OverlappingTransport; head: unknown; until: number }[] = [];
  let begun = 0;
  let ended = false;
  const running = run({ ...at, clock: { ...at.clock, ...clock } }, async () => {
    const transport = new OverlappingTransport();
    opened.push({ transport, head: undefined, until: 0 });
    return transport;
  }).finally(() => {
    ended = true;
  });
  while (!ended) {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    clock.step(50);
    for (const one of opened) {
      const head = one.transport.waiting[0];
      if (head === undefined) continue;
      if (one.head !== head) {
        begun += 1;
        Object.assign(one, { head, until: clock.monotonic() + tookMs(begun) });
      } else if (clock.monotonic() >= one.until) {
        one.transport.answer();
      }
    }
  }
  await running;
  assert.equal(store.kept.size, 0);
  const withdrawn = opened.reduce((sum, { transport }) => sum + transport.withdrawn, 0);
  return { withdrawn, connections: opened.length };
}

test("where each message takes long, those behind it are not taken back", async () => {
  assert.deepEqual(await withdrawnOf(40, 1, () => 400), { withdrawn: 0, connections: 1 });
  const { withdrawn, connections } = await withdrawnOf(60, 4, () => 400);
  assert.equal(connections, 4);
  assert.ok(withdrawn <= 4, `${withdrawn} were taken back`);
});

test("those behind one that takes much longer than the others are taken back", async () => {
  const { withdrawn } = await withdrawnOf(60, 4, (n) => (n === 30 ? 60_000 : 400));
  const { withdrawn: before } = await withdrawnOf(60, 4, () => 400);
  assert.ok(withdrawn > before, `${withdrawn} were taken back, ${before} where none took longer`);
});
