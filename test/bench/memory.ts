/** How much memory relayd takes for clients that do nothing, and for a large message. */
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openSink, send } from "./load.ts";
import { startRelayd } from "./mail-programs.ts";
import { memoryOf } from "./processes.ts";
import type { Finding } from "./report.ts";

export const MEMORY = "memory of relayd";

const CONNECTIONS = 1000;
const LARGE = 100 * 1024 ** 2;
const REST_MS = 2000;
const NONE = { connections: null, relaydOptions: [] } as const;

export async function measureMemory(
  directory: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const idle = await whileIdle(join(directory, "idle"), signal);
  return [...idle, ...(await whileLarge(join(directory, "large"), signal))];
}

async function whileIdle(directory: string, signal: AbortSignal): Promise<readonly Finding[]> {
  mkdirSync(directory);
  await using relayd = await startRelayd({ directory, sink: 9, mode: "hold", ...NONE });
  await sleep(REST_MS, undefined, { signal });
  const before = memoryOf(relayd.pid).now;
  const clients: Socket[] = [];
  try {
    for (let count = 0; count < CONNECTIONS; count++)
      clients.push(await greet(relayd.port, signal));
    await sleep(REST_MS, undefined, { signal });
    const after = memoryOf(relayd.pid).now;
    return [
      { name: "resident without clients", value: before, unit: "MB", goal: null },
      {
        name: `resident with ${CONNECTIONS} idle connections`,
        value: after,
        unit: "MB",
        goal: { atMost: 80 },
      },
    ];
  } finally {
    for (const client of clients) client.destroy();
  }
}

/** A client that has read the greeting and the reply to EHLO, and is silent from then on. */
async function greet(port: number, signal: AbortSignal): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "data", { signal });
  socket.write("EHLO client.test\r\n");
  await once(socket, "data", { signal });
  return socket;
}

/** The highest of three, each beside what was resident before it. */
async function whileLarge(directory: string, signal: AbortSignal): Promise<readonly Finding[]> {
  mkdirSync(directory);
  using sink = await openSink();
  const place = { directory, sink: sink.port, mode: "forward", ...NONE } as const;
  await using relayd = await startRelayd(place);
  const pass = async (messages: number, bytes: number) => {
    const expected = sink.received + messages;
    await send(relayd.port, { messages, sessions: 1, bytes, reuse: false }, signal);
    await sink.reaches(expected, signal);
    await sleep(REST_MS, undefined, { signal });
  };
  await pass(200, 1024);
  const added: number[] = [];
  for (let times = 0; times < 3; times++) {
    const before = memoryOf(relayd.pid).now;
    // Forgets the peak so far (proc(5), clear_refs).
    writeFileSync(`/proc/${relayd.pid}/clear_refs`, "5");
    await pass(1, LARGE);
    added.push(memoryOf(relayd.pid).peak - before);
  }
  const [value, name] = [Math.max(...added), "added by a message of 100 MB, most of three"];
  return [{ name, value, unit: "MB", goal: { atMost: 10 } }];
}
