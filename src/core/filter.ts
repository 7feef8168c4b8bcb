/** Filters: programs or services that look at a message in place before it is committed or sent. A port. */
import type { Reply } from "./reply.ts";
import type { MessageFiles } from "./store.ts";

/** Looks at a message in place; may edit or delete its files. */
export interface Filter {
  run(files: MessageFiles, signal: AbortSignal): Promise<Verdict>;
}

export type Verdict =
  | { readonly kind: "pass"; readonly next: Next }
  | { readonly kind: "abandon"; readonly next: Next }
  | {
      readonly kind: "reject";
      readonly next: Next;
      readonly reply: Reply;
      readonly detail: string;
    };

/** What a filter asks of the scheduler besides its verdict (exit codes 102 to 105). */
export type Next = "continue" | "rescan" | "stop";
