/** What the client of an immediate session is told itself is not reported to the sender as well. */
import type { Report, Reporter } from "../core/report.ts";

/** Stands before the reporter while a client waits for the answer. */
export class ClientHears implements Reporter {
  readonly #reporter: Reporter;
  #isReported = false;

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
  }

  /** True if the sender hears of those who failed from a report: then the client must not report them too. */
  get isReported(): boolean {
    return this.#isReported;
  }

  async report(report: Report): Promise<boolean> {
    // Nobody has the message, or is to get it: the answer refuses it, and who sent it reports that (RFC 5321 6.1).
    if (report.action === "failed" && isOfAll(report)) return false;
    const isTold = await this.#reporter.report(report);
    if (report.action === "failed" && isTold) this.#isReported = true;
    return isTold;
  }
}

function isOfAll({ envelope, recipients }: Report): boolean {
  const failed = new Set(recipients.map(({ recipient }) => recipient));
  return envelope.toRemote.every((recipient) => failed.has(recipient));
}
