/** The recipients of one message, as they will be in its envelope: only so many of them, and only so many bytes. */
import { dsnLines, type RecipientDsn } from "../core/dsn.ts";
import { MAX_ENVELOPE_BYTES } from "../core/envelope.ts";

/** What all may take for any number of them: a thousand with addresses of 4 kB are nobody's mail. */
const LEAST_BYTES = 1024 * 1024;
/** Longest path that has to be taken, in bytes (RFC 5321 4.5.3.1.3): more recipients than usual may have more. */
const PATH_BYTES = 256;
/** The rest is for what else is said of a message, and for what is noted of its recipients later. */
const MOST_BYTES = MAX_ENVELOPE_BYTES / 2;

/** The envelope's words around an address, the line end included. */
const LINE_BYTES = "X-MailRelay-To-Remote: \r\n".length;

export class RecipientList {
  readonly #most: number;
  readonly #mostBytes: number;
  readonly #reports = new Map<string, RecipientDsn>();
  #local: string[] = [];
  #remote: string[] = [];
  #bytes = 0;

  /** `most` is how many there may be. */
  constructor(most: number) {
    this.#most = most;
    this.#mostBytes = Math.min(Math.max(LEAST_BYTES, PATH_BYTES * most), MOST_BYTES);
  }

  /** Mailbox names. */
  get local(): readonly string[] {
    return this.#local;
  }

  get remote(): readonly string[] {
    return this.#remote;
  }

  /** What remote ones want to be told, by their address. */
  get reports(): ReadonlyMap<string, RecipientDsn> {
    return this.#reports;
  }

  get count(): number {
    return this.#local.length + this.#remote.length;
  }

  /** False when this one would be too many, or too much. */
  hasRoom(address: string, dsn: RecipientDsn | null): boolean {
    return this.count < this.#most && this.#bytes + bytesOf(address, dsn) <= this.#mostBytes;
  }

  addLocal(mailbox: string): void {
    this.#bytes += bytesOf(mailbox, null);
    this.#local.push(copyOf(mailbox));
  }

  /** The last that was said about a recipient counts; `dsn` is null when nothing was. */
  addRemote(address: string, dsn: RecipientDsn | null): void {
    this.#bytes += bytesOf(address, dsn);
    const copy = copyOf(address);
    this.#remote.push(copy);
    if (dsn === null || saysNothing(dsn)) this.#reports.delete(copy);
    else this.#reports.set(copy, { ...dsn, orcpt: dsn.orcpt === null ? null : copyOf(dsn.orcpt) });
  }

  /** For the next message; what was handed out stays as it is. */
  clear(): void {
    this.#local = [];
    this.#remote = [];
    this.#reports.clear();
    this.#bytes = 0;
  }
}

/** In the envelope, what is to be told included. */
function bytesOf(address: string, dsn: RecipientDsn | null): number {
  const bytes = LINE_BYTES + Buffer.byteLength(address);
  if (dsn === null || saysNothing(dsn)) return bytes;
  const lines = dsnLines({ ret: null, envid: null, recipients: new Map([[address, dsn]]) });
  return lines.reduce((sum, line) => sum + line.length + 2, bytes);
}

function saysNothing({ notify, orcpt }: RecipientDsn): boolean {
  return notify === null && orcpt === null;
}

/** A part of a string keeps the whole in memory: here that would be the client's line, whatever else is in it. */
function copyOf(text: string): string {
  return Buffer.from(text).toString();
}
