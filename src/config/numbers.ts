/** Numbers in options. What is no unsigned decimal number means the default, as in E-MailRelay (R1). */

/** The longest time that a timer takes, in seconds: a longer one would fire at once. */
const LONGEST_SECONDS = 2_147_483;

/** Null when the text is not an unsigned decimal number. */
export function readUnsigned(text: string | null): number | null {
  if (text === null || !/^\d+$/.test(text)) return null;
  return Math.min(Number(text), Number.MAX_SAFE_INTEGER);
}

/** "100" is megabytes, "5%" a part of the whole; null for anything else. */
export function readRoom(text: string | null): { bytes: number; percent: number } | null {
  const [, digits, unit] = /^(\d{1,9})(%?)$/.exec(text ?? "") ?? [];
  if (digits === undefined) return null;
  const number = Number(digits);
  if (unit === "%")
    return number > 100 ? null : { bytes: Number.MAX_SAFE_INTEGER, percent: number };
  return { bytes: number * 1024 * 1024, percent: 100 };
}

export function readSeconds(text: string | null, otherwise: number): number {
  return Math.min(readUnsigned(text) ?? otherwise, LONGEST_SECONDS);
}

export function readMilliseconds(text: string | null, otherwiseSeconds: number): number {
  return readSeconds(text, otherwiseSeconds) * 1000;
}
