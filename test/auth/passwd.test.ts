import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { makeMask } from "../../src/auth/hmac-mask.ts";
import { passwd } from "../../src/auth/passwd.ts";

async function run(args: readonly string[], input = "") {
  const readLine = async () => await Promise.resolve(Buffer.from(input));
  return await passwd({ program: "emailrelay-passwd", args, readLine });
}

const FOOBAR = "3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE=\n";
const DOTTED =
  "3507327710.2524437411.674156941.3275202688.3577739107.3692417735.1542828932.27631078\n";

test("passwd() prints E-MailRelay's masks, from standard input or the option", async () => {
  assert.deepEqual(await run([], "foobar"), { exitCode: 0, stdout: FOOBAR, stderr: "" });
  assert.equal((await run([], " \tfoobar\t \r")).stdout, FOOBAR);
  assert.equal((await run(["--password", "foobar"])).stdout, FOOBAR);
  assert.equal((await run(["-pfoobar", "-HMD5"])).stdout, FOOBAR);
  assert.equal((await run(["--base64"], "Zm9vYmFy")).stdout, FOOBAR);
  assert.equal((await run(["--dotted"], "foobar")).stdout, DOTTED);
  assert.equal((await run(["-d", "-b"], "Zm9vYmFy")).stdout, DOTTED);
  const long = `${"0".repeat(99)}7`;
  assert.equal((await run([], long)).stdout, "RmWp/dAyFW8xgrS13GXgeVya/BBYzA/ct3WarymIkAc=\n");
});

test("passwd() with --hash NONE prints xtext", async () => {
  assert.equal((await run(["--hash", "NONE"], "foo bar+=é")).stdout, "foo+20bar+2B+3D+C3+A9\n");
});

test("passwd() makes masks of every hash that the daemon reads", async () => {
  for (const hash of ["sha1", "sha256", "sha512"] as const) {
    const wanted = makeMask(hash, Buffer.from("secret")).toString("base64");
    assert.equal((await run(["--hash", hash.toUpperCase()], "secret")).stdout, `${wanted}\n`);
  }
});

test("passwd() refuses what it cannot do with E-MailRelay's texts and exit code 1", async () => {
  const failed = async (args: readonly string[], input: string) => {
    const { exitCode, stdout, stderr } = await run(args, input);
    assert.equal(stdout, "");
    assert.equal(exitCode, 1);
    return stderr.split("\n")[0];
  };
  assert.equal(await failed([], " \t"), "emailrelay-passwd: invalid password");
  assert.equal(await failed(["-b"], "!!"), "emailrelay-passwd: invalid password");
  assert.equal(
    await failed(["secret"], ""),
    "emailrelay-passwd: too many command-line arguments (the password is read from the standard input)",
  );
  assert.equal(
    await failed(["-H", "foo"], "x"),
    "emailrelay-passwd: exception: invalid hash function",
  );
  assert.equal(
    await failed(["-d", "-H", "sha1"], "x"),
    "emailrelay-passwd: exception: --dotted only works for md5",
  );
  assert.match((await failed(["--foo"], "x")) ?? "", /^emailrelay-passwd: unknown option/);
});

test("relayd-passwd works by the name it is called by and reads one line", () => {
  const directory = mkdtempSync(join(tmpdir(), "relayd-passwd-"));
  const link = join(directory, "emailrelay-passwd");
  symlinkSync(join(import.meta.dirname, "../../src/bin/relayd-passwd.js"), link);
  const run1 = spawnSync(process.execPath, [link], { input: "foobar\nmore", encoding: "utf8" });
  assert.deepEqual([run1.stdout, run1.stderr, run1.status], [FOOBAR, "", 0]);
  const run2 = spawnSync(process.execPath, [link], { input: "\n", encoding: "utf8" });
  assert.deepEqual(
    [run2.stdout, run2.stderr, run2.status],
    ["", "emailrelay-passwd: invalid password\n", 1],
  );
  rmSync(directory, { recursive: true });
});
