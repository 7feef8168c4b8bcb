/** Counts the Received lines of a message's header, to end loops. Source: RFC 5321 6.3. */

const LF = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;
const NAME = Buffer.from("received:");
/** Bit that makes an ASCII letter lower case. */
const LOWER = 0x20;

export class HopCounter {
  count = 0;
  #inHeader = true;
  /** Bytes of the name that match in this line; -1 when they do not. */
  #matched = 0;

  /** The next bytes of the message. */
  push(bytes: Uint8Array): void {
    if (!this.#inHeader) return;
    for (let at = 0; at < bytes.length; at += 1) {
      if (this.#matched < 0) {
        at = bytes.indexOf(LF, at);
        if (at < 0) return;
        this.#matched = 0;
      } else if (!this.#match(bytes[at] ?? 0)) {
        this.#inHeader = false;
        return;
      }
    }
  }

  /** False at the empty line that ends the header. */
  #match(byte: number): boolean {
    if (this.#matched === 0 && (byte === CR || byte === LF)) return false;
    // An old form has blanks before the colon (RFC 5322 4.5): it is a hop as well.
    if (this.#matched === NAME.length - 1 && (byte === SPACE || byte === TAB)) return true;
    const wanted = NAME[this.#matched];
    const matches = byte === wanted || (byte | LOWER) === wanted;
    if (byte === LF) this.#matched = 0;
    else this.#matched = matches ? this.#matched + 1 : -1;
    if (this.#matched === NAME.length) {
      this.count += 1;
      this.#matched = -1;
    }
    return true;
  }
}
