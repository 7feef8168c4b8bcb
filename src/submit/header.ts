/** A header section as fields with their bytes: read, removed, replaced, never re-encoded. */

/** One header field. Text holds bytes as latin1 characters. */
export interface Field {
  /** In lower case; "" for a line that is no field. */
  readonly name: string;
  /** All of its lines, folded ones too, each with CRLF. */
  readonly text: string;
}

/** Splits a header section: CRLF lines, without the empty line that ends it. */
export function splitHeader(header: string): Field[] {
  const fields: Field[] = [];
  let start = 0;
  while (start < header.length) {
    const end = fieldEnd(header, start);
    const text = header.slice(start, end);
    fields.push({ name: fieldName(text), text });
    start = end;
  }
  return fields;
}

/** What stands after the colon, folds included. */
export function fieldValue(field: Field): string {
  return field.text.slice(field.text.indexOf(":") + 1, -"\r\n".length);
}

/** `name: a, b, c`, folded between addresses so that lines stay short where they can. */
export function addressField(name: string, addresses: readonly string[]): Field {
  let text = `${name}:`;
  let column = text.length;
  addresses.forEach((address, index) => {
    // Header text is bytes; see Field.
    const part = Buffer.from(index + 1 < addresses.length ? `${address},` : address).toString(
      "latin1",
    );
    const fold = index > 0 && column + 1 + part.length > 78;
    text += `${fold ? "\r\n " : " "}${part}`;
    column = fold ? part.length + 1 : column + part.length + 1;
  });
  return { name: name.toLowerCase(), text: `${text}\r\n` };
}

/**
 * Puts one field in the place of all of these names: where the first of them stood, or at the end.
 * null removes them.
 */
export function replaceFields(
  fields: readonly Field[],
  names: readonly string[],
  replacement: Field | null,
): Field[] {
  const kept: Field[] = [];
  let place = -1;
  for (const field of fields) {
    if (!names.includes(field.name)) kept.push(field);
    else if (place < 0) place = kept.length;
  }
  if (replacement !== null) kept.splice(place < 0 ? kept.length : place, 0, replacement);
  return kept;
}

/** One past the last line of the field that starts here: blanks at a line's start continue it. */
function fieldEnd(header: string, start: number): number {
  let end = header.indexOf("\n", start) + 1;
  while (end > 0 && (header[end] === " " || header[end] === "\t")) {
    end = header.indexOf("\n", end) + 1;
  }
  return end > 0 ? end : header.length;
}

function fieldName(text: string): string {
  return (/^([!-9;-~]+)[ \t]*:/.exec(text)?.[1] ?? "").toLowerCase();
}
