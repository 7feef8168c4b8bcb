import assert from "node:assert/strict";
import { test } from "node:test";
import { ScriptedTransport } from "../support/scripted-transport.ts";
import { run, stations } from "../support/stations.ts";

/** How many connections a run over so many messages opens. */
async function connectionsFor(messages: number, parallel: number) {
  const { at, store } = stations({ parallel });
  for (let n = 0; n < messages; n++) store.put();
  const opened: ScriptedTransport[] = [];
  const open = async () => {
    const transport = new ScriptedTransport();
    const prepare = transport.prepare.bind(transport);
    // A little time passes, as with a real smarthost.
    transport.prepare = async (to) => {
      await new Promise((resolve) => setImmediate(resolve));
      return await prepare(to);
    };
    opened.push(transport);
    return transport;
  };
  await run(at, open);
  assert.equal(store.kept.size, 0);
  assert.ok(opened.every(({ quits }) => quits === 1));
  return opened.length;
}

test("a few messages go over one connection", async () => {
  assert.equal(await connectionsFor(30, 4), 1);
});

test("many messages go over as many connections as are allowed", async () => {
  assert.equal(await connectionsFor(1000, 4), 4);
  assert.equal(await connectionsFor(1000, 1), 1);
});

test("a message that takes long gets another connection beside it", async () => {
  const { at, store } = stations({ parallel: 2 });
  store.put({ toRemote: ["slow@x.test"] });
  store.put();
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const transports: ScriptedTransport[] = [];
  const open = async () => {
    const transport = new ScriptedTransport();
    const send = transport.send.bind(transport);
    transport.send = async (envelope) => {
      if (envelope.toRemote[0] === "slow@x.test") await gate;
      else letGo();
      return await send(envelope);
    };
    transports.push(transport);
    return transport;
  };
  await run(at, open);
  assert.equal(store.kept.size, 0);
  assert.equal(transports.length, 2);
});
