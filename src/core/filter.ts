/** Filters: programs or services that look at a message in place before it is committed or sent. A port. */
import type { Reply } from "./reply.ts";
import type { MessageFiles } from "./store.ts";

/** Looks at a message in place; may edit or delete its files. */
export interface Filter {
  run(files: MessageFiles, signal: AbortSignal): Promise<Verdict>;
}

export type Verdict =
  | { readonly kind: "pass"; readonly then: Then }
  | { readonly kind: "abandon"; readonly then: Then }
  | {
      readonly kind: "reject";
      readonly then: Then;
      readonly reply: Reply;
      readonly detail: string;
    };

/** What a filter asks of the scheduler besides its verdict (exit codes 102 to 105). */
export type Then = "continue" | "rescan" | "stop";
