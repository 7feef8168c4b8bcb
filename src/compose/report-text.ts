/** The part of a report for people, in the words that sendmail has made familiar. Pure. */
import { isIP } from "node:net";
import { assertNever } from "../core/assert-never.ts";
import type { RecipientReport, Report } from "../core/report.ts";
import { mailDate, oneLine } from "./mail.ts";
import type { Returned } from "./returned.ts";

const HOUR = 3600;
const DAY = 86_400;

/** `now` in seconds since 1970. */
export function reportSubject({ action, arrived }: Report, now: number): string {
  switch (action) {
    case "failed":
      return "Returned mail: see transcript for details";
    case "delayed":
      return `Warning: could not send message for past ${period(now - arrived)}`;
    case "relayed":
      return "Return receipt";
    default:
      return assertNever(action);
  }
}

/** Lines with CRLF. `returned` is null when the content is gone; `now` in seconds since 1970. */
export function reportText(report: Report, returned: Returned | null, now: number): string {
  const lines = [
    ...warning(report),
    ...received(report),
    "",
    `   ----- ${HEADING[report.action]} -----`,
    ...report.recipients.flatMap((one) => concerning(one, report)),
    ...transcript(report.recipients),
    ...prospect(report, now),
    "",
    attachment(report, returned),
  ];
  return `${lines.map(oneLine).join("\r\n")}\r\n`;
}

const HEADING = {
  failed: "The following addresses had permanent fatal errors",
  delayed: "The following addresses had transient non-fatal errors",
  relayed: "The following addresses had successful delivery notifications",
} as const;

function warning({ action }: Report): string[] {
  if (action !== "delayed") return [];
  return [
    "    **********************************************",
    "    **      THIS IS A WARNING MESSAGE ONLY      **",
    "    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **",
    "    **********************************************",
    "",
  ];
}

function received({ arrived, envelope: { client } }: Report): string[] {
  const at = `The original message was received at ${mailDate(arrived)}`;
  return isIP(client) === 0 ? [at] : [at, `from [${client}]`];
}

function concerning({ recipient, reply, why }: RecipientReport, { action }: Report): string[] {
  if (action === "relayed") return [`<${recipient}>  (relayed to non-DSN-aware mailer)`];
  if (reply === null) return [`<${recipient}>`, `    (reason: ${why})`];
  const lines = [`<${recipient}>`, `    (reason: ${reply.code} ${reply.text})`];
  return why === "" || why === reply.text ? lines : [...lines, `    (${why})`];
}

/** What was said last, where it is known; what is the same for several recipients, once. */
function transcript(recipients: readonly RecipientReport[]): string[] {
  const lines: string[] = [];
  let talkingTo = "";
  const said = new Set<string>();
  for (const one of recipients) {
    const { reply, smarthost } = one;
    if (reply === null) continue;
    if (smarthost !== talkingTo) lines.push(`... while talking to ${smarthost}:`);
    talkingTo = smarthost;
    const answer = reply.text.split("\n").map((text) => `<<< ${reply.code} ${text}`);
    const exchange = [...command(one), ...answer];
    const key = JSON.stringify([smarthost, exchange]);
    if (!said.has(key)) lines.push(...exchange);
    said.add(key);
  }
  return lines.length === 0 ? [] : ["", "   ----- Transcript of session follows -----", ...lines];
}

function command({ step, recipient }: RecipientReport): string[] {
  switch (step) {
    case "rcpt":
      return [`>>> RCPT TO:<${recipient}>`];
    case "mail":
      return [">>> MAIL"];
    case "data":
    case "content":
      return [">>> DATA"];
    case undefined:
      return [];
    default:
      return assertNever(step);
  }
}

function prospect({ action, arrived, retriedUntil }: Report, now: number): string[] {
  if (action !== "delayed") return [];
  const waits = `Warning: message still undelivered after ${period(now - arrived)}`;
  if (retriedUntil === null) return ["", waits];
  return ["", waits, `Will keep trying until message is ${period(retriedUntil - arrived)} old`];
}

function attachment({ action }: Report, returned: Returned | null): string {
  if (returned === null) return "The text of the message is no longer there.";
  if (returned.whole) return "The message is attached.";
  return action === "failed"
    ? `Only the header of the message (${returned.size} bytes) is attached.`
    : "The header of the message is attached.";
}

/** "4 hours", "5 days": the largest unit that fits, rounded down. */
function period(seconds: number): string {
  const units = [
    [DAY, "day", 2 * DAY],
    [HOUR, "hour", HOUR],
    [60, "minute", 60],
    [1, "second", 0],
  ] as const;
  const [size, name] = units.find(([, , from]) => seconds >= from) ?? [1, "second"];
  const count = Math.max(0, Math.floor(seconds / size));
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
