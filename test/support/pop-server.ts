/** A POP server for tests, over a spool of its own, with real accounts. */
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openServerAccounts } from "../../src/auth/server-accounts.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { PopConfig } from "../../src/core/config.ts";
import type { Journal, RelayEvent } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import { openPop, type PopServer } from "../../src/pop/server.ts";
import { RawClient } from "./raw-smtp-client.ts";

/** me: secret; alice: "e=mc2 +"; hashed: foobar, known by its MD5 mask only. */
export const SECRETS = [
  "server plain me secret",
  "server plain alice e+3Dmc2+20+2B",
  "server plain:b Y2Fm6Q== c2VjcmV0",
  "server md5 hashed 3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE=",
  "",
].join("\n");

export interface PopChanges {
  readonly config?: Partial<PopConfig>;
  readonly secrets?: string;
  readonly clock?: Clock;
  readonly detail?: boolean;
  readonly sync?: boolean;
}

export interface TestPop extends AsyncDisposable {
  readonly server: PopServer;
  readonly address: string;
  readonly port: number;
  /** The spool. */
  readonly directory: string;
  readonly events: readonly RelayEvent[];
  readonly journal: Journal;
  /** Puts envelope and content of a message into the spool, or a folder of it. */
  put(id: string, content: string | Buffer, folder?: string): void;
  write(name: string, data: string | Buffer): void;
  link(from: string, to: string): void;
  folder(name: string, mode?: number): void;
  /** Names in the spool or a folder of it, sorted. */
  names(folder?: string): string[];
  /** Without the greeting, which is given back. */
  connect(): Promise<{ client: RawClient; greeting: string }>;
  /** A client that has logged in as `me`. */
  logIn(id?: string, password?: string): Promise<RawClient>;
  /** Resolves when this is true for some event so far or to come. */
  told(wanted: (event: RelayEvent) => boolean): Promise<RelayEvent>;
}

export async function testPop(changes: PopChanges = {}): Promise<TestPop> {
  const directory = mkdtempSync(join(tmpdir(), "relayd-pop-"));
  const events: RelayEvent[] = [];
  const waiting: { wanted: (event: RelayEvent) => boolean; found: (event: RelayEvent) => void }[] =
    [];
  const journal: Journal = {
    detail: changes.detail ?? false,
    tell(event) {
      events.push(event);
      for (const { wanted, found } of waiting) if (wanted(event)) found(event);
    },
  };
  const config: PopConfig = {
    port: 0,
    interfaces: [{ kind: "address", host: "127.0.0.1" }],
    remoteClients: false,
    byName: false,
    noDelete: false,
    connections: { inAll: 2000, perClient: 50 },
    maxAuthFailures: 5,
    idleTimeoutMs: 60_000,
    secrets: "secrets",
    authConfig: "",
    tls: null,
    ...changes.config,
  };
  const clock = changes.clock ?? systemClock;
  const server = await openPop({
    config,
    spool: { directory, sync: changes.sync ?? true },
    group: null,
    noteRemoval: () => undefined,
    accounts: openServerAccounts({
      path: config.secrets,
      authConfig: config.authConfig,
      domain: "relay.test.localnet",
      tlsAvailable: config.tls !== null,
      journal,
      clock,
      read: () => changes.secrets ?? SECRETS,
    }),
    journal,
    clock,
  });
  const address = server.addresses()[0] ?? "";
  const connect = async () => {
    const client = await RawClient.connect(address);
    return { client, greeting: await client.line() };
  };
  return {
    server,
    address,
    port: Number(address.split(":").at(-1)),
    directory,
    events,
    journal,
    put(id, content, folder = ".") {
      writeFileSync(join(directory, folder, `${id}.content`), content);
      writeFileSync(join(directory, folder, `${id}.envelope`), "X-MailRelay-Format: #2821.8\r\n");
    },
    write: (name, data) => writeFileSync(join(directory, name), data),
    link: (from, to) => linkSync(join(directory, from), join(directory, to)),
    folder(name, mode = 0o770) {
      mkdirSync(join(directory, name));
      chmodSync(join(directory, name), mode);
    },
    names: (folder = ".") => readdirSync(join(directory, folder)).sort(),
    connect,
    async logIn(id = "me", password = "secret") {
      const { client } = await connect();
      client.send(`USER ${id}\r\nPASS ${password}\r\n`);
      await client.line();
      const answer = await client.line();
      if (answer !== "+OK") throw new Error(`Cannot log in: ${answer}`);
      return client;
    },
    async told(wanted) {
      const found = events.find(wanted);
      return found ?? (await new Promise((resolve) => waiting.push({ wanted, found: resolve })));
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Lines up to the dot, which is not among them. */
export async function untilDot(client: RawClient): Promise<string[]> {
  const lines: string[] = [];
  for (;;) {
    const line = await client.line();
    if (line === "." || line === "<<EOF>>") return lines;
    lines.push(line);
  }
}

/** The single-line answers to these commands, one after the other. */
export async function answers(
  client: RawClient,
  ...commands: readonly string[]
): Promise<string[]> {
  const all: string[] = [];
  for (const command of commands) {
    client.send(`${command}\r\n`);
    all.push(await client.line());
  }
  return all;
}
