/** What filters that are part of the program do to messages in the spool. A port; `spool/` implements it. */
import type { Envelope } from "./envelope.ts";
import type { MessageId } from "./message-id.ts";
import type { MessageFiles } from "./store.ts";

/**
 * Every method throws RelayError: ENVELOPE_SYNTAX, CONTENT_MISSING, SPOOL_FULL or SPOOL_IO, with a
 * message for the operator that names the file; then the message is as it was before, and nothing
 * of what was begun is left.
 */
export interface MessageEditor {
  readEnvelope(path: string): Promise<Envelope>;
  /** Replaces the envelope file under the same name: at every moment the old one or the new one is there, whole. */
  writeEnvelope(path: string, envelope: Envelope): Promise<void>;
  /**
   * Puts one more message into the queue: the same content (a hard link, or a copy where links are
   * not possible) under another envelope. Resolves when it would survive a power cut.
   */
  addMessage(content: string, envelope: Envelope): Promise<MessageId>;
  /**
   * As `addMessage` for several, and then gives the message itself its new envelope. A crash in
   * between delivers some of it twice, never less than once. Resolves to the ids of the new ones.
   */
  splitMessage(
    files: MessageFiles,
    others: number,
    envelopes: (ids: readonly MessageId[]) => SplitEnvelopes,
  ): Promise<readonly MessageId[]>;
  /** Names of the real directories in the spool, sorted, without hidden ones. Links are not followed. */
  folders(): Promise<readonly string[]>;
  /** Puts the message into mailboxes. Resolves when all copies would survive a power cut. */
  distribute(files: MessageFiles, distribution: Distribution): Promise<void>;
  /** The first bytes of a content file, up to a limit. */
  readStart(content: string, limitBytes: number): Promise<Uint8Array>;
  /** Replaces the content file by one that begins with these bytes. */
  prepend(content: string, bytes: Uint8Array): Promise<void>;
  /** A number that was not given before: for unique names. */
  serial(): number;
}

export interface SplitEnvelopes {
  readonly own: Envelope;
  /** One for each new id, in their order. */
  readonly others: readonly Envelope[];
}

export interface Distribution {
  /** Directory of the mailboxes, an absolute path. */
  readonly base: string;
  /** Plain names, each once. Those that do not exist are made; a link is no mailbox. */
  readonly mailboxes: readonly string[];
  /** Hard links fall back to copies; "stay": mailboxes get the envelope only, but maildirs always a content. */
  readonly content: "copy" | "link" | "stay";
  /** "remove": once every copy is safe; content that must stay does. */
  readonly originals: "keep" | "remove";
}
