/** What hostile clients do, through the real program: what they are told, what is stored, and that others are served. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { decodeEnvelope } from "../../src/spool/envelope-format.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { sendMail, TestRelay, temporary, until } from "../support/relayd.ts";
import { makeTestCa } from "../support/test-ca.ts";

const START = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\n";
const IN_DATA = `${START}DATA\r\n`;
const EVIL = "MAIL FROM:<evil@x>\r\nRCPT TO:<evil@x>\r\nDATA\r\nevil\r\n.\r\n";

interface Attack {
  readonly name: string;
  /** Pieces, each in a packet of its own. The last one ends the session. */
  readonly say: readonly (string | Buffer)[];
  /** The codes of all replies after the greeting. */
  readonly replies: string;
  /** Content of what is stored, without the Received line. */
  readonly stored?: readonly string[];
}

/** A message in which `end` stands where a careless server would see the end of it. */
function smuggling(end: string, content: string): Attack {
  return {
    name: `a message with ${JSON.stringify(end)} in it`,
    say: [`${IN_DATA}one${end}${EVIL}`, "QUIT\r\n"],
    // What was to be smuggled is content up to its own end, and nothing of it a command.
    replies: "250 250 250 354 250 221",
    stored: [`one${content}${EVIL.slice(0, -3)}`],
  };
}

const SMUGGLING = [
  smuggling("\n.\n", "\r\n.\r\n"),
  smuggling("\r.\r", "\r\n.\r\n"),
  smuggling("\n.\r\n", "\r\n.\r\n"),
  smuggling("\r\n.\n", "\r\n\r\n"),
  smuggling("\r.\r\n", "\r\n.\r\n"),
  smuggling("\r\n.\r", "\r\n\r\n"),
  smuggling("\r\r\n.\r\r\n", "\r\n\r\n\r\n\r\n"),
  smuggling("\n\r.\r\n", "\r\n\r\n.\r\n"),
  smuggling("\r\n..\r\n", "\r\n.\r\n"),
];

const ATTACKS: readonly Attack[] = [
  ...SMUGGLING,
  {
    name: "a message with NUL about the dot",
    say: [`${IN_DATA}one\r\n\0.\r\n${EVIL}`, "QUIT\r\n"],
    replies: "250 250 250 354 550 221",
  },
  {
    name: "the end of a message in five packets",
    say: [`${IN_DATA}one`, "\r", "\n", ".", "\r", "\nQUIT\r\n"],
    replies: "250 250 250 354 250 221",
    stored: ["one\r\n"],
  },
  {
    name: "a command line of two megabytes",
    say: [Buffer.alloc(2 ** 21, "x"), "\r\nNOOP\r\nQUIT\r\n"],
    replies: "500 250 221",
  },
  {
    name: "commands that end in a bare LF or CR",
    say: ["NOOP\nMAIL FROM:<a@b>\nRCPT TO:<a@b>\r\nEHLO x\rMAIL FROM:<a@b>\r\nQUIT\r\n"],
    replies: "500 250 221",
  },
  {
    name: "a header line of a megabyte",
    say: [`${IN_DATA}Subject: ${"x".repeat(2 ** 20)}\r\n.\r\n`, "QUIT\r\n"],
    replies: "250 250 250 354 250 221",
    stored: [`Subject: ${"x".repeat(2 ** 20)}\r\n`],
  },
  {
    name: "NUL, ESC and bytes above 127 in commands",
    say: [
      "EHLO \x1b[2J\0\r\nNO\0OP\r\nMAIL FROM:<a\0@b>\r\n",
      Buffer.from("MAIL FROM:<\xff\xfe@b>\r\n\xc3\x28\r\n", "latin1"),
      "MAIL FROM:<a\u2028X-MailRelay-To-Remote: b@c>\r\nQUIT\r\n",
    ],
    replies: "250 500 553 553 500 553 221",
  },
  {
    name: "parameters with line ends in xtext, sizes that are none, words that do not exist",
    say: [
      "EHLO x\r\nMAIL FROM:<a@b> SIZE=-1\r\nMAIL FROM:<a@b> SIZE=1e9\r\nMAIL FROM:<a@b> X=1\r\n",
      "MAIL FROM:<a@b> BODY\r\nMAIL FROM:<a@b>SIZE=1\r\nMAIL FROM:<a@b> AUTH=a+0D+0Ab\r\n",
      "RCPT TO:<r@x> X=1\r\nRCPT TO:<r@x> NOTIFY=NEVER,NEVER\r\nQUIT\r\n",
    ],
    replies: "250 501 501 555 501 553 250 555 555 221",
  },
  {
    name: "BDAT with sizes that are none",
    say: [
      `${START}BDAT\r\nRSET\r\n${START.slice(8)}BDAT -1\r\nRSET\r\n${START.slice(8)}BDAT 1e3\r\nRSET\r\n`,
      `${START.slice(8)}BDAT 99999999999999999999 LAST\r\nRSET\r\n${START.slice(8)}BDAT 0\r\nQUIT\r\n`,
    ],
    replies: "250 250 250 501 250 250 250 501 250 250 250 501 250 250 250 501 250 250 250 501 221",
  },
  {
    name: "BDAT whose octets look like commands",
    say: [`${START}BDAT ${EVIL.length}\r\n${EVIL}BDAT 0 LAST\r\nQUIT\r\n`],
    replies: "250 250 250 250 250 221",
    stored: [EVIL],
  },
  {
    name: "BDAT that is out of place: its octets are no commands",
    say: [`EHLO x\r\nBDAT ${EVIL.length} LAST\r\n${EVIL}RSET\r\nQUIT\r\n`],
    replies: "250 503 250 221",
  },
  {
    name: "a storm of 20,000 RSETs",
    say: ["RSET\r\n".repeat(20_000), "QUIT\r\n"],
    replies: `${"250 ".repeat(20_000)}221`,
  },
  {
    name: "more recipients than are taken",
    say: [`${START}${"RCPT TO:<r@x>\r\n".repeat(1500)}RSET\r\nQUIT\r\n`],
    replies: `${"250 ".repeat(1002)}${"452 ".repeat(501)}250 221`,
  },
  {
    name: "a TLS handshake on a plain port",
    say: [Buffer.from("160301020001000200", "hex")],
    replies: "",
  },
  {
    name: "an HTTP request",
    say: ["POST / HTTP/1.1\r\nHost: relay\r\n\r\nEHLO x\r\nQUIT\r\n"],
    replies: "500 500 500 250 221",
  },
  {
    name: "source routes and quotes",
    say: [
      "EHLO x\r\nMAIL FROM:<@a,@b:me@c>\r\n",
      'RCPT TO:<"a b"@c>\r\nRCPT TO:<"a\\"b"@c>\r\nRCPT TO:<"a>\r\n',
      'RCPT TO:<@a:>\r\nRCPT TO:< r@x>\r\nRCPT TO:<"\r\nRCPT TO:<r@x> >\r\nQUIT\r\n',
    ],
    replies: "250 250 250 250 550 550 550 550 501 221",
  },
];

const relay = await TestRelay.start([
  ...["--server-smtp-config=+chunking", "--max-errors=0", "--message-timeout=2"],
  ...["--anonymous=content", "--no-sync"],
]);

/** Everything that is answered, until the server closes. */
async function attack(port: number, say: Attack["say"]): Promise<string> {
  await using client = await RawClient.connect(`127.0.0.1:${port}`);
  for (const piece of say) {
    client.send(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return await client.rest();
}

function codes(text: string): string {
  const last = text.split("\r\n").filter((line) => /^\d{3} /.test(line));
  return last.map((line) => line.slice(0, 3)).join(" ");
}

/** Contents in the spool, which is empty afterwards. */
function takeStored(from: TestRelay): string[] {
  return from.files().flatMap((name) => {
    const path = join(from.spool, name);
    const bytes = readFileSync(path);
    rmSync(path);
    if (name.endsWith(".envelope")) decodeEnvelope(bytes, name);
    return name.endsWith(".content") ? [bytes.toString("latin1")] : [];
  });
}

for (const { name, say, replies, stored } of ATTACKS) {
  test(`${name}: the right replies, nothing else stored, others served`, async () => {
    const said = await attack(relay.port, say);
    assert.equal(codes(said), `220 ${replies}`.trim());
    assert.deepEqual(takeStored(relay), stored ?? []);
    assert.equal(await sendMail(relay.port), "250 message processed");
    takeStored(relay);
  });
}

test("slow loris: 300 clients that send a byte now and then do not hold up others, and are let go", async () => {
  const slow = await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      const client = await RawClient.connect(`127.0.0.1:${relay.port}`);
      client.send(n % 2 === 0 ? "EH" : `${IN_DATA}Sub`);
      return client;
    }),
  );
  const dripping = setInterval(() => {
    for (const { socket } of slow) if (socket.writable) socket.write("x");
  }, 100);
  after(() => clearInterval(dripping));
  assert.equal(await sendMail(relay.port), "250 message processed");
  const last = await Promise.all(slow.map(async (client) => await client.rest()));
  clearInterval(dripping);
  for (const text of last) assert.match(text, /421 4\.4\.2 timed out\r\n$/);
  assert.equal(takeStored(relay).length, 1);
  for (const client of slow) client.destroy();
});

test("STARTTLS: what was said before the handshake is not used after it, and garbage ends the session", async () => {
  using ca = makeTestCa();
  const { combined } = ca.issue("relay.test", { names: ["relay.test"] });
  const secure = await TestRelay.start(["--server-tls", `--server-tls-certificate=${combined}`]);
  await using client = await RawClient.connect(`127.0.0.1:${secure.port}`);
  await client.reply();
  await client.ask("EHLO x");
  client.send(`STARTTLS\r\n${EVIL}NO`);
  assert.match(await client.reply(), /^220 /);
  await client.startTls();
  client.send("OP\r\nEHLO x\r\nMAIL FROM:<a@b>\r\nQUIT\r\n");
  assert.equal(codes(await client.rest()), "500 250 250 221");
  await using other = await RawClient.connect(`127.0.0.1:${secure.port}`);
  other.send("EHLO x\r\nSTARTTLS\r\n");
  for (let n = 0; n < 3; n += 1) await other.reply();
  other.send(Buffer.alloc(4096, 0xff));
  assert.equal(codes(await other.rest()), "");
  assert.equal(await sendMail(secure.port), "250 message processed");
  assert.equal(takeStored(secure).length, 1);
});

test("TLS: a client cannot have the handshake done again and again", async () => {
  using ca = makeTestCa();
  const { combined } = ca.issue("relay.test", { names: ["relay.test"] });
  const secure = await TestRelay.start([
    ...["--server-tls-connection", `--server-tls-certificate=${combined}`],
  ]);
  const socket = connectTls({
    ...{ port: secure.port, host: "127.0.0.1", rejectUnauthorized: false, maxVersion: "TLSv1.2" },
  });
  const failed = await new Promise<boolean>((resolve) => {
    socket.on("error", () => resolve(true)).on("close", () => resolve(true));
    const again = (left: number): void => {
      if (left === 0) resolve(false);
      else socket.renegotiate({}, (error) => (error === null ? again(left - 1) : resolve(true)));
    };
    socket.once("secureConnect", () => again(20));
  });
  socket.destroy();
  assert.equal(failed, true);
  await using other = await RawClient.connect(`127.0.0.1:${secure.port}`);
  await other.startTls();
  assert.match(await other.reply(), /^220 /);
});

test("AUTH: garbage, endless base64 and guesses end the session, and are told with the address", async () => {
  const secrets = join(temporary(), "secrets");
  writeFileSync(secrets, "server plain alice e=mc2\n", { mode: 0o600 });
  const one = await TestRelay.start([`--server-auth=${secrets}`, "--max-auth-failures=3"]);
  const said = await attack(one.port, [
    `EHLO x\r\nAUTH PLAIN !!!!\r\nAUTH PLAIN ${"A".repeat(12_200)}\r\nAUTH PLAIN ${"A".repeat(2 ** 20)}\r\n`,
    "AUTH LOGIN\r\n====\r\nAUTH __proto__ x\r\nAUTH PLAIN AGFsaWNlAGJhZA==\r\nMAIL FROM:<a@b>\r\n",
  ]);
  assert.equal(codes(said), "220 250 501 535 500 334 535 504 421");
  await one.logged("client 127.0.0.1: failed authentication");
  assert.equal(one.files().length, 0);
});

test("asking for recipients without end is cut off, and told with the address", async () => {
  const one = await TestRelay.start(["--address-verifier=account:", "--max-refusals=10"]);
  const names = Array.from({ length: 30 }, (_, n) => `RCPT TO:<nobody-${n}@relay.test>\r\n`);
  const said = await attack(one.port, [`EHLO x\r\nMAIL FROM:<>\r\n${names.join("")}`]);
  assert.equal(codes(said), `220 250 250 ${"550 ".repeat(9)}421`);
  await one.logged("client 127.0.0.1: too many refused recipients");
  const asked = Array.from({ length: 30 }, (_, n) => `VRFY nobody-${n}\r\n`);
  const verified = await attack(one.port, [`EHLO x\r\n${asked.join("")}`]);
  assert.equal(codes(verified), `220 250 ${"550 ".repeat(9)}421`);
});

test("mistakes without end are cut off, and told with the address", async () => {
  const one = await TestRelay.start(["--max-errors=3"]);
  assert.equal(codes(await attack(one.port, ["x\r\n".repeat(1000)])), "220 500 500 500");
  await one.logged("client 127.0.0.1: too many protocol errors from the client");
});

test("connections beyond the limit are told 421, and the next one is served when another ends", async () => {
  const one = await TestRelay.start(["--max-connections=3"]);
  await until(() => one.log.includes("connection closed"));
  const all = await Promise.all(
    [1, 2, 3].map(async () => await RawClient.connect(`127.0.0.1:${one.port}`)),
  );
  for (const client of all) assert.match(await client.reply(), /^220 /);
  assert.equal(await attack(one.port, []), "421 4.3.2 too many connections\r\n");
  const [first] = all;
  assert.match((await first?.ask("QUIT")) ?? "", /^221/);
  first?.destroy();
  for (const client of all) client.destroy();
  await until(async () => (await sendMail(one.port).catch(() => "")).startsWith("250"));
});
