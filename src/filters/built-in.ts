/** What the filters that work on the spool itself have in common: their parameters, and how they fail. */
import { RelayError } from "../core/errors.ts";
import {
  type FilterItem,
  type FilterJob,
  type FilterResult,
  type FilterTerms,
  failure,
} from "./item.ts";

/** Words between semicolons; each may be written as its first letter. Throws CONFIG_INVALID for any other. */
export function wordsOf<Word extends string>(
  kind: string,
  params: string,
  known: readonly Word[],
): ReadonlySet<Word> {
  const words = params.split(";").filter((text) => text !== "");
  return new Set(
    words.map((text) => {
      const word = known.find((one) => text === one || text === one.charAt(0));
      if (word === undefined) throw badParams(kind, params);
      return word;
    }),
  );
}

export function badParams(kind: string, params: string): RelayError {
  return new RelayError("CONFIG_INVALID", "", `invalid value for ${kind}: "${params}"`);
}

/**
 * A filter that holds nothing. Storage trouble refuses the message, which the work has left as it
 * was. `tell` is for --verbose.
 */
export function builtIn(
  kind: string,
  { role, journal }: FilterTerms,
  work: (job: FilterJob, tell: (text: string) => void) => Promise<FilterResult>,
): FilterItem {
  const id = `${kind}:`;
  return {
    id,
    async run(job, signal) {
      signal.throwIfAborted();
      const tell = (what: string) => {
        const text = `${role} [${id}]: [${job.id}]: ${what}`;
        journal.tell({ kind: "note", level: "info", detail: true, text });
      };
      try {
        return await work(job, tell);
      } catch (error) {
        if (error instanceof RelayError) return failure("rejected", error.message);
        throw error;
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
