import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { makeMask } from "../../src/auth/hmac-mask.ts";
import { openServerAccounts } from "../../src/auth/server-accounts.ts";
import type { SaslServer, SaslStep } from "../../src/core/auth.ts";
import { silentJournal } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";

const MASK = "3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE="; // of "foobar"

interface Given {
  readonly text: string;
  readonly authConfig?: string;
  readonly tlsAvailable?: boolean;
}

function open({ text, authConfig = "", tlsAvailable = false }: Given) {
  return openServerAccounts({
    path: "/nonexistent/secrets",
    authConfig,
    domain: "relay.test",
    tlsAvailable,
    journal: silentJournal,
    clock: { ...systemClock, now: () => 1_795_226_189_999 },
    read: () => text,
  });
}

function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

function words(list: string): string[] {
  return list === "" ? [] : list.split(" ");
}

function outcome(step: SaslStep): string {
  if (step.kind === "pending") return "pending";
  return step.kind === "challenge"
    ? `challenge ${step.data.toString()}`
    : `${step.kind} ${step.id}`;
}

function answerCram(conversation: SaslServer, answer: (challenge: Buffer) => string): SaslStep {
  const first = conversation.start(null);
  assert.ok(first.kind === "challenge");
  return conversation.next(bytes(answer(first.data)));
}

const ALL = "CRAM-SHA512 CRAM-SHA256 CRAM-SHA1 CRAM-MD5 PLAIN LOGIN";

test("mechanisms() offers everything, strongest first, if there is a plain secret", () => {
  const accounts = open({ text: `server plain a b\nserver md5 c ${MASK}` });
  assert.equal(accounts.enabled, true);
  assert.deepEqual(accounts.mechanisms(false), words(ALL));
  assert.deepEqual(accounts.mechanisms(true), words(ALL));
});

test("mechanisms() offers only the hashes that have secrets, and PLAIN over TLS if there are none at all", () => {
  assert.deepEqual(open({ text: `server md5 c ${MASK}` }).mechanisms(true), ["CRAM-MD5"]);
  const trustOnly = open({ text: "server none 1.2.3.4 k" });
  assert.deepEqual(trustOnly.mechanisms(true), ["PLAIN"]);
  assert.deepEqual(trustOnly.mechanisms(false), []);
});

test("mechanisms() does not ask for passwords in clear where TLS can be had, unless told to by name", () => {
  const text = "server plain a b";
  const careful = open({ text, tlsAvailable: true });
  assert.deepEqual(careful.mechanisms(false), words(ALL).slice(0, 4));
  assert.deepEqual(careful.mechanisms(true), words(ALL));
  const named = open({ text, tlsAvailable: true, authConfig: "m:plain,cram-md5" });
  assert.deepEqual(named.mechanisms(false), ["CRAM-MD5", "PLAIN"]);
  const without = open({ text, tlsAvailable: true, authConfig: "x:cram-sha1" });
  assert.deepEqual(without.mechanisms(false), words("CRAM-SHA512 CRAM-SHA256 CRAM-MD5"));
});

test("mechanisms() follows the m, x, a and d items of --server-auth-config", () => {
  const offered = (authConfig: string) => {
    const accounts = open({ text: "server plain a b", authConfig });
    return [accounts.mechanisms(false).join(" "), accounts.mechanisms(true).join(" ")];
  };
  assert.deepEqual(offered("m:PLAIN,login"), ["PLAIN LOGIN", "PLAIN LOGIN"]);
  assert.deepEqual(offered("x:cram-sha512,cram-sha256,cram-sha1,plain"), [
    "CRAM-MD5 LOGIN",
    "CRAM-MD5 LOGIN",
  ]);
  assert.deepEqual(offered("m:;a:plain"), ["", "PLAIN"]);
  assert.deepEqual(offered("M:cram-md5 ; D:login"), ["CRAM-MD5", ALL.replace(" LOGIN", "")]);
  assert.deepEqual(offered("login"), ["LOGIN", "LOGIN"]);
});

test("PLAIN accepts the right password and names secret and line, never the password", () => {
  const accounts = open({ text: "# x\nserver plain alice e+3Dmc2" });
  const right = accounts.begin("PLAIN").start(bytes("\0alice\0e=mc2"));
  const detail = "using mechanism [plain] and plaintext secret for [alice] from line 2";
  assert.deepEqual(right, { kind: "accepted", id: "alice", detail });
  const wrong = accounts.begin("PLAIN").start(bytes("\0alice\0e=mc3"));
  assert.deepEqual(wrong, { kind: "refused", id: "alice", detail });
  const unknown = accounts.begin("PLAIN").start(bytes("\0mallory\0e=mc2"));
  assert.deepEqual(unknown, {
    kind: "refused",
    id: "mallory",
    detail: "using mechanism [plain] and missing secret for [mallory]",
  });
});

test("PLAIN asks with an empty challenge when there is no initial response", () => {
  const conversation = open({ text: "server plain a b" }).begin("PLAIN");
  assert.deepEqual(conversation.start(null), { kind: "challenge", data: Buffer.alloc(0) });
  assert.equal(outcome(conversation.next(bytes("a\0a\0b"))), "accepted a");
});

test("PLAIN refuses messages without exactly two NULs, and acting as somebody else", () => {
  const accounts = open({ text: "server plain a b\nserver plain c d" });
  for (const message of ["", "a", "\0a", "\0a\0b\0", "c\0a\0b", "\0\0", "\0a\0", "\0a\0b "]) {
    assert.equal(accounts.begin("PLAIN").start(bytes(message)).kind, "refused", message);
  }
});

test("LOGIN asks for name and password; an initial response is the name", () => {
  const accounts = open({ text: "server plain alice e+3Dmc2" });
  const slow = accounts.begin("LOGIN");
  assert.equal(outcome(slow.start(null)), "challenge Username:");
  assert.equal(outcome(slow.next(bytes("alice"))), "challenge Password:");
  assert.equal(outcome(slow.next(bytes("e=mc2"))), "accepted alice");
  const quick = accounts.begin("LOGIN");
  assert.equal(outcome(quick.start(bytes("alice"))), "challenge Password:");
  assert.equal(outcome(quick.next(bytes("bad"))), "refused alice");
});

test("CRAM-* accepts HMACs of its challenge from plain secrets and from masks, by every hash", () => {
  const sha = makeMask("sha256", Buffer.from("foobar")).toString("base64");
  const accounts = open({
    text: `server plain p+20q foobar\nserver md5 m ${MASK}\nserver sha256 s ${sha}`,
  });
  for (const [hash, id] of [
    ["md5", "p q"],
    ["sha1", "p q"],
    ["sha256", "p q"],
    ["sha512", "p q"],
    ["md5", "m"],
    ["sha256", "s"],
  ] as const) {
    const conversation = accounts.begin(`CRAM-${hash.toUpperCase()}`);
    assert.equal(conversation.challengeFirst, true);
    const step = answerCram(conversation, (challenge) => {
      assert.match(challenge.toString(), /^<\d+\.1795226189@relay\.test>$/);
      return `${id} ${createHmac(hash, "foobar").update(challenge).digest("hex")}`;
    });
    assert.equal(outcome(step), `accepted ${id}`, hash);
  }
});

test("CRAM-* names the hash of the secret, prefers it to the plain one, and refuses everything else", () => {
  const accounts = open({ text: `server md5 m ${MASK}\nserver plain m other\nserver plain q r` });
  const digest = (key: string) => (challenge: Buffer) =>
    `m ${createHmac("md5", key).update(challenge).digest("hex")}`;
  const right = answerCram(accounts.begin("CRAM-MD5"), digest("foobar"));
  const detail = "using mechanism [cram-md5] and md5 secret for [m] from line 1";
  assert.deepEqual(right, { kind: "accepted", id: "m", detail });
  assert.equal(answerCram(accounts.begin("CRAM-MD5"), digest("other")).kind, "refused");
  for (const answer of ["", "m", "m ", "nobody 00", "q 0", `q ${"0".repeat(32)}`]) {
    assert.equal(answerCram(accounts.begin("CRAM-MD5"), () => answer).kind, "refused", answer);
  }
  assert.equal(accounts.begin("CRAM-MD5").start(bytes("q x")).kind, "refused");
});

test("begin() never gives the same challenge twice", () => {
  const accounts = open({ text: "server plain a b" });
  const challenges = new Set(
    Array.from({ length: 50 }, () => outcome(accounts.begin("CRAM-MD5").start(null))),
  );
  assert.equal(challenges.size, 50);
});

test("names of Object's own properties are ids like any other, here and in mechanisms", () => {
  const accounts = open({ text: "server plain __proto__ pw" });
  assert.equal(
    outcome(accounts.begin("PLAIN").start(bytes("\0__proto__\0pw"))),
    "accepted __proto__",
  );
  assert.equal(accounts.begin("PLAIN").start(bytes("\0constructor\0pw")).kind, "refused");
  assert.equal(accounts.begin("CONSTRUCTOR").start(bytes("x")).kind, "refused");
});

test("trusted() finds the first line whose pattern is one of the address's forms", () => {
  const text = [
    "server none 10.0.0.0/8 net",
    "server none 10.1.2.3 host",
    "server none 192.168.0.1/24 never",
    "server none 172.16.*.* wild",
    "server none 2001:db8::/32 six",
    "server none ::1 loop",
  ].join("\n");
  const accounts = open({ text });
  assert.deepEqual(accounts.trusted("10.1.2.3"), {
    keyword: "net",
    pattern: "10.0.0.0/8",
    line: 1,
  });
  assert.equal(accounts.trusted("192.168.0.1"), null);
  assert.equal(accounts.trusted("172.16.9.9")?.keyword, "wild");
  assert.equal(accounts.trusted("172.17.9.9"), null);
  assert.equal(accounts.trusted("2001:db8:1::5")?.keyword, "six");
  assert.equal(accounts.trusted("::1")?.keyword, "loop");
  assert.equal(accounts.trusted("::ffff:10.1.1.1")?.keyword, "net");
  assert.equal(accounts.trusted("/"), null);
});

test("needsTransition() is true only for an id that has a mask for another CRAM mechanism and no password", () => {
  const accounts = open({ text: `server md5 m ${MASK}\nserver plain p q` });
  assert.equal(accounts.needsTransition("CRAM-SHA1", "m"), true);
  assert.equal(accounts.needsTransition("CRAM-MD5", "m"), false);
  assert.equal(accounts.needsTransition("CRAM-SHA1", "p"), false);
  assert.equal(accounts.needsTransition("CRAM-SHA1", "nobody"), false);
  assert.equal(accounts.needsTransition("PLAIN", "m"), false);
});

test("openServerAccounts() without a file lets nobody log in", () => {
  const accounts = openServerAccounts({
    path: null,
    authConfig: "",
    domain: "relay.test",
    tlsAvailable: false,
    journal: silentJournal,
    clock: systemClock,
    read: () => "",
  });
  assert.equal(accounts.enabled, false);
  assert.deepEqual(accounts.mechanisms(true), []);
  assert.equal(accounts.trusted("127.0.0.1"), null);
  assert.equal(accounts.begin("PLAIN").start(bytes("\0a\0b")).kind, "refused");
});
