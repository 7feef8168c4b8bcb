/** "copy:": gives a message to every mailbox directory in the spool. Source: R9.2 of E-MailRelay 2.6. */
import { builtIn, wordsOf } from "./built-in.ts";
import { ABANDON, type FilterItem, type FilterTerms, OK } from "./item.ts";

/** The postmaster's mail is not everybody's. */
const LEFT_OUT = "postmaster";

/** `params`: any of pop, hardlink, nodelete, or their first letters. Throws CONFIG_INVALID. */
export function copyFilter(params: string, terms: FilterTerms): FilterItem {
  const words = wordsOf("copy", params, ["pop", "hardlink", "nodelete"]);
  const content = words.has("pop") ? "stay" : words.has("hardlink") ? "link" : "copy";
  const originals = words.has("nodelete") ? "keep" : "remove";
  return builtIn("copy", terms, async ({ files }, tell) => {
    const mailboxes = (await terms.editor.folders()).filter((name) => name !== LEFT_OUT);
    if (mailboxes.length === 0) return OK;
    const base = terms.spoolDirectory;
    await terms.editor.distribute(files, { base, mailboxes, content, originals });
    tell(`copied to [${mailboxes.join("] [")}]`);
    return originals === "keep" ? OK : ABANDON;
  });
}
