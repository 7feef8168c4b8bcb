/** A smarthost that takes several commands at a time, and messages for it. */
import assert from "node:assert/strict";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { Receipt, Transport } from "../../src/core/transport.ts";
import { clientDefaults, contentOf, testClient } from "./client-under-test.ts";
import { type PeerConnection, type PeerScript, SmtpPeer } from "./smtp-peer.ts";

export const signal: AbortSignal = new AbortController().signal;
export const config = { smtp: { ...clientDefaults.smtp, pipelining: true } };
/** For hosts that say nothing: half of it is what they get. */
export const hasty = { ...config, responseTimeoutMs: 400 };

export async function ready(transport: Transport, { address }: SmtpPeer): Promise<void> {
  assert.equal(await transport.prepare({ address, account: "" }, signal), null);
}

/** Hands one message over: from, to and content all say which it is. */
export async function give(
  transport: Transport,
  name: string,
  to = [name],
): Promise<Receipt | null> {
  const envelope = {
    ...emptyEnvelope,
    from: `${name}@from.test`,
    toRemote: to.map((one) => `${one}@to.test`),
  };
  return await transport.send(envelope, contentOf(`Subject: ${name}\r\n`), signal);
}

export function gate() {
  let open: () => void = () => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

/** Hands over "a" and "b", and takes "b" back when its commands have been said. `a`: what becomes of that. */
export async function takenBack(transport: Transport, peer: SmtpPeer, said: Promise<void>) {
  await ready(transport, peer);
  await give(transport, "one");
  const [a, b] = [give(transport, "a"), give(transport, "b")];
  await said;
  transport.withdraw();
  assert.equal(await b, null);
  return { a };
}

/** The first message shows that the smarthost takes a group of commands. */
export async function first(peer: PeerConnection): Promise<void> {
  await peer.greet("PIPELINING");
  await peer.answer("MAIL FROM:<one@from.test>", "250 from");
  await peer.answer("RCPT TO:<one@to.test>", "250 to");
  await peer.answer("DATA", "354 go");
  await peer.content();
  peer.say("250 one");
}

/** Takes two messages after the first; resolves when the content of "a", and the commands of "b" behind it, have come. */
export async function pair(peer: PeerConnection): Promise<void> {
  await first(peer);
  await peer.answer("MAIL FROM:<a@from.test>", "250 from");
  await peer.answer("RCPT TO:<a@to.test>", "250 to");
  await peer.answer("DATA", "354 go");
  await peer.content();
  await opening(peer);
}

export async function opening(peer: PeerConnection): Promise<void> {
  await peer.expect("MAIL FROM:<b@from.test>");
  await peer.expect("RCPT TO:<b@to.test>");
  await peer.expect("DATA");
}

export async function again(peer: PeerConnection): Promise<void> {
  await peer.answer("MAIL FROM:<b@from.test>", "250 from");
  await peer.answer("RCPT TO:<b@to.test>", "250 to");
  // After trouble nothing is said before the recipients are known.
  assert.equal(peer.rest, "");
  await peer.answer("DATA", "354 go");
  await rest(peer);
}

export async function rest(peer: PeerConnection): Promise<void> {
  assert.equal(await peer.content(), "Subject: b\r\n");
  peer.say("250 b");
}

/** What the script does to the first connection; the second one takes "b" from the start. */
export function secondTakesB(script: (peer: PeerConnection) => Promise<void>): PeerScript {
  return async (peer, index) => {
    if (index === 0) return await script(peer);
    await peer.greet("PIPELINING");
    await again(peer);
  };
}

/** What becomes of "a" and "b", when "b" is handed over while "a" is on its way. */
export async function sent(script: PeerScript, how: typeof config = config) {
  await using peer = await SmtpPeer.listen(script);
  await using client = testClient({ config: how });
  const { transport } = client;
  await ready(transport, peer);
  assert.equal((await give(transport, "one"))?.kind, "accepted");
  assert.ok(transport.overlaps);
  const [a, b] = await Promise.all([give(transport, "a"), give(transport, "b")]);
  const overlaps = transport.overlaps;
  await transport.quit();
  await peer.done();
  return { a, b, overlaps, connections: peer.connections, log: client.log };
}
