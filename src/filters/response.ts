/** Reads what a filter program prints for the SMTP client and for the operator. Pure. Source: R9.1. */

export interface Response {
  /** For the SMTP client, one line without its code. */
  readonly response: string;
  /** 400 to 599; 0 when none was named. */
  readonly code: number;
  /** For the operator. */
  readonly reason: string;
}

/** The longest text that fits a reply line with its code (RFC 5321 4.5.3.1.5). */
const MAX_RESPONSE = 500;

/** The first marked line is the response, the second the reason. */
export function parseResponse(output: string): Response {
  const [first = "", second = ""] = markedLines(output);
  const { response, code } = splitCode(first.slice(0, MAX_RESPONSE));
  return { response, code, reason: second === "" ? response : second };
}

/** Takes an SMTP code off the start of a response; "rejected" where there is no text at all. */
export function splitCode(text: string): Pick<Response, "response" | "code"> {
  if (text === "") return { response: "rejected", code: 0 };
  const [whole, code] = /^([45]\d\d)(?:[ \t]+|$)/.exec(text) ?? [];
  if (whole === undefined) return { response: text, code: 0 };
  return { response: text.slice(whole.length), code: Number(code) };
}

/** The texts of lines that start with `<<` or `[[`, up to the first mark that closes them. */
function markedLines(output: string): string[] {
  return output.split(/\r\n|\r|\n/).flatMap((line) => {
    const close = CLOSING.get(line.slice(0, 2));
    const end = close === undefined ? -1 : line.indexOf(close, 2);
    return end < 0 ? [] : [line.slice(2, end)];
  });
}

const CLOSING: ReadonlyMap<string, string> = new Map([
  ["<<", ">>"],
  ["[[", "]]"],
]);
