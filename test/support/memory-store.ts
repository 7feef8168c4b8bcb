import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import { type MessageId, newMessageId } from "../../src/core/message-id.ts";
import type { Draft, FailureReason, Lease, Store } from "../../src/core/store.ts";

interface Kept {
  envelope: Envelope;
  content: Buffer | null;
  changedMs: number;
  state: "queued" | "leased" | "bad";
  reason: FailureReason | null;
}

/** A store in memory, with switches for storage trouble. */
export class MemoryStore implements Store {
  readonly kept = new Map<MessageId, Kept>();
  /** What the next operation of this kind throws. */
  trouble: { on: "create" | "write" | "commit" | "rewrite"; error: RelayError } | null = null;
  /** Messages that cannot be locked. */
  readonly stuck = new Set<MessageId>();
  allStuck = false;
  drafts = 0;
  #counter = 0;

  put(envelope: Partial<Envelope> = {}, content: string | null = "Subject: x\r\n\r\n"): MessageId {
    return this.putNamed(newMessageId(1, 1, ++this.#counter), envelope, content);
  }

  putNamed(
    id: MessageId,
    envelope: Partial<Envelope> = {},
    content: string | null = "Subject: x\r\n\r\n",
  ): MessageId {
    this.kept.set(id, {
      envelope: {
        ...emptyEnvelope,
        from: "alice@example.com",
        toRemote: ["bob@example.net"],
        ...envelope,
      },
      content: content === null ? null : Buffer.from(content, "latin1"),
      changedMs: 1000,
      state: "queued",
      reason: null,
    });
    return id;
  }

  #fail(on: "create" | "write" | "commit" | "rewrite"): void {
    if (this.trouble?.on === on) throw this.trouble.error;
  }

  announce(): void {
    // Everything is in memory.
  }

  async create(): Promise<Draft> {
    this.#fail("create");
    this.drafts += 1;
    const id = newMessageId(1, 1, ++this.#counter);
    const chunks: Buffer[] = [];
    let sealed: Envelope | null = null;
    let committed = false;
    const commit = async () => {
      this.#fail("commit");
      if (sealed === null) throw new Error("commit before seal");
      const content = Buffer.concat(chunks);
      const changedMs = 1000;
      this.kept.set(id, { envelope: sealed, content, changedMs, state: "queued", reason: null });
      committed = true;
    };
    const draft: Draft = {
      id,
      get size() {
        return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      },
      write: async (chunk) => {
        this.#fail("write");
        chunks.push(Buffer.from(chunk));
      },
      seal: async (envelope) => {
        sealed = envelope;
      },
      files: () => ({ content: "", envelope: "" }),
      reread: async () => sealed ?? emptyEnvelope,
      commit,
      commitIfLeft: async () => {
        await commit();
        return true;
      },
      [Symbol.asyncDispose]: async () => {
        if (!committed) this.drafts -= 1;
      },
    };
    return draft;
  }

  async ready(): Promise<readonly MessageId[]> {
    return [...this.kept].filter(([, one]) => one.state === "queued").map(([id]) => id);
  }

  async lease(id: MessageId): Promise<Lease | null> {
    const one = this.kept.get(id);
    if (one === undefined || one.state !== "queued") return null;
    if (this.allStuck || this.stuck.has(id))
      throw new RelayError("SPOOL_IO", id, `cannot lock "${id}": i/o error`);
    one.state = "leased";
    return {
      id,
      get envelope() {
        return one.envelope;
      },
      content: async () => {
        const { content } = one;
        if (content === null) throw new RelayError("CONTENT_MISSING", id, "content file missing");
        return {
          size: content.length,
          changedMs: one.changedMs,
          async *bytes() {
            yield content;
          },
          [Symbol.asyncDispose]: async () => undefined,
        };
      },
      files: () => ({ content: "", envelope: "" }),
      reread: async () => one.envelope,
      rewrite: async (envelope) => {
        this.#fail("rewrite");
        one.envelope = envelope;
      },
      complete: async () => {
        this.kept.delete(id);
      },
      fail: async (reason) => {
        one.state = "bad";
        one.reason = reason;
        one.envelope = { ...one.envelope, toRemote: reason.recipients };
      },
      [Symbol.asyncDispose]: async () => {
        if (one.state === "leased") one.state = "queued";
      },
    };
  }

  async *changes(): AsyncIterable<void> {
    // Nothing ever comes from outside.
  }
}
