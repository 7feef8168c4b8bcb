/** A listener for tests: a reception that remembers, accounts and a verifier as simple as possible. */
import { createHmac } from "node:crypto";
import type { SaslServer, SaslStep, ServerAccounts, Trust } from "../../src/core/auth.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { ListenerConfig } from "../../src/core/config.ts";
import type { RelayEvent } from "../../src/core/events.ts";
import type { Reception, Submission } from "../../src/core/intake.ts";
import type { Reply } from "../../src/core/reply.ts";
import { acceptAll, type Verifier } from "../../src/core/verifier.ts";
import { systemClock } from "../../src/io/clock.ts";
import { type Listener, type ListenerOptions, openListener } from "../../src/smtp/listener.ts";

export const plainConfig: ListenerConfig = {
  port: 0,
  interfaces: [{ kind: "address", host: "127.0.0.1" }],
  remoteClients: false,
  maxSizeBytes: 0,
  idleTimeoutMs: 60_000,
  sessionTimeoutMs: 0,
  messageTimeoutMs: 0,
  maxRecipients: 1000,
  maxHops: 100,
  connections: { inAll: 2000, perClient: 50 },
  maxAuthFailures: 5,
  maxErrors: 8,
  maxRefusals: 100,
  maxCommandBytes: 4096,
  bareNewlines: "fix",
  dsn: false,
  anonymous: { vrfy: false, server: false, content: false },
  smtp: {
    pipelining: true,
    chunking: false,
    smtputf8: false,
    smtputf8strict: false,
    strictparsing: true,
    alabels: true,
    linger: true,
  },
  verifier: null,
  dnsbl: null,
  secrets: null,
  authConfig: "",
  tls: null,
};

/** A message as the reception got it. */
export interface Recorded {
  readonly submission: Submission;
  /** As latin1, with the Received line. */
  readonly content: string;
  readonly refusal: Reply | null;
}

export interface TestListener extends AsyncDisposable {
  readonly listener: Listener;
  /** Of the first socket. */
  readonly address: string;
  readonly messages: Recorded[];
  readonly events: RelayEvent[];
  /** Messages whose content ended with an error. */
  readonly lost: string[];
  readonly disposed: () => number;
  /** Resolves at the next event that this is true for, or at once if there was one. */
  event(kind: RelayEvent["kind"]): Promise<RelayEvent>;
}

type Changes = Partial<Omit<ListenerOptions, "config">> & {
  readonly config?: Partial<ListenerConfig>;
  readonly detail?: boolean;
  /** For all sessions; nobody minds its end. */
  readonly verifier?: Verifier;
  /** Instead of the remembering reception's answer. */
  readonly answer?: (submission: Submission) => Promise<Reply>;
};

export async function testListener(changes: Changes = {}): Promise<TestListener> {
  const { config, detail, answer, verifier, ...options } = changes;
  const messages: Recorded[] = [];
  const events: RelayEvent[] = [];
  const lost: string[] = [];
  const waiting: { kind: string; resolve: (event: RelayEvent) => void }[] = [];
  let disposed = 0;
  const reception: Reception = {
    async receive(submission) {
      if (answer !== undefined) return await answer(submission);
      try {
        const content = await gather(submission);
        const refusal = submission.content.refusal();
        messages.push({ submission, content, refusal });
        return refusal ?? { code: 250, text: "message processed" };
      } catch (error) {
        lost.push(String(error));
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      disposed += 1;
    },
  };
  const listener = await openListener({
    domain: "relay.test.localnet",
    version: "2.6b",
    group: null,
    accounts: nobody,
    openVerifier: () => (verifier === undefined ? acceptAll : { ...acceptAll, ...verifier }),
    gate: null,
    journal: {
      detail: detail ?? false,
      tell(event) {
        events.push(event);
        for (const one of waiting) if (one.kind === event.kind) one.resolve(event);
      },
    },
    clock: systemClock,
    openReception: () => reception,
    ...options,
    config: { ...plainConfig, ...config },
  });
  return {
    listener,
    address: listener.addresses()[0] ?? "",
    messages,
    events,
    lost,
    disposed: () => disposed,
    async event(kind) {
      const found = events.find((event) => event.kind === kind);
      return found ?? (await new Promise((resolve) => waiting.push({ kind, resolve })));
    },
    [Symbol.asyncDispose]: async () => await listener.close(),
  };
}

export async function gather(submission: Submission): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of submission.content.chunks) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString("latin1");
}

/** --server-auth is not in use. */
export const nobody: ServerAccounts = {
  enabled: false,
  mechanisms: () => [],
  begin() {
    throw new Error("Unreachable: nobody may log in");
  },
  trusted: () => null,
  needsTransition: () => false,
};

/** What B.3 and B.5 need: alice with the password e=mc2, and trusted addresses. */
export function testAccounts(given: {
  readonly insecure: readonly string[];
  readonly secure?: readonly string[];
  readonly trust?: Trust;
  readonly transition?: boolean;
}): ServerAccounts {
  return {
    enabled: true,
    mechanisms: (secure) => (secure ? (given.secure ?? given.insecure) : given.insecure),
    begin: (mechanism) => conversation(mechanism),
    trusted: () => given.trust ?? null,
    needsTransition: () => given.transition ?? false,
  };
}

const SECRETS: Readonly<Record<string, string>> = { alice: "e=mc2" };
const CHALLENGE = "<1.2@relay.test.localnet>";

function conversation(mechanism: string): SaslServer {
  const got: string[] = [];
  const judge = (id: string, good: boolean): SaslStep => {
    const detail = `using mechanism [${mechanism.toLowerCase()}] and plaintext secret for [${id}]`;
    return { kind: good ? "accepted" : "refused", id, detail };
  };
  const challenge = (text: string): SaslStep => ({ kind: "challenge", data: Buffer.from(text) });
  const take = (response: Buffer): SaslStep => {
    got.push(response.toString("utf8"));
    const [first = "", second] = got;
    if (mechanism === "PLAIN") {
      const [, id = "", password = ""] = first.split("\0");
      return judge(id, SECRETS[id] === password);
    }
    if (mechanism === "LOGIN") {
      return second === undefined
        ? challenge("Password:")
        : judge(first, SECRETS[first] === second);
    }
    const [id = "", mac = ""] = first.split(" ");
    const hash = createHmac("md5", SECRETS[id] ?? "")
      .update(CHALLENGE)
      .digest("hex");
    return judge(id, mac === hash);
  };
  const opening = { PLAIN: "", LOGIN: "Username:" }[mechanism] ?? CHALLENGE;
  return {
    mechanism,
    challengeFirst: mechanism.startsWith("CRAM-"),
    start: (initial) => (initial === null ? challenge(opening) : take(initial)),
    next: take,
  };
}

/** As the program of B.5. */
export const scriptedVerifier: Verifier = {
  async verify({ recipient }) {
    const user = recipient.split("@")[0] ?? "";
    const reason = "exit code 3";
    if (user.startsWith("local")) {
      const n = user.slice(5);
      return { kind: "local", mailbox: `mbox${n}`, description: `Full Name <${user}>` };
    }
    if (user.startsWith("temp"))
      return { kind: "refuse", reply: { code: 450, text: "try later" }, reason };
    if (user.startsWith("rej"))
      return { kind: "refuse", reply: { code: 550, text: "go away" }, reason };
    if (user === "none")
      return { kind: "refuse", reply: { code: 550, text: "mailbox unavailable" }, reason };
    if (user === "abort") return { kind: "abort" };
    return { kind: "remote", address: user === "rewrite" ? "new@addr" : recipient };
  },
};

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  #time = 0;
  readonly #sleepers: { readonly until: number; readonly wake: () => void }[] = [];

  now(): number {
    return Date.UTC(2026, 10, 21) + this.#time;
  }

  monotonic(): number {
    return this.#time;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    const until = this.#time + ms;
    await new Promise<void>((resolve, reject) => {
      const abort = () => reject(new Error("Sleep was interrupted"));
      const wake = () => {
        signal.removeEventListener("abort", abort);
        resolve();
      };
      this.#sleepers.push({ until, wake });
      signal.addEventListener("abort", abort, { once: true });
    });
  }

  /** Goes on second by second, so that whoever sleeps again is woken again. */
  async advance(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      this.#time += 1000;
      const due = this.#sleepers.filter(({ until }) => until <= this.#time);
      for (const one of due) {
        this.#sleepers.splice(this.#sleepers.indexOf(one), 1);
        one.wake();
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
