/** Filters that look at nothing: "exit:" ends like a program with that code, "sleepms:" waits. Source: R9.2. */
import { RelayError } from "../core/errors.ts";
import { meaningOf } from "./exit-codes.ts";
import { type FilterItem, type FilterTerms, failure, OK } from "./item.ts";

export function exitFilter(params: string, { role }: FilterTerms): FilterItem {
  const meaning = meaningOf(wholeNumber("exit", params), role);
  const id = `exit:${params}`;
  const words = meaning.verdict === "fail" ? failure("rejected", id) : OK;
  return {
    id,
    run: async () => ({ ...words, ...meaning }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

export function sleepFilter(params: string, { clock, timeoutMs }: FilterTerms): FilterItem {
  const ms = wholeNumber("sleepms", params);
  const tooLong = timeoutMs > 0 && ms > timeoutMs;
  return {
    id: `sleepms:${params}`,
    async run(_job, signal) {
      await clock.sleep(tooLong ? timeoutMs : ms, signal);
      return tooLong ? failure("error", "timeout") : OK;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function wholeNumber(kind: string, params: string): number {
  if (/^\d{1,9}$/.test(params)) return Number(params);
  throw new RelayError("CONFIG_INVALID", "", `invalid value for ${kind}: "${params}"`);
}
