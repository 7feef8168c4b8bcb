/** The envelope files that E-MailRelay has written, and what its newest format makes of each. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const GOLDEN = join(import.meta.dirname, "../../../test/spool/golden");

/** Fields of #2821.8 behind the recipients, in order, with what an older format means by their absence. */
const LATER_FIELDS = [
  ["Authentication", ""],
  ["Client", ""],
  ["ClientCertificate", ""],
  ["MailFromAuthIn", ""],
  ["MailFromAuthOut", ""],
  ["ForwardTo", ""],
  ["ForwardToAddress", ""],
  ["ClientAccountSelector", ""],
  ["Utf8MailboxNames", "0"],
] as const;

export interface Golden {
  readonly name: string;
  /** latin1, as in the file. */
  readonly text: string;
}

export function goldens(): Golden[] {
  return readdirSync(GOLDEN)
    .filter((file) => file.endsWith(".envelope"))
    .sort()
    .map((file) => golden(file.replace(/\.envelope$/, "")));
}

export function golden(name: string): Golden {
  return { name, text: readFileSync(join(GOLDEN, `${name}.envelope`), "latin1") };
}

/** Written anew by hand, in #2821.8 with CR LF, from whatever format and line ends. */
export function inNewestFormat(text: string): string {
  const [head = "", tail = ""] = text.replaceAll("\r\n", "\n").split(/^X-MailRelay-End: 1\n/m);
  const fields = head.split(/\n(?![ \t])/).filter((field) => field !== "");
  const value = (name: string, otherwise: string): string => {
    const start = `X-MailRelay-${name}: `;
    const found = fields.find((field) => field.startsWith(start));
    return found === undefined ? otherwise : found.slice(start.length);
  };
  const opening = fields.filter((field) => /^X-MailRelay-(?:Content|From|To[A-Z-]\w*)/.test(field));
  const lines = [
    "X-MailRelay-Format: #2821.8",
    ...opening,
    ...LATER_FIELDS.map(([name, usual]) => `X-MailRelay-${name}: ${value(name, usual)}`),
    "X-MailRelay-End: 1",
  ];
  return `${lines.join("\n")}\n${tail}`.replaceAll("\n", "\r\n");
}
