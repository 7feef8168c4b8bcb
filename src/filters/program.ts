/** A filter that is a program: it is given the paths of a message's two files, and answers with its exit code. Source: R9.1. */
import { basename } from "node:path";
import { RelayError } from "../core/errors.ts";
import { isShortage, type ProgramEnd, runProgram } from "../io/program.ts";
import { meaningOf } from "./exit-codes.ts";
import { type FilterItem, type FilterResult, type FilterTerms, failure, OK } from "./item.ts";
import { parseResponse } from "./response.ts";

/** `path` is absolute. */
export function programFilter(path: string, terms: FilterTerms): FilterItem {
  const { role, timeoutMs, account, journal } = terms;
  const id = basename(path);
  const warn = (what: string) => {
    const text = `${role} [${id}] ${what}`;
    journal.tell({ kind: "note", level: "warning", detail: false, text });
  };
  return {
    id,
    async run(job, signal) {
      const text = `${role} [${id}]: [${job.id}]: running ${path}`;
      journal.tell({ kind: "note", level: "info", detail: true, text });
      const args = [job.files.content, job.files.envelope];
      try {
        const end = await runProgram({ path, args, account, timeoutMs, signal });
        return judge(end, terms, warn);
      } catch (error) {
        return startFailure(error, terms, warn);
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

type Warn = (what: string) => void;

/** The message just passes with these: not worth a line. */
const QUIET_CODES: readonly number[] = [0, 101, 103];

function judge(end: ProgramEnd, { role, timeoutMs }: FilterTerms, warn: Warn): FilterResult {
  if (end.timedOut) {
    warn(`timed out after ${timeoutMs / 1000}s`);
    return failure("error", "timeout");
  }
  const { exitCode } = end;
  const { response, code, reason } = parseResponse(end.output);
  if (!QUIET_CODES.includes(exitCode)) {
    warn(`failed: exit code ${exitCode}: [${response}]${code === 0 ? "" : `(${code})`}`);
  }
  const meaning = meaningOf(exitCode, role);
  const words = meaning.verdict === "fail" ? failure(response, reason, code) : OK;
  return { ...words, ...meaning };
}

/**
 * A program that cannot be run refuses the message. A want of processes or memory does so only
 * where the client keeps the message: a queued one is tried again instead of being set aside.
 */
function startFailure(error: unknown, { role }: FilterTerms, warn: Warn): FilterResult {
  const queued = role !== "filter";
  if (!(error instanceof RelayError) || (queued && isShortage(error))) throw error;
  warn("failed: exit code 127: [rejected]");
  return failure("rejected", `filter exec error: ${error.message}`);
}
