/** What relayd-notice is asked for. Pure. */
import { parseArgs } from "node:util";

export const NOTICE_USAGE = `usage: relayd-notice [--report] [--from <address>] [--to <address>] <envelope.bad> <content>
       relayd-notice --print-recipient <envelope.bad>
Prints the notice for a failed message, or only the address that it goes to. With --report: a
delivery report as relayd sends it with --bounce.
`;

export type NoticeRequest =
  | { readonly kind: "help" }
  | { readonly kind: "recipient"; readonly envelope: string; readonly to: string | null }
  | {
      readonly kind: "notice" | "report";
      readonly envelope: string;
      readonly content: string;
      /** Of a notice; a report is from the mail system. */
      readonly from: string;
      /** null: whoever the envelope names. */
      readonly to: string | null;
    };

/** Throws an Error whose message is for the person who called it. */
export function noticeRequest(args: readonly string[]): NoticeRequest {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      from: { type: "string", default: "postmaster" },
      to: { type: "string" },
      report: { type: "boolean", default: false },
      "print-recipient": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return { kind: "help" };
  const [envelope, content, ...more] = positionals;
  const { from, to = null } = values;
  if (envelope !== undefined && more.length === 0) {
    if (values["print-recipient"]) return { kind: "recipient", envelope, to };
    const kind = values.report ? "report" : "notice";
    if (content !== undefined) return { kind, envelope, content, from, to };
  }
  throw new Error(`wrong number of arguments\n${NOTICE_USAGE.trimEnd()}`);
}
