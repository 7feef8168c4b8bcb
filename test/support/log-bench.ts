/** Logs whose lines a test can read, and every kind of event. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import type { LogConfig } from "../../src/core/config.ts";
import type { Delivery, RelayEvent } from "../../src/core/events.ts";
import { newMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import { openLog } from "../../src/observe/targets.ts";

export const START = new Date(2026, 10, 21, 1, 53, 26, 8).getTime();
export const QUIET: LogConfig = {
  enabled: true,
  verbosity: 0,
  file: null,
  stderr: true,
  syslog: null,
  format: "text",
  fields: [],
};
export const peer = { address: "127.0.0.1", port: 57830 };
export const id = newMessageId(9330, 1795226071, 1);
export const delivery: Delivery = {
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
export function logBench() {
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

export function note(text: string, level: "info" | "warning" | "error" = "info"): RelayEvent {
  return { kind: "note", level, detail: false, text };
}

/** Every kind of event once, with every field. */
export const EVENTS: readonly RelayEvent[] = [
  { kind: "listener.opened", server: "smtp", address: "127.0.0.1:25" },
  { kind: "secrets.configured", server: "pop", path: "/etc/relayd.auth" },
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
  { kind: "forward.skipped", id, why: "left for another run" },
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
  { kind: "smarthost.paused", address: "mail.test:25", account: "", why: "x", seconds: 60 },
  { kind: "smarthost.resumed", address: "mail.test:25", account: "" },
  { kind: "message.queued", id, delivery },
];
