/** The name of a message: the base of its file names in the spool. */
declare const brand: unique symbol;

/** `emailrelay.<pid>.<unix seconds>.<counter>`, or any other name that was put into the spool. */
export type MessageId = string & { readonly [brand]: "MessageId" };

/** Makes the id of a new message. Source: observed, E-MailRelay 2.6. */
export function newMessageId(pid: number, unixSeconds: number, counter: number): MessageId {
  return `emailrelay.${pid}.${unixSeconds}.${counter}` as MessageId;
}

/** Another name for the same message, where its own is taken. */
export function numberedId(id: MessageId, number: number): MessageId {
  return `${id}.${number}` as MessageId;
}

/** Takes a file-name base as an id; null when it is not a plain file name. */
export function parseMessageId(text: string): MessageId | null {
  if (text === "" || text === "." || text === "..") return null;
  return /[/\0]/.test(text) ? null : (text as MessageId);
}
