/** A transport under test with everything around it: short words for settings, content and journal. */
import { Readable } from "node:stream";
import type { ClientAccounts, ClientPlan } from "../../src/core/auth.ts";
import type { ClientConfig, ClientTls } from "../../src/core/config.ts";
import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import type { Journal, RelayEvent } from "../../src/core/events.ts";
import type { Content } from "../../src/core/store.ts";
import type { Receipt, Transport } from "../../src/core/transport.ts";
import { systemClock } from "../../src/io/clock.ts";
import { openTransport } from "../../src/smtp/transport.ts";

export const clientDefaults: ClientConfig = {
  interface: null,
  connectionTimeoutMs: 5000,
  responseTimeoutMs: 5000,
  promptTimeoutMs: 5000,
  messageTimeoutMs: 10_000,
  smtp: {
    pipelining: false,
    smtputf8strict: true,
    eightbitstrict: false,
    binarymimestrict: true,
    linger: true,
  },
  anonymous: false,
  secrets: null,
  authConfig: "",
  tls: null,
};

export const tlsDefaults: ClientTls = {
  mode: "starttls",
  required: false,
  certificate: [],
  verify: null,
  verifyName: null,
  serverName: null,
  versions: { min: null, max: null },
};

interface TestClient extends AsyncDisposable {
  readonly transport: Transport;
  readonly events: RelayEvent[];
  /** Traffic and warnings as log lines. */
  readonly log: string[];
  /** prepare() and send() in one; trouble in preparing is a lost message. */
  deliver(address: string, message: Partial<Envelope>, content?: Content): Promise<Receipt>;
}

export interface TestClientOptions {
  readonly config?: Partial<ClientConfig>;
  readonly recipients?: "all" | "some";
  readonly domain?: string;
  readonly plan?: (offered: readonly string[] | null, selector: string) => ClientPlan;
  readonly detail?: boolean;
}

export const aMessage: Partial<Envelope> = { from: "a@b", toRemote: ["c@d"] };

export function testClient(options: TestClientOptions = {}): TestClient {
  const events: RelayEvent[] = [];
  const log: string[] = [];
  const journal: Journal = {
    detail: options.detail ?? true,
    tell: (event) => {
      events.push(event);
      if (event.kind === "traffic") log.push(`${event.direction}: ${event.text}`);
      if (event.kind === "note") log.push(`${event.level}: ${event.text}`);
    },
  };
  const { plan } = options;
  const accounts: ClientAccounts = {
    plan: (selector, offered) => plan?.(offered, selector) ?? { kind: "none" },
  };
  const transport = openTransport({
    config: { ...clientDefaults, ...options.config },
    recipients: options.recipients ?? "all",
    domain: options.domain ?? "client.test",
    accounts,
    journal,
    clock: systemClock,
  });
  const { signal } = new AbortController();
  return {
    transport,
    events,
    log,
    deliver: async (address, message, content = contentOf("Subject: x\r\n\r\nhello\r\n")) => {
      const trouble = await transport.prepare({ address, account: "" }, signal);
      if (trouble !== null) return { kind: "lost", trouble, unknown: false };
      const receipt = await transport.send({ ...emptyEnvelope, ...message }, content, signal);
      if (receipt === null) throw new Error("withdrawn, though nothing was before it");
      return receipt;
    },
    [Symbol.asyncDispose]: async () => await transport.quit(),
  };
}

/** Content in memory, in one chunk or in several. */
export function contentOf(...parts: readonly (string | Buffer)[]): Content {
  const chunks = parts.map((part) =>
    typeof part === "string" ? Buffer.from(part, "latin1") : part,
  );
  return {
    size: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    bytes: () => Readable.from(chunks, { objectMode: true }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}
