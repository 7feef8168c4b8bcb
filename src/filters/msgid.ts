/** "msgid:": gives a Message-ID to a message that has none. Source: R9.2 of E-MailRelay 2.6; RFC 5322 3.6.4. */
import { badParams, builtIn } from "./built-in.ts";
import { type FilterItem, type FilterTerms, OK } from "./item.ts";

/** Most headers end within the first of these; what is beyond the last is not looked at. */
const LOOK_BYTES = [64 * 1024, 1024 * 1024] as const;

/** `params` must be empty. Throws CONFIG_INVALID. */
export function msgidFilter(params: string, terms: FilterTerms): FilterItem {
  if (params !== "") throw badParams("msgid", params);
  return builtIn("msgid", terms, async ({ files }) => {
    if (hasMessageId(await readHeader(terms, files.content))) return OK;
    const line = `Message-ID: <${uniqueWord(terms)}@${terms.domain}>\r\n`;
    await terms.editor.prepend(files.content, Buffer.from(line));
    return OK;
  });
}

/** Up to the first empty line, with a line end before each line. One character per byte. */
async function readHeader({ editor }: FilterTerms, content: string): Promise<string> {
  let text = "";
  for (const limit of LOOK_BYTES) {
    const start = await editor.readStart(content, limit);
    text = `\n${Buffer.from(start).toString("latin1")}`;
    const end = /\n\r?\n/.exec(text);
    if (end !== null) return text.slice(0, end.index + 1);
    if (start.length < limit) return text;
  }
  return text;
}

/** A line end is LF, with or without CR; a bare CR is none, and nothing that forms a word with it is a field. */
function hasMessageId(header: string): boolean {
  return /\nmessage-id[ \t]*:/i.test(header);
}

function uniqueWord({ clock, editor }: FilterTerms): string {
  const now = clock.now();
  const seconds = Math.floor(now / 1000);
  // The wall clock counts milliseconds; the rest tells apart what two instances do at a time.
  const micros = Math.floor((now % 1000) * 1000 + ((clock.monotonic() * 1000) % 1000));
  return `${seconds}.${micros}.${process.pid}.${editor.serial()}`;
}
