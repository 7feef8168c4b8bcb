/** The Received line that goes in front of a message. Source: RFC 5321 4.4, E-MailRelay's form of it (R6). */

export interface Trace {
  /** What the client called itself; anything at all, "" for nothing: then its address is its name (RFC 5321 4.1.3). */
  readonly helo: string;
  /** IP address, or "/" for a unix socket. */
  readonly address: string;
  readonly domain: string;
  readonly authenticated: boolean;
  /** As OpenSSL calls it; "" when not encrypted. */
  readonly cipher: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** The line with its CRLF. */
export function receivedLine(trace: Trace): string {
  const secure = trace.cipher !== "";
  const protocol = `ESMTP${secure ? "S" : ""}${trace.authenticated ? "A" : ""}`;
  const tls = secure ? ` tls ${trace.cipher.replaceAll("-", "_").replace(/\W/g, "")}` : "";
  const address = `[${trace.address}]`;
  const from = `${trace.helo === "" ? address : heloWord(trace.helo)} (${address})`;
  return `Received: from ${from} by ${trace.domain} with ${protocol}${tls} ; ${dateTime(trace.now)}\r\n`;
}

/** One printable word, whatever the client said; cut so that the line stays under RFC 5322's 998 bytes. */
function heloWord(helo: string): string {
  const plain = /^[!-~]*$/.test(helo) ? helo : escaped(helo);
  return plain.slice(0, 255);
}

function escaped(helo: string): string {
  let out = "";
  for (const byte of Buffer.from(helo.replace(/[ \t]/g, "-"), "utf8")) {
    const printable = byte > 0x20 && byte < 0x7f;
    out += printable ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return out;
}

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** "Sat, 21 Nov 2026 01:53:29 +0000", in local time. */
function dateTime(now: number): string {
  const date = new Date(now);
  const day = `${DAYS[date.getDay()]}, ${date.getDate()} ${MONTHS[date.getMonth()]} ${date.getFullYear()}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const east = -date.getTimezoneOffset();
  const ahead = Math.abs(east);
  return `${day} ${time} ${east < 0 ? "-" : "+"}${two(Math.trunc(ahead / 60))}${two(ahead % 60)}`;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}
