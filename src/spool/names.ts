/** Message id + state <-> file name in the spool. Source: emailrelay reference, "Spool". */
import { randomInt } from "node:crypto";
import { type MessageId, newMessageId, parseMessageId } from "../core/message-id.ts";

const ENVELOPE = ".envelope";
/** Numbers apart begin between these: of one width, so that names are in the order of arrival, and far from those that count from 1. */
const [FIRST_APART, LAST_APART] = [1e9, 9e9];

export const contentName = (id: MessageId): string => `${id}.content`;
/** Waiting: any forwarder may take it. */
export const envelopeName = (id: MessageId): string => `${id}${ENVELOPE}`;
/** Sealed, not committed. */
export const newName = (id: MessageId): string => `${id}${ENVELOPE}.new`;
/** Leased. */
export const busyName = (id: MessageId): string => `${id}${ENVELOPE}.busy`;
/** Set aside. */
export const badName = (id: MessageId): string => `${id}${ENVELOPE}.bad`;
/** A leased envelope being rewritten. */
export const rewriteName = (id: MessageId): string => `${id}${ENVELOPE}.busy.tmp`;

/** True for names that a message's files may have: such a directory is no mailbox. */
export function isSpoolFile(name: string): boolean {
  return /\.(?:content|envelope)(?:\.\w+)*$/.test(name);
}

/** The id in a name that ends so (".envelope", ".content"); null for other names and for hidden files. */
export function idBefore(ending: string, name: string): MessageId | null {
  if (!name.endsWith(ending) || name.startsWith(".")) return null;
  return parseMessageId(name.slice(0, -ending.length));
}

/** The id in "<id>.envelope"; null for any other name. */
export function waitingId(name: string): MessageId | null {
  return idBefore(ENVELOPE, name);
}

/** What a draft or a rewriting leaves: no envelope by itself. */
const HALF_WRITTEN: ReadonlySet<string> = new Set([".new", ".new.tmp", ".busy.tmp", ".tmp"]);

/** The id in "<id>.envelope" with anything after it, as operators park envelopes; null for any other name, and for half-written ones. */
export function ownerOf(name: string): MessageId | null {
  const at = name.indexOf(ENVELOPE);
  if (at === -1 || name.startsWith(".")) return null;
  if (HALF_WRITTEN.has(name.slice(at + ENVELOPE.length))) return null;
  return parseMessageId(name.slice(0, at));
}

/** The process that made the id; null when the name is not of the form "emailrelay.<n>.<n>.<n>". */
export function makerOf(id: MessageId): number | null {
  const pid = /^emailrelay\.(\d{1,10})\.\d{1,19}\.\d{1,19}$/.exec(id)?.[1];
  return pid === undefined ? null : Number(pid);
}

/** Makes ids that this process has not made before, also when the clock goes back. */
export class NameMaker {
  readonly #pid: number;
  #seconds = 0;
  #counter = 0;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /**
   * From now on no id is one of which a file is left: ids come again where the clock goes back and process ids do too.
   * The seconds stay the time of arrival. `names`: what is there.
   */
  passOver(names: readonly string[]): void {
    const ours = `emailrelay.${this.#pid}.`;
    for (const name of names) {
      if (!name.startsWith(ours)) continue;
      const counter = /^\d{1,10}\.(\d{1,15})\./.exec(name.slice(ours.length))?.[1];
      if (counter !== undefined) this.#counter = Math.max(this.#counter, Number(counter));
    }
  }

  /**
   * From now on the numbers are far from those of any other maker of our process id, which may make ids in the same
   * second: what is noted of one message would be taken for the other.
   */
  startApart(): void {
    this.#counter = Math.max(this.#counter, randomInt(FIRST_APART, LAST_APART));
  }

  /** `nowMs`: milliseconds since 1970. */
  next(nowMs: number): MessageId {
    this.#seconds = Math.max(this.#seconds, Math.floor(nowMs / 1000));
    this.#counter += 1;
    return newMessageId(this.#pid, this.#seconds, this.#counter);
  }
}
