/** One link in a chain of filters: what it is given, and what it answers. */
import type { Clock } from "../core/clock.ts";
import type { Journal } from "../core/events.ts";
import type { FilterRole } from "../core/filter.ts";
import type { MessageEditor } from "../core/message-editor.ts";
import type { MessageFiles } from "../core/store.ts";
import type { Account } from "../io/identity.ts";

export interface FilterItem extends AsyncDisposable {
  /** For the log: base name of the program, "exit:0", "copy:", "127.0.0.1/783/ip". */
  readonly id: string;
  /** Never rejects for what the message or the service is like: that is a failed result. */
  run(job: FilterJob, signal: AbortSignal): Promise<FilterResult>;
}

export interface FilterJob {
  /** The message's id, for the log. */
  readonly id: string;
  readonly files: MessageFiles;
}

/** What filters are told once, when they are opened. */
export interface FilterTerms {
  readonly role: FilterRole;
  /** Milliseconds; 0 for no limit. */
  readonly timeoutMs: number;
  /** Account that programs run as; null: the process's own. */
  readonly account: Account | null;
  /** Our own name, for Message-ID lines. */
  readonly domain: string;
  readonly spoolDirectory: string;
  /** Base of the mailboxes of "deliver:". */
  readonly deliveryDirectory: string;
  readonly editor: MessageEditor;
  readonly journal: Journal;
  readonly clock: Clock;
}

export interface FilterResult {
  readonly verdict: "ok" | "abandon" | "fail";
  /** Server filter: forward soon (rescan). Client filter: end the run (break). */
  readonly special: boolean;
  /** For the SMTP client, one line; "" when there is nothing to say. */
  readonly response: string;
  /** SMTP code that goes with it, 400 to 599; 0 when the filter named none. */
  readonly code: number;
  /** For the operator: logged, and written into a `.bad` envelope. */
  readonly reason: string;
  /** "fail" says nothing about the message: it may be different another time. */
  readonly temporary?: boolean;
}

export const OK: FilterResult = {
  verdict: "ok",
  special: false,
  response: "",
  code: 0,
  reason: "",
};

/** Takes the message out of the hands of the relay; its files, where they are left, are an ordinary message. */
export const ABANDON: FilterResult = { ...OK, verdict: "abandon" };

/** The message is refused. */
export function failure(response: string, reason = response, code = 0): FilterResult {
  return { verdict: "fail", special: false, response, code, reason };
}
