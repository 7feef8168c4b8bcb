/** What spamd answers: a head of a few lines, then the message. Pure. Source: R9.2; protocol SPAMC/1.4. */

/** Bytes of a head. */
const MAX_HEAD = 8192;

/** Of an answer that says that all went well (EX_OK). */
export interface SpamdHead {
  /** Value of "Spam:" ("True ; 15.0 / 5.0"); "" when there is none. */
  readonly spam: string;
  readonly isSpam: boolean;
  /** Bytes of the message that follows; null when it is not said. */
  readonly contentLength: number | null;
}

/** An answer that is no answer of spamd's, or one that says no. The message is for the operator. */
export class SpamdFault extends Error {}

/** Collects a head that comes in pieces. */
export class HeadReader {
  #heard: Buffer = Buffer.alloc(0);

  /** The head and what came after it, or null while it is not complete. Throws SpamdFault. */
  take(chunk: Buffer): { readonly head: SpamdHead; readonly rest: Buffer } | null {
    this.#heard = Buffer.concat([this.#heard, chunk]);
    const text = this.#heard.toString("latin1", 0, MAX_HEAD);
    const end = /\n\r?\n/.exec(text);
    if (end !== null) {
      const size = end.index + end[0].length;
      return { head: parseHead(text.slice(0, end.index)), rest: this.#heard.subarray(size) };
    }
    if (this.#heard.length >= MAX_HEAD) throw new SpamdFault("spamd answer has an endless header");
    return null;
  }
}

function parseHead(text: string): SpamdHead {
  const [status = "", ...lines] = text.split(/\r?\n|\r$/);
  const code = /^SPAMD\/\d+(?:\.\d+)? (\d{1,3})(?: |$)/.exec(status)?.[1];
  if (code === undefined) throw new SpamdFault(`spamd answer not understood: ${shown(status)}`);
  if (Number(code) !== 0) throw new SpamdFault(`spamd error: ${shown(status)}`);
  const fields = parseFields(lines);
  const spam = fields.get("spam") ?? "";
  const length = fields.get("content-length");
  if (spam !== "" && !/^(?:true|yes|false|no)(?=[\s;]|$)/i.test(spam)) {
    throw new SpamdFault(`spamd answer not understood: Spam: ${shown(spam)}`);
  }
  if (length !== undefined && !/^\d{1,15}$/.test(length)) {
    throw new SpamdFault(`spamd answer not understood: Content-length: ${shown(length)}`);
  }
  return {
    spam: shown(spam),
    isSpam: /^(?:true|yes)/i.test(spam),
    contentLength: length === undefined ? null : Number(length),
  };
}

function parseFields(lines: readonly string[]): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of lines.filter((one) => one !== "")) {
    const [, name, value] = /^([\w-]+)[ \t]*:[ \t]*(.*?)[ \t\r]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      throw new SpamdFault(`spamd answer not understood: ${shown(line)}`);
    }
    const key = name.toLowerCase();
    // Two that differ leave open which one is meant.
    if (fields.has(key)) throw new SpamdFault(`spamd answer says ${shown(name)} twice`);
    fields.set(key, value);
  }
  return fields;
}

/** One short line, whatever was said. */
function shown(text: string): string {
  return text.slice(0, 200).replace(/\p{Cc}/gu, " ");
}
