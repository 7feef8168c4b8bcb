import assert from "node:assert/strict";
import { test } from "node:test";
import { present, runPeer } from "../support/peer.ts";
import { field } from "./kept-mail.ts";
import { assertSecured, mailFor, openClientWorld, PASSWORD, USER } from "./world.ts";

/** Python's smtplib hands its mail to relayd. */
const skip = present("openssl", "python3");

const world = skip === false ? await openClientWorld() : null;

function peers() {
  if (world === null) throw new Error("Unreachable: skipped");
  return world;
}

const PROLOGUE = `
import smtplib, ssl, sys
open_port, starttls_port, implicit_port = map(int, sys.argv[1:4])
trust = ssl.create_default_context(cafile=sys.argv[4])
user, password = sys.argv[5:7]
CONTENT = b"Subject: smtplib\\r\\n\\r\\n.\\r\\n.dot\\r\\n\\xe9\\xff\\r\\n"
def secured():
    client = smtplib.SMTP("localhost", starttls_port, local_hostname="client.test", timeout=20)
    client.starttls(context=trust)
    client.ehlo()
    client.user, client.password = user, password
    return client
`;

async function python(script: string): Promise<string> {
  const { ca, open, starttls, implicit } = peers();
  const ports = [open.port, starttls.port, implicit.port].map(String);
  const args = ["-c", PROLOGUE + script, ...ports, ca, USER, PASSWORD];
  const { code, stdout, stderr } = await runPeer("python3", args);
  assert.equal(code, 0, stderr);
  return stdout;
}

for (const mechanism of ["plain", "login", "cram_md5"] as const) {
  test(`smtplib with STARTTLS and AUTH ${mechanism}`, { skip }, async () => {
    const to = `${mechanism}@b.test`;
    await python(`
with secured() as client:
    client.auth("${mechanism.toUpperCase().replace("_", "-")}", client.auth_${mechanism})
    client.sendmail("a@a.test", "${to}", CONTENT)
`);
    const mail = mailFor(peers().starttls, to);
    assertSecured(mail);
    assert.equal(mail.content, "Subject: smtplib\r\n\r\n.\r\n.dot\r\n\xe9\xff\r\n");
  });
}

test("smtplib's login() over implicit TLS", { skip }, async () => {
  await python(`
with smtplib.SMTP_SSL("localhost", implicit_port, "client.test", context=trust) as client:
    client.login(user, password)
    client.sendmail("a@a.test", "ssl@b.test", CONTENT)
`);
  assertSecured(mailFor(peers().implicit, "ssl@b.test"));
});

test("smtplib without an initial response, in the order of the dialogue", { skip }, async () => {
  await python(`
with secured() as client:
    client.auth("PLAIN", client.auth_plain, initial_response_ok=False)
    client.sendmail("a@a.test", "dialogue@b.test", CONTENT)
with secured() as client:
    client.auth("LOGIN", client.auth_login, initial_response_ok=False)
    client.sendmail("a@a.test", "dialogue2@b.test", CONTENT)
`);
  assertSecured(mailFor(peers().starttls, "dialogue@b.test"));
  assertSecured(mailFor(peers().starttls, "dialogue2@b.test"));
});

test("smtplib learns of a wrong password and goes on with the right one", { skip }, async () => {
  const said = await python(`
with secured() as client:
    client.password = "wrong"
    try:
        client.auth("CRAM-MD5", client.auth_cram_md5)
    except smtplib.SMTPAuthenticationError as error:
        print(error.smtp_code, error.smtp_error.decode())
    client.login(user, password)
    client.sendmail("a@a.test", "again@b.test", CONTENT)
`);
  assert.equal(said, "535 authentication failed\n");
  assertSecured(mailFor(peers().starttls, "again@b.test"));
});

test("smtplib with SMTPUTF8 and 8BITMIME", { skip }, async () => {
  await python(`
from email.message import EmailMessage
message = EmailMessage()
message["From"], message["To"], message["Subject"] = "äl@a.test", "jürgen@b.test", "grüße"
message.set_content("grüße\\n", cte="8bit")
with smtplib.SMTP("localhost", open_port, "client.test") as client:
    client.send_message(message)
`);
  const mail = mailFor(peers().open, "jürgen@b.test");
  assert.equal(field(mail, "From"), "äl@a.test");
  assert.equal(field(mail, "Utf8MailboxNames"), "1");
  assert.equal(field(mail, "Content"), "8bit");
  assert.match(mail.content, /^Subject: gr\xc3\xbc\xc3\x9fe\r\n/m);
});

test("smtplib's sendmail() delivers to the recipients that are accepted", { skip }, async () => {
  const said = await python(`
with smtplib.SMTP("localhost", open_port, "client.test") as client:
    refused = client.sendmail("a@a.test", ["one@b.test", "@", "two@b.test"], CONTENT)
    for recipient, (code, text) in refused.items():
        print(recipient, code, text.decode())
`);
  assert.match(said, /^@ 550 invalid .*\n$/);
  const mail = mailFor(peers().open, "one@b.test");
  assert.deepEqual(mail.envelope.get("To-Remote"), ["one@b.test", "two@b.test"]);
});

test("smtplib sends several messages over one connection, with a reset between", {
  skip,
}, async () => {
  await python(`
with smtplib.SMTP("localhost", open_port, "client.test") as client:
    client.ehlo_or_helo_if_needed()
    client.mail("forgotten@a.test")
    client.rcpt("forgotten@b.test")
    client.rset()
    for number in range(20):
        client.sendmail("a@a.test", "number%d@b.test" % number, CONTENT)
    client.verify("somebody")
    client.noop()
`);
  for (let n = 0; n < 20; n++) mailFor(peers().open, `number${n}@b.test`);
});
