import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { decodeEnvelope } from "../../src/spool/envelope-format.ts";
import { bin, type Ran, runProgram, temporary, temporarySpool, until } from "../support/relayd.ts";

const submit = async (
  spool: string,
  args: readonly string[],
  input: string | Buffer = "",
): Promise<Ran> => await runProgram("relayd-submit", ["--spool-dir", spool, ...args], { input });

const endingWith = (directory: string, ending: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith(ending))
    .sort();

/** The only message in the spool. */
function message(spool: string): { content: string; envelope: ReturnType<typeof decodeEnvelope> } {
  const [name = "", ...more] = endingWith(spool, ".envelope");
  assert.equal(more.length, 0);
  const content = readFileSync(join(spool, name.replace(/envelope$/, "content")), "latin1");
  return { content, envelope: decodeEnvelope(readFileSync(join(spool, name)), name) };
}

/** Skips the test when the program is not installed; with CI=true that is a failure. */
function isMissing(program: string, context: TestContext): boolean {
  if (spawnSync(program, ["--version"]).error === undefined) return false;
  assert.notEqual(process.env.CI, "true", `${program} is missing`);
  context.skip(`${program} is missing`);
  return true;
}

test("relayd-submit writes content and envelope, mode 0660, under one id", async () => {
  const spool = temporarySpool();
  const ran = await submit(spool, ["-f", "a@b", "c@d"], "Subject: x\n\nhello\n");
  assert.deepEqual(ran, { code: 0, stdout: "", stderr: "" });
  const names = readdirSync(spool).sort();
  assert.equal(names.length, 2);
  assert.match(names.join(" "), /^(emailrelay\.\d+\.\d+\.1)\.content \1\.envelope$/);
  for (const name of names) assert.equal(statSync(join(spool, name)).mode & 0o777, 0o660);
  const { content, envelope } = message(spool);
  assert.equal(content, "Subject: x\r\n\r\nhello\r\n");
  assert.deepEqual(envelope, { ...emptyEnvelope, from: "a@b", toRemote: ["c@d"] });
});

test("relayd-submit keeps every byte of a large binary body", async () => {
  const spool = temporarySpool();
  const body = Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => (at * 7919) & 0xff));
  const ran = await submit(
    spool,
    ["c@d"],
    Buffer.concat([Buffer.from("\n"), body, Buffer.from("\n")]),
  );
  assert.equal(ran.code, 0, ran.stderr);
  const expected = body.toString("latin1").replace(/\r?\n/g, "\r\n");
  assert.ok(message(spool).content === `\r\n${expected}\r\n`);
});

test("relayd-submit does not end at a dot when nobody types", async () => {
  const spool = temporarySpool();
  await submit(spool, ["c@d"], "A: b\n\none\n.\ntwo\n");
  assert.equal(message(spool).content, "A: b\r\n\r\none\r\n.\r\ntwo\r\n");
});

test("relayd-submit ends at a dot on a terminal", (context) => {
  if (isMissing("script", context)) return;
  const spool = temporarySpool();
  const command = `'${process.execPath}' '${bin("relayd-submit")}' -s '${spool}' c@d`;
  const ran = spawnSync("script", ["-qec", command, "/dev/null"], {
    input: "A: b\n\none\n.\ntwo\n",
    timeout: 30_000,
  });
  assert.equal(ran.status, 0, ran.stdout.toString());
  assert.equal(message(spool).content, "A: b\r\n\r\none\r\n");
});

test("relayd-submit reads --input-file instead of standard input", async () => {
  const spool = temporarySpool();
  const file = join(temporary(), "message");
  writeFileSync(file, "To: a@b\n\nfrom file\n");
  assert.equal((await submit(spool, ["-x", file], "To: c@d\n\nfrom stdin\n")).code, 0);
  assert.equal(message(spool).content, "To: a@b\r\n\r\nfrom file\r\n");
});

test("relayd-submit says which input file it cannot read", async () => {
  const spool = temporarySpool();
  const ran = await submit(spool, ["-x", "/nonexistent/file"]);
  assert.equal(ran.code, 1);
  assert.equal(
    ran.stderr,
    "relayd-submit: cannot open input file [/nonexistent/file]: no such file or directory\n",
  );
  assert.match(
    (await submit(spool, ["-x", spool])).stderr,
    /cannot open input file \[.*\]: is a directory\n$/,
  );
  assert.deepEqual(readdirSync(spool), []);
});

test("relayd-submit makes a message of --content alone with --no-stdin", async () => {
  const spool = temporarySpool();
  const ran = await submit(
    spool,
    ["-N", "-C", "U3ViamVjdDogeA==", "-C", "=", "-C", "Ym9keQ==", "a@b"],
    "not read\n",
  );
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(message(spool).content, "Subject: x\r\n\r\nbody\r\n");
});

test("relayd-submit takes the input as body with --body", async () => {
  const spool = temporarySpool();
  await submit(spool, ["-BtFd", "-f", "a@b", "c@d"], "Not: a header\n\nbody\n");
  assert.match(
    message(spool).content,
    /^Date: .*\r\nFrom: a@b\r\nTo: c@d\r\n\r\nNot: a header\r\n\r\nbody\r\n$/,
  );
});

test("relayd-submit prints the path with --verbose and the name with --filename", async () => {
  const spool = temporarySpool();
  const verbose = await submit(spool, ["-v", "a@b"]);
  assert.equal(dirname(verbose.stdout), spool);
  assert.ok(statSync(verbose.stdout.trimEnd()).isFile());
  const filename = await submit(spool, ["--filename", "a@b"]);
  assert.equal(basename(filename.stdout), filename.stdout);
  assert.ok(statSync(join(spool, filename.stdout.trimEnd())).isFile());
});

test("relayd-submit --copy moves the envelope into every sub-directory", async () => {
  const spool = temporarySpool();
  for (const name of ["ann", "bob", ".relayd"]) mkdirSync(join(spool, name));
  const ran = await submit(spool, ["-c", "-n", "a@b"], "A: b\n\nbody\n");
  assert.equal(ran.code, 0, ran.stderr);
  const content = ran.stdout.trimEnd();
  assert.equal(readFileSync(join(spool, content), "latin1"), "A: b\r\n\r\nbody\r\n");
  assert.deepEqual(endingWith(spool, ".envelope").concat(endingWith(spool, ".new")), []);
  for (const name of ["ann", "bob"]) {
    const envelope = content.replace(/content$/, "envelope");
    assert.deepEqual(readdirSync(join(spool, name)), [envelope]);
    assert.equal(statSync(join(spool, name, envelope)).mode & 0o777, 0o660);
    assert.deepEqual(decodeEnvelope(readFileSync(join(spool, name, envelope)), name).toRemote, [
      "a@b",
    ]);
  }
  assert.deepEqual(readdirSync(join(spool, ".relayd")), []);
});

test("relayd-submit --copy syncs content before any envelope is seen, and every directory", (context) => {
  if (isMissing("strace", context)) return;
  const spool = temporarySpool();
  mkdirSync(join(spool, "ann"));
  const trace = join(temporary(), "trace");
  const ran = spawnSync(
    "strace",
    [
      ...["-f", "-y", "-e", "trace=fsync,rename,unlink", "-o", trace],
      ...[process.execPath, bin("relayd-submit"), "-s", spool, "-c", "a@b"],
    ],
    { input: "A: b\n\n", timeout: 60_000 },
  );
  assert.equal(ran.status, 0, ran.stderr.toString());
  const steps = readFileSync(trace, "utf8")
    .split("\n")
    .map((line) => /(fsync|rename|unlink)\((?:\d+<|")([^>"]+)/.exec(line))
    .filter((step) => step?.[2]?.startsWith(spool) === true)
    .map(
      (step) => `${step?.[1]} ${step?.[2]?.slice(spool.length).replace(/emailrelay[\d.]+/, "")}`,
    );
  assert.deepEqual(steps, [
    "fsync /content",
    "fsync ",
    "fsync /ann/envelope.new",
    "rename /ann/envelope.new",
    "fsync /ann",
    "unlink /envelope.new",
    "fsync ",
  ]);
});

test("relayd-submit --copy without sub-directories leaves the message in the queue", async () => {
  const spool = temporarySpool();
  assert.equal((await submit(spool, ["-c", "a@b"])).code, 0);
  assert.deepEqual(message(spool).envelope.toRemote, ["a@b"]);
});

test("relayd-submit --copy keeps the message when a sub-directory cannot take it", async (context) => {
  if (process.getuid?.() === 0 && spawnSync("chattr", ["-V"]).error !== undefined) {
    context.skip("root writes anywhere, and chattr is missing");
    return;
  }
  const spool = temporarySpool();
  const closed = join(spool, "closed");
  mkdirSync(join(spool, "open"));
  mkdirSync(closed);
  chmodSync(closed, 0o555);
  const immutable = process.getuid?.() === 0;
  if (immutable && spawnSync("chattr", ["+i", closed]).status !== 0) {
    context.skip("chattr does not work here");
    return;
  }
  try {
    const ran = await submit(spool, ["-c", "a@b"]);
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, /^relayd-submit: cannot copy envelope: ".*\/closed": [a-z ]+\n$/);
  } finally {
    if (immutable) spawnSync("chattr", ["-i", closed]);
  }
  assert.equal(endingWith(spool, ".envelope").length, 1);
  assert.equal(endingWith(join(spool, "open"), ".envelope").length, 1);
});

test("relayd-submit names an invalid spool directory and reads nothing", async () => {
  const missing = join(temporary(), "missing");
  const ran = await submit(missing, ["a@b"], "x\n");
  assert.deepEqual(ran, {
    code: 1,
    stdout: "",
    stderr: `relayd-submit: invalid spool directory: ${missing}: no such file or directory\n`,
  });
  for (const path of ["/dev/null", "/dev/null/x"]) {
    assert.equal(
      (await submit(path, [])).stderr,
      `relayd-submit: invalid spool directory: ${path}: not a directory\n`,
    );
  }
});

test("relayd-submit takes @app as its own directory", async () => {
  const ran = await submit("@app/no-spool-here", []);
  assert.ok(ran.stderr.includes(`: ${dirname(bin("relayd-submit"))}/no-spool-here: `), ran.stderr);
});

test("relayd-submit exits 1 for option errors", async () => {
  const ran = await runProgram("relayd-submit", ["--x"]);
  assert.equal(ran.code, 1);
  assert.match(
    ran.stderr,
    /^relayd-submit: error: invalid option: "--x"\n {15}try "relayd-submit --help"/,
  );
});

test("relayd-submit is called what its link is called", () => {
  const program = join(temporary(), "emailrelay-submit");
  symlinkSync(bin("relayd-submit"), program);
  const ran = spawnSync(process.execPath, [program, "--x"], { encoding: "utf8" });
  assert.match(ran.stderr, /^emailrelay-submit: error: invalid option: "--x"\n/);
});

test("relayd-submit --version prints the version of the package", async () => {
  const file = readFileSync(join(import.meta.dirname, "../../../package.json"), "utf8");
  const { version } = JSON.parse(file) as { version: string };
  assert.deepEqual(await runProgram("relayd-submit", ["-V"]), {
    code: 0,
    stdout: `${version}\n`,
    stderr: "",
  });
});

test("relayd-submit --help goes to standard output", async () => {
  const ran = await runProgram("relayd-submit", ["-h"]);
  assert.equal(ran.code, 0);
  assert.match(ran.stdout, /^usage: relayd-submit .*\n/);
  assert.equal(ran.stderr, "");
});

test("relayd-submit puts nothing into the spool when the header is refused", async () => {
  const spool = temporarySpool();
  const ran = await submit(spool, [], 'To: "never closed\n\nbody\n');
  assert.equal(ran.code, 1);
  assert.match(
    ran.stderr,
    /^relayd-submit: rfc-5322\/6532 parsing error: invalid address-list: line 1/,
  );
  assert.deepEqual(readdirSync(spool), []);
});

test("relayd-submit takes half a message back when it is interrupted", async () => {
  const spool = temporarySpool();
  const child = spawn(process.execPath, [bin("relayd-submit"), "-s", spool, "a@b"]);
  const watchdog = setTimeout(() => child.kill("SIGKILL"), 30_000);
  child.stdin.write(`A: b\n\n${"x".repeat(100)}\n`);
  await until(() => readdirSync(spool).length === 1);
  child.kill("SIGINT");
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  clearTimeout(watchdog);
  assert.deepEqual([code, signal], [null, "SIGINT"]);
  assert.deepEqual(readdirSync(spool), []);
});
