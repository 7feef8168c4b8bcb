/** What the log sees of a dialogue, on either side of it. */
import type { Journal, Peer } from "../core/events.ts";
import type { Reply } from "../core/reply.ts";

/** Protocol lines for the journal: nothing at all unless it asks for detail. */
export class Transcript {
  readonly #journal: Journal;
  readonly #peer: Peer;

  constructor(journal: Journal, peer: Peer) {
    this.#journal = journal;
    this.#peer = peer;
  }

  /** True if anybody listens. */
  get wanted(): boolean {
    return this.#journal.detail;
  }

  line(direction: "rx" | "tx", text: string): void {
    if (!this.wanted) return;
    this.#journal.tell({ kind: "traffic", direction, peer: this.#peer, text });
  }

  /** A reply that was received. */
  reply({ code, text }: Reply): void {
    if (!this.wanted) return;
    const lines = text.split("\n");
    lines.forEach((line, index) => {
      this.line("rx", `${code}${index < lines.length - 1 ? "-" : " "}${line}`);
    });
  }
}
