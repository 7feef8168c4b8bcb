/** What filters that are part of the program do to messages in the spool. A port; `spool/` implements it. */
import type { Envelope } from "./envelope.ts";
import type { MessageId } from "./message-id.ts";

export interface MessageEditor {
  /** Throws ENVELOPE_INVALID that names file and line, SPOOL_IO when it cannot be read. */
  readEnvelope(path: string): Promise<Envelope>;
  /** Replaces the envelope file under the same name. Throws SPOOL_FULL or SPOOL_IO, and then the old one is whole. */
  writeEnvelope(path: string, envelope: Envelope): Promise<void>;
  /**
   * Puts one more message into the queue: the same content (a hard link, or a copy where links are
   * not possible) under another envelope. Resolves when it would survive a power cut.
   */
  addMessage(content: string, envelope: Envelope): Promise<MessageId>;
}
