/** What a relayd keeps in its spool, taken apart for comparing; and relayd as the client of a smarthost. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Ran, runProgram, until } from "../support/relayd.ts";

export interface KeptMail {
  /** Fields of the envelope without "X-MailRelay-"; of those that repeat, all values. */
  readonly envelope: ReadonlyMap<string, readonly string[]>;
  /** The line that relayd put on top, without its line end. */
  readonly received: string;
  /** Everything below it, latin1. */
  readonly content: string;
}

/** Complete messages of a spool, in the order of their names; `state` "" is queued. */
export function keptMail(spool: string, state: "" | ".bad" = ""): KeptMail[] {
  const suffix = `.envelope${state}`;
  return readdirSync(spool)
    .filter((name) => name.endsWith(suffix))
    .sort((one, other) => one.localeCompare(other, "en", { numeric: true }))
    .map((name) => {
      const content = readFileSync(join(spool, name.replace(suffix, ".content")), "latin1");
      const end = content.startsWith("Received: ") ? content.indexOf("\r\n") + 2 : 0;
      return {
        envelope: readEnvelope(readFileSync(join(spool, name), "utf8")),
        received: content.slice(0, Math.max(0, end - 2)),
        content: content.slice(end),
      };
    });
}

/** Resolves to them when there are so many. */
export async function untilKept(spool: string, count: number): Promise<KeptMail[]> {
  await until(
    () => readdirSync(spool).filter((name) => name.endsWith(".envelope")).length >= count,
    () => `not ${count} messages in the spool: ${readdirSync(spool).join(" ")}`,
  );
  return keptMail(spool);
}

function readEnvelope(text: string): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const [, name = "", value = ""] of text.matchAll(/^X-MailRelay-([\w-]+): ?(.*)\r$/gm)) {
    fields.set(name, [...(fields.get(name) ?? []), value]);
  }
  return fields;
}

/** The first value of an envelope's field; "" when there is none. */
export const field = (mail: KeptMail | undefined, name: string): string =>
  mail?.envelope.get(name)?.[0] ?? "";

/** Content without the trace lines and their continuations that relays put on top. */
export function withoutTrace(content: string): string {
  return content.replace(/^(?:Received: .*\r\n(?:[ \t].*\r\n)*)+/, "");
}

/** One forwarding run over a spool. */
export async function asClient(
  address: string,
  spool: string,
  ...more: readonly string[]
): Promise<Ran> {
  return await runProgram("relayd", [
    `--as-client=${address}`,
    `--spool-dir=${spool}`,
    ...["--domain=relay.test", "--user=root", "--verbose"],
    ...more,
  ]);
}

/** "reason (code)" of every failed message, sorted by name. */
export function reasons(spool: string): string[] {
  return keptMail(spool, ".bad").map(
    (mail) => `${field(mail, "Reason")} (${field(mail, "ReasonCode")})`,
  );
}
