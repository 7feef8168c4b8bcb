import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { receptionOpener } from "../../src/relay/reception.ts";
import { house, MINUTE } from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";

const { signal } = new AbortController();
const CLIENT = { address: "127.0.0.1", port: 1 };

/** A client session with --immediate and two smarthosts, of which those in `away` cannot be reached. */
function immediate() {
  const { at, pass } = house({
    retrying: null,
    route: ({ clientAccountSelector: account }) => [
      { address: "first.test:587", account },
      { address: "second.test:587", account },
    ],
  });
  const away = new Set<string>();
  const transport = new ScriptedTransport(
    () => accepted,
    ({ address }) => (away.has(address) ? cannotConnect : null),
  );
  const open = receptionOpener({
    at,
    immediate: async () => transport,
    onClosed: () => undefined,
  });
  const session = open(CLIENT);
  const send = async () => {
    const { length } = transport.prepared;
    const { code } = await session.receive(
      {
        envelope: { ...emptyEnvelope, from: "a@b.test", toRemote: ["c@d.test"] },
        content: { chunks: [Buffer.from("one\r\n")], refusal: () => null },
        peer: CLIENT,
        account: "",
        tls: "",
      },
      signal,
    );
    const asked = transport.prepared.slice(length).map(({ address }) => address.split(".")[0]);
    return [code, ...asked].join(" ");
  };
  return { send, away, pass };
}

test("a client of an immediate session is not refused a message for what the one before has found", async () => {
  const { send, away } = immediate();
  away.add("first.test:587").add("second.test:587");
  assert.equal(await send(), "452 first second");
  assert.equal(await send(), "452 first second");
  away.clear();
  assert.equal(await send(), "250 first");
});

test("an immediate session leaves a smarthost alone that is away, and goes back to it some time", async () => {
  const { send, away, pass } = immediate();
  away.add("first.test:587");
  assert.equal(await send(), "250 first second");
  assert.equal(await send(), "250 second");
  away.clear();
  assert.equal(await send(), "250 second");
  pass(10 * MINUTE);
  assert.equal(await send(), "250 first");
});

test("an immediate session whose smarthosts fail one after the other asks both for the next message", async () => {
  const { send, away } = immediate();
  away.add("first.test:587");
  assert.equal(await send(), "250 first second");
  away.add("second.test:587");
  assert.equal(await send(), "452 second");
  away.delete("first.test:587");
  assert.equal(await send(), "250 first");
});
