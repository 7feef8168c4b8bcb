import assert from "node:assert/strict";
import { Socket } from "node:net";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { PopAccounts } from "../../src/core/auth.ts";
import type { ServerTls } from "../../src/core/config.ts";
import type { RelayEvent } from "../../src/core/events.ts";
import { loadServerKeys } from "../../src/io/server-tls.ts";
import { PopSession } from "../../src/pop/session.ts";
import { ManualClock, nobody } from "../support/smtp-listener.ts";
import { makeTestCa } from "../support/test-ca.ts";

/** A connection to a client that sends what the test says, and takes nothing more once it is stuck. */
class StuckSocket extends Socket {
  stuck = false;
  written = "";

  override _read(): void {
    // What comes is pushed by the test.
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.written += chunk.toString();
    if (!this.stuck) done();
  }
}

test("STLS: a client that never reads the reply to it is not waited for without end", async () => {
  using ca = makeTestCa();
  const tls: ServerTls = {
    mode: "starttls",
    required: false,
    certificate: [ca.issue("localhost").combined],
    verify: null,
    versions: { min: null, max: null },
  };
  const clock = new ManualClock();
  const events: RelayEvent[] = [];
  const journal = { detail: false, tell: (event: RelayEvent) => void events.push(event) };
  const socket = new StuckSocket();
  const accounts: PopAccounts = {
    ...nobody,
    offersApop: () => false,
    apopChallenge: () => "",
    judgeApop: () => assert.fail("nobody may log in"),
  };
  const session = new PopSession({
    house: {
      rules: {
        ...{ accounts, journal, stls: true, tlsRequired: false },
        ...{ noDelete: false, maxAuthFailures: 5 },
      },
      ...{ spool: "/nonexistent", sync: true, byName: false, journal, clock },
      ...{ idleTimeoutMs: 60_000, implicitTls: false, keys: loadServerKeys(tls) },
      signal: new AbortController().signal,
    },
    socket,
    peer: { address: "127.0.0.1", port: 1 },
    whenGone: () => undefined,
  });
  session.start();
  socket.stuck = true;
  socket.push("STLS\r\n");
  await turn();
  assert.match(socket.written, /\+OK[^\n]*\r\n\+OK[^\n]*\r\n$/);
  await clock.advance(39);
  // Nor does it help to go on sending.
  socket.push("NOOP\r\n");
  await turn();
  session.check(clock.monotonic());
  assert.equal(socket.destroyed, false);
  await clock.advance(1);
  session.check(clock.monotonic());
  assert.equal(socket.destroyed, true);
  const whys = events.flatMap((event) => (event.kind === "tls.failed" ? [event.why] : []));
  assert.deepEqual(whys, ["SSL_accept(): [tls handshake timeout]"]);
});
