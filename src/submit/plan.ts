/** Decides what one input becomes: how many messages, and the header and envelope of each. Pure. */
import { type Envelope, emptyEnvelope } from "../core/envelope.ts";
import { parseAddressList } from "./address-list.ts";
import { addressField, type Field, fieldValue, replaceFields, splitHeader } from "./header.ts";
import { fieldAddresses, isUtf8Mailbox } from "./mailbox.ts";
import type { SubmitRequest } from "./request.ts";

export interface PlannedMessage {
  /** Complete: with the empty line that ends it. */
  readonly header: Buffer;
  readonly envelope: Envelope;
}

/** What makes this run different from all others. */
export interface Occasion {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly pid: number;
}

interface Recipients {
  readonly open: readonly string[];
  /** One message each; only with `bccSplit`. */
  readonly hidden: readonly string[];
}

/** At least one message. Throws when an address list that is needed cannot be read. */
export function planMessages(
  request: SubmitRequest,
  header: string,
  occasion: Occasion,
): PlannedMessage[] {
  const fields = splitHeader(header);
  const from = request.from ?? headerSender(fields);
  const { open, hidden } = recipients(request, fields);
  const edited = withAdditions(request, withSender(request, fields, from), occasion);
  const message = (to: readonly string[], bcc: Field | null): PlannedMessage => ({
    header: headerBytes(withRecipients(request, edited, open, bcc)),
    envelope: envelope(request, from, to),
  });
  const messages = hidden.map((address) => message([address], addressField("bcc", [address])));
  // A message that only had Bcc recipients has nobody left to go to but them.
  return open.length === 0 && hidden.length > 0 ? messages : [message(open, null), ...messages];
}

/** The only From address, else the Sender's, else the first From address. Source: R16.1 of E-MailRelay 2.6. */
function headerSender(fields: readonly Field[]): string {
  const authors = addressesOf(fields, "from");
  const [author] = authors;
  if (author !== undefined && authors.length === 1) return author;
  return addressesOf(fields, "sender")[0] ?? author ?? "anonymous";
}

function recipients(request: SubmitRequest, fields: readonly Field[]): Recipients {
  if (request.to.length > 0) return { open: request.to, hidden: [] };
  const open = [...addressesOf(fields, "to"), ...addressesOf(fields, "cc")];
  const hidden = addressesOf(fields, "bcc");
  return request.bccSplit ? { open, hidden } : { open: [...open, ...hidden], hidden: [] };
}

/** Every address of every field of that name. */
function addressesOf(fields: readonly Field[], name: string): string[] {
  return fields.filter((field) => field.name === name).flatMap(fieldRecipients);
}

function fieldRecipients(field: Field): string[] {
  const value = fieldValue(field);
  const list = parseAddressList(value);
  if (list.kind === "invalid") {
    const line = value.slice(0, list.at).split("\n").length;
    throw new Error(
      `rfc-5322/6532 parsing error: invalid address-list: line ${line} of "${field.name}": ${list.why}`,
    );
  }
  const addresses = fieldAddresses(list.addresses);
  if (addresses === null) {
    throw new Error(
      `rfc-5322/6532 parsing error: invalid address-list: line 1 of "${field.name}": address cannot be used`,
    );
  }
  return addresses;
}

function withSender(
  request: SubmitRequest,
  fields: readonly Field[],
  from: string,
): readonly Field[] {
  if (!request.contentFrom) return fields;
  return replaceFields(
    fields,
    ["from", "sender"],
    addressField("From", [from === "" ? "<>" : from]),
  );
}

function withAdditions(
  { contentDate, contentMessageId }: SubmitRequest,
  fields: readonly Field[],
  occasion: Occasion,
): readonly Field[] {
  const missing = (name: string): boolean => !fields.some((field) => field.name === name);
  const added: Field[] = [];
  if (contentDate && missing("date")) {
    added.push({ name: "date", text: `Date: ${dateText(occasion.now)}\r\n` });
  }
  if (contentMessageId !== null && missing("message-id")) {
    const id = messageIdText(occasion, contentMessageId);
    added.push({ name: "message-id", text: `Message-ID: ${id}\r\n` });
  }
  return [...added, ...fields];
}

function withRecipients(
  request: SubmitRequest,
  fields: readonly Field[],
  open: readonly string[],
  bcc: Field | null,
): readonly Field[] {
  const split = request.bccSplit ? replaceFields(fields, ["bcc"], bcc) : fields;
  if (!request.contentTo) return split;
  const to = open.length === 0 ? null : addressField("To", open);
  return replaceFields(split, request.bccSplit ? ["to", "cc"] : ["to", "cc", "bcc"], to);
}

function headerBytes(fields: readonly Field[]): Buffer {
  return Buffer.from(`${fields.map((field) => field.text).join("")}\r\n`, "latin1");
}

function envelope(request: SubmitRequest, from: string, to: readonly string[]): Envelope {
  return {
    ...emptyEnvelope,
    from,
    toRemote: to,
    mailFromAuthIn: request.authIn,
    mailFromAuthOut: request.authOut,
    utf8Mailboxes: [from, ...to].some(isUtf8Mailbox),
  };
}

/** "21 Nov 2026 02:04:04 +0000": RFC 5322 3.3, always in UTC. */
function dateText(now: number): string {
  const [, day = "", month = "", year = "", time = ""] = new Date(now).toUTCString().split(" ");
  return `${Number(day)} ${month} ${year} ${time} +0000`;
}

function messageIdText({ now, pid }: Occasion, domain: string): string {
  const seconds = Math.floor(now / 1000);
  const micros = Math.floor((now % 1000) * 1000);
  return `<${seconds}.${String(micros).padStart(6, "0")}.${pid}@${domain}>`;
}
