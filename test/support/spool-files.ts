import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Puts one message into a spool as another program would. */
export function putMessage(
  spool: string,
  id: string,
  message: {
    to?: readonly string[];
    toLocal?: readonly string[];
    content?: string;
    forwardTo?: string;
    forwardToAddress?: string;
    selector?: string;
  } = {},
): void {
  const { to = ["bob@example.net"], content = "Subject: put\r\n\r\n.dot\r\nbody\r\n" } = message;
  const { toLocal = [], forwardTo = "", forwardToAddress = "", selector = "" } = message;
  const lines = [
    "Format: #2821.8",
    "Content: 8bit",
    "From: alice@example.com",
    `ToCount: ${to.length + toLocal.length}`,
    ...toLocal.map((one) => `To-Local: ${one}`),
    ...to.map((one) => `To-Remote: ${one}`),
    ...["Authentication: ", "Client: 127.0.0.1", "ClientCertificate: ", "MailFromAuthIn: "],
    ...["MailFromAuthOut: ", `ForwardTo: ${forwardTo}`, `ForwardToAddress: ${forwardToAddress}`],
    `ClientAccountSelector: ${selector}`,
    ...["Utf8MailboxNames: 0", "End: 1"],
  ];
  writeFileSync(join(spool, `${id}.content`), Buffer.from(content, "latin1"));
  const text = lines.map((line) => `X-MailRelay-${line}\r\n`).join("");
  writeFileSync(join(spool, `${id}.envelope`), text);
}
