/** Base64 as people and programs paste it into files: strict, because Node's own decoder skips what it does not know. */

/** The bytes, or null when the text is not base64. Padding may be missing; "=" alone is nothing. */
export function decodeBase64(text: string): Buffer | null {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  const digits = text.replace(/=+$/, "").length;
  if (digits % 4 === 1) return null;
  if (digits > 0 && digits !== text.length && text.length % 4 !== 0) return null;
  return Buffer.from(text, "base64");
}
