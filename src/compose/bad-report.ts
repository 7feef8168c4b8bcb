/** The report about a message that was set aside as `.bad`, from what its envelope says. */
import { randomUUID } from "node:crypto";
import { basename } from "node:path";
import { Readable } from "node:stream";
import type { Envelope } from "../core/envelope.ts";
import { parseMessageId } from "../core/message-id.ts";
import type { RecipientReport, Report } from "../core/report.ts";
import { arrivalOf } from "../core/retry-state.ts";
import type { Original } from "./original.ts";
import { composeReport, wantedBack } from "./report.ts";
import { type Returned, readReturned } from "./returned.ts";

export interface BadMessage {
  readonly envelope: Envelope;
  /** null when its content is gone. */
  readonly original: Original | null;
  /** Of the envelope file, whose name tells when the message came. */
  readonly path: string;
  /** Milliseconds since 1970. */
  readonly setAside: number;
  readonly now: number;
  /** One address: see noticeRecipient(). */
  readonly to: string;
  readonly domain: string;
}

export async function composeBadReport(bad: BadMessage): Promise<Buffer> {
  const { original, to, domain, now } = bad;
  const report = reportOf(bad);
  const returned = original === null ? null : await returnedOf(original, report);
  return await composeReport({ report, returned, to, domain, now, token: randomUUID() });
}

async function returnedOf({ size, bytes }: Original, report: Report): Promise<Returned> {
  await using content = {
    size,
    bytes: () => Readable.from([bytes]),
    [Symbol.asyncDispose]: async () => undefined,
  };
  return await readReturned(content, wantedBack(report));
}

function reportOf({ envelope, path, setAside }: BadMessage): Report {
  const lastAttempt = Math.floor(setAside / 1000);
  const id = parseMessageId(basename(path).replace(/\.envelope.*$/, ""));
  const arrived = (id === null ? null : arrivalOf(id)) ?? lastAttempt;
  const { text, code } = lastReason(envelope);
  const [said] = /^[45]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(text) ?? [];
  const recipients = [...envelope.toLocal, ...envelope.toRemote].map(
    (recipient): RecipientReport => ({
      recipient,
      reply: code === 0 ? null : { code, text },
      why: text,
      status: said ?? "5.0.0",
      smarthost: "",
      lastAttempt,
    }),
  );
  return {
    action: "failed",
    envelope,
    content: async () => null,
    recipients,
    arrived,
    retriedUntil: null,
  };
}

function lastReason({ trailer }: Envelope): { text: string; code: number } {
  const last = (name: string) =>
    trailer
      .findLast((line) => line.startsWith(name))
      ?.slice(name.length)
      .trim();
  const code = last("X-MailRelay-ReasonCode:") ?? "";
  return {
    text: last("X-MailRelay-Reason:") ?? "unknown",
    code: /^[1-5]\d\d$/.test(code) ? Number(code) : 0,
  };
}
