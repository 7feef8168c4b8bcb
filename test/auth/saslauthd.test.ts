import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { openPamAccounts, pamFault } from "../../src/auth/pam.ts";
import { askSaslauthd } from "../../src/auth/saslauthd.ts";
import type { SaslStep } from "../../src/core/auth.ts";
import { temporary } from "../support/relayd.ts";

/** A saslauthd that does this with each question. */
async function listening(answer: (socket: Socket, asked: Buffer) => void): Promise<string> {
  const path = join(temporary(), "mux");
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (asked) => answer(socket, asked));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  after(() => server.close());
  return path;
}

const counted = (text: string): Buffer =>
  Buffer.concat([Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text, "latin1")]);

const question = (id = "alice", password = "p w") => ({
  id: Buffer.from(id),
  password: Buffer.from(password),
  service: "emailrelay",
});

async function ask(answer: string | Buffer): Promise<string> {
  const path = await listening((socket) => socket.end(answer));
  const said = await askSaslauthd(path, question(), 10_000);
  return said.kind === "none" ? said.why : said.kind;
}

test("askSaslauthd() sends four counted fields and reads a counted answer", async () => {
  const asked: Buffer[] = [];
  const path = await listening((socket, bytes) => {
    asked.push(bytes);
    // In pieces.
    for (const byte of counted("OK success")) socket.write(Buffer.from([byte]));
  });
  assert.deepEqual(await askSaslauthd(path, question(), 10_000), { kind: "yes" });
  const fields = ["alice", "p w", "emailrelay", ""].map(counted);
  assert.deepEqual(Buffer.concat(asked), Buffer.concat(fields));
});

test("askSaslauthd() takes only an answer that says so for yes", async () => {
  assert.equal(await ask(counted("OK")), "yes");
  assert.equal(await ask(counted("NO authentication failed")), "no");
  assert.equal(await ask(counted("OKAY")), "its answer makes no sense");
  assert.equal(await ask(counted("")), "its answer makes no sense");
  assert.equal(await ask(Buffer.from([255, 255, 79, 75])), "its answer makes no sense");
  assert.equal(await ask(""), "it closed the connection without an answer");
  assert.equal(
    await ask(counted("OK").subarray(0, 3)),
    "it closed the connection without an answer",
  );
});

test("askSaslauthd() gives up when nobody is there, and when nobody answers", async () => {
  const nobody = await askSaslauthd(join(temporary(), "none"), question(), 10_000);
  assert.match(nobody.kind === "none" ? nobody.why : "", /ENOENT/);
  const silent = await listening(() => undefined);
  const waited = await askSaslauthd(silent, question(), 50);
  assert.deepEqual(waited, { kind: "none", why: "no answer in time" });
});

test("askSaslauthd() asks nothing that would be cut short", async () => {
  const path = await listening(() => assert.fail("was asked"));
  for (const bad of [question("a\0b"), question("a", "b\0c"), question("a".repeat(257))]) {
    assert.deepEqual(await askSaslauthd(path, bad, 10_000), { kind: "no" });
  }
});

async function settled(step: SaslStep): Promise<string> {
  if (step.kind === "challenge") return `challenge ${step.data.toString()}`;
  const { kind, id, detail } = step.kind === "pending" ? await step.verdict : step;
  return `${kind} ${id} ${detail}`;
}

test("openPamAccounts() offers PLAIN and LOGIN, in the clear only where there is no TLS", async () => {
  const path = await listening((socket) => socket.end(counted("OK")));
  const open = (authConfig: string, tlsAvailable: boolean) => {
    const accounts = openPamAccounts({ text: `pam:${path}`, authConfig, tlsAvailable });
    return [accounts.mechanisms(false).join(" "), accounts.mechanisms(true).join(" ")];
  };
  assert.deepEqual(open("", false), ["PLAIN LOGIN", "PLAIN LOGIN"]);
  assert.deepEqual(open("", true), ["", "PLAIN LOGIN"]);
  assert.deepEqual(open("m:plain", true), ["PLAIN", "PLAIN"]);
  assert.deepEqual(open("m:;a:login", true), ["", "LOGIN"]);
});

test("openPamAccounts() asks about what PLAIN and LOGIN say, and only if it is well formed", async () => {
  const path = await listening((socket, asked) => {
    socket.end(counted(asked.includes("secret") ? "OK" : "NO"));
  });
  const accounts = openPamAccounts({ text: `pam:${path}`, authConfig: "", tlsAvailable: false });
  const plain = async (text: string) =>
    await settled(accounts.begin("PLAIN").start(Buffer.from(text)));
  const how = "using mechanism [plain] and pam for [al]";
  assert.equal(await plain("\0al\0secret"), `accepted al ${how}`);
  assert.equal(await plain("al\0al\0secret"), `accepted al ${how}`);
  assert.equal(await plain("\0al\0wrong"), `refused al ${how}`);
  for (const bad of ["", "al", "\0al", "eve\0al\0secret", "\0\0secret", "\0al\0secret\0"]) {
    assert.equal(await plain(bad), "refused  using mechanism [plain]", JSON.stringify(bad));
  }
  const login = accounts.begin("LOGIN");
  assert.equal(await settled(login.start(null)), "challenge Username:");
  assert.equal(await settled(login.next(Buffer.from("al"))), "challenge Password:");
  assert.match(await settled(login.next(Buffer.from("secret"))), /^accepted al /);
  assert.equal(accounts.offersApop(true), false);
});

test("openPamAccounts() is refused without saslauthd, with what is missing", () => {
  const path = join(temporary(), "none");
  const text = `cannot use pam: saslauthd does not listen at ${path}: PAM is asked through it (Debian: sasl2-bin)`;
  assert.equal(pamFault(`pam:${path}`), text);
  assert.throws(
    () => openPamAccounts({ text: `pam:${path}`, authConfig: "", tlsAvailable: false }),
    { message: text },
  );
});
