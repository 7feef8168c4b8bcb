/**
 * What an envelope remembers of earlier attempts, in lines of our own after its end:
 * `X-Relayd-Retry: <tries> <next> <unknown>`, `X-Relayd-Arrived: <time>` where the name does not tell it,
 * `X-Relayd-Warned: <time>` and, for each recipient that was refused for good while others still wait,
 * `X-Relayd-Failed: <xtext recipient> <code> <text>`.
 * Times are seconds since 1970. Lines that cannot be read are left alone.
 */
import type { Envelope } from "./envelope.ts";
import type { MessageId } from "./message-id.ts";
import type { Reply } from "./reply.ts";
import { decodeXtext, encodeXtext } from "./xtext.ts";

export interface RetryState {
  /** Attempts that ended with temporary trouble of this message's own. */
  readonly tries: number;
  /** Not before then; 0 for at once. */
  readonly next: number;
  /** Attempts after which nobody knows whether the smarthost took the message. */
  readonly unknown: number;
  /** When the message came, or was put back in the queue; 0 where its name tells, or nobody has noted it yet. */
  readonly arrived: number;
  /** When the sender was told that it takes long; 0 for never. */
  readonly warned: number;
  readonly failed: readonly FailedRecipient[];
}

export interface FailedRecipient {
  readonly recipient: string;
  readonly reply: Reply;
}

export const UNTRIED: RetryState = {
  tries: 0,
  next: 0,
  unknown: 0,
  arrived: 0,
  warned: 0,
  failed: [],
};

const RETRY = "X-Relayd-Retry: ";
const ARRIVED = "X-Relayd-Arrived: ";
const WARNED = "X-Relayd-Warned: ";
const FAILED = "X-Relayd-Failed: ";

export function retryStateOf({ trailer }: Envelope): RetryState {
  let state = UNTRIED;
  const failed: FailedRecipient[] = [];
  for (const line of trailer) {
    const [, tries, next, unknown] =
      /^X-Relayd-Retry: (\d{1,9}) (\d{1,12}) (\d{1,9})$/.exec(line) ?? [];
    if (tries !== undefined) {
      state = { ...state, tries: Number(tries), next: Number(next), unknown: Number(unknown) };
    }
    const [, arrived] = /^X-Relayd-Arrived: (\d{1,12})$/.exec(line) ?? [];
    if (arrived !== undefined) state = { ...state, arrived: Number(arrived) };
    const [, warned] = /^X-Relayd-Warned: (\d{1,12})$/.exec(line) ?? [];
    if (warned !== undefined) state = { ...state, warned: Number(warned) };
    const one = failedRecipient(line);
    if (one !== null) failed.push(one);
  }
  return failed.length === 0 ? state : { ...state, failed };
}

/** The envelope with these recipients and this state in the place of the old ones; other lines stay. */
export function withRetryState(
  envelope: Envelope,
  toRemote: readonly string[],
  state: RetryState,
): Envelope {
  const others = envelope.trailer.filter((line) => !isOurs(line));
  const lines: string[] = [];
  if (state.tries > 0 || state.next > 0 || state.unknown > 0) {
    lines.push(`${RETRY}${state.tries} ${state.next} ${state.unknown}`);
  }
  if (state.arrived > 0) lines.push(`${ARRIVED}${state.arrived}`);
  if (state.warned > 0) lines.push(`${WARNED}${state.warned}`);
  for (const { recipient, reply } of state.failed) {
    const text = reply.text.replace(/[^ -~]+/g, " ").slice(0, 400);
    lines.push(`${FAILED}${encodeXtext(recipient)} ${reply.code} ${text}`);
  }
  return { ...envelope, toRemote, trailer: [...others, ...lines] };
}

/** True if the envelope has any such line. */
export function hasRetryState({ trailer }: Envelope): boolean {
  return trailer.some(isOurs);
}

/** True if the message has failed before: the reason stays in its envelope when it is put back in the queue. */
export function wasSetAside({ trailer }: Envelope): boolean {
  return trailer.some((line) => line.startsWith("X-MailRelay-Reason:"));
}

/** Seconds since 1970 when the message came, by its name; null when that is not one of ours or E-MailRelay's. */
export function arrivalOf(id: MessageId): number | null {
  const [, seconds] = /^emailrelay\.\d+\.(\d{1,12})\.\d+$/.exec(id) ?? [];
  return seconds === undefined ? null : Number(seconds);
}

function isOurs(line: string): boolean {
  return [RETRY, ARRIVED, WARNED, FAILED].some((start) => line.startsWith(start));
}

function failedRecipient(line: string): FailedRecipient | null {
  const [, recipient = "", code, text = ""] =
    /^X-Relayd-Failed: (\S+) (\d{1,3}) (.*)$/.exec(line) ?? [];
  const decoded = decodeXtext(recipient);
  return code === undefined || decoded === null
    ? null
    : { recipient: decoded, reply: { code: Number(code), text } };
}
