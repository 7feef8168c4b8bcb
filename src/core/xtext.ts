/** xtext (RFC 3461 4): how arbitrary bytes are written into a single printable word. */

/** Every byte outside "!".."~", and "+" and "=", becomes "+" and two upper-case hex digits. */
export function encodeXtext(text: string | Buffer): string {
  if (typeof text === "string" && PLAIN.test(text)) return text;
  let out = "";
  for (const byte of typeof text === "string" ? Buffer.from(text, "utf8") : text) {
    const plain = byte > 0x20 && byte < 0x7f && byte !== 0x2b && byte !== 0x3d;
    out += plain
      ? String.fromCharCode(byte)
      : `+${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

/** What stands for itself. */
const PLAIN = /^[!-*,-<>-~]*$/;

/** The decoded text, or null when a "+" does not start a hex pair or a byte is not printable ASCII. */
export function decodeXtext(text: string): string | null {
  if (PLAIN.test(text)) return text;
  return decodeXtextBytes(text)?.toString("utf8") ?? null;
}

/** As `decodeXtext`, for what need not be text. */
export function decodeXtextBytes(text: string): Buffer | null {
  if (!/^(?:[!-*,-~]|\+[0-9A-Fa-f]{2})*$/.test(text)) return null;
  const bytes = text.replace(/\+([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1");
}
