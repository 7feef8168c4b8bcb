import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Verification } from "../../src/core/verifier.ts";
import { systemClock } from "../../src/io/clock.ts";
import { accountVerifier } from "../../src/verifiers/account.ts";
import { type AccountLookup, accountLookup } from "../../src/verifiers/account-lookup.ts";
import { parseVerifierSpec } from "../../src/verifiers/spec.ts";
import { tempPrograms } from "../support/programs.ts";
import { aQuery, verifierTerms } from "../support/verifier-query.ts";

const NEVER = new AbortController().signal;

/** A system with the accounts joe, Ann and root. */
const lookup: AccountLookup = async (name) => {
  const uid = new Map([
    ["joe", 1000],
    ["Ann", 1001],
    ["root", 0],
  ]).get(name);
  return uid === undefined ? null : { name, uid };
};

async function verified(params: string, recipient: string): Promise<Verification> {
  const spec = parseVerifierSpec(`account:${params}`);
  assert.equal(spec.kind, "account");
  if (spec.kind !== "account") throw new Error("unreachable");
  const { terms } = verifierTerms();
  return await accountVerifier(spec.rule, lookup, terms).verify(aQuery(recipient), NEVER);
}

function local(mailbox: string): Verification {
  return { kind: "local", mailbox, description: `<${mailbox}@relay.example>` };
}

function rejected(reason: string): Verification {
  return { kind: "refuse", reply: { code: 550, text: "rejected" }, reason };
}

test("accountVerifier() finds an account by its name, and then in lower case", async () => {
  assert.deepEqual(await verified("", "joe@relay.example"), local("joe"));
  assert.deepEqual(await verified("", "JOE@Relay.Example"), local("joe"));
  assert.deepEqual(await verified("", "Ann@relay.example"), local("Ann"));
});

test("accountVerifier() names mailboxes in lower case when asked to", async () => {
  assert.deepEqual(await verified(";lowercase", "Ann@relay.example"), local("ann"));
  assert.deepEqual(await verified("l", "Ann@relay.example"), local("ann"));
});

test("accountVerifier() refuses what matches no account, and says why", async () => {
  assert.deepEqual(
    await verified("", "bob@relay.example"),
    rejected("[bob] is not a valid account name"),
  );
  assert.deepEqual(
    await verified("", "root@relay.example"),
    rejected("uid 0 is not in the range 1000-32767"),
  );
  assert.deepEqual(
    await verified("", "joe@elsewhere"),
    rejected("[elsewhere] does not match [relay.example]"),
  );
  assert.deepEqual(await verified("", "joe"), rejected("[] does not match [relay.example]"));
});

test("accountVerifier() takes the range of uids from the specification", async () => {
  assert.deepEqual(await verified("0-10", "root@relay.example"), local("root"));
  assert.deepEqual(
    await verified("1001", "joe@relay.example"),
    rejected("uid 1000 is not in the range 1001-1001"),
  );
});

test("accountVerifier() passes on what is no account with check, and accounts too with remote", async () => {
  const remote = (address: string) => ({ kind: "remote", address });
  assert.deepEqual(await verified("check", "bob@elsewhere"), remote("bob@elsewhere"));
  assert.deepEqual(await verified("c", "joe@relay.example"), local("joe"));
  assert.deepEqual(await verified("remote", "JOE@relay.example"), remote("JOE@relay.example"));
  assert.deepEqual(
    await verified("r", "bob@relay.example"),
    rejected("[bob] is not a valid account name"),
  );
});

test("accountVerifier() always has a postmaster without a domain", async () => {
  assert.deepEqual(await verified("", "postmaster"), local("postmaster"));
  assert.deepEqual(await verified("remote", "Postmaster"), local("postmaster"));
});

test("accountLookup() finds the accounts of this machine", async () => {
  const { terms } = verifierTerms();
  const found = await accountLookup(terms)("root", NEVER);
  assert.deepEqual(found && { name: found.name, uid: found.uid }, { name: "root", uid: 0 });
});

test("accountLookup() asks getent for accounts that are not in the file, once a minute", async () => {
  using programs = tempPrograms();
  const asked = join(programs.directory, "asked");
  const getent = programs.script("getent", `echo "$@" >> ${asked}`, 'echo "$3:x:5000:100:::"');
  let now = 0;
  const { terms } = verifierTerms({ clock: { ...systemClock, monotonic: () => now } });
  const find = accountLookup(terms, getent);
  assert.deepEqual(await find("from-ldap", NEVER), { name: "from-ldap", uid: 5000 });
  assert.deepEqual(await find("from-ldap", NEVER), { name: "from-ldap", uid: 5000 });
  now = 61_000;
  await find("from-ldap", NEVER);
  assert.equal(readFileSync(asked, "utf8"), "passwd -- from-ldap\n".repeat(2));
});

test("accountLookup() remembers that there is no such account", async () => {
  using programs = tempPrograms();
  const asked = join(programs.directory, "asked");
  const getent = programs.script("getent", `echo x >> ${asked}`, "exit 2");
  const find = accountLookup(verifierTerms().terms, getent);
  assert.equal(await find("nobody-at-all", NEVER), null);
  assert.equal(await find("nobody-at-all", NEVER), null);
  assert.equal(readFileSync(asked, "utf8"), "x\n");
});

test("accountLookup() asks about nothing that cannot be an account name", async () => {
  using programs = tempPrograms();
  const getent = programs.script("getent", 'echo "$3:x:5000:100:::"');
  const find = accountLookup(verifierTerms().terms, getent);
  for (const name of ["", "-x", "0", "12345", "a b", "a:b", "a/b", "a\nb", "x".repeat(300)]) {
    assert.equal(await find(name, NEVER), null, name);
  }
});

test("accountLookup() takes no account of another name for an answer", async () => {
  using programs = tempPrograms();
  const getent = programs.script("getent", "echo somebody-else:x:5000:100:::");
  const find = accountLookup(verifierTerms().terms, getent);
  assert.equal(await find("nobody-at-all", NEVER), null);
});

test("accountLookup() does without getent where there is none", async () => {
  const find = accountLookup(verifierTerms().terms, "/no/such/getent");
  assert.equal(await find("nobody-at-all", NEVER), null);
});

test("accountVerifier() answers 450 timeout when the system does not say in time", async () => {
  using programs = tempPrograms();
  const { terms } = verifierTerms({ timeoutMs: 200 });
  const find = accountLookup(terms, programs.script("getent", "exec sleep 1000"));
  const spec = parseVerifierSpec("account:");
  assert.equal(spec.kind, "account");
  if (spec.kind !== "account") throw new Error("unreachable");
  const verifier = accountVerifier(spec.rule, find, terms);
  const answer = await verifier.verify(aQuery("nobody-at-all@relay.example"), NEVER);
  assert.deepEqual(answer, {
    kind: "refuse",
    reply: { code: 450, text: "timeout" },
    reason: "no answer in time",
  });
});
