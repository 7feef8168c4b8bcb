import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Clock } from "../../src/core/clock.ts";
import type { LogConfig } from "../../src/core/config.ts";
import type { Delivery, RelayEvent } from "../../src/core/events.ts";
import { newMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import { openLog } from "../../src/observe/targets.ts";

const START = new Date(2026, 10, 21, 1, 53, 26, 8).getTime();
const QUIET: LogConfig = {
  enabled: true,
  verbosity: 0,
  file: null,
  stderr: true,
  syslog: null,
  format: "text",
  fields: [],
};
const peer = { address: "127.0.0.1", port: 57830 };
const id = newMessageId(9330, 1795226071, 1);
const delivery: Delivery = {
  from: "alice@example.com",
  to: ["bob@example.net"],
  bytes: 1234,
  smarthost: "mail.example.net:587",
  peer: "192.0.2.1:587",
  tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
  account: "alice",
  code: 250,
  text: "2.0.0 Ok: queued as 12345",
  ms: 12.6,
};

class HandClock implements Clock {
  ms = START;
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    await systemClock.sleep(ms, signal);
  }
}

/** A directory whose file "stderr" stands for standard error. */
function bench() {
  const directory = mkdtempSync(join(tmpdir(), "relayd-log-"));
  const stderr = openSync(join(directory, "stderr"), "a+");
  const clock = new HandClock();
  return {
    directory,
    clock,
    open: (config: Partial<LogConfig>, fd = stderr) =>
      openLog({
        config: { ...QUIET, ...config },
        program: "relayd",
        pid: 4711,
        clock,
        group: null,
        stderr: fd,
      }),
    lines: (name = "stderr") =>
      readFileSync(join(directory, name), "utf8").split("\n").slice(0, -1),
    [Symbol.dispose]: () => {
      closeSync(stderr);
      rmSync(directory, { recursive: true });
    },
  };
}

function note(text: string, level: "info" | "warning" | "error" = "info"): RelayEvent {
  return { kind: "note", level, detail: false, text };
}

/** Every kind of event once, with every field. */
const EVENTS: readonly RelayEvent[] = [
  { kind: "listener.opened", server: "smtp", address: "127.0.0.1:25" },
  { kind: "forward.configured", address: "mail:25" },
  { kind: "secrets.reread", path: "/etc/relayd.auth" },
  { kind: "spool.recovered", id: "emailrelay.1.2.3", action: "back in the queue" },
  note("hello"),
  { kind: "session.opened", server: "smtp", peer, local: () => "127.0.0.1:25" },
  { kind: "session.refused", server: "smtp", peer, why: "not local" },
  { kind: "session.closed", server: "smtp", peer, why: "smtp protocol done" },
  { kind: "auth.accepted", peer, id: "alice", detail: "using ..." },
  { kind: "auth.refused", peer, id: "alice", detail: "using ..." },
  { kind: "client.misbehaved", peer, reason: "too many refused recipients" },
  { kind: "client.trusted", peer, pattern: "127.0.0.1", line: 3 },
  {
    kind: "recipient.refused",
    peer,
    recipient: "bob@x",
    reply: { code: 550, text: "mailbox unavailable" },
    why: "exit code 2",
  },
  { kind: "tls.established", peer, protocol: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" },
  { kind: "tls.failed", peer, why: "bad" },
  { kind: "traffic", direction: "rx", peer, text: "QUIT" },
  { kind: "content.created", id, peer },
  { kind: "envelope.created", id, peer },
  {
    kind: "message.accepted",
    id,
    peer,
    from: "a@b",
    to: ["c@d"],
    bytes: 10,
    account: "alice",
    tls: "",
    ms: 1.2,
  },
  {
    kind: "message.rejected",
    id,
    peer,
    from: "a@b",
    reply: { code: 550, text: "rejected" },
    why: "spam",
  },
  { kind: "message.abandoned", id },
  { kind: "forward.requested", reason: "poll" },
  { kind: "forward.busy", reason: "poll", queued: true, connectedTo: "1.2.3.4:25" },
  { kind: "forward.idle", tried: 1, error: "" },
  { kind: "forward.abandoned", id },
  { kind: "forward.message", id, selector: "s", forwardTo: "d", forwardToAddress: "1.2.3.4:25" },
  { kind: "smarthost.resolving", address: "mail:25" },
  { kind: "smarthost.connecting", address: "1.2.3.4:25" },
  { kind: "smarthost.connected", peer, local: "1.2.3.1:4000" },
  { kind: "smarthost.disconnected", peer, local: "1.2.3.1:4000" },
  { kind: "smarthost.authenticated", peer, tls: true, detail: "using ..." },
  { kind: "smarthost.failed", address: "", why: "refused" },
  { kind: "message.delivered", id, delivery },
  { kind: "message.failed", id, delivery },
  { kind: "message.deferred", id, delivery, retrySeconds: 60, unknown: false },
  { kind: "smarthost.paused", address: "mail.test:25", why: "x", seconds: 60 },
  { kind: "smarthost.resumed", address: "mail.test:25" },
  { kind: "message.queued", id, delivery },
];

const FIELDS: Readonly<Record<string, string>> = {
  "listener.opened": "server address",
  "forward.configured": "address",
  "secrets.reread": "path",
  "spool.recovered": "id action",
  note: "",
  "session.opened": "server peer local",
  "session.refused": "server peer why",
  "session.closed": "server peer why",
  "auth.accepted": "peer account detail",
  "auth.refused": "peer account detail",
  "client.misbehaved": "peer reason",
  "client.trusted": "peer pattern line",
  "recipient.refused": "peer recipient code text why",
  "tls.established": "peer protocol cipher",
  "tls.failed": "peer why",
  traffic: "direction peer text",
  "content.created": "id peer",
  "envelope.created": "id peer",
  "message.accepted": "id peer from to size account tls ms",
  "message.rejected": "id peer from code text why",
  "message.abandoned": "id",
  "forward.requested": "reason",
  "forward.busy": "reason queued connectedTo",
  "forward.idle": "tried error",
  "forward.abandoned": "id",
  "forward.message": "id selector forwardTo forwardToAddress",
  "smarthost.resolving": "address",
  "smarthost.connecting": "address",
  "smarthost.connected": "peer local",
  "smarthost.disconnected": "peer local",
  "smarthost.authenticated": "peer encrypted detail",
  "smarthost.failed": "address why",
  "message.delivered": "result id from to smarthost peer tls account code size text ms",
  "message.failed": "result id from to smarthost peer tls account code size text ms",
  "message.deferred":
    "result id from to smarthost peer tls account code size text ms retrySeconds unknown",
  "smarthost.paused": "address why seconds",
  "smarthost.resumed": "address",
  "message.queued": "result id from to smarthost peer tls account code size text ms",
};

test("openLog() writes the text lines of each verbosity to standard error", async () => {
  const written = (verbosity: number) => {
    using at = bench();
    const journal = at.open({ verbosity }).journal("");
    assert.equal(journal.detail, verbosity > 0);
    for (const event of EVENTS.slice(-12)) journal.tell(event);
    return at.lines().map((line) => line.replace("relayd: ", ""));
  };
  assert.equal(
    written(0).some((line) => line.includes("deleting envelope")),
    false,
  );
  assert.ok(written(1).includes(`info: deleting envelope [${id}.envelope.busy]`));
  assert.equal(written(1).includes("info: resolving mail:25"), false);
  assert.ok(written(2).includes("info: resolving mail:25"));
});

test("openLog() without --log writes nothing at all, not even errors", async () => {
  using at = bench();
  const log = at.open({ enabled: false, file: join(at.directory, "file"), verbosity: 2 });
  log.journal("").tell(note("trouble", "error"));
  log.reopen();
  await log.close();
  assert.equal(log.journal("").detail, false);
  assert.deepEqual(readdirSync(at.directory), ["stderr"]);
  assert.deepEqual(at.lines(), []);
});

test("journal() names its unit, and lines of a forwarded message its id, when asked for", () => {
  using at = bench();
  const log = at.open({ fields: ["unit", "msgid"], verbosity: 1 });
  const journal = log.journal("out");
  const routing = { selector: "", forwardTo: "", forwardToAddress: "" };
  journal.tell({ kind: "forward.message", id, ...routing });
  journal.tell({ kind: "smarthost.connected", peer, local: "" });
  journal.tell({ kind: "traffic", direction: "rx", peer, text: "220 hi" });
  journal.tell({ kind: "traffic", direction: "rx", peer: { ...peer, port: 1 }, text: "QUIT" });
  journal.tell({ kind: "message.queued", id, delivery });
  journal.tell({ kind: "traffic", direction: "tx", peer, text: "QUIT" });
  log.journal("").tell(note("plain"));
  const short = "9330.1795226071.1";
  assert.deepEqual(
    at.lines().map((line) => line.slice(0, 50)),
    [
      `relayd: info: [out] (${short}) forwarding`,
      `relayd: info: [out] (${short}) smtp conne`,
      `relayd: info: [out] (${short}) rx<<: "220`,
      'relayd: info: [out] rx<<: "QUIT"',
      `relayd: info: [out] (${short}) queued [em`,
      'relayd: info: [out] tx>>: "QUIT"',
      "relayd: info: plain",
    ],
  );
});

test("no peer can write a second line or a terminal sequence into the log", () => {
  using at = bench();
  const evil = "QUIT\r\nrelayd: info: all is well\u001b[2J\u009b2J\u2028x";
  for (const format of ["text", "json"] as const) {
    const journal = at.open({ format, verbosity: 1 }).journal("");
    journal.tell({ kind: "traffic", direction: "rx", peer, text: evil });
    journal.tell({ kind: "message.queued", id, delivery: { ...delivery, from: evil, to: [evil] } });
  }
  assert.equal(at.lines().length, 4);
  assert.doesNotMatch(at.lines().join(""), /[\p{Cc}\u2028]/u);
});

test("the log file replaces standard error, is made 0660 and appended to", async () => {
  using at = bench();
  const before = process.umask(0o007);
  const log = at.open({ file: join(at.directory, "log") });
  process.umask(before);
  log.journal("").tell(note("one"));
  await log.close();
  const again = at.open({ file: join(at.directory, "log") });
  again.journal("").tell(note("two", "error"));
  await again.close();
  assert.deepEqual(at.lines("log"), ["relayd: info: one", "relayd: error: two"]);
  assert.deepEqual(at.lines(), []);
  assert.equal(statSync(join(at.directory, "log")).mode & 0o777, 0o660);
});

test("openLog() throws for a log file that cannot be opened", () => {
  using at = bench();
  const file = join(at.directory, "none", "log");
  assert.throws(() => at.open({ file }), { message: `cannot open log file: ${file}` });
});

test("the log file follows %d and %h in local time", async () => {
  using at = bench();
  const log = at.open({ file: join(at.directory, "log-%d-%h") });
  const journal = log.journal("");
  journal.tell(note("early"));
  at.clock.ms = START + 6 * 60_000;
  journal.tell(note("same hour"));
  at.clock.ms = START + 7 * 60_000;
  journal.tell(note("next hour"));
  at.clock.ms = START + 24 * 3_600_000;
  journal.tell(note("next day"));
  await log.close();
  assert.deepEqual(at.lines("log-20261121-01"), ["relayd: info: early", "relayd: info: same hour"]);
  assert.deepEqual(at.lines("log-20261121-02"), ["relayd: info: next hour"]);
  assert.deepEqual(at.lines("log-20261122-01"), ["relayd: info: next day"]);
});

test("reopen() makes a new file after a rename, and keeps the old one where that fails", async () => {
  using at = bench();
  const file = join(at.directory, "log");
  const log = at.open({ file });
  const journal = log.journal("");
  journal.tell(note("one"));
  renameSync(file, `${file}.1`);
  log.reopen();
  journal.tell(note("two"));
  renameSync(file, `${file}.2`);
  mkdirSync(file);
  log.reopen();
  journal.tell(note("three"));
  await log.close();
  assert.deepEqual(at.lines("log.1"), ["relayd: info: one"]);
  assert.deepEqual(at.lines("log.2"), [
    "relayd: info: two",
    `relayd: error: cannot open log file: ${file}: going on with the present one`,
    "relayd: info: three",
  ]);
});

test("closeStderr() ends the lines on standard error but not those in the file", async () => {
  using at = bench();
  const screen = at.open({});
  screen.journal("").tell(note("one"));
  screen.closeStderr();
  screen.journal("").tell(note("two", "error"));
  const log = at.open({ file: join(at.directory, "log") });
  log.closeStderr();
  log.journal("").tell(note("three"));
  await log.close();
  assert.deepEqual(at.lines(), ["relayd: info: one"]);
  assert.deepEqual(at.lines("log"), ["relayd: info: three"]);
});

test("stderrLevel keeps information off standard error, warnings and errors still come", () => {
  using at = bench();
  const journal = at.open({ stderrLevel: "warnings" }).journal("");
  journal.tell(note("one"));
  journal.tell(note("two", "warning"));
  journal.tell(note("three", "error"));
  assert.deepEqual(at.lines(), ["relayd: warning: two", "relayd: error: three"]);
});

test("a full disk and a closed descriptor never throw into who tells", async () => {
  using at = bench();
  const full = at.open({ file: "/dev/full" });
  full.journal("").tell(note("one"));
  full.journal("").tell(note("two"));
  await full.close();
  at.open({}, 999_999).journal("").tell(note("nobody hears"));
});

test("a reader that does not read loses lines, is told how many, and gets whole lines only", async () => {
  using at = bench();
  const fifo = join(at.directory, "fifo");
  assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const log = at.open({ file: fifo });
  const journal = log.journal("");
  for (let i = 0; i < 200; i += 1) journal.tell(note(`${i} ${"x".repeat(900)}`));
  const text = await written(reader);
  journal.tell(note("after"));
  const rest = await written(reader);
  closeSync(reader);
  await log.close();
  const lines = (text + rest).split("\n").filter((line) => line !== "");
  const whole = lines.filter((line) => /^relayd: info: \d+ x{900}$/.test(line)).length;
  const reports = lines.flatMap(
    (line) => /^relayd: warning: (\d+) log lines lost$/.exec(line) ?? [],
  );
  const lost = reports.filter((_, i) => i % 2 === 1).reduce((sum, count) => sum + Number(count), 0);
  assert.equal(whole + lost, 200);
  assert.ok(lost > 0);
  assert.equal(lines.at(-1), "relayd: info: after");
});

test("lines that are told one after the other are written in their order, with one call", async () => {
  using at = bench();
  const file = join(at.directory, "fifo");
  assert.equal(spawnSync("mkfifo", [file]).status, 0);
  const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const log = at.open({ file });
  const journal = log.journal("");
  for (let i = 0; i < 20; i += 1) journal.tell(note(`${i}`));
  assert.equal(readAll(reader), "");
  const wanted = Array.from({ length: 20 }, (_, i) => `relayd: info: ${i}\n`).join("");
  assert.equal(await written(reader), wanted);
  closeSync(reader);
  await log.close();
});

test("what a client is promised, and whatever goes wrong, is in the log file at once", async () => {
  using at = bench();
  const log = at.open({ file: join(at.directory, "log") });
  const journal = log.journal("");
  journal.tell(note("before"));
  assert.deepEqual(at.lines("log"), []);
  for (const event of EVENTS.filter(({ kind }) => kind === "message.accepted")) journal.tell(event);
  assert.deepEqual(
    at.lines("log").map((line) => line.slice(0, 22)),
    ["relayd: info: before", "relayd: info: accepted"],
  );
  journal.tell(note("trouble", "warning"));
  assert.equal(at.lines("log").at(-1), "relayd: warning: trouble");
  journal.tell(note("more trouble", "error"));
  assert.equal(at.lines("log").at(-1), "relayd: error: more trouble");
  await log.close();
});

test("the last lines before process.exit() are in the log file", () => {
  using at = bench();
  const file = join(at.directory, "log");
  const module = join(import.meta.dirname, "../../src/observe/targets.js");
  const clock = join(import.meta.dirname, "../../src/io/clock.js");
  const config = JSON.stringify({ ...QUIET, file });
  const program = `
    const { openLog } = await import(${JSON.stringify(module)});
    const { systemClock: clock } = await import(${JSON.stringify(clock)});
    const log = openLog({ config: ${config}, program: "relayd", pid: 1, clock, group: null });
    log.journal("").tell({ kind: "note", level: "info", detail: false, text: "last words" });
    process.exit(1);
  `;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program]);
  assert.equal(status, 1, stderr.toString());
  assert.deepEqual(at.lines("log"), ["relayd: info: last words"]);
});

/** What comes next. */
async function written(fd: number): Promise<string> {
  for (;;) {
    const text = readAll(fd);
    if (text !== "") return text;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function readAll(fd: number): string {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(65536);
    try {
      const size = readSync(fd, chunk);
      if (size === 0) break;
      chunks.push(chunk.subarray(0, size));
    } catch {
      break; // EAGAIN: nothing left.
    }
  }
  return Buffer.concat(chunks).toString();
}

test("--log-format=json writes one line per event with the documented fields in their order", () => {
  using at = bench();
  const journal = at.open({ format: "json", verbosity: 2 }).journal("");
  for (const event of EVENTS) journal.tell(event);
  const records = at.lines().map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(records.length, EVENTS.length);
  assert.deepEqual(
    records.map((record) => Object.keys(record).join(" ")),
    EVENTS.map(({ kind }) =>
      `level time program pid event ${FIELDS[kind]} msg`.replaceAll("  ", " "),
    ),
  );
});

test("--log-format=json tells a finished attempt with everything an operator looks for", () => {
  using at = bench();
  const journal = at.open({ format: "json" }).journal("out");
  journal.tell({ kind: "message.delivered", id, delivery });
  journal.tell({
    kind: "message.accepted",
    id,
    peer,
    from: "",
    to: ["c@d"],
    bytes: 5,
    account: "",
    tls: "",
    ms: 0.4,
  });
  journal.tell({ kind: "smarthost.resolving", address: "only twice verbose" });
  const [first = "", second = "", ...more] = at.lines();
  assert.deepEqual(more, []);
  assert.deepEqual(JSON.parse(first), {
    level: "info",
    time: new Date(START).toISOString(),
    program: "relayd",
    pid: 4711,
    unit: "out",
    event: "message.delivered",
    result: "delivered",
    id: "emailrelay.9330.1795226071.1",
    from: "alice@example.com",
    to: ["bob@example.net"],
    smarthost: "mail.example.net:587",
    peer: "192.0.2.1:587",
    tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
    account: "alice",
    code: 250,
    size: 1234,
    text: "2.0.0 Ok: queued as 12345",
    ms: 13,
    msg:
      "delivered [emailrelay.9330.1795226071.1]: from=<alice@example.com> to=<bob@example.net> " +
      "size=1234 smarthost=mail.example.net:587 peer=192.0.2.1:587 " +
      "tls=TLSv1.3/TLS_AES_256_GCM_SHA384 account=alice code=250 ms=13 " +
      'text="2.0.0 Ok: queued as 12345"',
  });
  const accepted = JSON.parse(second) as Record<string, unknown>;
  assert.equal(accepted.peer, "127.0.0.1:57830");
  assert.equal(accepted.size, 5);
  assert.equal(accepted.from, "");
});

test("--log-format=json says warning and error as the text does, and how much it lost", () => {
  using at = bench();
  const journal = at.open({ format: "json" }).journal("");
  journal.tell(note("one", "warning"));
  journal.tell(note("two", "error"));
  const levels = at.lines().map((line) => (JSON.parse(line) as { level: string }).level);
  assert.deepEqual(levels, ["warning", "error"]);
});

test("docs/logging.md documents every event with each of its fields", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../docs/logging.md"), "utf8");
  const kinds = readFileSync(
    join(import.meta.dirname, "../../../src/core/events.ts"),
    "utf8",
  ).matchAll(/kind: "([a-z.]+)"/g);
  const missing = [...kinds].flatMap(([, kind = ""]) => {
    const row = text.split("\n").find((line) => line.startsWith(`| \`${kind}\` |`)) ?? "";
    const fields = FIELDS[kind]?.split(" ").filter((field) => field !== "") ?? [
      "(not in the test)",
    ];
    const absent = fields.filter((field) => !row.includes(`\`${field}\``));
    return row === "" || absent.length > 0 ? [`${kind}: ${absent.join(" ")}`] : [];
  });
  assert.deepEqual(missing, []);
});
