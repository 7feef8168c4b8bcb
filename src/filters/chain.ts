/** Filters one after the other, until one of them does not let the message pass. Source: R9. */
import { basename } from "node:path";
import type { Filter, FilterRole, Next, Verdict } from "../core/filter.ts";
import type { MessageFiles } from "../core/store.ts";
import { type FilterItem, type FilterResult, type FilterTerms, OK } from "./item.ts";

/** What a client is told when the filter named no code (RFC 5321 4.2.3: the action was not taken). */
const DEFAULT_CODE = 452;

export function filterChain(
  items: readonly FilterItem[],
  { role, journal }: FilterTerms,
): Filter & AsyncDisposable {
  const id = items.map((item) => item.id).join(",");
  const silent = id === "exit:0" || items.length === 0;
  const tell = (detail: boolean, text: string) =>
    journal.tell({ kind: "note", level: "info", detail, text });

  return {
    async run(files, signal) {
      const message = messageOf(files);
      const result = await runAll(items, { id: message, files }, signal);
      if (!silent) tell(true, `${role} [${id}]: [${message}]: ${resultText(result, role)}`);
      if (result.verdict === "fail") tell(false, `rejected by ${role}: [${result.reason}]`);
      return verdictOf(result, role);
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(items.map(async (item) => await item[Symbol.asyncDispose]()));
    },
  };
}

/** What passing items ask of the scheduler is asked even if a later one refuses the message. */
async function runAll(
  items: readonly FilterItem[],
  job: { id: string; files: MessageFiles },
  signal: AbortSignal,
): Promise<FilterResult> {
  let special = false;
  for (const item of items) {
    signal.throwIfAborted();
    const result = await item.run(job, signal);
    special ||= result.special;
    if (result.verdict !== "ok") return { ...result, special };
  }
  return { ...OK, special };
}

/** "emailrelay.7.1.3" from either of the names that its envelope has while a filter runs. */
function messageOf({ content }: MessageFiles): string {
  return basename(content, ".content");
}

function resultText(
  { verdict, special, response, reason }: FilterResult,
  role: FilterRole,
): string {
  const asks = special ? `${role === "filter" ? "+rescan" : "+break"} ` : "";
  const because = reason === "" || reason === response ? "" : ` reason=[${reason}]`;
  return `${WORDS[verdict]} ${asks}response=[${response}]${because}`;
}

const WORDS = { ok: "ok", abandon: "ok(abandon)", fail: "failed" } as const;

function verdictOf(result: FilterResult, role: FilterRole): Verdict {
  const next = nextOf(result.special, role);
  switch (result.verdict) {
    case "ok":
      return { kind: "pass", next };
    case "abandon":
      return { kind: "abandon", next };
    case "fail": {
      const code = result.code === 0 ? DEFAULT_CODE : result.code;
      const reply = { code, text: result.response };
      const rejection = { kind: "reject", next, reply, detail: result.reason } as const;
      return result.temporary === true ? { ...rejection, temporary: true } : rejection;
    }
  }
}

function nextOf(special: boolean, role: FilterRole): Next {
  if (!special) return "continue";
  return role === "filter" ? "rescan" : "stop";
}
