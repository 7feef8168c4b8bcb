/** What filters are told in tests, and a message for them to look at. */
import type { FilterItem, FilterJob, FilterResult, FilterTerms } from "../../src/filters/item.ts";
import { systemClock } from "../../src/io/clock.ts";
import { noteKeeper } from "./programs.ts";

export const MESSAGE = "emailrelay.7.1.3";

export const aJob: FilterJob = {
  id: MESSAGE,
  files: {
    content: `/spool/${MESSAGE}.content`,
    envelope: `/spool/${MESSAGE}.envelope.new`,
  },
};

export const NEVER: AbortSignal = new AbortController().signal;

/** Terms, and the notes that are told under them. */
export function filterTerms(changes: Partial<FilterTerms> = {}): {
  terms: FilterTerms;
  notes: string[];
} {
  const { journal, notes } = noteKeeper();
  const refuse = async () => {
    throw new Error("no filter here edits envelopes");
  };
  const terms: FilterTerms = {
    role: "filter",
    timeoutMs: 60_000,
    account: null,
    domain: "relay.example",
    spoolDirectory: "/spool",
    deliveryDirectory: "/spool",
    editor: {
      readEnvelope: refuse,
      writeEnvelope: refuse,
      addMessage: refuse,
      splitMessage: refuse,
      folders: refuse,
      distribute: refuse,
      readStart: refuse,
      prepend: refuse,
      serial: () => 0,
    },
    journal,
    clock: systemClock,
    ...changes,
  };
  return { terms, notes };
}

/** An item that always answers the same; `life` tells when it was run and disposed of. */
export function fixedItem(id: string, result: FilterResult, life: string[] = []): FilterItem {
  return {
    id,
    run: async () => {
      life.push(`run ${id}`);
      return result;
    },
    [Symbol.asyncDispose]: async () => {
      life.push(`dispose ${id}`);
    },
  };
}
