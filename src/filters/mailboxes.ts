/** Names of mailboxes: they become names of directories, and verifiers may have taken them from strangers. */

/** Bytes: the longest file name. */
const MAX_BYTES = 255;

/** Why there can be no mailbox of this name, for the operator; null when there can. */
export function mailboxFault(name: string): string | null {
  const why = whyNot(name);
  return why === null ? null : `invalid mailbox name ${JSON.stringify(name)}: ${why}`;
}

function whyNot(name: string): string | null {
  if (name === "") return "it is empty";
  if (name.includes("/")) return "it has a slash in it";
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(name)) return "it has an unprintable character in it";
  // ".", "..", and our own ".relayd"; mailboxes may share their directory with the spool.
  if (name.startsWith(".")) return "it begins with a dot";
  if (/\.(?:content|envelope)(?:\.\w+)*$/.test(name)) return "it is the name of a spool file";
  if (Buffer.byteLength(name) > MAX_BYTES) return "it is too long";
  return null;
}
