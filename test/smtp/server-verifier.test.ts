import assert from "node:assert/strict";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import { acceptAll, type SessionVerifier, type Verification } from "../../src/core/verifier.ts";
import { LazyVerifier } from "../../src/smtp/lazy-verifier.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { testListener } from "../support/smtp-listener.ts";

/** Opens verifiers that are counted, and answer as they are told. */
function counted(answer: (recipient: string, signal: AbortSignal) => Promise<Verification>) {
  const seen = { opened: 0, disposed: 0 };
  let whenDisposed: () => void = () => undefined;
  const disposed = new Promise<void>((resolve) => {
    whenDisposed = resolve;
  });
  const openVerifier = (): SessionVerifier => {
    seen.opened += 1;
    return {
      verify: async ({ recipient }, signal) => await answer(recipient, signal),
      [Symbol.asyncDispose]: async () => {
        seen.disposed += 1;
        whenDisposed();
      },
    };
  };
  return { seen, disposed, openVerifier };
}

const remote = async (address: string): Promise<Verification> => ({ kind: "remote", address });

async function greeted(address: string): Promise<RawClient> {
  const client = await RawClient.connect(address);
  await client.reply();
  await client.ask("EHLO x");
  return client;
}

test("a session opens its verifier at the first question, asks it again, and disposes of it at the end", async () => {
  const { seen, disposed, openVerifier } = counted(remote);
  await using listening = await testListener({ openVerifier });
  await using client = await greeted(listening.address);
  assert.equal(await client.ask("MAIL FROM:<a@b>"), "250 sender <a@b> OK");
  assert.equal(seen.opened, 0);
  assert.equal(await client.ask("RCPT TO:<r1@x>"), "250 recipient <r1@x> OK");
  assert.equal(await client.ask("RCPT TO:<r2@x>"), "250 recipient <r2@x> OK");
  assert.match(await client.ask("VRFY r3"), /^252 /);
  assert.deepEqual(seen, { opened: 1, disposed: 0 });
  await using other = await greeted(listening.address);
  assert.match(await other.ask("VRFY r3"), /^252 /);
  assert.deepEqual(seen, { opened: 2, disposed: 0 });
  assert.equal(await client.ask("QUIT"), "221 OK");
  await disposed;
  assert.deepEqual(seen, { opened: 2, disposed: 1 });
});

test("a client that leaves interrupts the verifier", async () => {
  let asked: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const { disposed, openVerifier } = counted(async (_, signal) => {
    asked();
    return await new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("interrupted")));
    });
  });
  await using listening = await testListener({ openVerifier });
  const client = await greeted(listening.address);
  client.send("VRFY r\r\n");
  await begun;
  client.destroy();
  await disposed;
});

test("a verifier that cannot be opened is our trouble: 450", async () => {
  const openVerifier = () => {
    throw new Error("no such program");
  };
  await using listening = await testListener({ openVerifier });
  await using client = await greeted(listening.address);
  assert.equal(await client.ask("VRFY r"), "450 cannot verify");
});

test("a verifier that aborts ends the session at once, after what was answered before", async () => {
  const { disposed, openVerifier } = counted(async (recipient) =>
    recipient === "abort@x" ? { kind: "abort" } : await remote(recipient),
  );
  await using listening = await testListener({ openVerifier });
  await using client = await greeted(listening.address);
  client.send("MAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nRCPT TO:<abort@x>\r\nDATA\r\nNOOP\r\n");
  assert.equal(await client.rest(), "250 sender <a@b> OK\r\n250 recipient <r@x> OK\r\n");
  await disposed;
  const closed = await listening.event("session.closed");
  assert.ok("why" in closed);
  assert.equal(closed.why, "smtp protocol done: address verifier abort");
});

test("where everybody is accepted nobody is waited for", () => {
  const verifier = new LazyVerifier(() => acceptAll, silentJournal);
  const about = { sender: "a@b", client: "/", domain: "x", mechanism: "none", account: "" };
  const answer = verifier.ask({ recipient: "r@x", ...about });
  assert.deepEqual(answer, { kind: "remote", address: "r@x" });
});
