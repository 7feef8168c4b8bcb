/** What a client says, as the log may show it: no password, also not one that comes where a command should. */

const RESPONSE = "[authentication response not logged]";
/** Takes time linear in the line, which may be as long as a client likes. */
const LOGIN = /^([ \t]*)(AUTH|APOP|PASS)(?:[ \t]+([^ \t]+)(.*)|[ \t]*)$/is;
/** Commands of SMTP and POP that could be taken for base64. */
const COMMAND =
  /^(?:AUTH|APOP|PASS|MAIL|RCPT|DATA|BDAT|EHLO|HELO|VRFY|EXPN|HELP|STARTTLS|USER|STAT|LIST|UIDL|RETR|DELE|CAPA|STLS|NOOP|RSET|QUIT)$/i;

export class ShownLines {
  /** The line before belonged to a login: a client whose AUTH was refused may go on with it all the same. */
  #afterLogin = false;

  /** A line that answers a challenge. */
  response(): string {
    this.#afterLogin = true;
    return RESPONSE;
  }

  /** A line that is taken for a command. */
  command(line: Buffer): string {
    const text = line.toString("utf8");
    if (this.#afterLogin && isBase64(text)) return RESPONSE;
    const [, blanks = "", word = "", first = "", rest = ""] = LOGIN.exec(text) ?? [];
    this.#afterLogin = word !== "";
    if (!this.#afterLogin) return text;
    const verb = word.toUpperCase();
    const harmless = verb === "APOP" || (verb === "AUTH" && isMechanism(first)) ? first : "";
    const hidden = first !== harmless || rest.trim() !== "";
    const shown = [verb, harmless, hidden ? "[not logged]" : ""].filter((part) => part !== "");
    return `${blanks}${shown.join(" ")}`;
  }
}

function isBase64(text: string): boolean {
  const word = text.trim();
  return word.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(word) && !COMMAND.test(word);
}

/** RFC 4422 3.1, in either case; mixed it may be a response whose mechanism is missing. */
function isMechanism(word: string): boolean {
  return /^(?:[A-Z0-9_-]{1,20}|[a-z0-9_-]{1,20})$/.test(word);
}
