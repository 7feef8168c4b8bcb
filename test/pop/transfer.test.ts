import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { sendLines } from "../../src/pop/transfer.ts";
import { Wire } from "../../src/pop/wire.ts";

test("sendLines() makes no more lines than the client reads, and ends when the client is gone", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [Socket];
  client.pause();
  const wire = new Wire(socket);
  socket.on("error", () => undefined);
  socket.on("drain", () => wire.unblock());
  socket.on("close", () => wire.gone());
  const total = 2_000_000;
  let made = 0;
  function* lines(): Generator<string> {
    for (; made < total; made += 1) yield "x".repeat(50);
  }
  const sent = sendLines(wire, lines());
  client.resetAndDestroy();
  await sent;
  assert.ok(made < total);
  server.close();
});
