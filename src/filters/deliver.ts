/** "deliver:": puts a message into the mailboxes of its local recipients. Source: R9.2 of E-MailRelay 2.6. */
import { builtIn, wordsOf } from "./built-in.ts";
import { ABANDON, type FilterItem, type FilterTerms, failure, OK } from "./item.ts";
import { mailboxFault } from "./mailboxes.ts";

/** `params`: any of hardlink, nodelete, or their first letters. Throws CONFIG_INVALID. */
export function deliverFilter(params: string, terms: FilterTerms): FilterItem {
  const words = wordsOf("deliver", params, ["hardlink", "nodelete"]);
  const content = words.has("hardlink") ? "link" : "copy";
  return builtIn("deliver", terms, async ({ files }, tell) => {
    const { toLocal, toRemote } = await terms.editor.readEnvelope(files.envelope);
    const mailboxes = [...new Set(toLocal)];
    if (mailboxes.length === 0) return OK;
    for (const name of mailboxes) {
      const fault = mailboxFault(name);
      if (fault !== null) return failure("rejected", fault);
    }
    // What has to go further stays, whole: only the local part of its way has been gone.
    const originals = words.has("nodelete") || toRemote.length > 0 ? "keep" : "remove";
    const base = terms.deliveryDirectory;
    await terms.editor.distribute(files, { base, mailboxes, content, originals });
    tell(`delivered to [${mailboxes.join("] [")}]`);
    return originals === "keep" ? OK : ABANDON;
  });
}
