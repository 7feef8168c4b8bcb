/** What became of the mail of a round: what was acknowledged, against what the smarthost has recorded. */
import { readFileSync } from "node:fs";
import type { MailPump } from "./mail-pump.ts";

export interface Account {
  /** Messages that got a 250. */
  readonly messages: number;
  /** Accepted and never forwarded. */
  readonly lost: readonly string[];
  readonly altered: readonly string[];
  /** Forwarded more than once, for whatever reason. */
  readonly duplicated: number;
  /** Forwarded again although the first one was known to be removed for good. */
  readonly unexplained: readonly string[];
}

/** `isFinal`: whether a removal at that time (ms since 1970) cannot have been undone. */
export function accountFor(
  pump: MailPump,
  record: string,
  isFinal: (removedMs: number) => boolean = () => true,
): Account {
  const first = new Map<string, string>();
  const removed = new Set<string>();
  const onConnection = new Map<string, string>();
  const altered: string[] = [];
  const unexplained: string[] = [];
  let duplicated = 0;
  for (const line of readFileSync(record, "utf8").split("\n").slice(0, -1)) {
    const [connection = "", time, what, key = "", hash = ""] = line.split(" ");
    if (what === "next") {
      if (isFinal(Number(time))) removed.add(onConnection.get(connection) ?? "");
      continue;
    }
    onConnection.set(connection, key);
    if (pump.sent.get(key) !== hash) altered.push(key);
    if (first.has(key)) duplicated += 1;
    if (removed.has(key)) unexplained.push(key);
    first.set(key, hash);
  }
  const lost = [...pump.accepted].filter((key) => !first.has(key));
  return { messages: pump.accepted.size, lost, altered, duplicated, unexplained };
}
