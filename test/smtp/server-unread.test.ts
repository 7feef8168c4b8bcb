import assert from "node:assert/strict";
import { Socket } from "node:net";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { ServerTls } from "../../src/core/config.ts";
import type { RelayEvent } from "../../src/core/events.ts";
import { acceptAll } from "../../src/core/verifier.ts";
import { loadServerKeys } from "../../src/io/server-tls.ts";
import { Session } from "../../src/smtp/session.ts";
import { ManualClock, nobody, plainConfig } from "../support/smtp-listener.ts";
import { makeTestCa } from "../support/test-ca.ts";

/** A connection to a client that sends what the test says, and does not take what is written once it is stuck. */
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

test("STARTTLS: a client that never reads the reply to it is not waited for without end", async () => {
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
  const session = new Session({
    house: {
      rules: {
        config: { ...plainConfig, tls },
        domain: "relay.test.localnet",
        version: "2.6b",
        accounts: nobody,
        journal,
        starttls: true,
        tlsRequired: false,
        enabled: true,
      },
      openVerifier: () => acceptAll,
      clock,
      signal: new AbortController().signal,
      gate: null,
      keys: loadServerKeys(tls),
    },
    socket,
    peer: { address: "127.0.0.1", port: 1 },
    reception: {
      receive: () => Promise.reject(new Error("Unreachable: no message comes")),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    whenGone: () => undefined,
  });
  session.start();
  socket.push("EHLO x\r\n");
  await turn();
  socket.stuck = true;
  socket.push("STARTTLS\r\n");
  await turn();
  assert.match(socket.written, /\r\n220 ready to start tls\r\n$/);
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
