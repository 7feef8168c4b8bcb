import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import type { ClientPlan, SaslClient } from "../../src/core/auth.ts";
import {
  aMessage,
  clientDefaults,
  type TestClientOptions,
  testClient,
} from "../support/client-under-test.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";

const conversation = (
  mechanism: string,
  initial: string | null,
  respond: SaslClient["respond"],
): SaslClient => ({
  mechanism,
  id: "bob",
  initial: initial === null ? null : Buffer.from(initial),
  respond,
  detail: `using mechanism [${mechanism.toLowerCase()}] and plaintext secret for [bob] from line 1`,
});

const plain = conversation("PLAIN", "\0bob\0p w", () => null);
const login = conversation("LOGIN", "bob", () => Buffer.from("p w"));
const token = conversation("XOAUTH2", "token", () => Buffer.alloc(0));
const cram = conversation("CRAM-MD5", null, (challenge) => {
  const digest = createHmac("md5", "p w").update(challenge).digest("hex");
  return challenge.length === 0 ? null : Buffer.from(`bob ${digest}`);
});

const tries =
  (...attempts: readonly SaslClient[]): (() => ClientPlan) =>
  () => ({ kind: "try", attempts });

/** Sends one message to a peer that offers AUTH and then does `auth`. */
async function session(
  options: TestClientOptions,
  auth: (peer: PeerConnection) => Promise<void>,
  mail = "MAIL FROM:<a@b> AUTH=bob",
) {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2");
    await auth(connection);
    await connection.answer(mail, "550 enough");
  });
  await using client = testClient(options);
  const receipt = await client.deliver(peer.address, aMessage);
  await client.transport.quit();
  return { receipt, log: client.log, events: client.events, done: async () => await peer.done() };
}

test("AUTH PLAIN sends its initial response on the line, and the log does not see it", async () => {
  const { receipt, log, events } = await session({ plan: tries(plain) }, async (peer) => {
    await peer.answer("AUTH PLAIN AGJvYgBwIHc=", "235 welcome");
  });
  assert.equal(receipt.kind, "refused");
  assert.ok(log.includes("tx: AUTH PLAIN [not logged]"));
  assert.doesNotMatch(log.join("\n"), /AGJvYg/);
  const told = events.find(({ kind }) => kind === "smarthost.authenticated");
  assert.deepEqual(told?.kind === "smarthost.authenticated" && [told.tls, told.detail], [
    false,
    plain.detail,
  ]);
});

test("AUTH LOGIN gives the name on the line and the password when asked", async () => {
  const { receipt, log } = await session({ plan: tries(login) }, async (peer) => {
    await peer.answer("AUTH LOGIN Ym9i", "334 UGFzc3dvcmQ6");
    await peer.answer("cCB3", "235 ok");
  });
  assert.equal(receipt.kind, "refused");
  assert.ok(log.includes("tx: [response not logged]"));
  assert.doesNotMatch(log.join("\n"), /cCB3/);
});

test("AUTH CRAM-MD5 waits for the challenge", async () => {
  const { receipt } = await session({ plan: tries(cram) }, async (peer) => {
    await peer.answer("AUTH CRAM-MD5", "334 PDM5NzguMTc5NTIyNjE4OUByZWxheS50ZXN0LmxvY2FsbmV0Pg==");
    await peer.answer("Ym9iIDEyMTE5NGE1NDRkMDllYTU1NzMzNjVlODk2NzdmOGZk", "235 ok");
  });
  assert.equal(receipt.kind, "refused");
});

test("AUTH XOAUTH2 answers an error challenge with an empty line", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH XOAUTH2");
    await connection.answer("AUTH XOAUTH2 dG9rZW4=", "334 eyJzdGF0dXMiOiI0MDEifQ==");
    await connection.answer("", "535 5.7.8 expired");
    await connection.gone();
  });
  await using client = testClient({ plan: tries(token) });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.equal(receipt.kind === "lost" && receipt.trouble.kind, "authentication");
});

test("AUTH keeps an initial response of more than 450 bytes for the first challenge", async () => {
  const long = conversation("PLAIN", "x".repeat(400), () => null);
  const { receipt } = await session({ plan: tries(long) }, async (peer) => {
    await peer.answer("AUTH PLAIN", "334 ");
    await peer.answer(Buffer.from("x".repeat(400)).toString("base64"), "235 ok");
  });
  assert.equal(receipt.kind, "refused");
});

test("AUTH writes an empty initial response as =", async () => {
  const external = conversation("EXTERNAL", "", () => null);
  await session({ plan: tries(external) }, async (peer) => {
    await peer.answer("AUTH EXTERNAL =", "235 ok");
  });
});

test("AUTH cancels a challenge that makes no sense and tries the next mechanism", async () => {
  const { receipt, log } = await session({ plan: tries(cram, plain) }, async (peer) => {
    await peer.answer("AUTH CRAM-MD5", "334 not base64");
    await peer.answer("*", "501 cancelled");
    await peer.answer("AUTH PLAIN AGJvYgBwIHc=", "235 ok");
  });
  assert.equal(receipt.kind, "refused");
  const why = `smtp error: authentication failed ${cram.detail}: [cancelled]`;
  assert.ok(log.includes(`warning: ${why}: trying [plain]`));
});

test("AUTH that is refused by every mechanism ends the session with the last reply", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH PLAIN LOGIN");
    await connection.answer(/^AUTH PLAIN /, "535 5.7.8 no");
    await connection.answer(/^AUTH LOGIN /, "535-5.7.8 never", "535 ever");
    await connection.expect("QUIT");
    await connection.gone();
    assert.equal(connection.rest, "");
  });
  await using client = testClient({ plan: tries(plain, login) });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.deepEqual(receipt.kind === "lost" && receipt.trouble, {
    kind: "authentication",
    connected: true,
    why: `smtp error: authentication failed ${login.detail}: [5.7.8 never ever]`,
    reply: { code: 535, text: "5.7.8 never\never" },
  });
  await peer.done();
});

test("after a failed AUTH nobody waits for a peer that does not answer QUIT", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH PLAIN");
    await connection.answer(/^AUTH PLAIN /, "535 no");
    await connection.expect("QUIT");
    // Neither answers nor closes.
  });
  const config = { ...clientDefaults, smtp: { ...clientDefaults.smtp, linger: false } };
  await using client = testClient({ plan: tries(plain), config });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.equal(receipt.kind === "lost" && receipt.trouble.kind, "authentication");
  await peer.done();
});

test("AUTH does not take a 2yz reply that is not 235 for success", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH PLAIN");
    await connection.answer(/^AUTH PLAIN /, "250 ok");
    await connection.gone();
  });
  await using client = testClient({ plan: tries(plain) });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.equal(
    receipt.kind === "lost" && receipt.trouble.why,
    "smtp error: unexpected response: ok",
  );
});

test("AUTH ends a conversation of endless challenges", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH LOGIN");
    for (;;) await connection.answer(/.*/, "334 UGFzc3dvcmQ6");
  });
  await using client = testClient({ plan: tries(login) });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.equal(receipt.kind === "lost" && receipt.trouble.kind, "connection");
});

test("421 to AUTH is trouble with the connection", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH PLAIN");
    await connection.answer(/^AUTH PLAIN /, "421 busy");
    await connection.gone();
  });
  await using client = testClient({ plan: tries(plain, login) });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.equal(receipt.kind === "lost" && receipt.trouble.kind, "connection");
});

/** What ends a session in which the smarthost does this to the second mechanism. */
async function secondMechanism(
  first: readonly SaslClient[],
  auth: (peer: PeerConnection) => Promise<void>,
) {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH CRAM-MD5 PLAIN LOGIN");
    await auth(connection);
    connection.close();
  });
  await using client = testClient({
    plan: tries(...first, login),
    config: { responseTimeoutMs: 100 },
  });
  const receipt = await client.deliver(peer.address, aMessage);
  return receipt.kind === "lost" ? receipt.trouble : null;
}

const REFUSED = {
  kind: "authentication",
  connected: true,
  why: `smtp error: authentication failed ${plain.detail}: [5.7.8 no]`,
  reply: { code: 535, text: "5.7.8 no" },
};

test("a refused AUTH stays refused when the smarthost hangs up on the next mechanism", async () => {
  const trouble = await secondMechanism([plain], async (peer) => {
    await peer.answer(/^AUTH PLAIN /, "535 5.7.8 no");
    await peer.expect(/^AUTH LOGIN /);
  });
  assert.deepEqual(trouble, REFUSED);
});

test("a refused AUTH stays refused when the next mechanism is answered with 421", async () => {
  const trouble = await secondMechanism([plain], async (peer) => {
    await peer.answer(/^AUTH PLAIN /, "535 5.7.8 no");
    await peer.answer(/^AUTH LOGIN /, "421 4.7.0 too many errors");
  });
  assert.deepEqual(trouble, REFUSED);
});

test("a connection that is lost after a temporary refusal of AUTH is trouble with the connection", async () => {
  const trouble = await secondMechanism([plain], async (peer) => {
    await peer.answer(/^AUTH PLAIN /, "454 4.7.0 not now");
    await peer.expect(/^AUTH LOGIN /);
  });
  assert.equal(trouble?.kind, "connection");
});

test("a connection that is lost after a mechanism that cannot be used is trouble with the connection", async () => {
  for (const reply of [
    "500 5.5.6 line too long",
    "501 5.5.2 what",
    "502 5.5.1 no AUTH",
    "503 5.5.1 not now",
    "504 5.5.4 no such mechanism",
    "530 5.7.0 STARTTLS first",
    "534 5.7.9 too weak",
    "538 5.7.11 encryption required",
  ]) {
    for (const behind of [null, "421 4.7.0 too busy"]) {
      const trouble = await secondMechanism([plain], async (peer) => {
        await peer.answer(/^AUTH PLAIN /, reply);
        if (behind === null) await peer.expect(/^AUTH LOGIN /);
        else await peer.answer(/^AUTH LOGIN /, behind);
      });
      assert.equal(trouble?.kind, "connection", `${reply} ${behind}`);
    }
  }
});

test("a connection that is lost after AUTH was cancelled is trouble with the connection", async () => {
  const trouble = await secondMechanism([cram], async (peer) => {
    await peer.answer("AUTH CRAM-MD5", "334 not base64");
    await peer.answer("*", "501 cancelled");
    await peer.expect(/^AUTH LOGIN /);
  });
  assert.equal(trouble?.kind, "connection");
});

test("a host that falls silent after a refused AUTH is trouble with the connection", async () => {
  const trouble = await secondMechanism([plain], async (peer) => {
    await peer.answer(/^AUTH PLAIN /, "535 5.7.8 no");
    await peer.expect(/^AUTH LOGIN /);
    await peer.gone();
  });
  assert.equal(trouble?.why, "smtp error: response timeout after 0.1s");
});

test("the accounts are asked with what is offered, and their error ends the session", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("SIZE");
    await connection.gone();
  });
  const asked: unknown[] = [];
  await using client = testClient({
    plan: (offered, selector) => {
      asked.push(offered, selector);
      return { kind: "error", why: "no account" };
    },
  });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.deepEqual(receipt.kind === "lost" && [receipt.trouble.kind, receipt.trouble.why], [
    "authentication",
    "no account",
  ]);
  assert.deepEqual(asked, [null, ""]);
});

test("MAIL says AUTH=<> for --anonymous=client", async () => {
  const options = { plan: tries(plain), config: { anonymous: true } };
  await session(
    options,
    async (peer) => {
      await peer.answer(/^AUTH PLAIN /, "235 ok");
    },
    "MAIL FROM:<a@b> AUTH=<>",
  );
});

test("AUTH that was cancelled has authenticated nobody, whatever the smarthost says", async () => {
  for (const reply of ["235 ok", "334 UGFzc3dvcmQ6"]) {
    await using peer = await SmtpPeer.listen(async (connection) => {
      await connection.greet("AUTH PLAIN");
      await connection.answer(/^AUTH PLAIN /, "334");
      await connection.answer("*", reply);
      await connection.gone();
      assert.doesNotMatch(connection.rest, /MAIL/);
    });
    await using client = testClient({ plan: tries(plain) });
    const receipt = await client.deliver(peer.address, aMessage);
    assert.equal(receipt.kind === "lost" && receipt.trouble.kind, "connection");
    await client.transport.quit();
    await peer.done();
  }
});
