/**
 * What is noted of a message that comes by BDAT, whose bytes are kept as they are (RFC 3030 2): it may go on
 * by DATA, so what DATA may not hold is refused here too. Not for BODY=BINARYMIME, which never goes that way.
 */
import type { BareNewlines } from "./data.ts";

const NUL = 0;
const LF = 10;
const CR = 13;

export class ChunkWatch {
  /** Nobody asks for bare CRs and LFs otherwise. */
  readonly #strict: boolean;
  /** The last byte was a CR: its LF may be the first of the next chunk. */
  #afterCr = false;
  #bare = false;
  /** True if there was a NUL. */
  nul = false;
  /** Lines are not measured. */
  readonly longestLine = 0;

  constructor(policy: BareNewlines) {
    this.#strict = policy === "reject";
  }

  /** The next bytes of the message; not empty. */
  push(bytes: Buffer): void {
    if (!this.nul) this.nul = bytes.includes(NUL);
    if (!this.#strict || this.#bare) return;
    const split = this.#afterCr !== (bytes[0] === LF);
    this.#bare = split || /\r[^\n]|[^\r]\n/.test(bytes.toString("latin1"));
    this.#afterCr = bytes[bytes.length - 1] === CR;
  }

  /** 1 if there was a CR or LF on its own and that is refused, otherwise 0. To be read at the end. */
  get bareNewlines(): number {
    return this.#bare || this.#afterCr ? 1 : 0;
  }
}
