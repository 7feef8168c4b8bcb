import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Receipt } from "../../src/core/transport.ts";
import { aMessage, testClient, tlsDefaults } from "../support/client-under-test.ts";
import { SmtpPeer } from "../support/smtp-peer.ts";

function assertUnconnected(receipt: Receipt, why: string | RegExp): void {
  assert.equal(receipt.kind, "lost");
  if (receipt.kind !== "lost") return;
  const { kind, connected } = receipt.trouble;
  assert.deepEqual([kind, connected, receipt.unknown], ["connection", false, false]);
  if (typeof why === "string") assert.equal(receipt.trouble.why, why);
  else assert.match(receipt.trouble.why, why);
}

/** A port of the loopback interface where nobody listens. */
async function freePort(): Promise<number> {
  await using peer = await SmtpPeer.listen(async () => undefined);
  return peer.port;
}

const accepting = async (connection: Parameters<Parameters<typeof SmtpPeer.listen>[0]>[0]) => {
  await connection.greet();
  await connection.message();
  connection.say("250 ok");
  await connection.gone();
};

test("a refused connection is named by its address", async () => {
  const port = await freePort();
  await using client = testClient();
  const receipt = await client.deliver(`127.0.0.1:${port}`, aMessage);
  assertUnconnected(receipt, `connect failure: cannot connect to 127.0.0.1:${port}`);
});

test("a refused IPv6 connection is named as E-MailRelay names it", async () => {
  const port = await freePort();
  await using client = testClient();
  const receipt = await client.deliver(`[::1]:${port}`, aMessage);
  assertUnconnected(receipt, `connect failure: cannot connect to ::1.${port}`);
});

test("an unknown host is a DNS error", async () => {
  await using client = testClient();
  const receipt = await client.deliver("no-such-host.invalid:25", aMessage);
  assertUnconnected(receipt, /^dns error: no such host: "no-such-host.invalid" \(.+\)$/);
  assert.ok(
    client.events.some(
      (event) =>
        event.kind === "smarthost.resolving" && event.address === "no-such-host.invalid:25",
    ),
  );
});

test("a name is connected at whichever of its addresses answers", async () => {
  await using peer = await SmtpPeer.listen(accepting);
  await using client = testClient();
  const receipt = await client.deliver(`localhost:${peer.port}`, aMessage);
  assert.equal(receipt.kind, "accepted");
  assert.equal(client.transport.session?.peer, `127.0.0.1:${peer.port}`);
});

test("the family of --client-interface chooses among a name's addresses", async () => {
  const port = await freePort();
  await using client = testClient({ config: { interface: "0.0.0.0" } });
  const receipt = await client.deliver(`localhost:${port}`, aMessage);
  assertUnconnected(receipt, `connect failure: cannot connect to 127.0.0.1:${port}`);
});

test("--client-interface is where connections come from", async () => {
  let from: string | undefined;
  const server = createServer((socket) => {
    from = socket.remoteAddress;
    socket.end("421 bye\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  await using client = testClient({ config: { interface: "127.0.0.9" } });
  await client.deliver(`127.0.0.1:${port}`, aMessage);
  server.close();
  assert.equal(from, "127.0.0.9");
});

test("an address that is no address is trouble, not a crash", async () => {
  await using client = testClient();
  assertUnconnected(
    await client.deliver("nonsense", aMessage),
    "connect failure: invalid address: nonsense",
  );
});

test("a smarthost on a unix socket", async () => {
  const directory = mkdtempSync(join(tmpdir(), "relayd-peer-"));
  const path = join(directory, "lmtp");
  await using peer = await SmtpPeer.listen(
    async (connection) => {
      connection.say("220 ready");
      await connection.answer("EHLO /", "250 ok");
      await connection.answer(/^MAIL/, "550 enough");
      await connection.gone();
    },
    { path },
  );
  await using client = testClient({ domain: "nodots" });
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "refused");
  assert.equal(client.transport.session?.peer, path);
  const [connected] = client.events.filter(({ kind }) => kind === "smarthost.connected");
  assert.deepEqual(connected, {
    kind: "smarthost.connected",
    peer: { address: path, port: 0 },
    local: "/",
  });
  const peers = client.events.flatMap((event) => ("peer" in event ? [event.peer.address] : []));
  assert.deepEqual([...new Set(peers)], [path]);
  const missing = await client.deliver(`${path}.not`, aMessage);
  assertUnconnected(missing, `connect failure: cannot connect to ${path}.not`);
  rmSync(directory, { recursive: true });
});

test("a domain without a dot is replaced by the local address", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    connection.say("220 ready");
    await connection.answer("EHLO 127.0.0.1", "421 enough");
  });
  await using client = testClient({ domain: "nodots" });
  await client.deliver(peer.address, aMessage);
  await peer.done();
});

test("SOCKS 4a is asked in the proper bytes, and its answer may bring the greeting along", async () => {
  const host = Buffer.from("far.example.com\0");
  const wanted = Buffer.concat([Buffer.from("040100190000000100", "hex"), host]);
  await using proxy = await SmtpPeer.listen(async (connection) => {
    assert.deepEqual(await connection.bytes(wanted.length), wanted);
    const granted = Buffer.from([0, 0x5a, 0, 0, 0, 0, 0, 0]);
    connection.raw(Buffer.concat([granted, Buffer.from("220 far\r\n")]));
    await connection.answer(/^EHLO/, "250 far");
    await connection.message();
    connection.say("250 ok");
    await connection.gone();
  });
  await using client = testClient();
  const receipt = await client.deliver(`far.example.com:25@127.0.0.1:${proxy.port}`, aMessage);
  assert.equal(receipt.kind, "accepted");
  await client.transport.quit();
  await proxy.done();
});

test("SOCKS 4a answers may come in pieces", async () => {
  await using proxy = await SmtpPeer.listen(async (connection) => {
    await connection.bytes(25);
    connection.raw(Buffer.from([0, 0x5a, 0]));
    await new Promise((resolve) => setTimeout(resolve, 20));
    connection.raw(Buffer.from([0, 0, 0, 0, 0]));
    await accepting(connection);
  });
  await using client = testClient();
  const receipt = await client.deliver(`far.example.com:25@127.0.0.1:${proxy.port}`, aMessage);
  assert.equal(receipt.kind, "accepted");
});

test("a SOCKS proxy that refuses, or hangs up, is trouble", async () => {
  await using proxy = await SmtpPeer.listen(async (connection, index) => {
    await connection.bytes(9);
    if (index === 0) connection.raw(Buffer.from([0, 0x5b, 0, 0, 0, 0, 0, 0]));
    else connection.close();
  });
  await using client = testClient();
  const address = `far.example.com:25@127.0.0.1:${proxy.port}`;
  const refused = "socks error: connection to far.example.com:25 refused by the proxy";
  assertUnconnected(await client.deliver(address, aMessage), refused);
  const gone = "socks error: proxy disconnected";
  assertUnconnected(await client.deliver(address, aMessage), gone);
});

test("a SOCKS proxy that says nothing ends at the connection time-out", async () => {
  await using proxy = await SmtpPeer.listen(async (connection) => await connection.gone());
  await using client = testClient({ config: { connectionTimeoutMs: 100 } });
  const receipt = await client.deliver(`far:25@127.0.0.1:${proxy.port}`, aMessage);
  const addr = `127.0.0.1:${proxy.port}`;
  assertUnconnected(
    receipt,
    `connect failure: cannot connect to ${addr}: timed out out after 0.1s`,
  );
});

test("STARTTLS that is answered by neither 220 nor a refusal is TLS trouble that nobody has refused", async () => {
  for (const code of [250, 354]) {
    await using peer = await SmtpPeer.listen(async (connection) => {
      await connection.greet("STARTTLS");
      await connection.answer("STARTTLS", `${code} ok`);
      await connection.gone();
    });
    await using client = testClient({ config: { tls: tlsDefaults } });
    const receipt = await client.deliver(peer.address, aMessage);
    assert.deepEqual(receipt.kind === "lost" && receipt.trouble, {
      kind: "tls",
      connected: true,
      why: "tls/ssl error: ok",
      reply: null,
    });
  }
});
