/** The part of a report for programs: one field a line (RFC 3464 2; RFC 6533 4 for addresses that are not ASCII). Pure. */
import { isIPv4, isIPv6 } from "node:net";
import { type Dsn, dsnOf, originalRecipient } from "../core/dsn.ts";
import { parseEndpoint } from "../core/endpoint.ts";
import type { RecipientReport, Report } from "../core/report.ts";
import { decodeXtext } from "../core/xtext.ts";
import { mailDate, oneLine, type Part } from "./mail.ts";

/** Longest value of a field, in bytes: a line may have 998. */
const LONGEST = 900;
const FOLDED_AT = 76;

export function statusPart(report: Report, domain: string): Part {
  const international = isInternational(report);
  const dsn = dsnOf(report.envelope.trailer);
  const groups = [
    messageFields(report, domain, dsn),
    ...report.recipients.map((one) => recipientFields(report, one, dsn)),
  ];
  const lines = groups.map((fields) => fields.map(line).join("")).join("\r\n");
  return {
    kind: "bytes",
    type: international ? "message/global-delivery-status" : "message/delivery-status",
    encoding: international ? "8bit" : "7bit",
    bytes: Buffer.from(international ? lines : lines.replace(/[^\t\r\n -~]/gu, "?")),
  };
}

/** True when an address in it is not ASCII. */
export function isInternational({ envelope, recipients }: Report): boolean {
  const dsn = dsnOf(envelope.trailer);
  return recipients.some(({ recipient }) => {
    const orcpt = dsn.recipients.get(recipient)?.orcpt ?? null;
    return !isAscii(recipient) || (orcpt !== null && !isAscii(originalRecipient(orcpt).address));
  });
}

type Field = readonly [name: string, value: string | null];

function messageFields(
  { envelope, arrived }: Report,
  domain: string,
  { envid }: Dsn,
): readonly Field[] {
  return [
    ["Original-Envelope-Id", envid === null ? null : decodeXtext(envid)],
    ["Reporting-MTA", `dns; ${domain}`],
    ["Received-From-MTA", clientName(envelope.client)],
    ["Arrival-Date", mailDate(arrived)],
  ];
}

function recipientFields(report: Report, one: RecipientReport, dsn: Dsn): readonly Field[] {
  const { action, retriedUntil } = report;
  const orcpt = dsn.recipients.get(one.recipient)?.orcpt ?? null;
  const original = orcpt === null ? null : originalRecipient(orcpt);
  const until = action === "delayed" ? retriedUntil : null;
  return [
    ["Original-Recipient", original === null ? null : `${original.type}; ${original.address}`],
    ["Final-Recipient", `${isAscii(one.recipient) ? "rfc822" : "utf-8"}; ${one.recipient}`],
    ["Action", action],
    ["Status", statusOf(report, one)],
    ["Remote-MTA", smarthostName(one.smarthost)],
    ["Diagnostic-Code", diagnosis(one)],
    ["Last-Attempt-Date", mailDate(one.lastAttempt)],
    ["Will-Retry-Until", until === null ? null : mailDate(until)],
  ];
}

function statusOf({ action }: Report, { status }: RecipientReport): string {
  if (/^[245]\.\d{1,3}\.\d{1,3}$/.test(status)) return status;
  return { failed: "5.0.0", delayed: "4.0.0", relayed: "2.0.0" }[action];
}

function diagnosis({ reply, why }: RecipientReport): string | null {
  if (reply !== null) return `smtp; ${reply.code} ${reply.text}`;
  return oneLine(why) === "" ? null : `X-Relayd; ${why}`;
}

/** "dns; [192.0.2.1]"; null for a unix socket. */
function clientName(client: string): string | null {
  if (isIPv4(client)) return `dns; [${client}]`;
  return isIPv6(client) ? `dns; [IPv6:${client}]` : null;
}

function smarthostName(address: string): string | null {
  const endpoint = parseEndpoint(address);
  if (endpoint?.kind !== "ip") return null;
  return clientName(endpoint.host) ?? `dns; ${endpoint.host}`;
}

const isAscii = (text: string): boolean => /^[ -~]*$/.test(text);

/** "" for a field without value. Only what is text for people may be folded without changing what it says. */
function line([name, value]: Field): string {
  if (value === null) return "";
  const bytes = Buffer.from(oneLine(value));
  const short = bytes
    .subarray(0, LONGEST)
    .toString("utf8")
    .replace(/\ufffd$/u, "");
  const text = `${name}: ${short}`;
  return `${name === "Diagnostic-Code" ? folded(text) : text}\r\n`;
}

function folded(text: string): string {
  const lines: string[] = [];
  let current = "";
  for (const word of text.split(" ")) {
    if (current !== "" && current.length + word.length >= FOLDED_AT) {
      lines.push(current);
      current = "";
    }
    current += current === "" && lines.length === 0 ? word : ` ${word}`;
  }
  return [...lines, current].join("\r\n");
}
