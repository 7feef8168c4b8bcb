import type { Envelope } from "../../src/core/envelope.ts";
import type { Receipt, Smarthost, Transport, Trouble } from "../../src/core/transport.ts";

export const accepted: Receipt = {
  kind: "accepted",
  reply: { code: 250, text: "ok" },
  rejected: [],
};

export const cannotConnect: Trouble = {
  kind: "connection",
  connected: false,
  why: "connect failure: cannot connect to 127.0.0.1:25",
  reply: null,
};

/** A transport that does what two functions say, and keeps a list of what it was asked. */
export class ScriptedTransport implements Transport {
  readonly prepared: Smarthost[] = [];
  readonly sent: Envelope[] = [];
  quits = 0;
  readonly session = null;
  readonly overlaps: boolean = false;
  readonly #onPrepare: (to: Smarthost) => Trouble | null;
  readonly #onSend: (envelope: Envelope) => Receipt;

  constructor(
    onSend: (envelope: Envelope) => Receipt = () => accepted,
    onPrepare: (to: Smarthost) => Trouble | null = () => null,
  ) {
    this.#onSend = onSend;
    this.#onPrepare = onPrepare;
  }

  async prepare(to: Smarthost): Promise<Trouble | null> {
    this.prepared.push(to);
    return this.#onPrepare(to);
  }

  async send(envelope: Envelope): Promise<Receipt | null> {
    this.sent.push(envelope);
    return this.#onSend(envelope);
  }

  withdraw(): void {
    // Nothing waits.
  }

  async quit(): Promise<void> {
    this.quits += 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing to close.
  }
}
