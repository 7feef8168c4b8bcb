/** The DKIM example: its signatures are checked by a reading of RFC 6376 written here, and by dkimpy. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type FilterStage, filterStage } from "./filter-stage.ts";
import { needs } from "./temp-tree.ts";

const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
const skip = needs("openssl");

async function signer(stage: FilterStage): Promise<string> {
  const key = join(stage.spool, "../dkim.key");
  writeFileSync(key, pair.privateKey.export({ type: "pkcs8", format: "pem" }));
  return await stage.edited("filter-dkim-sign.sh", { key });
}

async function signed(text: string): Promise<string> {
  await using stage = await filterStage(text);
  const done = await stage.filter(await signer(stage));
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  const { content } = await stage.message();
  assert.ok(content.endsWith(text), "the message follows the signature unchanged");
  assert.equal((await stage.files()).length, 2);
  return content;
}

function fieldsOf(header: string): string[] {
  return header.split(/\r\n(?![ \t])/).filter((field) => field !== "");
}

const relaxed = (field: string): string => {
  const colon = field.indexOf(":");
  const value = field.slice(colon + 1).replace(/\r\n(?=[ \t])/g, "");
  const name = field.slice(0, colon).trimEnd().toLowerCase();
  return `${name}:${value.replace(/[ \t]+/g, " ").trim()}`;
};

function relaxedBody(body: string): string {
  const lines = body.split("\r\n").map((line) => line.replace(/[ \t]+/g, " ").replace(/ $/, ""));
  while (lines.at(-1) === "") lines.pop();
  return lines.map((line) => `${line}\r\n`).join("");
}

/** True if the first field of the message is a signature of it. */
function verifies(message: string): boolean {
  const end = message.indexOf("\r\n\r\n");
  const header = end < 0 ? message : message.slice(0, end + 2);
  const body = end < 0 ? "" : message.slice(end + 4);
  const [signature = "", ...fields] = fieldsOf(header);
  const tags = new Map(
    signature
      .slice(signature.indexOf(":") + 1)
      .split(";")
      .map((tag): [string, string] => {
        const equals = tag.indexOf("=");
        return [tag.slice(0, equals).trim(), tag.slice(equals + 1).replace(/\s/g, "")];
      }),
  );
  assert.deepEqual(
    ["v", "a", "c", "d", "s"].map((tag) => tags.get(tag)),
    ["1", "rsa-sha256", "relaxed/relaxed", "example.com", "mail"],
  );
  const hash = createHash("sha256").update(Buffer.from(relaxedBody(body), "latin1"));
  if (hash.digest("base64") !== tags.get("bh")) return false;
  const left = fields.map(relaxed);
  const input = (tags.get("h") ?? "").split(":").flatMap((name) => {
    const at = left.findLastIndex((field) => field.startsWith(`${name}:`));
    return at < 0 ? [] : left.splice(at, 1);
  });
  const bare = relaxed(signature.replace(/([;\s]b=)[^;]*$/, "$1"));
  const data = Buffer.from([...input, bare].join("\r\n"), "latin1");
  const b = Buffer.from(tags.get("b") ?? "", "base64");
  return verify("sha256", data, createPublicKey(pair.privateKey), b);
}

const HEADER =
  "Received: from a\r\n\tby b\r\nFrom: =?utf-8?q?J=C3=BCrgen?=\r\n  <j@example.com>\r\n" +
  "To:  a@b.test ,\r\n\tc@d.test\r\nSubject:   many \t blanks \r\nDate: today\r\nX-Own: not signed\r\n" +
  "Message-ID: <1@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n";
const BODIES = {
  none: "",
  empty: "\r\n",
  "only empty lines": "\r\n\r\n\r\n \t\r\n",
  plain: "\r\none\r\ntwo\r\n",
  "blanks and empty lines": "\r\n one \t two  \r\n\t\r\n\r\n.dot\r\n \t x\r\n\r\n\r\n",
  "eight bits": "\r\n\xff\xfe\xe9 \xa0\r\n",
  "no last line end": "\r\none\r\ntwo",
};

test("filter-dkim-sign.sh signs so that a verifier agrees", { skip }, async () => {
  for (const [name, body] of Object.entries(BODIES)) {
    const message = await signed(HEADER + body);
    assert.ok(verifies(message), name);
    const [longest] = message
      .slice(0, message.indexOf("Received:"))
      .split("\r\n")
      .map((line) => line.length)
      .sort((a, b) => b - a);
    assert.ok((longest ?? 99) <= 78, "short lines");
  }
});

test("a signature of filter-dkim-sign.sh breaks with the body, a signed header, or one added", {
  skip,
}, async () => {
  const message = await signed(`${HEADER}\r\nbody\r\n`);
  assert.ok(verifies(message));
  assert.ok(!verifies(message.replace("body", "b0dy")));
  assert.ok(!verifies(message.replace("c@d.test", "e@d.test")));
  assert.ok(!verifies(message.replace("Received:", "From: eve@example.com\r\nReceived:")));
  assert.ok(!verifies(message.replace("Received:", "Cc: eve@example.com\r\nReceived:")));
  assert.ok(verifies(message.replace("not signed", "changed")));
});

test("dkimpy verifies what filter-dkim-sign.sh signs", {
  skip: skip === false ? needs("dkimverify") : skip,
}, async () => {
  const der = createPublicKey(pair.privateKey).export({ type: "spki", format: "der" });
  const record = `v=DKIM1; k=rsa; p=${der.toString("base64")}`;
  const script =
    "import sys, dkim\nmessage = sys.stdin.buffer.read()\nrecord = sys.argv[1].encode()\n" +
    "ok = dkim.verify(message, dnsfunc=lambda name, timeout=5: " +
    "record if name == b'mail._domainkey.example.com.' else None)\nsys.exit(0 if ok else 1)\n";
  for (const [name, body] of Object.entries(BODIES)) {
    const message = Buffer.from(await signed(HEADER + body), "latin1");
    const done = spawnSync("/usr/bin/python3", ["-c", script, record], { input: message });
    assert.equal(done.status, 0, `${name}: ${done.stderr.toString()}`);
  }
});

test("filter-dkim-sign.sh signs once, and not what has no lines", { skip }, async () => {
  const first = await signed(`${HEADER}\r\nbody\r\n`);
  await using again = await filterStage(first);
  assert.equal((await again.filter(await signer(again))).status, 0);
  assert.equal((await again.message()).content, first);
  await using binary = await filterStage(`${HEADER}\r\n\0\n`);
  const { envelope } = await binary.message();
  const bits = envelope.replace("Content: unknown", "Content: binarymime");
  writeFileSync(binary.envelope, bits);
  assert.equal((await binary.filter(await signer(binary))).status, 0);
  assert.equal((await binary.message()).content, `${HEADER}\r\n\0\n`);
});

test("filter-dkim-sign.sh refuses for now what it cannot sign, and leaves it as it was", {
  skip,
}, async () => {
  const reasons = new Map<string, string>();
  await using stage = await filterStage(`Subject: no author\r\n\r\nbody\r\n`);
  const script = await signer(stage);
  reasons.set("no From", (await stage.filter(script)).stdout);
  writeFileSync(stage.content, HEADER);
  writeFileSync(join(stage.spool, "../dkim.key"), "no key\n");
  reasons.set("bad key", (await stage.filter(script)).stdout);
  const other = await stage.edited("filter-dkim-sign.sh", { key: "/none" });
  reasons.set("no key", (await stage.filter(other)).stdout);
  const answer = "<<451 cannot sign the message now>>\n<<dkim: ";
  assert.deepEqual(Object.fromEntries(reasons), {
    "no From": `${answer}the message has no From header>>\n`,
    "bad key": `${answer}cannot sign>>\n`,
    "no key": `${answer}cannot read the key>>\n`,
  });
  assert.equal((await stage.message()).content, HEADER);
  assert.equal((await stage.files()).length, 2);
});
