/**
 * The built-in trial smarthost: catches on loopback what a trial relay forwards, keeps the last
 * messages as files and says one line about each. For trying relayd out; it promises nothing.
 */
import { createWriteStream, openSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from "smtp-server";
import { describeError } from "../core/errors.ts";
import { systemClock } from "../io/clock.ts";
import { oneLine, previewSubject } from "./preview.ts";

interface TrialOptions {
  /** Where the messages are kept; made when missing. */
  readonly directory: string;
  /** How many messages stay there. */
  readonly keep: number;
  /** Gets one line per message, without a line end and without control characters. */
  readonly print: (line: string) => void;
}

interface TrialSmarthost {
  /** The port on 127.0.0.1. */
  readonly port: number;
  /** Stops listening, gives sessions under way a second, resolves when the port is free. */
  readonly close: () => Promise<void>;
}

/** Bytes of a message that are looked at for its subject. */
const PREVIEW_BYTES = 64 * 1024;

/** What a catcher has no use for. The library answers the last three with jokes, and would offer
 *  STARTTLS with a certificate whose key everybody knows. */
const REFUSED_COMMANDS = ["AUTH", "STARTTLS", "WIZ", "SHELL", "KILL"];

/** Listens on 127.0.0.1, on a port that the system chooses, and accepts every message. */
export async function openTrialSmarthost(options: TrialOptions): Promise<TrialSmarthost> {
  await mkdir(options.directory, { recursive: true });
  let count = 0;
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: REFUSED_COMMANDS,
    hideSTARTTLS: true,
    disableReverseLookup: true,
    lenientAddressParsing: true,
    maxAllowedUnauthenticatedCommands: false,
    closeTimeout: 1000,
    banner: "relayd trial smarthost",
    onData: (stream, session, callback) => {
      count += 1;
      receive(stream, session, options, count).then(
        (name) => callback(null, `Kept as ${name}`),
        (error: unknown) => {
          options.print(`trial: cannot keep a message: ${oneLine(describeError(error), 200)}`);
          // What the failed writing left unread must still be read, or the session never ends.
          stream.resume();
          callback(Object.assign(new Error("Cannot keep the message"), { responseCode: 451 }));
        },
      );
    },
  });
  // A client that vanishes or talks nonsense is its own trouble; unheard, the event would be thrown.
  server.on("error", () => undefined);
  const port = await listen(server);
  return {
    port,
    close: async () => await new Promise((resolve) => server.close(() => resolve())),
  };
}

async function listen(server: SMTPServer): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      server.server.off("error", reject);
      resolve();
    });
  });
  const address = server.server.address() as AddressInfo;
  return address.port;
}

/** Writes the message under a name that nobody looks at, then gives it its own: what a person sees
 *  in the folder is always whole. */
async function receive(
  stream: SMTPServerDataStream,
  session: SMTPServerSession,
  options: TrialOptions,
  count: number,
): Promise<string> {
  const arrived = new Date(systemClock.now()).toISOString();
  const name = `${arrived.replace(/[-:]/g, "").replace("T", "-")}-${String(count).padStart(4, "0")}.eml`;
  const path = join(options.directory, name);
  const partial = join(options.directory, `.${name}.part`);
  const start = startOf(stream);
  try {
    // Opened before anything is waited for: what a thread opens may come after its removal.
    await pipeline(stream, createWriteStream(partial, { fd: openSync(partial, "w") }));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  options.print(describe(arrived, session, await previewSubject(start.bytes()), path));
  await removeOldest(options).catch((error: unknown) => {
    options.print(`trial: cannot tidy ${options.directory}: ${oneLine(describeError(error), 200)}`);
  });
  return name;
}

/** Listens in on a stream and remembers its first bytes. */
function startOf(stream: SMTPServerDataStream): { bytes(): Buffer } {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    if (size >= PREVIEW_BYTES) return;
    chunks.push(chunk);
    size += chunk.length;
  });
  return { bytes: () => Buffer.concat(chunks).subarray(0, PREVIEW_BYTES) };
}

function describe(
  arrived: string,
  session: SMTPServerSession,
  subject: string | null,
  path: string,
): string {
  const { mailFrom, rcptTo } = session.envelope;
  const from = mailFrom === false ? "" : mailFrom.address;
  const to = rcptTo.map((recipient) => `<${recipient.address}>`).join(", ");
  const about = subject === null ? "no subject" : `"${oneLine(subject, 120)}"`;
  return `${arrived} <${oneLine(from, 120)}> -> ${oneLine(to, 300)}: ${about}, kept in ${path}`;
}

async function removeOldest({ directory, keep }: TrialOptions): Promise<void> {
  // The names begin with the time of arrival, so their order is the order of arrival.
  const kept = (await readdir(directory)).filter((name) => name.endsWith(".eml")).sort();
  for (const name of kept.slice(0, Math.max(0, kept.length - keep))) {
    await rm(join(directory, name), { force: true });
  }
}
