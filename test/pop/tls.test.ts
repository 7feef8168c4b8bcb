import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { Clock } from "../../src/core/clock.ts";
import type { ServerTls } from "../../src/core/config.ts";
import { systemClock } from "../../src/io/clock.ts";
import { present } from "../support/peer.ts";
import { answers, type TestPop, testPop, untilDot } from "../support/pop-server.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { makeTestCa } from "../support/test-ca.ts";

const skip = present("openssl");

async function withTls(
  changes: Partial<ServerTls>,
  clock: Clock,
  use: (pop: TestPop) => Promise<void>,
): Promise<void> {
  using ca = makeTestCa();
  const tls: ServerTls = {
    mode: "starttls",
    required: false,
    certificate: [ca.issue("localhost").combined],
    verify: null,
    versions: { min: null, max: null },
    ...changes,
  };
  await using pop = await testPop({ config: { tls }, clock });
  await use(pop);
}

const NEEDS_TLS = "-ERR must use STLS before authentication";

test("STLS: one +OK, and everything said before it is forgotten", { skip }, async () => {
  await withTls({}, systemClock, async (pop) => {
    const { client } = await pop.connect();
    await using _ = client;
    client.send("CAPA\r\n");
    const before = (await untilDot(client)).slice(1);
    assert.deepEqual(before, [
      "CAPA",
      "TOP",
      "UIDL",
      "STLS",
      "SASL CRAM-SHA512 CRAM-SHA256 CRAM-SHA1 CRAM-MD5",
    ]);
    assert.deepEqual(await answers(client, "USER me", "AUTH PLAIN", "STLS x", "STLS"), [
      NEEDS_TLS,
      NEEDS_TLS,
      "-ERR",
      "+OK",
    ]);
    await client.startTls();
    client.send("CAPA\r\n");
    const after = await untilDot(client);
    assert.deepEqual(after, [
      "+OK capability list follows",
      ...["USER", "CAPA", "TOP", "UIDL"],
      "SASL CRAM-SHA512 CRAM-SHA256 CRAM-SHA1 CRAM-MD5 PLAIN LOGIN",
    ]);
    assert.deepEqual(await answers(client, "STLS", "PASS secret", "USER me", "PASS secret"), [
      "-ERR",
      "-ERR",
      "+OK user: me",
      "+OK",
    ]);
  });
});

test("USER that was said before STLS does not count after it", { skip }, async () => {
  using ca = makeTestCa();
  const tls: ServerTls = {
    mode: "starttls",
    required: false,
    certificate: [ca.issue("localhost").combined],
    verify: null,
    versions: { min: null, max: null },
  };
  await using pop = await testPop({ config: { tls, authConfig: "m:plain" } });
  const { client } = await pop.connect();
  await using _ = client;
  assert.deepEqual(await answers(client, "USER me", "STLS"), ["+OK user: me", "+OK"]);
  await client.startTls();
  assert.deepEqual(await answers(client, "PASS secret"), ["-ERR"]);
});

test("commands sent in clear behind STLS are never answered, halves included", {
  skip,
}, async () => {
  for (const smuggled of ["USER me\r\nPASS secret\r\nDELE 1\r\n", "NO"]) {
    await withTls({}, systemClock, async (pop) => {
      const { client } = await pop.connect();
      await using _ = client;
      client.send(`STLS\r\n${smuggled}`);
      assert.equal(await client.line(), "+OK");
      await client.startTls();
      assert.deepEqual(await answers(client, "STAT", "OP"), ["-ERR", "-ERR"]);
      assert.deepEqual(
        pop.events.filter(({ kind }) => kind.startsWith("auth.")),
        [],
      );
    });
  }
});

test("with TLS required nobody logs in without it", { skip }, async () => {
  await withTls({ required: true }, systemClock, async (pop) => {
    const { client, greeting } = await pop.connect();
    await using _ = client;
    const challenge = /<.*>/.exec(greeting)?.[0] ?? "";
    const digest = createHash("md5").update(`${challenge}secret`).digest("hex");
    const apop = `APOP me ${digest}`;
    assert.deepEqual(await answers(client, "USER me", apop, "AUTH PLAIN", "AUTH CRAM-MD5"), [
      NEEDS_TLS,
      NEEDS_TLS,
      NEEDS_TLS,
      NEEDS_TLS,
    ]);
    client.send("CAPA\r\n");
    assert.deepEqual((await untilDot(client)).slice(1), ["CAPA", "TOP", "UIDL", "STLS"]);
    await answers(client, "STLS");
    await client.startTls();
    assert.deepEqual(await answers(client, apop), ["+OK"]);
  });
});

test("a client that closes its side in the middle of a handshake is gone", { skip }, async () => {
  // With a clock that stands still, no patience ever ends.
  const clock = { ...systemClock, monotonic: () => 0 };
  await withTls({ mode: "implicit" }, clock, async (pop) => {
    await using client = await RawClient.connect(pop.address);
    client.half();
    assert.equal(await client.rest(), "");
    const failed = await pop.told(({ kind }) => kind === "tls.failed");
    assert.equal("why" in failed ? failed.why : "", "SSL_accept(): [connection closed]");
    const closed = await pop.told(({ kind }) => kind === "session.closed");
    assert.equal("why" in closed ? closed.why : "", "peer disconnected: ssl accept");
  });
});

test("drain does not wait for a handshake", { skip }, async () => {
  for (const mode of ["starttls", "implicit"] as const) {
    await withTls({ mode }, systemClock, async (pop) => {
      await using client = await RawClient.connect(pop.address);
      await pop.told(({ kind }) => kind === "session.opened");
      if (mode === "starttls") {
        await client.line();
        assert.deepEqual(await answers(client, "STLS"), ["+OK"]);
      }
      await pop.server.drain(new AbortController().signal);
      assert.equal(await client.rest(), "");
    });
  }
});

test("without TLS there is no STLS", async () => {
  await using pop = await testPop();
  const { client } = await pop.connect();
  await using _ = client;
  assert.deepEqual(await answers(client, "STLS"), ["-ERR"]);
});

test("implicit TLS: the handshake, then the greeting", { skip }, async () => {
  await withTls({ mode: "implicit" }, systemClock, async (pop) => {
    const socket = connectTls({ port: pop.port, host: "127.0.0.1", rejectUnauthorized: false });
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.write("CAPA\r\nUSER me\r\nPASS secret\r\nSTAT\r\nQUIT\r\n");
    await new Promise((resolve) => socket.once("end", resolve));
    socket.destroy();
    assert.match(
      text,
      /^\+OK POP3 server ready <.*>\r\n\+OK cap[\s\S]*UIDL\r\nSASL[\s\S]*\.\r\n\+OK user: me\r\n\+OK\r\n\+OK 0 0\r\n\+OK signing off\r\n$/,
    );
    assert.ok(pop.events.some(({ kind }) => kind === "tls.established"));
  });
});

test("a handshake that fails is told, and ends the session", { skip }, async () => {
  await withTls({}, systemClock, async (pop) => {
    const { client } = await pop.connect();
    await using _ = client;
    await answers(client, "STLS");
    client.send("this is no handshake\r\n");
    const event = await pop.told(({ kind }) => kind === "session.closed");
    assert.equal(event.kind === "session.closed" && event.why, "peer disconnected: ssl accept");
    assert.ok(pop.events.some(({ kind }) => kind === "tls.failed"));
  });
});
