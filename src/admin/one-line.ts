/** Text that others wrote, made safe for a protocol of lines. */

const MAX_CHARACTERS = 1000;

/** Without line ends and other control characters, and not endless. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.slice(0, MAX_CHARACTERS).replace(/[\s\x00-\x1f\x7f]+/g, " ");
}

/** A name with every control character shown as "?": the length of names is limited by the system. */
export function plainName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return name.replace(/[\x00-\x1f\x7f]/g, "?");
}
