/** Delivery reports: composed, and put into the queue like any mail. */
import { randomUUID } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import type { ReportConfig } from "../core/config.ts";
import { dsnLines, dsnOf, isWanted } from "../core/dsn.ts";
import { type Envelope, emptyEnvelope } from "../core/envelope.ts";
import type { Journal } from "../core/events.ts";
import type { Report, Reporter } from "../core/report.ts";
import type { Store } from "../core/store.ts";

export interface ReporterOptions {
  readonly store: Store;
  /** The name of the relay. */
  readonly domain: string;
  readonly clock: Clock;
  readonly journal: Journal;
  /** Called when a report is in the queue. */
  readonly requestRun: (reason: string) => void;
}

/** What a journey needs to tell senders; nothing without --bounce. */
export function reporting(
  config: ReportConfig | null,
  options: ReporterOptions,
): { readonly reporter: Reporter | null; readonly delayWarningSeconds: number | null } {
  if (config === null) return { reporter: null, delayWarningSeconds: null };
  const { delayWarningSeconds: after } = config;
  return { reporter: openReporter(options), delayWarningSeconds: after === 0 ? null : after };
}

export function openReporter(options: ReporterOptions): Reporter {
  return { report: async (report) => await send(options, report) };
}

async function send(options: ReporterOptions, report: Report): Promise<boolean> {
  const { envelope, action } = report;
  if (isNobody(envelope.from)) return false;
  const dsn = dsnOf(envelope.trailer);
  const recipients = report.recipients.filter(({ recipient }) => isWanted(dsn, recipient, action));
  if (recipients.length === 0) return true;
  // What composes is loaded when there is something to report.
  const [{ composeReport, isReport, wantedBack }, { readReturned }] = await Promise.all([
    import("../compose/report.ts"),
    import("../compose/returned.ts"),
  ]);
  await using content = await report.content();
  const returned = content === null ? null : await readReturned(content, wantedBack(report));
  if (isReport(returned)) return false;
  const bytes = await composeReport({
    report: { ...report, recipients },
    returned,
    to: envelope.from,
    domain: options.domain,
    now: options.clock.now(),
    token: randomUUID(),
  });
  await queue(options, report, bytes);
  return true;
}

async function queue(
  { store, journal, requestRun }: ReporterOptions,
  { envelope: { from }, action }: Report,
  bytes: Buffer,
): Promise<void> {
  await using draft = await store.create();
  await draft.write(bytes);
  await draft.seal(reportEnvelope(from, bytes));
  await draft.commit();
  const text = `delivery report (${action}) to <${from}>: ${draft.id}`;
  journal.tell({ kind: "note", level: "info", detail: false, text });
  requestRun("delivery report");
}

/** From nobody, and nobody is told of its fate (RFC 3464 2). */
function reportEnvelope(to: string, bytes: Buffer): Envelope {
  const never = { notify: ["NEVER"], orcpt: null } as const;
  return {
    ...emptyEnvelope,
    body: bytes.some((byte) => byte > 0x7f) ? "8bit" : "7bit",
    toRemote: [to],
    utf8Mailboxes: /[^ -~]/.test(to),
    trailer: dsnLines({ ret: null, envid: null, recipients: new Map([[to, never]]) }),
  };
}

/** Nobody to tell: the null sender, and programs that send reports (some forget that those come from nobody). */
function isNobody(sender: string): boolean {
  return sender === "" || /^mailer-daemon(?:@|$)/i.test(sender);
}
