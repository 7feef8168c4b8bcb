import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { lengthen } from "./load.ts";

/** A connection through a way of 20 ms; the far end is what the given server does with its socket. */
async function connection(far: (socket: Socket) => void): Promise<Socket> {
  const server = createServer({ allowHalfOpen: true }, far);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const way = await lengthen(address.port, 20);
  const near = connect({ port: way.port, host: "127.0.0.1", allowHalfOpen: true });
  after(() => {
    near.destroy();
    way.close();
    server.close();
  });
  return near;
}

/** What comes until the other side ends; this side stays open. */
async function everything(socket: Socket): Promise<string> {
  let all = "";
  socket.on("data", (bytes: Buffer) => {
    all += bytes.toString("latin1");
  });
  await once(socket, "end");
  return all;
}

test("distance hands on every byte in its order, and the end of each side by itself", async () => {
  const pieces = Array.from({ length: 3000 }, (_, index) => `${index} `);
  const near = await connection((socket) => {
    void everything(socket).then((all) => socket.end(`got ${all}`));
  });
  for (const piece of pieces) near.write(piece);
  near.end();
  const answer = await everything(near);
  assert.ok(answer === `got ${pieces.join("")}`, answer.slice(0, 200));
});

test("distance answers no sooner than the way there and back takes", async () => {
  const near = await connection((socket) => socket.pipe(socket));
  near.write("the connection is made");
  await once(near, "data");
  for (let times = 0; times < 5; times++) {
    const started = performance.now();
    near.write("x");
    await once(near, "data");
    // Timers count whole milliseconds.
    assert.ok(performance.now() - started >= 18);
  }
});

test("distance ends the other side when one side breaks off", async () => {
  const near = await connection((socket) => {
    socket.on("error", () => undefined);
    socket.resetAndDestroy();
  });
  near.on("error", () => undefined);
  near.resume();
  await once(near, "end");
});
