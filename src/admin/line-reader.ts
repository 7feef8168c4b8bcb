/** An administrator's input as lines, ended by LF or CRLF. */

/** A line that is longer is nobody's command. */
const MAX_LINE_CHARACTERS = 8192;

export class LineReader {
  #text = "";
  #eol: "\r\n" | "\n" | null = null;

  /** What replies end with: as the client's first line; CRLF before that. */
  get eol(): "\r\n" | "\n" {
    return this.#eol ?? "\r\n";
  }

  /** True when the line under way is longer than any command. Ask when `line` has no more. */
  get tooLong(): boolean {
    return this.#text.length > MAX_LINE_CHARACTERS;
  }

  push(chunk: Buffer): void {
    this.#text += chunk.toString("latin1");
  }

  /** The next line without its end; null when there is none yet. */
  line(): string | null {
    const end = this.#text.indexOf("\n");
    if (end < 0) return null;
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    this.#eol ??= line.endsWith("\r") ? "\r\n" : "\n";
    return line;
  }

  clear(): void {
    this.#text = "";
  }
}
