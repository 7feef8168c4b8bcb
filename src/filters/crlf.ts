/** Makes every line end CR LF: what is stored must be what every next hop will read. */

/** A stream's bytes, piece by piece; a CR at the end of a piece waits for the next one. */
export class CrlfLines {
  #waiting = false;
  #complete = true;

  push(chunk: Buffer): Buffer {
    const bytes = this.#waiting ? Buffer.concat([CR, chunk]) : chunk;
    this.#waiting = bytes.at(-1) === 0x0d;
    return this.#fix(this.#waiting ? bytes.subarray(0, -1) : bytes);
  }

  /** What is left, with the end of the last line. */
  end(): Buffer {
    const rest = this.#waiting ? this.#fix(CR) : Buffer.alloc(0);
    this.#waiting = false;
    return this.#complete ? rest : CRLF;
  }

  #fix(bytes: Buffer): Buffer {
    if (bytes.length === 0) return bytes;
    this.#complete = bytes.at(-1) === 0x0a || bytes.at(-1) === 0x0d;
    const text = bytes.toString("latin1");
    return BARE.test(text) ? Buffer.from(text.replace(/\r\n|\r|\n/g, "\r\n"), "latin1") : bytes;
  }
}

const CR = Buffer.from("\r");
const CRLF = Buffer.from("\r\n");
const BARE = /\r(?!\n)|(?<!\r)\n/;
