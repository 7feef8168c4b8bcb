import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { dialogue, runProgram, TestRelay, temporary } from "../support/relayd.ts";
import { script } from "../support/scripts.ts";

/** The replies to one recipient and to one VRFY. */
async function judged(verifier: string, recipient: string, ...more: readonly string[]) {
  const relay = await TestRelay.start([`--address-verifier=${verifier}`, ...more]);
  const replies = await dialogue(relay.port, [
    "EHLO client.test",
    `VRFY ${recipient}`,
    "MAIL FROM:<alice@example.com>",
    `RCPT TO:<${recipient}>`,
    "QUIT",
  ]);
  return { relay, vrfy: replies[2], rcpt: replies[4] };
}

test("--address-verifier runs a program with six arguments and no shell in between", async () => {
  const out = join(temporary(), "out");
  const { rcpt, relay } = await judged(
    script(
      `for a; do printf '%s\\n' "[$a]"; done > ${out}`,
      "echo; echo 'other@example.net'; exit 1",
    ),
    "$(id)@example.net",
    "--anonymous=server",
  );
  assert.equal(rcpt, "250 recipient <$(id)@example.net> OK");
  const [to, from, client, domain, mechanism, id] = readFileSync(out, "utf8").split("\n");
  assert.deepEqual(
    [to, from, domain, mechanism, id],
    ["[$(id)@example.net]", "[alice@example.com]", "[relay.test]", "[none]", "[]"],
  );
  assert.match(client ?? "", /^\[127\.0\.0\.1:\d+\]$/);
  assert.match(relay.log, /address verifier: executing \[/);
});

test("what an address verifier says decides", async () => {
  const cases: readonly [string, string][] = [
    ["echo 'Bob B'; echo bob; exit 0", "250 recipient <bob@x.test>  OK"],
    ["echo; echo bob@y.test; exit 1", "250 recipient <bob@x.test> OK"],
    ["echo no such person; echo because; exit 2", "550 no such person"],
    ["echo come back; exit 3", "450 come back"],
    ["exit 3", "450 mailbox unavailable"],
    ["exit 9", "550 mailbox unavailable"],
  ];
  for (const [body, wanted] of cases) {
    const { rcpt } = await judged(script(body), "bob@x.test");
    assert.equal(rcpt, wanted, body);
  }
});

test("local and remote recipients are stored as the verifier names them", async () => {
  const verifier = script(
    'case "$1" in',
    "  local*) echo 'Local User'; echo mailbox; exit 0 ;;",
    "  *) echo; echo changed@y.test; exit 1 ;;",
    "esac",
  );
  const relay = await TestRelay.start([`--address-verifier=${verifier}`]);
  await dialogue(relay.port, [
    "EHLO client.test",
    "MAIL FROM:<alice@example.com>",
    "RCPT TO:<local@x.test>",
    "RCPT TO:<bob@x.test>",
    "DATA",
    "Subject: x\r\n\r\nbody\r\n.",
    "QUIT",
  ]);
  const [, envelope = ""] = relay.files();
  const text = readFileSync(join(relay.spool, envelope), "latin1");
  assert.match(text, /To-Local: mailbox\r\nX-MailRelay-To-Remote: changed@y\.test\r\n/);
});

test("a verifier that aborts ends the connection at once, without a reply", async () => {
  const relay = await TestRelay.start([`--address-verifier=${script("exit 100")}`]);
  const replies = await dialogue(relay.port, [
    "EHLO client.test",
    "MAIL FROM:<alice@example.com>",
    "RCPT TO:<bob@x.test>",
    "NOOP",
  ]);
  assert.equal(replies.length, 3);
});

test("a verifier that hangs is killed after --filter-timeout, and the answer is temporary", async () => {
  const { rcpt } = await judged(script("sleep 600"), "bob@x.test", "--filter-timeout=1");
  assert.equal(rcpt, "450 timeout");
});

test("--address-verifier=net: asks over one connection for a session", async () => {
  const path = join(temporary(), "socket");
  const asked: string[] = [];
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on("error", () => undefined);
    socket.on("data", (data) => {
      asked.push(String(data));
      socket.write(asked.length === 1 ? "0|bob|Bob B\n" : "3|not now|why\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  after(() => server.close());
  const { vrfy, rcpt, relay } = await judged(`net:${path}`, "bob@x.test");
  assert.match(vrfy ?? "", /^250 /);
  assert.equal(rcpt, "450 not now");
  assert.equal(connections, 1);
  assert.match(asked[0] ?? "", /^bob@x\.test\|\|127\.0\.0\.1:\d+\|relay\.test\|none\|\n$/);
  assert.match(relay.log, /rejecting recipient "bob@x\.test": not now: why/);
});

test("--address-verifier=account: looks for system accounts", async () => {
  const range = "account:0-70000";
  assert.match((await judged(range, "daemon@relay.test")).rcpt ?? "", /^250/);
  assert.match((await judged(range, "nosuchuser@relay.test")).rcpt ?? "", /^550 rejected/);
  assert.match((await judged(range, "daemon@other.test")).rcpt ?? "", /^550 rejected/);
});

test("--address-verifier=exit: accepts, and an unknown kind is refused at start", async () => {
  assert.match((await judged("exit:3", "bob@x.test")).rcpt ?? "", /^250/);
  const { code, stderr } = await runProgram("relayd", ["--as-server", "--address-verifier=x:y"]);
  assert.equal(code, 1);
  assert.match(stderr, /invalid verifier specification: unknown type: x:/);
});
