/**
 * What the conversations with a smarthost are made of. A conversation is pure: a reply in, the next
 * step out; `client-dialogue.ts` carries it out on a socket.
 */
import type { Reply } from "../core/reply.ts";
import type { Trouble } from "../core/transport.ts";

/** One command line without its CRLF; `shown` is what the log may see of it. */
export interface Line {
  readonly text: string;
  readonly shown: string;
}

export type Step =
  /** Write these lines in one go; every one of them is answered by one reply. */
  | { readonly kind: "say"; readonly lines: readonly Line[] }
  /** Wait for a(nother) reply; not longer than `forMs`, if it is positive, and then do `instead`. */
  | { readonly kind: "listen"; readonly forMs: number; readonly instead: () => Step }
  /** Send all of the content and the final dot, or one BDAT chunk of it. */
  | { readonly kind: "content"; readonly framing: "dot" | "chunk" }
  /** The conversation is over; `close`: the connection is of no use any more. */
  | { readonly kind: "done"; readonly close: boolean };

export interface Conversation {
  start(): Step;
  /** What may be said before its turn, while the one before waits for its last answer; not given: nothing. */
  opening?(): readonly Line[];
  /** Instead of `start()`, when that has been said. */
  opened?(): Step;
  /** There is no need, or no way, to say what it has last wanted to: it is over. */
  forgo?(): void;
  /** `ended` is true once the final dot, or the last chunk, has been written. */
  reply(reply: Reply, ended: boolean): Step;
  /** The connection ended, or the peer spoke out of turn: there will be no other call. */
  lost(trouble: Trouble, ended: boolean): void;
}

export const listen: Step = { kind: "listen", forMs: 0, instead: () => listen };

export function say(...texts: readonly string[]): Step {
  return { kind: "say", lines: texts.map((text) => ({ text, shown: text })) };
}

/** A line whose text must not be seen by anybody. */
export function whisper(text: string, shown: string): Step {
  return { kind: "say", lines: [{ text, shown }] };
}

/** 2yz that can answer a command: 220 and 221 speak about the connection (RFC 5321 4.2.2), so they are out of step. */
export const isCompletion = (reply: Reply): boolean =>
  reply.code < 300 && Math.floor(reply.code / 10) !== 22;

/** Trouble with a connection that had been made. */
export function connectionTrouble(why: string, reply: Reply | null = null): Trouble {
  return { kind: "connection", connected: true, why, reply };
}

export function unexpected(reply: Reply): Trouble {
  return connectionTrouble(`smtp error: unexpected response: ${reply.text}`, reply);
}

/** The peer has closed, or announced it. */
export const isGone = ({ why, reply }: Trouble): boolean =>
  reply?.code === 421 || why === "peer disconnected";

/** What the smarthost says it can do. */
export interface Extensions {
  readonly words: ReadonlySet<string>;
  /** SASL mechanisms in upper case; null when AUTH is not offered at all. */
  readonly auth: readonly string[] | null;
}

export const noExtensions: Extensions = { words: new Set(), auth: null };

/** Words at the start of the lines after the first: the greeting line may say anything. */
export function parseExtensions(reply: Reply): Extensions {
  const words = new Set<string>();
  let auth: string[] | null = null;
  for (const line of reply.text.split("\n").slice(1)) {
    // "AUTH=LOGIN" is how hosts older than RFC 2554 wrote it.
    const [word = "", ...parameters] = line
      .trim()
      .toUpperCase()
      .split(/[\s=]+/);
    words.add(word);
    if (word === "AUTH") auth = [...(auth ?? []), ...parameters];
  }
  return { words, auth };
}
