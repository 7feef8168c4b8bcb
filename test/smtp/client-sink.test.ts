import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { env, getuid } from "node:process";
import { test } from "node:test";
import { aMessage, clientDefaults, contentOf, testClient } from "../support/client-under-test.ts";
import { SmtpPeer } from "../support/smtp-peer.ts";

const PROGRAM = "/usr/sbin/smtp-sink";
const skip = !existsSync(PROGRAM) && env.CI !== "true" && `${PROGRAM} is not installed`;

/** Starts Postfix's sink on a free port; resolves when it takes connections. */
async function startSink(...options: readonly string[]): Promise<[string, ChildProcess]> {
  let port = 0;
  {
    await using peer = await SmtpPeer.listen(async () => undefined);
    port = peer.port;
  }
  const address = `127.0.0.1:${port}`;
  // It will not run as root.
  const user = getuid?.() === 0 ? ["-u", "postfix"] : [];
  const sink = spawn(PROGRAM, [...user, ...options, address, "128"], { stdio: "ignore" });
  for (let tries = 0; tries < 100; tries += 1) {
    if (await answers(port)) return [address, sink];
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  sink.kill("SIGKILL");
  throw new Error(`${PROGRAM} does not listen on ${address}`);
}

async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

test("Postfix's sink takes 300 messages on one connection, pipelined", { skip }, async () => {
  const [address, sink] = await startSink();
  await using client = testClient({
    config: { smtp: { ...clientDefaults.smtp, pipelining: true } },
    detail: false,
  });
  const message = { ...aMessage, toRemote: ["c@d.test", "e@f.test"], from: "a@b.test" };
  for (let count = 0; count < 300; count += 1) {
    const receipt = await client.deliver(
      address,
      message,
      contentOf(".\r\n", "x\r\n".repeat(count)),
    );
    assert.equal(receipt.kind, "accepted");
  }
  const connections = client.events.filter(({ kind }) => kind === "smarthost.connected");
  assert.equal(connections.length, 1);
  await client.transport.quit();
  sink.kill("SIGKILL");
});

test("Postfix's sink that hangs up after DATA leaves the message in the queue", {
  skip,
}, async () => {
  const [address, sink] = await startSink("-q", "data");
  await using client = testClient();
  const receipt = await client.deliver(address, { from: "a@b.test", toRemote: ["c@d.test"] });
  sink.kill("SIGKILL");
  assert.deepEqual(receipt.kind === "lost" && [receipt.trouble.kind, receipt.unknown], [
    "connection",
    false,
  ]);
});

test("Postfix's sink that refuses the content for now is a refusal", { skip }, async () => {
  const [address, sink] = await startSink("-r", ".");
  await using client = testClient();
  const receipt = await client.deliver(address, { from: "a@b.test", toRemote: ["c@d.test"] });
  sink.kill("SIGKILL");
  assert.deepEqual(receipt.kind === "refused" && [receipt.step, receipt.reply.code], [
    "content",
    450,
  ]);
});
