import assert from "node:assert/strict";
import { test } from "node:test";
import { findAccount } from "../../src/io/identity.ts";
import { findSystemAccount } from "../../src/io/system-account.ts";
import { tempPrograms } from "../support/programs.ts";

const unknown = { code: "IDENTITY", message: "no such user: relayd-ldap" };

test("findSystemAccount() finds accounts that only getent knows", () => {
  using programs = tempPrograms();
  const answer = "echo 'relayd-ldap:*:70001:70002::/:/bin/false'";
  const getent = programs.script("getent", `[ "$*" = 'passwd -- relayd-ldap' ] && ${answer}`);
  const account = { name: "relayd-ldap", uid: 70001, gid: 70002 };
  assert.deepEqual(findSystemAccount("relayd-ldap", getent), account);
});

test("findSystemAccount() asks nobody for an account in the file", () => {
  using programs = tempPrograms();
  const getent = programs.script("getent", "echo 'nobody:*:1:1::/:/bin/false'");
  assert.deepEqual(findSystemAccount("nobody", getent), findAccount("nobody"));
});

test("findSystemAccount() takes no other account for the one that is asked for", () => {
  using programs = tempPrograms();
  const getent = programs.script("getent", "echo 'other:*:70001:70002::/:/bin/false'");
  assert.throws(() => findSystemAccount("relayd-ldap", getent), unknown);
});

test("findSystemAccount() names an account that nobody knows, with and without getent", () => {
  assert.throws(() => findSystemAccount("relayd-ldap"), unknown);
  assert.throws(() => findSystemAccount("relayd-ldap", "/nonexistent/getent"), unknown);
});
