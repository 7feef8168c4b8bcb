/**
 * Envelope <-> the "X-MailRelay-" lines of an envelope file. Writes format #2821.8 byte for byte,
 * reads all six formats. Source: emailrelay reference, "Envelope file"; observed, E-MailRelay 2.6.
 */
import { type Envelope, emptyEnvelope } from "../core/envelope.ts";
import { RelayError } from "../core/errors.ts";
import { decodeXtext } from "../core/xtext.ts";

type Field =
  | "ClientName"
  | "ClientCertificate"
  | "MailFromAuthIn"
  | "MailFromAuthOut"
  | "ForwardTo"
  | "ForwardToAddress"
  | "ClientAccountSelector"
  | "Utf8MailboxNames";

const SINCE_5: readonly Field[] = ["ClientCertificate", "MailFromAuthIn", "MailFromAuthOut"];
const SINCE_6: readonly Field[] = [...SINCE_5, "ForwardTo", "ForwardToAddress"];

/** The fields between Client and End, by format. */
const FIELDS: ReadonlyMap<string, readonly Field[]> = new Map<string, readonly Field[]>([
  ["#2821.3", []],
  ["#2821.4", ["ClientName", "ClientCertificate"]],
  ["#2821.5", SINCE_5],
  ["#2821.6", SINCE_6],
  ["#2821.7", [...SINCE_6, "Utf8MailboxNames"]],
  ["#2821.8", [...SINCE_6, "ClientAccountSelector", "Utf8MailboxNames"]],
]);

/**
 * The bytes of an envelope file, CRLF line ends. Throws ENVELOPE_SYNTAX when a field has a control
 * character: it could end its line and forge the next one (CVE-2020-28021 is that in another MTA).
 */
export function encodeEnvelope(envelope: Envelope, where: string): Buffer {
  const { toLocal, toRemote } = envelope;
  let text = `X-MailRelay-Format: #2821.8\r\nX-MailRelay-Content: ${envelope.body}\r\n`;
  text += line(where, "From", envelope.from);
  text += `X-MailRelay-ToCount: ${toLocal.length + toRemote.length}\r\n`;
  for (const to of toLocal) text += line(where, "To-Local", to);
  for (const to of toRemote) text += line(where, "To-Remote", to);
  text += line(where, "Authentication", envelope.authentication);
  text += line(where, "Client", envelope.client);
  text += certificateLines(where, envelope.clientCertificate);
  text += line(where, "MailFromAuthIn", envelope.mailFromAuthIn);
  text += line(where, "MailFromAuthOut", envelope.mailFromAuthOut);
  text += line(where, "ForwardTo", envelope.forwardTo);
  text += line(where, "ForwardToAddress", envelope.forwardToAddress);
  text += line(where, "ClientAccountSelector", envelope.clientAccountSelector);
  text += `X-MailRelay-Utf8MailboxNames: ${envelope.utf8Mailboxes ? "1" : "0"}\r\n`;
  text += "X-MailRelay-End: 1\r\n";
  for (const one of envelope.trailer) {
    if (one.includes("\n")) {
      throw new RelayError("ENVELOPE_SYNTAX", where, "line end in a line after the end");
    }
    text += `${one.trimEnd()}\r\n`;
  }
  return Buffer.from(text, "utf8");
}

function line(where: string, name: string, value: string): string {
  if (hasControl(value)) {
    throw new RelayError("ENVELOPE_SYNTAX", where, `control character in "${name}"`);
  }
  return `X-MailRelay-${name}: ${value}\r\n`;
}

/** One field of several lines. */
function certificateLines(where: string, pem: string): string {
  if (pem === "") return line(where, "ClientCertificate", "");
  const lines = pem.trimEnd();
  const checked = line(where, "ClientCertificate", lines.replaceAll("\n", ""));
  return lines.includes("\n")
    ? `X-MailRelay-ClientCertificate: ${lines.replaceAll("\n", "\r\n ")}\r\n`
    : checked;
}

/**
 * A copy of an envelope of the usual kind: one that `decodeEnvelope()` makes of what
 * `encodeEnvelope()` wrote. null when it may be read back as another one, or not at all.
 */
export function copyIfUsual(envelope: Envelope): Envelope | null {
  const { clientCertificate, trailer, toLocal, toRemote } = envelope;
  const usual =
    clientCertificate === "" &&
    trailer.length === 0 &&
    isUsual(envelope.from) &&
    toLocal.every(isUsual) &&
    toRemote.every(isUsual) &&
    isUsual(envelope.authentication) &&
    isUsual(envelope.client) &&
    isUsualXtext(envelope.mailFromAuthIn) &&
    isUsualXtext(envelope.mailFromAuthOut) &&
    isUsual(envelope.forwardTo) &&
    isUsual(envelope.forwardToAddress) &&
    isUsual(envelope.clientAccountSelector);
  if (!usual) return null;
  return { ...envelope, toLocal: [...toLocal], toRemote: [...toRemote] };
}

/** ASCII that is no control character, without blanks at its ends. */
function isUsual(value: string): boolean {
  return isPlain(value) && !value.startsWith(" ") && !value.endsWith(" ");
}

function isPlain(value: string): boolean {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code < 0x20 || code >= 0x7f) return false;
  }
  return true;
}

function isUsualXtext(value: string): boolean {
  return value === "" || value === "<>" || decodeXtext(value) !== null;
}

/**
 * Reads an envelope file. Lines after the end are kept as they are, without line ends. Throws
 * ENVELOPE_SYNTAX; its message is the `why` of the warning that E-MailRelay would give.
 */
export function decodeEnvelope(bytes: Uint8Array, where: string): Envelope {
  const reader = new FieldReader(bytes, where);
  const format = reader.field("Format");
  const fields = FIELDS.get(format);
  if (fields === undefined) throw reader.bad(`unknown format id: ${format}`);
  const body = reader.field("Content");
  const from = reader.field("From");
  const recipients = reader.recipients();
  const authentication = reader.field("Authentication");
  const client = reader.field("Client");
  const values = new Map(fields.map((name) => [name, reader.field(name)]));
  const value = (name: Field) => values.get(name) ?? "";
  return {
    ...emptyEnvelope,
    ...recipients,
    body: bodyOf(body),
    from,
    authentication,
    client,
    clientCertificate: value("ClientCertificate"),
    mailFromAuthIn: xtextOf("MailFromAuthIn", value("MailFromAuthIn"), reader),
    mailFromAuthOut: xtextOf("MailFromAuthOut", value("MailFromAuthOut"), reader),
    forwardTo: value("ForwardTo"),
    forwardToAddress: value("ForwardToAddress"),
    clientAccountSelector: value("ClientAccountSelector"),
    utf8Mailboxes: value("Utf8MailboxNames") === "1",
    trailer: reader.trailer(),
  };
}

function bodyOf(text: string): Envelope["body"] {
  return text === "7bit" || text === "8bit" || text === "binarymime" ? text : "unknown";
}

function xtextOf(name: string, text: string, reader: FieldReader): string {
  const fine = text === "<>" || text === "+" || decodeXtext(text) !== null;
  if (!fine) throw reader.bad(`invalid xtext in "X-MailRelay-${name}:"`);
  return text;
}

/** Takes the lines of an envelope file in order: fields up to the end line, then the rest. */
class FieldReader {
  readonly #where: string;
  readonly #lines: readonly string[];
  #at = 0;

  constructor(bytes: Uint8Array, where: string) {
    this.#where = where;
    // One character per byte, so that no byte can change while lines are looked for.
    const lines = Buffer.from(bytes).toString("latin1").split("\n");
    if (lines.at(-1) === "") lines.pop();
    this.#lines = lines.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  bad(why: string): RelayError {
    return new RelayError("ENVELOPE_SYNTAX", this.#where, why);
  }

  /** The value of the next line, which must be this field. */
  field(name: string): string {
    const value = this.#valueOf(name);
    if (value === null) throw this.bad(`expected "X-MailRelay-${name}:"`);
    return value;
  }

  recipients(): { toLocal: string[]; toRemote: string[] } {
    const count = this.field("ToCount");
    const toLocal: string[] = [];
    const toRemote: string[] = [];
    if (!/^\d{1,9}$/.test(count)) throw this.bad("bad 'to' line");
    for (let left = Number(count); left > 0; left--) {
      const local = this.#valueOf("To-Local");
      const remote = local === null ? this.#valueOf("To-Remote") : null;
      if (local !== null) toLocal.push(local);
      else if (remote !== null) toRemote.push(remote);
      else throw this.bad("bad 'to' line");
    }
    return { toLocal, toRemote };
  }

  /** What follows the end line, which must be next. */
  trailer(): string[] {
    const end = this.#lines[this.#at];
    if (end?.startsWith("X-MailRelay-End") !== true) throw this.bad("no end line");
    return this.#lines.slice(this.#at + 1).map((line) => fromBytes(line).trimEnd());
  }

  #valueOf(name: string): string | null {
    const first = this.#lines[this.#at];
    const start = `X-MailRelay-${name}:`;
    if (first?.startsWith(start) !== true) return null;
    const rest = first.slice(start.length);
    if (rest !== "" && !rest.startsWith(" ")) return null;
    this.#at += 1;
    if (isPlain(rest) && !isFolded(this.#lines[this.#at])) return rest.trim();
    const certificate = name === "ClientCertificate";
    const value = [rest, ...this.#continuations(certificate)].join(certificate ? "\n" : "");
    return this.#checked(name, value.replace(/^[ \t]+|[ \t\r\n]+$/g, ""));
  }

  /** Folded lines: a certificate gets back its own lines, any other field the blank that began each. */
  #continuations(certificate: boolean): string[] {
    const found: string[] = [];
    for (;;) {
      const line = this.#lines[this.#at];
      if (line === undefined || !isFolded(line)) return found;
      this.#at += 1;
      found.push(certificate ? line.slice(1) : ` ${line.slice(1)}`);
    }
  }

  #checked(name: string, raw: string): string {
    const value = fromBytes(raw);
    if (hasControl(name === "ClientCertificate" ? value.replaceAll("\n", "") : value)) {
      throw this.bad(`control character in "X-MailRelay-${name}:"`);
    }
    // A byte that is not UTF-8 cannot be kept: the address would be altered on its way out.
    if (value.includes("\uFFFD") && !raw.includes("\u00EF\u00BF\u00BD")) {
      throw this.bad(`invalid UTF-8 in "X-MailRelay-${name}:"`);
    }
    return value;
  }
}

/** It goes on with the line before. */
function isFolded(line: string | undefined): boolean {
  return line?.startsWith(" ") === true || line?.startsWith("\t") === true;
}

function fromBytes(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}

function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  }
  return false;
}
