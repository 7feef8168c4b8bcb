/** The load: smtp-source sends, smtp-sink takes and counts (both come with Postfix). */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../support/catcher.ts";
import { canConnect, until } from "../support/relayd.ts";

export interface Load {
  readonly messages: number;
  readonly sessions: number;
  /** Of the content, about. */
  readonly bytes: number;
  /** Many messages over each connection. */
  readonly reuse: boolean;
}

/** Milliseconds until every message was accepted. */
export async function send(port: number, load: Load, signal?: AbortSignal): Promise<number> {
  const { messages, sessions, bytes, reuse } = load;
  const args = [
    ...["-s", `${Math.min(sessions, messages)}`, "-m", `${messages}`, "-l", `${bytes}`],
    ...["-f", "a@example.com", "-t", "b@example.net", ...(reuse ? ["-d"] : [])],
    `127.0.0.1:${port}`,
  ];
  const started = performance.now();
  const source = spawn("smtp-source", args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaint = "";
  source.stderr.on("data", (data: Buffer) => {
    complaint += data.toString("latin1");
  });
  const stop = () => void source.kill();
  const late = setTimeout(stop, 300_000);
  signal?.addEventListener("abort", stop);
  const [code] = (await once(source, "close")) as [number | null];
  clearTimeout(late);
  signal?.removeEventListener("abort", stop);
  signal?.throwIfAborted();
  if (code !== 0) throw new Error(`smtp-source: ${complaint.slice(0, 300)}`);
  return performance.now() - started;
}

export interface Sink extends Disposable {
  readonly port: number;
  readonly received: number;
  /** Resolves when it has so many; rejects when nothing comes any more. */
  reaches(count: number, signal?: AbortSignal): Promise<void>;
}

/** `distanceMs`: how long it takes to reach it and come back. */
export async function openSink(distanceMs = 0): Promise<Sink> {
  const port = await freePort();
  // It refuses to run as root.
  const user = process.getuid?.() === 0 ? ["-u", "nobody"] : [];
  const sink = spawn("smtp-sink", [...user, "-c", `127.0.0.1:${port}`, "1024"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const counter = follow(sink);
  await until(() => canConnect(port));
  const way =
    distanceMs === 0 ? { port, close: () => undefined } : await lengthen(port, distanceMs);
  return {
    port: way.port,
    get received() {
      return counter.received;
    },
    async reaches(count, signal) {
      let seen = -1;
      let since = performance.now();
      while (counter.received < count) {
        signal?.throwIfAborted();
        if (counter.received > seen) [seen, since] = [counter.received, performance.now()];
        if (performance.now() - since > 30_000) throw new Error(`the sink has ${seen} of ${count}`);
        await sleep(1);
      }
    },
    [Symbol.dispose]: () => {
      way.close();
      sink.kill();
    },
  };
}

/** A port from which it takes so long to reach this one and come back. */
export async function lengthen(
  port: number,
  distanceMs: number,
): Promise<{ readonly port: number; close(): void }> {
  const args = [join(import.meta.dirname, "distance.js"), String(port), String(distanceMs / 2)];
  const way = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [printed] = (await once(way.stdout, "data")) as [Buffer];
  return { port: Number(printed.toString("latin1")), close: () => void way.kill() };
}

/** It writes "sess=1 quit=1 mesg=1" again and again, each after a carriage return. */
function follow(sink: ChildProcess): { received: number } {
  const counter = { received: 0 };
  let rest = "";
  sink.stdout?.on("data", (data: Buffer) => {
    rest = `${rest}${data.toString("latin1")}`.slice(-200);
    const whole = rest.slice(0, rest.lastIndexOf("\r") + 1);
    const last = [...whole.matchAll(/mesg=(\d+)/g)].at(-1)?.[1];
    if (last !== undefined) counter.received = Number(last);
  });
  return counter;
}
