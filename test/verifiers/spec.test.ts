import assert from "node:assert/strict";
import { test } from "node:test";
import { openVerifier } from "../../src/verifiers/open.ts";
import { parseVerifierSpec, verifierFaults } from "../../src/verifiers/spec.ts";
import { tempPrograms } from "../support/programs.ts";
import { aQuery, verifierTerms } from "../support/verifier-query.ts";

const NEVER = new AbortController().signal;

test("parseVerifierSpec() takes programs, with and without file:, and prefixes", () => {
  assert.deepEqual(parseVerifierSpec("/a/b"), { kind: "program", path: "/a/b" });
  assert.deepEqual(parseVerifierSpec("file:/a,b"), { kind: "program", path: "/a,b" });
  assert.deepEqual(parseVerifierSpec("exit:7"), { kind: "accept" });
  assert.deepEqual(parseVerifierSpec("net:localhost:79"), {
    kind: "network",
    address: "localhost:79",
  });
});

test("parseVerifierSpec() reads account: in words and letters", () => {
  const plain = { minUid: 1000, maxUid: 32767, lowercase: false, check: false, remote: false };
  const all = { minUid: 500, maxUid: 600, lowercase: true, check: true, remote: true };
  assert.deepEqual(parseVerifierSpec("account:"), { kind: "account", rule: plain });
  for (const text of ["500-600;lowercase;check;remote", "500-600;l;c;r"]) {
    assert.deepEqual(parseVerifierSpec(`account:${text}`), { kind: "account", rule: all });
  }
});

test("verifierFaults() says what is wrong, in a few words", () => {
  const faults = (text: string) => verifierFaults(text).join("; ");
  assert.equal(faults("/bin/true"), "");
  assert.equal(faults("foo:bar"), "unknown type: foo:");
  assert.equal(faults("bin/x"), 'not an absolute path: "bin/x"');
  assert.equal(faults(""), "missing program name");
  assert.equal(faults("exit:-1"), 'invalid value for exit: "-1"');
  assert.equal(faults("net:nowhere"), 'invalid value for net: "nowhere"');
  assert.equal(faults("account:fast"), 'invalid value for account: "fast"');
  assert.equal(faults("account:20-10"), 'invalid value for account: "20-10"');
});

test("openVerifier() accepts everybody as remote for exit:, whatever the number", async () => {
  for (const text of ["exit:0", "exit:100"]) {
    await using verifier = openVerifier(text, verifierTerms().terms)();
    assert.deepEqual(await verifier.verify(aQuery("joe@x"), NEVER), {
      kind: "remote",
      address: "joe@x",
    });
  }
});

test("openVerifier() opens program and account verifiers", async () => {
  using programs = tempPrograms();
  const { terms } = verifierTerms();
  await using program = openVerifier(programs.script("v", "exit 100"), terms)();
  assert.deepEqual(await program.verify(aQuery("joe@x"), NEVER), { kind: "abort" });
  await using account = openVerifier("account:0-0", terms)();
  const answer = await account.verify(aQuery("root@relay.example"), NEVER);
  assert.equal(answer.kind, "local");
});

test("openVerifier() refuses a faulty specification at once", () => {
  assert.throws(() => openVerifier("foo:", verifierTerms().terms), { code: "CONFIG_INVALID" });
});
