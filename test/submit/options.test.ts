import assert from "node:assert/strict";
import { test } from "node:test";
import { readCommandLine, usage } from "../../src/submit/options.ts";
import { leadingContent } from "../../src/submit/request.ts";

function read(...args: string[]): Record<string, readonly string[]> {
  const line = readCommandLine(args);
  assert.deepEqual(line.errors, []);
  return { ...Object.fromEntries(line.options), "": line.recipients };
}

function errors(...args: string[]): readonly string[] {
  return readCommandLine(args).errors;
}

test("readCommandLine() knows every letter", () => {
  const valued = {
    s: "spool-dir",
    f: "from",
    x: "input-file",
    C: "content",
    i: "from-auth-in",
    o: "from-auth-out",
    a: "auth",
  };
  for (const [letter, name] of Object.entries(valued)) {
    assert.deepEqual(read(`-${letter}`, "v"), { [name]: ["v"], "": [] });
    assert.deepEqual(read(`--${name}=v`), { [name]: ["v"], "": [] });
    assert.deepEqual(read(`--${name}`, "v", "r"), { [name]: ["v"], "": ["r"] });
  }
  const flags = {
    ...{ N: "no-stdin", B: "body", t: "content-to", F: "content-from", d: "content-date" },
    ...{ I: "content-message-id", b: "bcc-split", c: "copy", v: "verbose", n: "filename" },
    ...{ h: "help", V: "version" },
  };
  for (const [letter, name] of Object.entries(flags)) {
    assert.deepEqual(read(`-${letter}`, "r"), { [name]: [""], "": ["r"] });
    assert.deepEqual(read(`--${name}`, "r"), { [name]: [""], "": ["r"] });
  }
});

test("readCommandLine() combines letters without values", () => {
  assert.deepEqual(Object.keys(read("-tFdIbv")).sort(), [
    ...[
      "",
      "bcc-split",
      "content-date",
      "content-from",
      "content-message-id",
      "content-to",
      "verbose",
    ],
  ]);
});

test("readCommandLine() ends the options at the first recipient, or at two dashes", () => {
  assert.deepEqual(read("-v", "a@b", "-d"), { verbose: [""], "": ["a@b", "-d"] });
  assert.deepEqual(read("-v", "--", "-d@x"), { verbose: [""], "": ["-d@x"] });
});

test("readCommandLine() takes yes and no for an option without value", () => {
  assert.deepEqual(read("--body=YES", "--copy=off"), { body: [""], "": [] });
  assert.deepEqual(errors("--body", "--body=no"), ['conflicting values: "--body"']);
  assert.deepEqual(errors("--body=x"), ['cannot give a value with "--body" (x)']);
});

test("readCommandLine() takes a value with a dash after = or a letter only", () => {
  assert.deepEqual(read("--from=-x", "-i", "-y"), { from: ["-x"], "from-auth-in": ["-y"], "": [] });
  assert.deepEqual(errors("--from", "-x"), [
    '"--from -x" is probably a mistake, use "--from=... -x" or "--from=-x"',
  ]);
});

test("readCommandLine() collects --to and --content, and takes the rest once", () => {
  assert.deepEqual(read("--to=a", "--to", "b", "-C", "x", "--content="), {
    to: ["a", "b"],
    content: ["x", ""],
    "": [],
  });
  assert.deepEqual(read("-f", "a", "-f", "a"), { from: ["a"], "": [] });
  assert.deepEqual(errors("-f", "a", "-f", "b"), ['duplicate use of "--from"']);
});

test("readCommandLine() names every mistake", () => {
  assert.deepEqual(errors("--zoo=1", "-qf", "--from"), [
    'invalid option: "--zoo"',
    'invalid option: "-q"',
    'no value supplied for "--from"',
    "no value supplied for -f",
  ]);
  assert.deepEqual(errors("-f"), ["no value supplied for -f"]);
  assert.deepEqual(errors("-"), ['invalid option: "-"']);
  assert.deepEqual(errors("--__proto__", "--constructor"), [
    'invalid option: "--__proto__"',
    'invalid option: "--constructor"',
  ]);
});

test("usage() lists every option", () => {
  const text = usage("prog");
  for (const name of [
    "-s, --spool-dir <dir>",
    "-I, --content-message-id[=<domain>]",
    "--to <addresses>",
    "-V, --version",
  ]) {
    assert.ok(text.includes(name), name);
  }
});

test("leadingContent() decodes lines and ends the header for --body", () => {
  const leading = (...args: string[]) => leadingContent(readCommandLine(args)).toString("latin1");
  assert.equal(leading(), "");
  assert.equal(leading("-B"), "\r\n");
  assert.equal(leading("-C", "QTog5A==", "-C", "=", "-C", "Ym9keQ"), "A: \xe4\r\n\r\nbody\r\n");
  assert.equal(leading("-B", "-C", "QTogYg=="), "A: b\r\n\r\n");
  assert.equal(leading("-B", "-C", "QTogYg==", "-C", ""), "A: b\r\n\r\n");
  assert.throws(() => leading("-C", "not base64"), {
    message: "invalid base64 content: [not base64]",
  });
});
