import assert from "node:assert/strict";
import { test } from "node:test";
import type { RelayEvent } from "../../src/core/events.ts";
import { Tidings } from "../../src/instance/tidings.ts";

const poll: RelayEvent = { kind: "forward.requested", reason: "poll" };
const start: RelayEvent = { kind: "forward.requested", reason: "startup" };

function tidings(logsPolls: boolean) {
  const logged: RelayEvent[] = [];
  const all = new Tidings({ tell: (event) => logged.push(event), detail: false }, logsPolls);
  return { all, logged };
}

test("Tidings logs a poll only when polls are rare, and tells subscribers of all", () => {
  for (const logsPolls of [true, false]) {
    const { all, logged } = tidings(logsPolls);
    const heard: [RelayEvent, string][] = [];
    const unsubscribe = all.subscribe((event, cause) => heard.push([event, cause]));
    all.journal().tell(poll);
    all.journal("flush").tell(start);
    assert.deepEqual(logged, logsPolls ? [poll, start] : [start]);
    assert.deepEqual(heard, [
      [poll, "other"],
      [start, "flush"],
    ]);
    unsubscribe();
    all.journal().tell(poll);
    assert.equal(heard.length, 2);
  }
});

test("Tidings logs the end of an untold poll only when there was something to do, and tells subscribers of all", () => {
  const idle = (tried: number, error = ""): RelayEvent => ({ kind: "forward.idle", tried, error });
  const { all, logged } = tidings(false);
  const heard: RelayEvent[] = [];
  all.subscribe((event) => heard.push(event));
  const journal = all.journal();
  const told = [poll, idle(0), poll, idle(1), poll, idle(0, "no room"), start, idle(0)];
  for (const event of told) journal.tell(event);
  assert.deepEqual(logged, [idle(1), idle(0, "no room"), start, idle(0)]);
  assert.deepEqual(heard, told);
});

test("Tidings logs the end of a flush during an untold poll, and of each poll that is told", () => {
  const idle: RelayEvent = { kind: "forward.idle", tried: 0, error: "" };
  const often = tidings(false);
  often.all.journal().tell(poll);
  often.all.journal("flush").tell(idle);
  often.all.journal().tell(idle);
  assert.deepEqual(often.logged, [idle]);
  const rare = tidings(true);
  for (const event of [poll, idle]) rare.all.journal().tell(event);
  assert.deepEqual(rare.logged, [poll, idle]);
});

test("Tidings counts SMTP sessions, and no others", () => {
  const { all } = tidings(true);
  const journal = all.journal();
  const peer = { address: "127.0.0.1", port: 1 };
  for (const server of ["smtp", "smtp", "admin"] as const) {
    journal.tell({ kind: "session.opened", server, peer, local: () => "" });
  }
  journal.tell({ kind: "session.closed", server: "smtp", peer, why: "" });
  journal.tell({ kind: "session.closed", server: "admin", peer, why: "" });
  assert.equal(all.summary(), "sessions 1, accepted 0, delivered 0, failed 0");
});
