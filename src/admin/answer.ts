/** The commands that are answered with lines. Source: R14. */
import { assertNever } from "../core/assert-never.ts";
import type { Control } from "../core/control.ts";
import type { MessageId } from "../core/message-id.ts";
import { about } from "./about.ts";
import { commandList, type Question } from "./command.ts";
import { plainName } from "./one-line.ts";

/** What there is to ask. */
export interface Desk {
  readonly control: Control;
  /** Ends the program; null where that is not allowed. */
  readonly terminate: (() => void) | null;
  readonly version: string;
  /** The lines of `status`. */
  readonly status: () => readonly string[];
}

export const NO_SMARTHOST = "error: no remote server configured: use --forward-to";

/** Resolves to lines, perhaps none. Rejects when the spool cannot be read or changed. */
export async function answer(question: Question, desk: Desk): Promise<readonly string[]> {
  const { control } = desk;
  switch (question.kind) {
    case "blank":
      return [];
    case "help":
      return [commandList(desk.terminate !== null)];
    case "list":
      return names(await control.list());
    case "failures":
      return names(await control.failures());
    case "unfail-all":
      await control.unfailAll();
      return [];
    case "status":
      return desk.status();
    case "pid":
      return [String(process.pid)];
    case "info":
      return about(question.topic, desk.version);
    case "dnsbl":
      control.suspendDnsbl(question.seconds);
      return ["OK"];
    case "smtp":
      control.enableSmtp(question.enabled);
      return ["OK"];
    case "usage":
      return [question.text];
    default:
      return assertNever(question);
  }
}

function names(ids: readonly MessageId[]): readonly string[] {
  return ids.length === 0 ? ["<none>"] : ids.map(plainName);
}
