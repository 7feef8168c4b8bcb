import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import {
  runProgram,
  sendMail,
  TestRelay,
  temporary,
  temporarySpool,
  until,
} from "../support/relayd.ts";
import { script } from "../support/scripts.ts";
import { putMessage } from "../support/spool-files.ts";

/** A relay without a smarthost and the reply to one message. */
async function replyWith(...args: readonly string[]) {
  const relay = await TestRelay.start(args);
  const reply = await sendMail(relay.port);
  return { relay, reply };
}

async function forwardOnce(spool: string, address: string, ...more: readonly string[]) {
  return await runProgram("relayd", [
    ...[`--as-client=${address}`, `--spool-dir=${spool}`, "--domain=relay.test", "--user=root"],
    ...more,
  ]);
}

test("--filter runs a program with both files, a bare environment and no shell in between", async () => {
  const out = join(temporary(), "out $(touch x)");
  const filter = script(
    `exec > '${out}'`,
    'echo "$#"; echo "$1"; echo "$2"; pwd; umask',
    "tr '\\0' '\\n' < /proc/$$/environ | tr '\\t' T | sort | tr '\\n' ,",
    'grep -c . "$1" "$2" > /dev/null && echo readable',
  );
  const { relay, reply } = await replyWith(`--filter=${filter}`);
  assert.equal(reply, "250 message processed");
  const [content = ""] = relay.files();
  const base = join(relay.spool, content.replace(".content", ""));
  assert.deepEqual(readFileSync(out, "utf8").trimEnd().split("\n"), [
    "2",
    `${base}.content`,
    `${base}.envelope.new`,
    "/",
    "0077",
    ",IFS= T,PATH=/usr/bin:/bin,readable",
  ]);
});

test("what --filter makes of a message is what is stored and forwarded", async () => {
  const smarthost = await openCatcher();
  const filter = script(
    '{ printf "X-Seen: yes\\r\\n"; cat "$1"; } > "$1.tmp" && mv "$1.tmp" "$1"',
    'sed -i "s/bob@example.net/carol@example.net/" "$2"',
    "exit 103",
  );
  const relay = await TestRelay.start([
    `--filter=exit:0,${filter}`,
    `--forward-to=${smarthost.address}`,
  ]);
  assert.equal(await sendMail(relay.port), "250 message processed");
  const [caught] = await smarthost.caught(1);
  assert.deepEqual(caught?.to, ["carol@example.net"]);
  assert.match(caught?.content ?? "", /^X-Seen: yes\r\nReceived: /);
  assert.ok(relay.log.includes("forwarding: [rescan]"));
});

test("--filter refuses with its own words, and nothing is kept", async () => {
  const cases: readonly [string, string][] = [
    ['echo "<<no thanks>>"; exit 1', "452 no thanks"],
    ['echo "<<550 go away>>"; echo "[[secret reason]]"; exit 1', "550 go away"],
    ["echo nothing; exit 7", "452 rejected"],
    ["kill -9 $$", "452 rejected"],
    ['rm "$1" "$2"; exit 0', "452 rejected"],
    ['rm "$1"; ln -s /etc/passwd "$1"; exit 0', "452 rejected"],
  ];
  for (const [body, wanted] of cases) {
    const { relay, reply } = await replyWith(`--filter=${script(body)}`);
    assert.equal(reply, wanted, body);
    assert.deepEqual(relay.files(), [], body);
    if (body.includes("secret"))
      assert.ok(relay.log.includes("rejected by filter: [secret reason]"));
  }
});

test("exit: acts like a program with that exit code", async () => {
  const wanted: Readonly<Record<number, [string, boolean]>> = {
    0: ["250", true],
    99: ["452", false],
    100: ["250", true],
    101: ["250", true],
    103: ["250", true],
    104: ["452", false],
    105: ["452", false],
    106: ["452", false],
  };
  for (const [code, [reply, kept]] of Object.entries(wanted)) {
    const one = await replyWith(`--filter=exit:${code}`);
    assert.equal(one.reply.slice(0, 3), reply, `exit:${code}`);
    assert.equal(one.relay.files().length > 0, kept, `exit:${code}`);
  }
});

test("a filter that takes the message away may say 100", async () => {
  const away = temporary();
  const filter = script(`mv "$1" "$2" ${away}; exit 100`);
  const { relay, reply } = await replyWith(`--filter=${filter}`);
  assert.equal(reply, "250 message processed");
  assert.deepEqual(relay.files(), []);
  assert.equal(readdirSync(away).length, 2);
});

test("--filter-timeout kills the whole process group and answers 452", async () => {
  const mark = join(temporary(), "pid");
  const filter = script(`sleep 600 & echo $! > ${mark}`, "wait");
  const { relay, reply } = await replyWith(`--filter=${filter}`, "--filter-timeout=1");
  assert.equal(reply, "452 error");
  assert.deepEqual(relay.files(), []);
  const pid = readFileSync(mark, "utf8").trim();
  await until(() => !existsSync(`/proc/${pid}`) || /^State:\s+Z/m.test(statusOf(pid)));
  assert.match(relay.log, /filter \[script\] timed out after 1s/);
});

function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "State: Z";
  }
}

test("a filter that prints megabytes, or leaves a child behind, holds nobody up", async () => {
  const loud = await replyWith(
    `--filter=${script("head -c 20000000 /dev/zero | tr '\\0' x", "exit 0")}`,
  );
  assert.equal(loud.reply, "250 message processed");
  const forking = await replyWith(`--filter=${script("sleep 20 &", "exit 0")}`);
  assert.equal(forking.reply, "250 message processed");
});

test("--filter=net: asks a service once for each message, over a unix socket too", async () => {
  const path = join(temporary(), "socket");
  const asked: string[] = [];
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on("data", (data) => {
      asked.push(String(data));
      socket.write(asked.length === 1 ? "ok\n" : "550 no more\tsecond\n");
    });
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  after(() => server.close());
  const relay = await TestRelay.start([`--filter=net:${path}`]);
  assert.equal(await sendMail(relay.port), "250 message processed");
  assert.equal(await sendMail(relay.port), "550 no more");
  assert.match(asked[0] ?? "", /^\/.*\.content\n$/);
  assert.equal(connections, 2);
  assert.ok(relay.log.includes("rejected by filter: [second]"));
});

test("--filter=net: with nobody there refuses with 452 and loses nothing", async () => {
  const { relay, reply } = await replyWith(`--filter=net:127.0.0.1:${await freePort()}`);
  assert.equal(reply, "452 failed");
  assert.deepEqual(relay.files(), []);
});

test("--filter=msgid: adds what is missing", async () => {
  const { relay, reply } = await replyWith("--filter=msgid:");
  assert.equal(reply, "250 message processed");
  const [content = ""] = relay.files();
  const text = readFileSync(join(relay.spool, content), "latin1");
  assert.match(text, /^Message-ID: <[\d.]+@relay\.test>\r\n/);
});

test("--client-filter passes, refuses, leaves or stops", async () => {
  const smarthost = await openCatcher();
  const run = async (filter: string) => {
    const spool = temporarySpool();
    putMessage(spool, "emailrelay.1.1.1");
    putMessage(spool, "emailrelay.1.1.2");
    const before = smarthost.messages.length;
    await forwardOnce(spool, smarthost.address, `--client-filter=${filter}`);
    const files = readdirSync(spool).filter((name) => /envelope/.test(name));
    return { spool, files: files.sort(), sent: smarthost.messages.length - before };
  };
  assert.equal((await run("exit:0")).sent, 2);
  const refused = await run(script('echo "<<550 not this>>"; echo "<<why>>"; exit 1'));
  assert.equal(refused.sent, 0);
  assert.deepEqual(refused.files, [
    "emailrelay.1.1.1.envelope.bad",
    "emailrelay.1.1.2.envelope.bad",
  ]);
  const envelope = readFileSync(join(refused.spool, refused.files[0] ?? ""), "latin1");
  assert.match(envelope, /X-MailRelay-Reason: why\r\n.*X-MailRelay-ReasonCode: 550\r\n/s);
  assert.deepEqual((await run("exit:100")).files, [
    "emailrelay.1.1.1.envelope",
    "emailrelay.1.1.2.envelope",
  ]);
  const stopped = await run("exit:102");
  assert.equal(stopped.sent, 1);
  assert.deepEqual(stopped.files, ["emailrelay.1.1.2.envelope"]);
  // However long it takes, nothing else begins meanwhile.
  for (const stop of ["exit:105", script("sleep 0.6; exit 105")]) {
    assert.deepEqual((await run(stop)).files, [
      "emailrelay.1.1.1.envelope.bad",
      "emailrelay.1.1.2.envelope",
    ]);
  }
});

test("--immediate tells the client what --client-filter says", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    "--immediate",
    `--forward-to=${smarthost.address}`,
    `--client-filter=${script('echo "<<not this>>"; exit 1')}`,
  ]);
  assert.equal(await sendMail(relay.port), "452 not this");
  assert.deepEqual(smarthost.messages, []);
});

test("--immediate leaves what --filter has made local in the queue, and the client hears 250", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    "--immediate",
    `--forward-to=${smarthost.address}`,
    `--filter=${script('sed -i "s/-To-Remote: .*@example.net/-To-Local: bob/" "$2"')}`,
  ]);
  assert.equal(await sendMail(relay.port), "250 message processed");
  assert.match(relay.files().join(" "), /^\S+\.content \S+\.envelope$/);
  assert.equal(await sendMail(relay.port, { to: ["x@x.test"] }), "250 message processed");
  assert.deepEqual(
    smarthost.messages.map(({ to }) => to),
    [["x@x.test"]],
  );
});

test("--immediate forwards what --filter has made remote before the client hears 250", async () => {
  const sent: string[] = [];
  const smarthost = await openCatcher({
    dot: ({ to }) => {
      sent.push(...to);
      return "554 5.7.1 spam";
    },
  });
  const relay = await TestRelay.start([
    "--immediate",
    `--forward-to=${smarthost.address}`,
    `--address-verifier=${script("echo Bob; echo bob")}`,
    `--filter=${script('sed -i "s/-To-Local: bob/-To-Remote: bob@x.test/" "$2"')}`,
  ]);
  assert.equal(await sendMail(relay.port), "554 5.7.1 spam");
  assert.deepEqual(sent, ["bob@x.test"]);
});

test("a filter that does not exist is a warning at start, and refuses mail", async () => {
  const { relay, reply } = await replyWith("--filter=/no/such/filter");
  assert.equal(reply, "452 rejected");
  assert.match(relay.stderr + relay.log, /filter program does not exist: \/no\/such\/filter/);
  assert.match(relay.log, /filter exec error/);
});

test("a filter that cannot be looked at is a warning at start, and refuses mail", async () => {
  const folder = temporary();
  const loop = join(folder, "loop");
  symlinkSync(loop, loop);
  const { relay, reply } = await replyWith(
    `--filter=${loop}`,
    `--client-filter=${folder}`,
    "--forward-to=127.0.0.1:1",
  );
  assert.equal(reply, "452 rejected");
  assert.match(
    relay.stderr,
    new RegExp(`^relayd: warning: filter program does not exist: ${loop}`),
  );
  assert.match(relay.stderr, new RegExp(`^relayd: warning: invalid program: ${folder}$`, "m"));
});

test("a filter of an unknown kind is refused at start", async () => {
  const { code, stderr } = await runProgram("relayd", ["--as-server", "--filter=foo:bar"]);
  assert.equal(code, 1);
  assert.match(stderr, /invalid filter specification: unknown type: foo:/);
});
