import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathExists } from "../../src/io/path-exists.ts";
import { tempPrograms } from "../support/programs.ts";

test("pathExists() denies only what is certainly not there, and never throws", () => {
  using programs = tempPrograms();
  const file = programs.file("file", "");
  const loop = join(programs.directory, "loop");
  symlinkSync(loop, loop);
  const found = [file, loop, join(programs.directory, "none"), join(file, "below")].map(pathExists);
  assert.deepEqual(found, [true, true, false, false]);
});
