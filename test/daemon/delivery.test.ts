import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { sendMail, TestRelay, temporary, temporarySpool } from "../support/relayd.ts";
import { script } from "../support/scripts.ts";

/** "a+local@x" becomes local mailbox "a"; others are remote. */
const verifier = script(
  'case "$1" in',
  `  *+local@*) echo Somebody; echo "$1" | sed 's/[+].*//'; exit 0 ;;`,
  '  *) echo; echo "$1"; exit 1 ;;',
  "esac",
);

test("--filter=deliver: puts mail into mailboxes under --delivery-dir, and forwards the rest", async () => {
  const smarthost = await openCatcher();
  const mail = temporary();
  mkdirSync(join(mail, "md", "tmp"), { recursive: true });
  mkdirSync(join(mail, "md", "new"));
  mkdirSync(join(mail, "md", "cur"));
  const relay = await TestRelay.start([
    ...["--filter=deliver:", `--delivery-dir=${mail}`, `--address-verifier=${verifier}`],
    ...[`--forward-to=${smarthost.address}`, "--forward-on-disconnect"],
  ]);
  const local = await sendMail(relay.port, { to: ["plain+local@x.test", "md+local@x.test"] });
  assert.equal(local, "250 message processed");
  assert.deepEqual(relay.files(), []);
  const kinds = readdirSync(join(mail, "plain")).map((name) => name.split(".").at(-1));
  assert.deepEqual(kinds.sort(), ["content", "envelope"]);
  const [arrived = ""] = readdirSync(join(mail, "md", "new"));
  assert.match(readFileSync(join(mail, "md", "new", arrived), "latin1"), /Subject: hello\r\n/);
  assert.deepEqual(readdirSync(join(mail, "md", "tmp")), []);

  await sendMail(relay.port, { to: ["plain+local@x.test", "far@x.test"] });
  const [caught] = await smarthost.caught(1);
  assert.deepEqual(caught?.to, ["far@x.test"]);
  assert.equal(readdirSync(join(mail, "plain")).length, 4);
});

test("--filter=deliver: refuses a mailbox name that would leave its directory", async () => {
  const outside = script("echo Somebody; echo '../outside'; exit 0");
  const mail = temporary();
  const relay = await TestRelay.start([
    ...["--filter=deliver:", `--delivery-dir=${join(mail, "in")}`],
    `--address-verifier=${outside}`,
  ]);
  mkdirSync(join(mail, "in"));
  assert.match(await sendMail(relay.port), /^452 /);
  assert.deepEqual(relay.files(), []);
  assert.deepEqual(readdirSync(mail), ["in"]);
});

test("--filter=copy: puts mail into every sub-directory of the spool", async () => {
  const spool = temporarySpool();
  for (const name of ["one", "two", "postmaster"]) mkdirSync(join(spool, name));
  const relay = await TestRelay.start(["--filter=copy:"], { spool });
  assert.equal(await sendMail(relay.port), "250 message processed");
  assert.deepEqual(relay.files(), ["one", "postmaster", "two"]);
  assert.equal(readdirSync(join(spool, "one")).length, 2);
  assert.equal(readdirSync(join(spool, "two")).length, 2);
  assert.equal(readdirSync(join(spool, "postmaster")).length, 0);
});

test("--filter=split: makes one message for each domain", async () => {
  const relay = await TestRelay.start(["--filter=split:587"]);
  await sendMail(relay.port, { to: ["a@one.test", "b@two.test", "c@ONE.test"] });
  const envelopes = relay.files().filter((name) => name.endsWith(".envelope"));
  const texts = envelopes.map((name) => readFileSync(join(relay.spool, name), "latin1"));
  const to = texts.map((text) => [...text.matchAll(/^X-MailRelay-ForwardTo: (.*)\r$/gm)][0]?.[1]);
  assert.deepEqual(to.sort(), ["one.test:587", "two.test:587"]);
});
