import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { temporary } from "../support/relayd.ts";
import { memoryNeeded, warmMemory } from "./warm-memory.ts";

test("memoryNeeded() has room for both files of every message, and an end", () => {
  assert.equal(memoryNeeded({ messages: 1000, bytes: 1024 }), 1.5 * 1000 * 3 * 4096);
  assert.equal(memoryNeeded({ messages: 100, bytes: 1024 ** 2 }), 1.5 * 100 * (1024 ** 2 + 8192));
  assert.equal(memoryNeeded({ messages: 100_000, bytes: 1024 ** 2 }), 512 * 1024 ** 2);
});

test("warmMemory() leaves nothing behind", () => {
  const directory = temporary();
  warmMemory(directory, 3_000_000);
  assert.deepEqual(readdirSync(directory), []);
  assert.throws(() => warmMemory(`${directory}/none`, 1), /ENOENT/);
});
