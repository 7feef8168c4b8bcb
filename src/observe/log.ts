/** --log-format=json: one JSON line per event, written by pino. Loaded only when asked for. */
import { createRequire } from "node:module";
import type { Level } from "../core/events.ts";
import type { LogRecord } from "./record.ts";

/** Makes one line, without its line feed. `now` is in milliseconds since 1970. */
export type JsonLine = (
  level: Level,
  entry: { readonly now: number; readonly record: LogRecord; readonly text: string },
) => string;

/** pino is loaded here and now: logs open before anything else may wait. */
export function openJsonLines(program: string, pid: number): JsonLine {
  const { pino } = createRequire(import.meta.url)("pino") as typeof import("pino");
  let written = "";
  let now = 0;
  const logger = pino(
    {
      base: { program, pid },
      messageKey: "msg",
      timestamp: () => `,"time":"${new Date(now).toISOString()}"`,
      formatters: { level: (label) => ({ level: label === "warn" ? "warning" : label }) },
    },
    {
      write: (line: string) => {
        written = line;
      },
    },
  );
  return (level, entry) => {
    now = entry.now;
    logger[level === "warning" ? "warn" : level](entry.record, entry.text);
    return printable(written.trimEnd());
  };
}

/** JSON escapes C0 only; the rest of what could disturb a terminal or a reader of lines stands in strings. */
function printable(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
