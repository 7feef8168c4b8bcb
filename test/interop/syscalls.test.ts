import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { present, runPeer } from "../support/peer.ts";
import { bin, canConnect, sendMail, temporary, temporarySpool, until } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

/** What the kernel is asked for, and in which order, seen by strace from outside. */
const skip = present("strace") || (await cannotTrace());

async function cannotTrace(): Promise<string | false> {
  if (process.env.CI === "true") return false;
  const { code } = await runPeer("strace", ["-f", "-o", "/dev/null", "true"]);
  return code === 0 ? false : "strace may not trace here";
}

const CALLS = [
  ...["fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat"],
  ...["write", "writev", "pwrite64", "sendto", "sendmsg", "read", "recvfrom"],
];

/** One call; `start` and `end` count the lines of the trace, so a thread's call has both. */
interface Call {
  readonly name: string;
  /** Arguments, with the paths of descriptors: "21</tmp/spool/x.content>". */
  readonly text: string;
  readonly start: number;
  end: number;
}

/** Calls in the order in which they began. */
function readTrace(trace: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<string, Call>();
  for (const [at, line] of trace.split("\n").entries()) {
    const [, thread = "", rest = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>(.*)/.exec(rest);
    const begun = /^(\w+)\((.*)$/.exec(rest);
    if (resumed !== null) {
      const call = unfinished.get(thread);
      if (call === undefined) continue;
      call.end = at;
      // What was read is only known at the end.
      calls[calls.indexOf(call)] = { ...call, text: call.text + (resumed[1] ?? "") };
    } else if (begun !== null) {
      const [, name = "", text = ""] = begun;
      const call = { name, text, start: at, end: at };
      calls.push(call);
      if (text.endsWith("<unfinished ...>")) unfinished.set(thread, call);
    }
  }
  return calls;
}

interface Traced {
  readonly port: number;
  readonly spool: string;
  /** Ends relayd and resolves to what it did. */
  calls(): Promise<Call[]>;
}

async function traced(spool: string, ...options: readonly string[]): Promise<Traced> {
  const port = await freePort();
  const folder = temporary();
  const output = join(folder, "trace");
  const pidFile = join(folder, "pid");
  const strace = ["-f", "-y", "-s", "200", "-e", `trace=${CALLS.join(",")}`, "-o", output];
  const relayd = [
    ...[bin("relayd"), "--no-daemon", "--user=root", "--domain=relay.test"],
    ...[`--spool-dir=${spool}`, "--interface=127.0.0.1", `--port=${port}`],
    ...[`--pid-file=${pidFile}`, ...options],
  ];
  const child = spawn("strace", [...strace, process.execPath, ...relayd], { stdio: "ignore" });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  // strace holds signals back from itself: relayd is to end, and strace with it.
  const end = (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || !existsSync(pidFile)) return;
    process.kill(Number(readFileSync(pidFile, "utf8")), signal);
  };
  after(() => {
    end("SIGKILL");
    child.kill("SIGKILL");
  });
  await until(async () => existsSync(pidFile) && (await canConnect(port)));
  return {
    port,
    spool,
    calls: async () => {
      end("SIGTERM");
      await ended;
      return readTrace(readFileSync(output, "latin1"));
    },
  };
}

const isSync = ({ name }: Call): boolean => name === "fsync" || name === "fdatasync";
const isRename = ({ name }: Call): boolean => name.startsWith("rename");
const accepts = ({ name, text }: Call): boolean =>
  /^(?:write|send)/.test(name) && text.includes("250 message processed");

/** Those that make a message visible, with its id. */
function commits(calls: readonly Call[]): { id: string; rename: Call }[] {
  return calls.flatMap((rename) => {
    const id = /"[^"]*\/([^"/]+)\.envelope\.new", .*"[^"]*\.envelope"/.exec(rename.text)?.[1];
    return isRename(rename) && id !== undefined ? [{ id, rename }] : [];
  });
}

/** Throws unless everything that 250 promises was on the disk before each 250. Resolves to the number of messages. */
function assertDurable(calls: readonly Call[], spool: string): number {
  const found = commits(calls);
  const durableAt = found.map(({ id, rename }) => {
    for (const file of [`${id}.content`, `${id}.envelope.new`]) {
      const written = calls.filter((call) => writes(call) && call.text.includes(`/${file}>`));
      const lastWrite = written.at(-1)?.end ?? 0;
      const synced = calls.some(
        (call) =>
          isSync(call) &&
          call.text.includes(`/${file}>`) &&
          call.start > lastWrite &&
          call.end < rename.start,
      );
      assert.ok(written.length > 0 && synced, `${file} is not synced before it is published`);
    }
    const directory = calls.find(
      (call) => isSync(call) && call.text.includes(`<${spool}>`) && call.start > rename.end,
    );
    assert.ok(directory !== undefined, `the directory is not synced after ${id} is published`);
    return directory.end;
  });
  const replies = calls.filter(accepts);
  assert.equal(replies.length, found.length);
  for (const [n, reply] of replies.entries()) {
    const durable = durableAt.filter((at) => at < reply.start).length;
    assert.ok(durable > n, `250 number ${n + 1} comes when ${durable} messages are durable`);
  }
  return found.length;
}

const writes = ({ name }: Call): boolean => /^p?write/.test(name);

test("250 is said after content and envelope, the rename and the directory are synced", {
  skip,
}, async () => {
  const relay = await traced(temporarySpool());
  for (let n = 0; n < 3; n++) {
    assert.match(await sendMail(relay.port), /^250 message processed/);
  }
  // Larger than what is kept in memory before it is written.
  const content = `${"x".repeat(70)}\r\n`.repeat(20_000);
  assert.match(await sendMail(relay.port, { content }), /^250 message processed/);
  assert.equal(assertDurable(await relay.calls(), relay.spool), 4);
});

test("the order holds for messages that arrive at the same time", { skip }, async () => {
  const relay = await traced(temporarySpool());
  const sessions = Array.from({ length: 12 }, async () => {
    await sendMail(relay.port);
    await sendMail(relay.port);
  });
  await Promise.all(sessions);
  assert.equal(assertDurable(await relay.calls(), relay.spool), 24);
});

test("--no-sync syncs nothing for a message", { skip }, async () => {
  const relay = await traced(temporarySpool(), "--no-sync");
  await sendMail(relay.port);
  const calls = await relay.calls();
  const [commit] = commits(calls);
  assert.ok(commit !== undefined);
  assert.deepEqual(
    calls.filter((call) => isSync(call) && call.text.includes(commit.id)),
    [],
  );
});

test("a message is removed after the smarthost's 250 was read, envelope first", {
  skip,
}, async () => {
  const smarthost = await openCatcher();
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const options = [`--forward-to=${smarthost.address}`, "--forward"];
  const relay = await traced(spool, ...options);
  await smarthost.caught(1);
  const calls = await relay.calls();
  const at = (name: RegExp, text: RegExp): number => {
    const call = calls.find((one) => name.test(one.name) && text.test(one.text));
    assert.ok(call !== undefined, `no ${name} ${text}`);
    return call.start;
  };
  const steps = [
    at(/^rename/, /\.1\.envelope", .*\.1\.envelope\.busy"/),
    at(/^(?:write|send)/, /"Subject: put/),
    at(/^(?:read|recv)/, /"250 caught/),
    at(/^unlink/, /\.1\.envelope\.busy"/),
    at(/^unlink/, /\.1\.content"/),
  ];
  assert.deepEqual(
    steps,
    steps.toSorted((one, other) => one - other),
  );
});
