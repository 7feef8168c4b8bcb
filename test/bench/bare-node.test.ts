import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { until } from "../support/relayd.ts";
import { startBareNode } from "./mail-programs.ts";

test("bare Node passes a message on and keeps nothing of it", async () => {
  const catcher = await openCatcher();
  const directory = mkdtempSync(join(tmpdir(), "bare-"));
  const place = { directory, sink: catcher.port, connections: null, relaydOptions: [] };
  await using program = await startBareNode({ ...place, mode: "forward" });
  const socket = connect(program.port, "127.0.0.1");
  const replies = [];
  for (const command of [null, "HELO x", "MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA", "hi\r\n."]) {
    if (command !== null) socket.write(`${command}\r\n`);
    const [bytes] = (await once(socket, "data")) as [Buffer];
    replies.push(bytes.toString("latin1", 0, 3));
    const files = readdirSync(join(directory, "files")).length;
    if (command === "DATA") assert.equal(files, 0);
  }
  assert.deepEqual(replies, ["220", "250", "250", "250", "354", "250"]);
  const [caught] = await catcher.caught(1);
  assert.equal(caught?.content, "hi\r\n");
  assert.equal(caught.from, "a@example.com");
  await until(() => program.waiting() === 0);
  socket.end("QUIT\r\n");
  await once(socket, "close");
});
