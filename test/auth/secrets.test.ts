import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseSecrets } from "../../src/auth/secrets.ts";
import { checkSecretsFile, openSecretsFile, worldReadable } from "../../src/auth/secrets-file.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { RelayEvent } from "../../src/core/events.ts";

const MASK = "3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE=";

function problems(text: string): string[] {
  return parseSecrets(text).problems.map(
    ({ level, line, text: what }) => `${level} ${line}: ${what}`,
  );
}

class HandClock implements Clock {
  ms = 0;
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  async sleep(): Promise<void> {
    await Promise.resolve();
  }
}

function tempSecrets(text: string) {
  const directory = mkdtempSync(join(tmpdir(), "relayd-secrets-"));
  const path = join(directory, "relayd.auth");
  writeFileSync(path, text, { mode: 0o600 });
  const told: RelayEvent[] = [];
  const journal = { detail: false, tell: (event: RelayEvent) => void told.push(event) };
  return {
    path,
    told,
    clock: new HandClock(),
    journal,
    read: (file: string) => readFileSync(file, "utf8"),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

test("parseSecrets() reads every type, alias and comment, in either field order and letter case", () => {
  const { secrets, problems: found } = parseSecrets(
    [
      "# comment",
      "",
      "server plain alice e+3Dmc2",
      "SERVER\tPLAIN:B  Ym9i cCB3   # with a comment",
      `server md5 carol ${MASK}`,
      "LOGIN server dave secret",
      `server cram-md5 erin ${"1.2.3.4.5.6.7.8"}`,
      "NONE server 192.168.0.0/24 lan",
      "client login me pw",
      "client oauth me dG9rZW4= google",
      "client plain:b = = quiet",
    ].join("\r\n"),
  );
  assert.deepEqual(found, []);
  const plain = secrets.server.get("plain");
  assert.deepEqual([...(plain?.keys() ?? [])], ["alice", "bob", "dave"]);
  assert.equal(plain?.get("alice")?.secret.toString(), "e=mc2");
  assert.equal(plain?.get("bob")?.secret.toString(), "p w");
  assert.equal(plain?.get("dave")?.line, 6);
  assert.deepEqual([...(secrets.server.get("md5")?.keys() ?? [])], ["carol", "erin"]);
  const trust = { pattern: "192.168.0.0/24", keyword: "lan", line: 8 };
  assert.deepEqual(secrets.trust.get("192.168.0.0/24"), trust);
  assert.equal(secrets.client.get("")?.get("plain")?.secret.toString(), "pw");
  assert.equal(secrets.client.get("google")?.get("oauth")?.secret.toString(), "token");
  assert.equal(secrets.client.get("quiet")?.size, 0);
});

test("parseSecrets() reports lines that are no secrets with their number and E-MailRelay's texts", () => {
  const text = ["foo bar x y", "server plain x", "server plain a b c d e f", "server sha9 a b"];
  assert.deepEqual(problems(text.join("\n")), [
    "error 1: invalid value in first field: [foo]",
    "error 2: too few fields",
    "warning 3: too many fields",
    "warning 4: unknown secret type: [sha9]",
  ]);
});

test("parseSecrets() reports duplicates by type and id, type and selector, and pattern", () => {
  const text = [
    "server plain a x",
    "server login a y",
    `server md5 a ${MASK}`,
    "client plain a x",
    "client plain b y",
    "client plain b y other",
    "server none 1.2.3.4 k",
    "server none 1.2.3.4 l",
  ];
  assert.deepEqual(problems(text.join("\n")), [
    "error 2: duplicate server secret",
    "error 5: duplicate client secret",
    "error 8: duplicate server trust address",
  ]);
});

test("parseSecrets() says which value cannot be decoded, and never the value", () => {
  const lead = (line: number) => `error ${line}: invalid authorisation secret: line ${line}: `;
  const text = [
    "server plain a s+3",
    "server plain a+ secret",
    "server plain:b !!! cCB3",
    "server plain:b Ym9i secret!",
    "server plain:b = cCB3",
    "server md5 a c2VjcmV0",
    "server plain ä secret",
  ];
  assert.deepEqual(problems(text.join("\n")), [
    `${lead(1)}invalid xtext encoding of secret`,
    `${lead(2)}invalid xtext encoding of id`,
    `${lead(3)}invalid base64 encoding of id`,
    `${lead(4)}invalid base64 encoding of secret`,
    `${lead(5)}empty id`,
    `${lead(6)}invalid length of md5 secret`,
    `${lead(7)}invalid xtext encoding of id`,
  ]);
});

test("parseSecrets() keeps ids apart that differ only in bytes that are no UTF-8, and odd names harmless", () => {
  const { secrets, problems: found } = parseSecrets(
    "server plain +FE a\nserver plain +FF b\nserver plain __proto__ c\nclient plain x y constructor",
  );
  assert.deepEqual(found, []);
  assert.equal(secrets.server.get("plain")?.size, 3);
  assert.equal(secrets.server.get("plain")?.get("toString"), undefined);
  assert.equal(secrets.client.get("__proto__"), undefined);
});

test("openSecretsFile() throws `invalid secrets file` after telling each problem with its line", () => {
  using file = tempSecrets("server plain a b\nfoo bar\nserver plain x y z\n");
  assert.throws(() => openSecretsFile(file), { message: "invalid secrets file" });
  assert.deepEqual(file.told, [
    {
      kind: "note",
      level: "warning",
      detail: false,
      text: `problems reading secrets file [${file.path}]...`,
    },
    {
      kind: "note",
      level: "error",
      detail: false,
      text: "relayd.auth(2): invalid value in first field: [foo]",
    },
    { kind: "note", level: "warning", detail: false, text: "relayd.auth(3): too many fields" },
  ]);
});

test("openSecretsFile() throws the encoding problem itself, and says which file cannot be read", () => {
  using file = tempSecrets("server plain a b+\n");
  const message = "invalid authorisation secret: line 1: invalid xtext encoding of secret";
  assert.throws(() => openSecretsFile(file), { message });
  const path = `${file.path}.none`;
  assert.throws(() => openSecretsFile({ ...file, path }), {
    message: `cannot read secrets file: ${path}`,
  });
});

test("SecretsFile reads a changed file again, but looks at most once a second", () => {
  using file = tempSecrets("server plain a b\n");
  const open = openSecretsFile(file);
  writeFileSync(file.path, "server plain a b\nserver plain c d\n");
  file.clock.ms = 999;
  assert.equal(open.current().server.get("plain")?.size, 1);
  file.clock.ms = 1000;
  assert.equal(open.current().server.get("plain")?.size, 2);
  file.clock.ms = 5000;
  assert.equal(open.current().server.get("plain")?.size, 2);
  assert.deepEqual(file.told, [{ kind: "secrets.reread", path: file.path }]);
});

test("SecretsFile keeps the old secrets when a changed file is wrong or gone, and says so once", () => {
  using file = tempSecrets("server plain a b\n");
  const open = openSecretsFile(file);
  writeFileSync(file.path, "what is this\n");
  for (const ms of [1000, 2000, 3000]) {
    file.clock.ms = ms;
    assert.equal(open.current().server.get("plain")?.size, 1);
  }
  rmSync(file.path);
  for (const ms of [4000, 5000]) {
    file.clock.ms = ms;
    assert.equal(open.current().server.get("plain")?.size, 1);
  }
  const errors = file.told.flatMap((event) =>
    event.kind === "note" && event.level === "error" ? [event.text] : [],
  );
  assert.deepEqual(errors, [
    "relayd.auth(1): invalid value in first field: [what]",
    "invalid secrets file: keeping the secrets that were read before",
    `cannot read secrets file: ${file.path}: keeping the secrets that were read before`,
  ]);
  writeFileSync(file.path, "server plain c d\n");
  file.clock.ms = 6000;
  assert.deepEqual([...(open.current().server.get("plain")?.keys() ?? [])], ["c"]);
});

test("SecretsFile.reload() reads at once, and throws for a wrong file without forgetting", () => {
  using file = tempSecrets("server plain a b\n");
  const open = openSecretsFile(file);
  writeFileSync(file.path, "server plain c d\n");
  open.reload();
  assert.deepEqual([...(open.current().server.get("plain")?.keys() ?? [])], ["c"]);
  writeFileSync(file.path, "nonsense");
  assert.throws(() => open.reload(), { message: "invalid secrets file" });
  assert.deepEqual([...(open.current().server.get("plain")?.keys() ?? [])], ["c"]);
});

test("worldReadable() names the mode of a file that everybody can read, and the journal is told", () => {
  using file = tempSecrets("server plain a b\n");
  assert.equal(worldReadable(file.path), null);
  chmodSync(file.path, 0o644);
  const text = `${file.path}: readable by everybody (mode 0644): chmod 600`;
  assert.equal(worldReadable(file.path), text);
  openSecretsFile(file);
  assert.deepEqual(file.told, [{ kind: "note", level: "warning", detail: false, text }]);
});

test("checkSecretsFile() lists everything that is wrong", () => {
  using file = tempSecrets("foo\nserver plain a b+\n");
  chmodSync(file.path, 0o644);
  assert.deepEqual(checkSecretsFile(file.path, file.read), [
    {
      level: "warning",
      text: `${file.path}: readable by everybody (mode 0644): chmod 600`,
    },
    { level: "error", text: "relayd.auth(1): invalid value in first field: [foo]" },
    {
      level: "error",
      text: "relayd.auth(2): invalid authorisation secret: line 2: invalid xtext encoding of secret",
    },
  ]);
  assert.deepEqual(checkSecretsFile("/nonexistent", file.read), [
    { level: "error", text: "cannot read secrets file: /nonexistent" },
  ]);
});
