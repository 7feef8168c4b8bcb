/** The store: where messages are kept from acceptance to delivery. A port; `spool/` implements it. */
import type { Envelope } from "./envelope.ts";
import type { MessageId } from "./message-id.ts";

export interface Store {
  /** Starts a message; nothing is visible to `ready()` until `Draft.commit()`. Throws SPOOL_FULL or SPOOL_IO. */
  create(): Promise<Draft>;
  /**
   * Ids that may be leased now, sorted by name in byte order. A snapshot: any of them may be gone. While many
   * come and go, what another program has put there may be missing for a while, unless `asked`.
   */
  ready(asked?: boolean): Promise<readonly MessageId[]>;
  /** Says what will be leased next, and in which order, in place of what was said before: a hint. */
  announce(ids: readonly MessageId[]): void;
  /**
   * Takes the message for one forwarder; null when another has it, it is gone, or its files cannot
   * be used (which the store has told the operator).
   */
  lease(id: MessageId): Promise<Lease | null>;
  /** Yields whenever `ready()` may have grown from outside. Coalesces; a hint, scans are the truth. */
  changes(signal: AbortSignal): AsyncIterable<void>;
}

/** A message being received. Disposing an uncommitted draft removes every trace of it. */
export interface Draft extends AsyncDisposable {
  readonly id: MessageId;
  /** Bytes of content so far. */
  readonly size: number;
  /** Appends content: CRLF lines, dots already unstuffed. Await it before the next one. Throws SPOOL_FULL or SPOOL_IO. */
  write(chunk: Uint8Array): Promise<void>;
  /** Completes the content and writes the envelope, still invisible. */
  seal(envelope: Envelope): Promise<void>;
  /** Local files that a filter may edit. */
  files(): MessageFiles;
  /** Re-reads what a filter may have changed. */
  reread(): Promise<Envelope>;
  /** Resolves only when the message would survive a power cut. Throws SPOOL_FULL or SPOOL_IO, and then nothing is left. */
  commit(): Promise<void>;
  /** As `commit()`, for a message whose files a filter may have taken away; false when they are gone. */
  commitIfLeft(): Promise<boolean>;
}

/** A message held by one forwarder. Disposing an unfinished lease puts it back in the queue. */
export interface Lease extends AsyncDisposable {
  readonly id: MessageId;
  readonly envelope: Envelope;
  /** Opens the content. Throws CONTENT_MISSING when there is none, SPOOL_IO when it cannot be read. */
  content(): Promise<Content>;
  files(): MessageFiles;
  /** Re-reads the envelope, which a filter may have changed. */
  reread(): Promise<Envelope>;
  /** Writes the envelope anew; resolves when it would survive a power cut. Throws SPOOL_FULL or SPOOL_IO, and then the old one is whole; MESSAGE_REMOVED when somebody has removed the message. */
  rewrite(envelope: Envelope): Promise<void>;
  /** Removes the message: envelope first, then content. */
  complete(): Promise<void>;
  /** Sets the message aside as `.bad`, with the reason written into its envelope. */
  fail(reason: FailureReason): Promise<void>;
}

/** Message content, open for reading. `bytes` may be iterated once; dispose closes the file. */
export interface Content extends AsyncDisposable {
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since 1970: it came to where it lies then, or before. Absent where nobody knows. */
  readonly changedMs?: number;
  /**
   * `room`, if given, may be asked for a buffer before a chunk is read, which is then a part of it.
   * Otherwise every chunk has a buffer of its own.
   */
  bytes(room?: () => Uint8Array): AsyncIterable<Uint8Array>;
  /** All of it, where it is small or at hand: null where it is not, or not given. Throws SPOOL_IO. */
  whole?(): Uint8Array | null;
}

export interface FailureReason {
  /** One line or several; escaped when written. */
  readonly text: string;
  /** The SMTP code of the refusal; 0 when there is none. */
  readonly code: number;
  /** The remote recipients that remain in the envelope. */
  readonly recipients: readonly string[];
}

export interface MessageFiles {
  readonly content: string;
  readonly envelope: string;
}
