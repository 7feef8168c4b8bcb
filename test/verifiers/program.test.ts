import assert from "node:assert/strict";
import { test } from "node:test";
import type { Verification } from "../../src/core/verifier.ts";
import { programVerifier } from "../../src/verifiers/program.ts";
import { tempPrograms } from "../support/programs.ts";
import { aQuery, verifierTerms } from "../support/verifier-query.ts";

const NEVER = new AbortController().signal;

/** What a script with these lines says of joe@x. */
async function verified(lines: readonly string[], timeoutMs = 60_000): Promise<Verification> {
  using programs = tempPrograms();
  const { terms } = verifierTerms({ timeoutMs });
  const verifier = programVerifier(programs.script("v", ...lines), terms);
  return await verifier.verify(aQuery("joe@x"), NEVER);
}

function refusal(code: number, text: string, reason: string): Verification {
  return { kind: "refuse", reply: { code, text }, reason };
}

test("programVerifier() gives the program six arguments and logs them with the answer", async () => {
  using programs = tempPrograms();
  const path = programs.script("v", 'echo "$#,$1,$2,$3,$4,$5,$6"', 'echo "$1"', "exit 1");
  const { terms, notes } = verifierTerms();
  const query = { ...aQuery("joe@x"), mechanism: "cram-md5", account: "bob" };
  const answer = await programVerifier(path, terms).verify(query, NEVER);
  assert.deepEqual(answer, { kind: "remote", address: "joe@x" });
  const words = "6,joe@x,alice@example.com,127.0.0.1:4711,relay.example,cram-md5,bob";
  assert.deepEqual(notes, [
    `detail address verifier: executing [${path}] [joe@x] [alice@example.com] ` +
      "[127.0.0.1:4711] [relay.example] [cram-md5] [bob]",
    `detail address verifier: exit code 1: [${words}] [joe@x]`,
  ]);
});

test("programVerifier() passes empty arguments and dashes on as they are", async () => {
  using programs = tempPrograms();
  const path = programs.script("v", "echo", 'echo "[$1][$2][$6]"', "exit 1");
  const { terms } = verifierTerms();
  const query = { ...aQuery("-rf; $(id)@x"), sender: "" };
  const answer = await programVerifier(path, terms).verify(query, NEVER);
  assert.deepEqual(answer, { kind: "remote", address: "[-rf; $(id)@x][][]" });
});

test("programVerifier() takes exit code 0 for a local mailbox: name, then mailbox", async () => {
  assert.deepEqual(await verified(["echo 'Joe Doe <joe@x>'", "echo joe", "exit 0"]), {
    kind: "local",
    mailbox: "joe",
    description: "Joe Doe <joe@x>",
  });
});

test("programVerifier() takes exit code 1 for a remote address, below a line that may be empty", async () => {
  const lines = ["printf '\\nother@y \\t\\n\\n'", "exit 1"];
  assert.deepEqual(await verified(lines), { kind: "remote", address: "other@y" });
});

test("programVerifier() aborts at exit code 100", async () => {
  assert.deepEqual(await verified(["exit 100"]), { kind: "abort" });
});

test("programVerifier() refuses for now at exit code 3", async () => {
  assert.deepEqual(await verified(["exit 3"]), refusal(450, "mailbox unavailable", "exit code 3"));
  const lines = ["echo try later", "echo greylisted", "exit 3"];
  assert.deepEqual(await verified(lines), refusal(450, "try later", "greylisted"));
});

test("programVerifier() refuses for good at any other exit code", async () => {
  assert.deepEqual(await verified(["exit 2"]), refusal(550, "mailbox unavailable", "exit code 2"));
  assert.deepEqual(
    await verified(["echo go away", "echo known spammer", "exit 99"]),
    refusal(550, "go away", "known spammer"),
  );
  assert.deepEqual(
    await verified(["exit 101"]),
    refusal(550, "mailbox unavailable", "exit code 101"),
  );
});

test("programVerifier() refuses exit codes 0 and 1 with too few lines", async () => {
  assert.deepEqual(await verified(["exit 0"]), refusal(550, "mailbox unavailable", "exit code 0"));
  assert.deepEqual(await verified(["echo one", "exit 1"]), refusal(550, "one", "exit code 1"));
  assert.deepEqual(
    await verified(["printf 'one\\n\\nthree\\n'", "exit 0"]),
    refusal(550, "one", "exit code 0"),
  );
});

test("programVerifier() lets no control character into an envelope", async () => {
  const answer = await verified(["printf 'x\\njoe\\rX-Evil: 1\\n'", "exit 0"]);
  assert.deepEqual(answer, refusal(550, "mailbox unavailable", "control character in the answer"));
});

test("programVerifier() takes no name that is not UTF-8: two of them would be one", async () => {
  const refused = refusal(550, "mailbox unavailable", "the answer is not UTF-8");
  assert.deepEqual(await verified(["printf 'Joe\\nm\\351\\n'", "exit 0"]), refused);
  assert.deepEqual(await verified(["printf '\\nm\\351@x\\n'", "exit 1"]), refused);
});

test("programVerifier() answers 450 timeout for a program that hangs", async () => {
  const answer = await verified(["trap '' TERM", "sleep 1000"], 300);
  assert.deepEqual(answer, refusal(450, "timeout", ""));
});

test("programVerifier() answers 450 for a program that was killed: it judged nobody", async () => {
  assert.deepEqual(await verified(["kill -KILL $$"]), refusal(450, "error", "killed by SIGKILL"));
});

test("programVerifier() judges by the first lines of megabytes of output", async () => {
  const lines = ["echo", "echo joe@x", "yes | head -c 5000000", "exit 1"];
  assert.deepEqual(await verified(lines), { kind: "remote", address: "joe@x" });
});

test("programVerifier() answers 550 error for a program that cannot be run", async () => {
  const { terms } = verifierTerms();
  const answer = await programVerifier("/no/such", terms).verify(aQuery("joe@x"), NEVER);
  assert.deepEqual(answer, refusal(550, "error", "exec error: No such file or directory"));
  assert.deepEqual(await verified(["exit 127"]), refusal(550, "error", ""));
});
