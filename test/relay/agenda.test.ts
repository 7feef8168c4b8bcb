import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import { Agenda } from "../../src/relay/agenda.ts";
import { Alarm } from "../../src/relay/alarm.ts";

const MINUTE = 60_000;
const one = "emailrelay.1.1.1" as MessageId;
const other = "emailrelay.1.1.2" as MessageId;

function agendaAt(clock: { now: number }, onPlanned?: (ms: number) => void): Agenda {
  const retry = { delaysMs: [MINUTE, 10 * MINUTE], expireMs: 86_400_000 };
  const options = { retry, monotonic: () => clock.now, random: () => 0.5 };
  return new Agenda(onPlanned === undefined ? options : { ...options, onPlanned });
}

test("Agenda takes connections that fail together for one failure", () => {
  const clock = { now: 0 };
  const agenda = agendaAt(clock);
  assert.deepEqual(agenda.pause("a", "away"), { ms: MINUTE, news: true });
  clock.now = 10;
  assert.deepEqual(agenda.pause("a", "away"), { ms: MINUTE - 10, news: false });
  clock.now = MINUTE;
  assert.deepEqual(agenda.pause("a", "away"), { ms: 10 * MINUTE, news: false });
});

test("Agenda tells of everything that is planned", () => {
  const planned: number[] = [];
  const agenda = agendaAt({ now: 0 }, (ms) => planned.push(ms));
  agenda.defer(one, 5000);
  agenda.pause("a", "away");
  agenda.rest();
  agenda.left([one, other]);
  assert.deepEqual(planned, [5000, MINUTE, MINUTE, 5 * MINUTE]);
});

test("Agenda has nothing due while a run that was ended early rests", () => {
  const clock = { now: 0 };
  const agenda = agendaAt(clock);
  agenda.defer(one, 1000);
  clock.now = 2000;
  assert.equal(agenda.next(), 0);
  agenda.rest();
  assert.equal(agenda.next(), MINUTE);
  clock.now += MINUTE;
  assert.equal(agenda.next(), 0);
});

test("Agenda looks again at what is left and has no time of its own", () => {
  const agenda = agendaAt({ now: 0 });
  agenda.left([]);
  assert.equal(agenda.next(), null);
  agenda.defer(one, 10 * MINUTE);
  agenda.left([one]);
  assert.equal(agenda.next(), 10 * MINUTE);
  agenda.left([one, other]);
  assert.equal(agenda.next(), 5 * MINUTE);
});

test("Agenda forgets what is gone when its time has come, unless a run holds it", () => {
  const clock = { now: 0 };
  const agenda = agendaAt(clock);
  const known = () => [one, other].filter((id) => agenda.forget(id));
  const nobody = new Set<MessageId>();
  agenda.defer(other, 2000);
  agenda.defer(one, 1000);
  agenda.keep([], nobody);
  clock.now = 1000;
  agenda.keep([], new Set([one]));
  agenda.keep([one], nobody);
  assert.equal(agenda.next(), 0);
  agenda.keep([], nobody);
  assert.equal(agenda.next(), 1000);
  clock.now = 1999;
  agenda.keep([], nobody);
  assert.deepEqual(known(), [other]);
  agenda.defer(other, 1);
  clock.now = 2000;
  agenda.keep([], nobody);
  assert.deepEqual(known(), []);
});

test("Agenda lets a message wait as long as it was put off, and others not at all", () => {
  const clock = { now: 0 };
  const agenda = agendaAt(clock);
  agenda.defer(one, 1000);
  assert.deepEqual([agenda.isDue(one), agenda.isDue(other)], [false, true]);
  assert.deepEqual([agenda.hasWaited(one), agenda.hasWaited(other)], [false, false]);
  clock.now = 1000;
  assert.deepEqual([agenda.isDue(one), agenda.isDue(other)], [true, true]);
  assert.deepEqual([agenda.hasWaited(one), agenda.hasWaited(other)], [true, false]);
});

test("Alarm sounds once, for what is first, and not after its signal", async () => {
  const sleeps: { ms: number; wake: () => void; signal: AbortSignal }[] = [];
  let sounded = 0;
  const end = new AbortController();
  const clock = {
    now: () => 0,
    monotonic: () => 0,
    sleep: async (ms: number, signal: AbortSignal) =>
      await new Promise<void>((resolve, reject) => {
        sleeps.push({ ms, wake: resolve, signal });
        signal.addEventListener("abort", () => reject(new Error("aborted")));
      }),
  };
  const alarm = new Alarm({ clock, signal: end.signal, onTime: () => (sounded += 1) });
  alarm.advance(9000);
  alarm.advance(20_000);
  alarm.advance(5);
  assert.deepEqual(
    sleeps.map(({ ms, signal }) => [ms, signal.aborted]),
    [
      [9000, true],
      [1000, false],
    ],
  );
  sleeps[1]?.wake();
  await new Promise(setImmediate);
  assert.equal(sounded, 1);
  alarm.set(3000);
  alarm.set(null);
  assert.equal(sleeps[2]?.signal.aborted, true);
  end.abort();
  alarm.advance(1);
  await new Promise(setImmediate);
  assert.deepEqual([sleeps.length, sounded], [3, 1]);
});
