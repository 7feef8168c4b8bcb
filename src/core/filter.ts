/** Filters: programs or services that look at a message in place before it is committed or sent. A port. */
import type { Reply } from "./reply.ts";
import type { MessageFiles } from "./store.ts";

/** Looks at messages in place, one after the other; may edit or delete their files. */
export interface Filter {
  run(files: MessageFiles, signal: AbortSignal): Promise<Verdict>;
}

/** A filter for one session or one run: network filters keep their connection for its messages. */
export type OpenFilter = () => Filter & AsyncDisposable;

/** Which side asks: at storing, at sending, or before a smarthost is chosen. */
export type FilterRole = "filter" | "client-filter" | "routing-filter";

export type Verdict =
  | { readonly kind: "pass"; readonly next: Next }
  | { readonly kind: "abandon"; readonly next: Next }
  | {
      readonly kind: "reject";
      readonly next: Next;
      readonly reply: Reply;
      readonly detail: string;
      /** The filter could not find out, and may be able to another time; false or absent: it will say the same again. */
      readonly temporary?: boolean;
    };

/** What a filter asks of the scheduler besides its verdict (exit codes 102 to 105). */
export type Next = "continue" | "rescan" | "stop";
