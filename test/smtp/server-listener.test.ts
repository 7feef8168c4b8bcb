import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Submission } from "../../src/core/intake.ts";
import { systemClock } from "../../src/io/clock.ts";
import { remoteReason } from "../../src/io/local-peer.ts";
import { receivedLine } from "../../src/smtp/received.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { gather, plainConfig, testListener } from "../support/smtp-listener.ts";

const never = new AbortController().signal;

function temporaryFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "relayd-listener-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test("openListener() says which address is in use", async () => {
  await using first = await testListener();
  const port = Number(first.address.split(":")[1]);
  await assert.rejects(async () => await testListener({ config: { port } }), {
    name: "RelayError",
    code: "BIND",
    where: `127.0.0.1:${port}`,
    message: `socket bind error: address already in use: 127.0.0.1:${port}`,
  });
});

test("openListener() opens all sockets or none", async () => {
  await using first = await testListener();
  const port = Number(first.address.split(":")[1]);
  const interfaces = [
    { kind: "address", host: "127.0.0.2" },
    { kind: "address", host: "127.0.0.1" },
  ] as const;
  await assert.rejects(async () => await testListener({ config: { port, interfaces } }));
  const again = { port, interfaces: [{ kind: "address", host: "127.0.0.2" } as const] };
  await using second = await testListener({ config: again });
  assert.equal(second.address, `127.0.0.2:${port}`);
});

test("without interfaces any IPv4 and any IPv6 address is taken", async () => {
  await using listening = await testListener({ config: { interfaces: [] } });
  const addresses = listening.listener.addresses();
  assert.match(addresses[0] ?? "", /^0\.0\.0\.0:\d+$/);
  if (addresses.length > 1) assert.match(addresses[1] ?? "", /^::\.\d+$/);
});

test("a named device means its addresses; an unknown one is told of and means all", async () => {
  const [loopback] = Object.entries(networkInterfaces()).find(([, all]) =>
    all?.some(({ address }) => address === "127.0.0.1"),
  ) ?? ["lo"];
  const known = [{ kind: "device", name: loopback, family: 4 } as const];
  await using listening = await testListener({ config: { interfaces: known } });
  assert.match(listening.address, /^127\.0\.0\.1:\d+$/);
  const unknown = [{ kind: "device", name: "nosuch0", family: null } as const];
  await using other = await testListener({ config: { interfaces: unknown } });
  assert.match(other.address, /^0\.0\.0\.0:\d+$/);
  const event = await other.event("note");
  assert.ok("text" in event);
  assert.equal(event.text, 'no addresses bound to named network interface "nosuch0"');
});

test("a unix socket serves local clients, has its rights, and goes away at the end", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "smtp");
  {
    await using listening = await testListener({
      config: { interfaces: [{ kind: "unix", path }] },
    });
    assert.equal(listening.address, path);
    const mode = process.getuid?.() === 0 ? 0o777 : 0o770;
    assert.equal(statSync(path).mode & 0o777, mode);
    await using client = await RawClient.connect(path);
    client.send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\nx\r\n.\r\n");
    for (let i = 0; i < 5; i += 1) await client.reply();
    assert.equal(await client.reply(), "250 message processed");
    assert.equal(listening.messages[0]?.submission.envelope.client, "/");
    assert.match(listening.messages[0]?.content ?? "", /^Received: from x \(\[\/\]\) by /);
  }
  assert.equal(existsSync(path), false);
});

const notRoot = process.getuid?.() === 0 ? false : "only root can give up its rights";

test("a unix socket that root made goes away when rights were given up", {
  skip: notRoot,
}, async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "smtp");
  chmodSync(folder.path, 0o755);
  const listening = await testListener({ config: { interfaces: [{ kind: "unix", path }] } });
  assert.equal(existsSync(path), true);
  process.seteuid?.(1);
  try {
    await listening.listener.close();
  } finally {
    process.seteuid?.(0);
  }
  assert.equal(existsSync(path), false);
});

test("a stale unix socket is replaced, one in use and a plain file are not", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "smtp");
  const config = { interfaces: [{ kind: "unix", path } as const] };
  {
    await using _ = await testListener({ config });
    await assert.rejects(async () => await testListener({ config }), { code: "BIND", where: path });
    assert.ok(existsSync(path));
  }
  // Closing the handle behind Node's back would be needed to leave a socket file: link one instead.
  const owner = createServer().listen(path);
  await once(owner, "listening");
  const stale = join(folder.path, "stale");
  linkSync(path, stale);
  owner.close();
  await once(owner, "close");
  assert.ok(statSync(stale).isSocket());
  await using again = await testListener({
    config: { interfaces: [{ kind: "unix", path: stale }] },
  });
  await using client = await RawClient.connect(again.address);
  assert.match(await client.reply(), /^220 /);
  const file = join(folder.path, "file");
  writeFileSync(file, "precious");
  await assert.rejects(
    async () => await testListener({ config: { interfaces: [{ kind: "unix", path: file }] } }),
    { code: "BIND" },
  );
  assert.ok(existsSync(file));
});

test("an inherited listening socket is used", async () => {
  const owner = createServer().listen(0, "127.0.0.1");
  await once(owner, "listening");
  const address = owner.address();
  assert.ok(typeof address === "object" && address !== null);
  const support = join(import.meta.dirname, "../support/smtp-listener.js");
  const script = `const { testListener } = await import(${JSON.stringify(support)});
    await testListener({ config: { interfaces: [{ kind: "fd", fd: 3 }] } });
    process.stdout.write("ready");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit", Reflect.get(owner, "_handle")],
    timeout: 20_000,
  });
  assert.ok(child.stdout !== null);
  await once(child.stdout, "data");
  owner.close();
  await using client = await RawClient.connect(`127.0.0.1:${address.port}`);
  assert.match(await client.reply(), /^220 /);
  child.kill();
  await once(child, "exit");
});

test("remoteReason() lets exactly the local ranges in", () => {
  const local = [
    "127.0.0.1",
    "127.255.0.1",
    "169.254.1.1",
    "10.9.8.7",
    "172.16.0.1",
    "172.31.255.255",
  ];
  const alsoLocal = ["192.168.0.1", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fdff::1", "/"];
  for (const ip of [...local, ...alsoLocal]) assert.equal(remoteReason(ip, "smtp"), null, ip);
  const remote = [
    "128.0.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.169.0.1",
    "11.0.0.1",
    "2001:db8::1",
  ];
  const alsoRemote = ["fe80:0:0:1::1", "fe00::1", "::2", "::ffff:8.8.8.8"];
  for (const ip of [...remote, ...alsoRemote]) assert.notEqual(remoteReason(ip, "smtp"), null, ip);
  assert.equal(
    remoteReason("8.8.8.8", "smtp"),
    "configured to reject non-local smtp connection: 8.8.8.8 is not in 127.0.0.0/8, 169.254.0.0/16, 10.0.0.0/8, 172.16.0.0/12, or 192.168.0.0/16",
  );
  assert.equal(
    remoteReason("2001:db8::1", "smtp"),
    "configured to reject non-local smtp connection: 2001:db8::1 is not in ::1/128 or fe80::/64 or fc00::/7",
  );
});

test("enable(false) refuses MAIL with 421 and leaves the connection open", async () => {
  await using listening = await testListener();
  await using early = await RawClient.connect(listening.address);
  await early.reply();
  listening.listener.enable(false);
  await using client = await RawClient.connect(listening.address);
  assert.equal(await client.reply(), "421 service not available");
  assert.match(await client.ask("EHLO x"), /^250-/);
  assert.equal(await client.ask("MAIL FROM:<a@b>"), "421 service not available");
  assert.match(await early.ask("EHLO x"), /^250-/);
  assert.equal(await early.ask("MAIL FROM:<a@b>"), "421 service not available");
  listening.listener.enable(true);
  assert.equal(await client.ask("MAIL FROM:<a@b>"), "250 sender <a@b> OK");
});

test("drain() says 421 to idle clients and lets a message in hand finish", async () => {
  await using listening = await testListener();
  await using idle = await RawClient.connect(listening.address);
  await idle.reply();
  await using busy = await RawClient.connect(listening.address);
  busy.send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\nhalf");
  for (let i = 0; i < 5; i += 1) await busy.reply();
  const drained = listening.listener.drain(never);
  assert.equal(await idle.rest(), "421 service not available\r\n");
  idle.half();
  await assert.rejects(async () => await RawClient.connect(listening.address));
  busy.send(" and half\r\n.\r\n");
  assert.equal(await busy.rest(), "250 message processed\r\n421 service not available\r\n");
  busy.half();
  await drained;
  assert.equal(listening.messages.length, 1);
  assert.equal(listening.disposed(), 2);
});

test("drain() does not wait for clients that stay", async () => {
  // With a clock that stands still, no patience ever ends.
  await using listening = await testListener({ clock: { ...systemClock, monotonic: () => 0 } });
  await using idle = await RawClient.connect(listening.address);
  await idle.reply();
  await using gone = await RawClient.connect(listening.address);
  await gone.reply();
  assert.equal(await gone.ask("QUIT"), "221 OK");
  await listening.listener.drain(never);
  assert.equal(await idle.rest(), "421 service not available\r\n");
  assert.equal(listening.disposed(), 2);
});

test("drain() cuts off what is left when its time is over", async () => {
  await using listening = await testListener();
  await using busy = await RawClient.connect(listening.address);
  busy.send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\nhalf");
  for (let i = 0; i < 5; i += 1) await busy.reply();
  const time = new AbortController();
  const drained = listening.listener.drain(time.signal);
  time.abort();
  await drained;
  assert.deepEqual(listening.messages, []);
});

test("the reception is disposed after its last message, also when the client did not wait for the reply", async () => {
  const order: string[] = [];
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await using listening = await testListener({
    openReception: () => ({
      async receive(submission: Submission) {
        await gather(submission);
        order.push("received");
        await held;
        order.push("committed");
        return { code: 250, text: "message processed" };
      },
      async [Symbol.asyncDispose]() {
        order.push("disposed");
      },
    }),
  });
  const client = await RawClient.connect(listening.address);
  client.send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\nx\r\n.\r\n");
  for (let i = 0; i < 5; i += 1) await client.reply();
  client.destroy();
  await listening.event("session.closed");
  release();
  for (let i = 0; i < 20 && order.length < 3; i += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(order, ["received", "committed", "disposed"]);
});

test("QUIT is answered and the reason for the end is told", async () => {
  await using listening = await testListener();
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  client.send("QUIT\r\n");
  assert.equal(await client.rest(), "221 OK\r\n");
  const closed = await listening.event("session.closed");
  assert.ok("why" in closed && "peer" in closed);
  assert.equal(closed.why, "smtp protocol done");
  assert.equal(closed.peer?.address, "127.0.0.1");
});

test("receivedLine() makes one safe line of whatever the client calls itself", () => {
  const trace = {
    address: "127.0.0.1",
    domain: "d",
    authenticated: true,
    cipher: "ECDHE-RSA-AES256-GCM-SHA384",
    now: new Date(2026, 10, 1, 3, 4, 5).getTime(),
  };
  const line = receivedLine({ ...trace, helo: "a b\tc\r\nX: y\u0000ü" });
  assert.match(
    line,
    /^Received: from a-b-c\\x0d\\x0aX:-y\\x00\\xc3\\xbc \(\[127\.0\.0\.1\]\) by d with ESMTPSA tls ECDHE_RSA_AES256_GCM_SHA384 ; Sun, 1 Nov 2026 03:04:05 [+-]\d{4}\r\n$/,
  );
  assert.ok(receivedLine({ ...trace, helo: "x".repeat(4000) }).length < 998);
});

test("a bare newline that was fixed is told once a message", async () => {
  await using listening = await testListener({ config: { bareNewlines: "fix" } });
  await using client = await RawClient.connect(listening.address);
  client.send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\na\nb\rc\r\n.\r\n");
  for (let i = 0; i < 6; i += 1) await client.reply();
  const notes = listening.events.filter(({ kind }) => kind === "note");
  assert.equal(notes.length, 1);
  assert.match(
    JSON.stringify(notes),
    /bare CR or LF in message content from 127.0.0.1:\d+: 2 stored as CRLF/,
  );
  assert.equal(plainConfig.bareNewlines, "fix");
});

test("what comes with a large message, in the same buffers, is read all the same", async () => {
  const smtp = { ...plainConfig.smtp, chunking: true };
  await using listening = await testListener({ config: { smtp } });
  await using client = await RawClient.connect(listening.address);
  const text = (lines: number) =>
    Array.from({ length: lines }, (_, n) => `${n % 7 === 0 ? "." : "x"}${n}${"y".repeat(60)}\r\n`);
  const [dotted, first, last] = [text(4000).join(""), text(1100).join(""), text(1200).join("")];
  const from = "MAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\n";
  client.send(`EHLO x\r\n${from}DATA\r\n${dotted.replace(/^\./gm, "..")}.\r\n`);
  client.send(`${from}BDAT ${first.length}\r\n${first}BDAT ${last.length} LAST\r\n${last}QUIT\r\n`);
  assert.match(await client.rest(), /221 OK\r\n$/);
  const [one, other] = listening.messages;
  assert.equal(one?.content.replace(/^Received:.*\r\n/, ""), dotted);
  assert.equal(other?.content.replace(/^Received:.*\r\n/, ""), first + last);
});
