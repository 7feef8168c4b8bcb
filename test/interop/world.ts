/** The relayds that clients talk to, for all tests of a file. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { TestRelay, temporary } from "../support/relayd.ts";
import { makeTestCa } from "../support/test-ca.ts";
import { field, type KeptMail, keptMail } from "./kept-mail.ts";

export interface ClientWorld {
  /** The CA's certificate; the relayds' is for relay.test, localhost and 127.0.0.1. */
  readonly ca: string;
  /** Takes mail from anybody, in plain text. */
  readonly open: TestRelay;
  /** Wants authentication, and offers STARTTLS. */
  readonly starttls: TestRelay;
  /** Wants authentication, inside TLS from the first byte. */
  readonly implicit: TestRelay;
  /** A file with this content. */
  file(content: string | Buffer): string;
}

export const USER = "alice";
export const PASSWORD = "p-w+=%x";

/** Call it at the top level of a test file: everything ends after its last test. */
export async function openClientWorld(): Promise<ClientWorld> {
  const ca = makeTestCa();
  after(() => ca[Symbol.dispose]());
  const { combined } = ca.issue("relay.test", { names: ["relay.test", "localhost", "127.0.0.1"] });
  const folder = temporary();
  const secrets = join(folder, "server.auth");
  const password = Buffer.from(PASSWORD).toString("base64");
  const user = Buffer.from(USER).toString("base64");
  writeFileSync(secrets, `server plain:b ${user} ${password}\n`, { mode: 0o600 });
  const secured = [`--server-tls-certificate=${combined}`, `--server-auth=${secrets}`];
  let files = 0;
  return {
    ca: ca.certificate,
    open: await TestRelay.start(["--server-smtp-config=smtputf8,chunking"]),
    starttls: await TestRelay.start([...secured, "--server-tls"]),
    implicit: await TestRelay.start([...secured, "--server-tls-connection"]),
    file: (content) => {
      files += 1;
      const path = join(folder, `file-${files}`);
      writeFileSync(path, content, { mode: 0o600 });
      return path;
    },
  };
}

/** The one message for this recipient. */
export function mailFor(relay: TestRelay, recipient: string): KeptMail {
  const found = keptMail(relay.spool).filter((mail) =>
    mail.envelope.get("To-Remote")?.includes(recipient),
  );
  const [mail] = found;
  assert.ok(mail !== undefined && found.length === 1, `${found.length} messages\n${relay.log}`);
  return mail;
}

/** That it came authenticated, and through TLS. */
export function assertSecured(mail: KeptMail): void {
  assert.equal(field(mail, "Authentication"), USER);
  assert.match(mail.received, /with ESMTPSA tls \w+ ;/);
}
