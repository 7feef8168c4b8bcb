/** A delivery report: a mail in three parts, for people, for programs, and what it is about (RFC 6522, RFC 3464). */
import { dsnOf } from "../core/dsn.ts";
import type { Report } from "../core/report.ts";
import { type Part, writeMail } from "./mail.ts";
import { isInternational, statusPart } from "./report-status.ts";
import { reportSubject, reportText } from "./report-text.ts";
import { headerLines, type Returned, returnedPart } from "./returned.ts";

export interface ReportFacts {
  /** With those recipients alone that the sender wants to hear of. */
  readonly report: Report;
  /** null when the content is gone. */
  readonly returned: Returned | null;
  /** One address; the sender of the message. */
  readonly to: string;
  /** The name of the relay. */
  readonly domain: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Random: found nowhere in the message. */
  readonly token: string;
}

/** The whole report with CRLF line ends, no line longer than mail may have. */
export async function composeReport(facts: ReportFacts): Promise<Buffer> {
  const { report, returned, domain, now } = facts;
  const seconds = Math.floor(now / 1000);
  const parts: Part[] = [
    { kind: "text", text: reportText(report, returned, seconds) },
    statusPart(report, domain),
  ];
  const international = report.envelope.utf8Mailboxes || isInternational(report);
  if (returned !== null) parts.push(returnedPart(returned, international));
  const chunks: Uint8Array[] = [];
  const mail = writeMail({
    type: "report; report-type=delivery-status",
    from: `Mail Delivery System <MAILER-DAEMON@${domain}>`,
    to: facts.to,
    subject: reportSubject(report, seconds),
    fields: { "Auto-Submitted": "auto-replied", ...references(returned) },
    now,
    host: domain,
    token: facts.token,
    parts,
  });
  for await (const chunk of mail) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** How much goes back: all of a message that failed, unless its sender asked for less (RFC 3461 4.3). */
export function wantedBack({ action, envelope }: Report): "whole" | "header" {
  return action === "failed" && dsnOf(envelope.trailer).ret !== "HDRS" ? "whole" : "header";
}

/** True if the message is a report itself: to answer that could go on for ever. */
export function isReport(returned: Returned | null): boolean {
  if (returned === null) return false;
  return headerLines(returned).some((line) =>
    /^content-type[ \t]*:[ \t]*multipart\/report\b/i.test(line),
  );
}

/** What it answers (RFC 5322 3.6.4), so that it is shown beside the message. */
function references(returned: Returned | null): Record<string, string> {
  const lines = returned === null ? [] : headerLines(returned);
  for (const line of lines) {
    const [, id] = /^message-id[ \t]*:[ \t]*(<[!-;=?-~]{1,250}>)[ \t]*$/i.exec(line) ?? [];
    if (id !== undefined) return { "In-Reply-To": id, References: id };
  }
  return {};
}
