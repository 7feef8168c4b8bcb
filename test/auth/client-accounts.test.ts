import assert from "node:assert/strict";
import { test } from "node:test";
import { openClientAccounts } from "../../src/auth/client-accounts.ts";
import type { SaslClient } from "../../src/core/auth.ts";
import { silentJournal } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";

const MASK = "3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE="; // of "foobar"
const OFFERED = ["plain", "LOGIN", "CRAM-MD5", "XOAUTH2"];
const CHALLENGE = Buffer.from("PDM5NzguMTc5NTIyNjE4OUByZWxheS50ZXN0LmxvY2FsbmV0Pg==", "base64");

function open(text: string, authConfig = "") {
  return openClientAccounts({
    secrets: text.startsWith("plain:") ? text : "/nonexistent/secrets",
    authConfig,
    journal: silentJournal,
    clock: systemClock,
    read: () => text,
  });
}

function attempts(text: string, authConfig = "", offered = OFFERED): readonly SaslClient[] {
  const plan = open(text, authConfig).plan("", offered);
  assert.equal(plan.kind, "try");
  return plan.kind === "try" ? plan.attempts : [];
}

function names(list: readonly SaslClient[]): string {
  return list.map(({ mechanism }) => mechanism).join(" ");
}

test("plan() tries what the server lists, in our own order: CRAM, XOAUTH2, PLAIN, LOGIN", () => {
  const both = "client plain bob p+20w\nclient oauth bob dG9rZW4=";
  assert.equal(names(attempts(both)), "CRAM-MD5 XOAUTH2 PLAIN LOGIN");
  const all = ["LOGIN", "CRAM-SHA1", "CRAM-SHA256", "CRAM-SHA512", "CRAM-MD5", "SCRAM-SHA-1"];
  assert.equal(
    names(attempts("client plain bob pw", "", all)),
    "CRAM-SHA512 CRAM-SHA256 CRAM-SHA1 CRAM-MD5 LOGIN",
  );
  const masked = `client md5 bob ${MASK}\nclient oauth bob dG9rZW4=`;
  assert.equal(names(attempts(masked, "", [...all, "XOAUTH2"])), "CRAM-MD5 XOAUTH2");
});

test("plan() follows the m and x items of --client-auth-config, and a bare name", () => {
  const text = "client plain bob p+20w";
  assert.equal(names(attempts(text, "m:plain")), "PLAIN");
  assert.equal(names(attempts(text, "Login")), "LOGIN");
  assert.equal(names(attempts(text, "x:plain,cram-md5")), "LOGIN");
  assert.equal(names(attempts(text, "m:plain;a:login")), "PLAIN");
});

test("the conversations say on the wire what E-MailRelay 2.6 says", () => {
  const [cram, token, plain, login] = attempts("client plain bob p+20w\nclient oauth bob dG9rZW4=");
  const base64 = (data: Buffer | null | undefined) => data?.toString("base64");
  assert.equal(cram?.initial, null);
  assert.equal(
    base64(cram?.respond(CHALLENGE)),
    "Ym9iIDEyMTE5NGE1NDRkMDllYTU1NzMzNjVlODk2NzdmOGZk",
  );
  assert.equal(base64(token?.initial), "dG9rZW4=");
  assert.equal(base64(token?.respond(Buffer.from("{}"))), "");
  assert.equal(base64(plain?.initial), "AGJvYgBwIHc=");
  assert.equal(plain?.respond(Buffer.from("what?")), null);
  assert.equal(base64(login?.initial), "Ym9i");
  assert.equal(base64(login?.respond(Buffer.from("Username:"))), "Ym9i");
  assert.equal(base64(login?.respond(Buffer.from("Password:"))), "cCB3");
});

test("CRAM-MD5 answers from the mask of a password", () => {
  const [cram] = attempts(`client md5 bob ${MASK}`);
  assert.equal(
    cram?.respond(CHALLENGE)?.toString("base64"),
    "Ym9iIDQ4MWRmZDMzYzA5N2JlYjU2MzJkYzBmOTA3MDhhZWUz",
  );
  assert.equal(cram?.respond(Buffer.alloc(0)), null);
});

test("every attempt names its mechanism, the kind of secret and its line, never the secret", () => {
  const list = attempts(`client plain bob secret\nclient md5 bob ${MASK}`);
  assert.deepEqual(
    list.map(({ detail }) => detail),
    [
      "using mechanism [cram-md5] and md5 secret for [bob] from line 2",
      "using mechanism [plain] and plaintext secret for [bob] from line 1",
      "using mechanism [login] and plaintext secret for [bob] from line 1",
    ],
  );
});

test("plan() goes on without AUTH when no account is configured, or the line says so", () => {
  assert.deepEqual(open("server plain a b").plan("", OFFERED), { kind: "none" });
  assert.deepEqual(open("client plain:b = =").plan("", null), { kind: "none" });
  assert.deepEqual(open("client plain:b = = quiet").plan("quiet", OFFERED), { kind: "none" });
  const nothing = openClientAccounts({
    secrets: null,
    authConfig: "",
    journal: silentJournal,
    clock: systemClock,
    read: () => "",
  });
  assert.deepEqual(nothing.plan("any", OFFERED), { kind: "none" });
});

test("plan() says why there can be no authentication, in E-MailRelay's words", () => {
  const accounts = open("client plain bob pw sel\nclient plain bob pw");
  const why = (selector: string, offered: readonly string[] | null) => {
    const plan = accounts.plan(selector, offered);
    return plan.kind === "error" ? plan.why : plan.kind;
  };
  assert.equal(why("x", OFFERED), "no client authentication account: selector [x]");
  assert.equal(why("__proto__", OFFERED), "no client authentication account: selector [__proto__]");
  const unsupported = "smtp error: authentication is not supported by the remote smtp server";
  assert.equal(why("sel", null), unsupported);
  assert.equal(why("", []), unsupported);
  const common = "smtp error: cannot do authentication: check for a compatible client secret";
  assert.equal(why("", ["GSSAPI"]), common);
  assert.equal(why("sel", ["GSSAPI"]), `${common} with selector [sel]`);
});

test("an account on the command line needs no file and has no line", () => {
  const accounts = open("plain:Ym9i:cCB3");
  const plan = accounts.plan("", ["PLAIN"]);
  assert.ok(plan.kind === "try");
  assert.equal(plan.attempts[0]?.initial?.toString("base64"), "AGJvYgBwIHc=");
  assert.equal(plan.attempts[0]?.detail, "using mechanism [plain] and plaintext secret for [bob]");
  assert.throws(() => open("plain:Ym9i:!"), /invalid authorisation secret: invalid base64/);
  assert.throws(() => open("plain:Ym9i"), /expected plain:<base64 id>:<base64 password>/);
});
