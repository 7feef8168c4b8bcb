import assert from "node:assert/strict";
import { test } from "node:test";
import { present, runPeer } from "../support/peer.ts";
import { field, keptMail } from "./kept-mail.ts";
import { assertSecured, mailFor, openClientWorld, PASSWORD, USER } from "./world.ts";

/** Real mail clients hand their mail to relayd. */
const skip = present("openssl");
const swaks = skip || present("swaks");
const curl = skip || present("curl");
const msmtp = skip || present("msmtp");
const nail = skip || present("s-nail");
const source = skip || present("smtp-source");

const world = skip === false ? await openClientWorld() : null;

function peers() {
  if (world === null) throw new Error("Unreachable: skipped");
  return world;
}

const MESSAGE = "Subject: gr\xfc\xdfe\r\n\r\n.\r\n..\r\n.dot\r\n  blanks  \r\n\xe9\xff\r\nend\r\n";

/** latin1, with the line ends of a Unix file. */
const unixFile = (content: string): string =>
  peers().file(Buffer.from(content.replaceAll("\r\n", "\n"), "latin1"));

async function runSwaks(port: number, to: string, ...more: readonly string[]) {
  return await runPeer("swaks", [
    ...["--server", "127.0.0.1", "--port", String(port), "--ehlo", "client.test"],
    ...["--from", "a@a.test", "--to", to, "--data", `@${unixFile(MESSAGE)}`],
    ...more,
  ]);
}

const swaksLogin = (mechanism: string): string[] => [
  ...["--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD],
];

test("swaks, plain, with 8-bit content and dots", { skip: swaks }, async () => {
  const { open } = peers();
  const { code, stdout } = await runSwaks(open.port, "swaks@b.test");
  assert.equal(code, 0, stdout);
  const mail = mailFor(open, "swaks@b.test");
  assert.equal(mail.content.trimEnd(), MESSAGE.trimEnd());
  assert.match(
    mail.received,
    /^Received: from client\.test \(\[127\.0\.0\.1\]\) by relay\.test with ESMTP ;/,
  );
});

test("swaks --pipeline with several recipients", { skip: swaks }, async () => {
  const { open } = peers();
  const to = "pipe1@b.test,pipe2@b.test,pipe3@b.test";
  const { code, stdout } = await runSwaks(open.port, to, "--pipeline");
  assert.equal(code, 0, stdout);
  const mail = mailFor(open, "pipe1@b.test");
  assert.deepEqual(mail.envelope.get("To-Remote"), to.split(","));
});

test("swaks over HELO", { skip: swaks }, async () => {
  const { open } = peers();
  const { code, stdout } = await runSwaks(open.port, "helo@b.test", "--protocol", "SMTP");
  assert.equal(code, 0, stdout);
  mailFor(open, "helo@b.test");
});

for (const mechanism of ["PLAIN", "LOGIN", "CRAM-MD5"] as const) {
  test(`swaks with AUTH ${mechanism} over STARTTLS`, { skip: swaks }, async () => {
    const { starttls, ca } = peers();
    const to = `swaks-${mechanism}@b.test`;
    const tls = ["--tls", "--tls-verify", "--tls-ca-path", ca];
    const { code, stdout } = await runSwaks(starttls.port, to, ...tls, ...swaksLogin(mechanism));
    assert.equal(code, 0, stdout);
    assertSecured(mailFor(starttls, to));
  });
}

test("swaks over implicit TLS", { skip: swaks }, async () => {
  const { implicit, ca } = peers();
  const tls = ["--tlsc", "--tls-verify", "--tls-ca-path", ca];
  const to = "swaks-tlsc@b.test";
  const { code, stdout } = await runSwaks(implicit.port, to, ...tls, ...swaksLogin("PLAIN"));
  assert.equal(code, 0, stdout);
  assertSecured(mailFor(implicit, to));
});

test("swaks with a wrong password, and with none, gets 535 and 530", { skip: swaks }, async () => {
  const { starttls } = peers();
  const wrong = ["--auth", "CRAM-MD5", "--auth-user", USER, "--auth-password", "wrong"];
  const refused = await runSwaks(starttls.port, "wrong@b.test", ...wrong);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stdout, /535 authentication failed/);
  const open = await runSwaks(starttls.port, "wrong@b.test");
  assert.match(open.stdout, /530 authentication required/);
  assert.equal(
    keptMail(starttls.spool).some((mail) => field(mail, "To-Remote") === "wrong@b.test"),
    false,
  );
});

test("swaks finds no PLAIN or LOGIN outside TLS where TLS is offered", {
  skip: swaks,
}, async () => {
  const { starttls } = peers();
  const { stdout } = await runSwaks(starttls.port, "no-plain@b.test", ...swaksLogin("PLAIN"));
  assert.match(stdout, /250-AUTH CRAM-SHA512 CRAM-SHA256 CRAM-SHA1 CRAM-MD5\n/);
  assert.doesNotMatch(stdout, /~> AUTH PLAIN/);
});

async function runCurl(url: string, to: string, ...more: readonly string[]) {
  return await runPeer("curl", [
    ...["--silent", "--show-error", "--verbose", "--url", url],
    ...["--mail-from", "a@a.test", "--mail-rcpt", to, ...more],
  ]);
}

test("curl smtp:// with --crlf, and without where relayd mends the line ends", {
  skip: curl,
}, async () => {
  const { open } = peers();
  const url = `smtp://127.0.0.1:${open.port}/client.test`;
  const file = unixFile(MESSAGE);
  const crlf = await runCurl(url, "crlf@b.test", "--crlf", "--upload-file", file);
  assert.equal(crlf.code, 0, crlf.stderr);
  assert.equal(mailFor(open, "crlf@b.test").content, MESSAGE);
  // A line of one dot is safe on the way only between CRLFs.
  const noDots = MESSAGE.replaceAll(/^\.+/gm, "");
  const bare = await runCurl(url, "lf@b.test", "--upload-file", unixFile(noDots));
  assert.equal(bare.code, 0, bare.stderr);
  // curl completes what does not end in CRLF.
  assert.equal(mailFor(open, "lf@b.test").content, `${noDots}\r\n`);
});

test("curl with several recipients and a large message", { skip: curl }, async () => {
  const { open, file } = peers();
  const content = `Subject: large\r\n\r\n${`.${"x".repeat(75)}\r\n`.repeat(40_000)}`;
  const { code, stderr } = await runCurl(
    `smtp://127.0.0.1:${open.port}/client.test`,
    "large1@b.test",
    ...["--mail-rcpt", "large2@b.test", "--upload-file", file(content)],
  );
  assert.equal(code, 0, stderr.slice(-500));
  const mail = mailFor(open, "large1@b.test");
  assert.ok(mail.content === content);
  assert.deepEqual(mail.envelope.get("To-Remote"), ["large1@b.test", "large2@b.test"]);
});

for (const [scheme, mechanism] of [
  ["smtp", "PLAIN"],
  ["smtp", "LOGIN"],
  ["smtp", "CRAM-MD5"],
  ["smtps", "PLAIN"],
] as const) {
  test(`curl ${scheme}:// with TLS and AUTH ${mechanism}`, { skip: curl }, async () => {
    const { starttls, implicit, ca, file } = peers();
    const relay = scheme === "smtp" ? starttls : implicit;
    const to = `curl-${scheme}-${mechanism}@b.test`;
    const { code, stderr } = await runCurl(
      `${scheme}://relay.test:${relay.port}/client.test`,
      to,
      ...["--resolve", `relay.test:${relay.port}:127.0.0.1`, "--ssl-reqd", "--cacert", ca],
      ...["--user", `${USER}:${PASSWORD}`, "--login-options", `AUTH=${mechanism}`],
      ...["--upload-file", file("Subject: secured\r\n\r\nx\r\n")],
    );
    assert.equal(code, 0, stderr);
    assertSecured(mailFor(relay, to));
  });
}

for (const [starttls, mechanism] of [
  ["on", "plain"],
  ["on", "login"],
  ["on", "cram-md5"],
  ["off", "plain"],
] as const) {
  const how = starttls === "on" ? "STARTTLS" : "implicit TLS";
  test(`msmtp with ${how} and AUTH ${mechanism}`, { skip: msmtp }, async () => {
    const { ca, file, ...relays } = peers();
    const relay = starttls === "on" ? relays.starttls : relays.implicit;
    const to = `msmtp-${starttls}-${mechanism}@b.test`;
    const settings = [
      ...["defaults", "account relayd", "host 127.0.0.1", `port ${relay.port}`, "from a@a.test"],
      ...[
        "tls on",
        `tls_starttls ${starttls}`,
        `tls_trust_file ${ca}`,
        "tls_host_override relay.test",
      ],
      ...[
        `auth ${mechanism}`,
        `user ${USER}`,
        `password "${PASSWORD}"`,
        "account default : relayd",
      ],
    ];
    const config = file(`${settings.join("\n")}\n`);
    const input = Buffer.from(MESSAGE.replaceAll("\r\n", "\n"), "latin1");
    const { code, stderr } = await runPeer("msmtp", ["-C", config, "-v", to], { input });
    assert.equal(code, 0, stderr);
    const mail = mailFor(relay, to);
    assertSecured(mail);
    assert.ok(mail.content.endsWith(MESSAGE), mail.content);
  });
}

async function runNail(mta: string, to: string, ...more: readonly string[]) {
  const settings = [
    `mta=${mta}`,
    "v15-compat=yes",
    "from=a@a.test",
    "hostname=client.test",
    ...more,
  ];
  return await runPeer(
    "s-nail",
    ["-:/", "-v", ...settings.map((setting) => `-S${setting}`), "-s", "nail", to],
    { input: ".dot\ngr\xc3\xbc\xc3\x9fe\n" },
  );
}

test("s-nail without authentication", { skip: nail }, async () => {
  const { open } = peers();
  const to = "nail@b.test";
  const { code, stderr } = await runNail(`smtp://127.0.0.1:${open.port}`, to, "smtp-auth=none");
  assert.equal(code, 0, stderr);
  const mail = mailFor(open, to);
  assert.match(mail.content, /^Subject: nail\r\n/m);
  assert.match(mail.content, /\r\n\.dot\r\n/);
});

for (const mechanism of ["plain", "login", "cram-md5"] as const) {
  test(`s-nail with STARTTLS and AUTH ${mechanism}`, { skip: nail }, async () => {
    const { starttls, ca } = peers();
    const to = `nail-${mechanism}@b.test`;
    const login = `${USER}:${encodeURIComponent(PASSWORD)}`;
    const { code, stderr } = await runNail(
      `smtp://${login}@localhost:${starttls.port}`,
      to,
      ...[`smtp-auth=${mechanism}`, "smtp-use-starttls", `tls-ca-file=${ca}`, "tls-verify=strict"],
    );
    assert.equal(code, 0, stderr);
    assertSecured(mailFor(starttls, to));
  });
}

test("s-nail over smtps://", { skip: nail }, async () => {
  const { implicit, ca } = peers();
  const login = `${USER}:${encodeURIComponent(PASSWORD)}`;
  const { code, stderr } = await runNail(
    `smtps://${login}@localhost:${implicit.port}`,
    "nail-smtps@b.test",
    ...["smtp-auth=plain", `tls-ca-file=${ca}`, "tls-verify=strict"],
  );
  assert.equal(code, 0, stderr);
  assertSecured(mailFor(implicit, "nail-smtps@b.test"));
});

test("smtp-source with many sessions and messages", { skip: source }, async () => {
  const { open } = peers();
  const { code, stderr } = await runPeer("smtp-source", [
    ...["-s", "10", "-m", "200", "-l", "5000", "-r", "3", "-M", "client.test"],
    ...["-f", "source@a.test", "-t", "source@b.test", `127.0.0.1:${open.port}`],
  ]);
  assert.equal(code, 0, stderr);
  const mails = keptMail(open.spool).filter((mail) => field(mail, "From") === "source@a.test");
  assert.equal(mails.length, 200);
  assert.ok(mails.every((mail) => mail.envelope.get("To-Remote")?.length === 3));
  const bodies = new Set(mails.map((mail) => mail.content.replace(/^.*?\r\n\r\n/s, "")));
  assert.equal(bodies.size, 1);
});

test("smtp-source that opens a connection for each message", { skip: source }, async () => {
  const { open } = peers();
  const { code, stderr } = await runPeer("smtp-source", [
    ...["-d", "-s", "5", "-m", "50", "-M", "client.test"],
    ...["-f", "sources@a.test", "-t", "sources@b.test", `127.0.0.1:${open.port}`],
  ]);
  assert.equal(code, 0, stderr);
  const mails = keptMail(open.spool).filter((mail) => field(mail, "From") === "sources@a.test");
  assert.equal(mails.length, 50);
});

test("openssl s_client -starttls smtp, everything sent at once", { skip }, async () => {
  const { starttls, ca } = peers();
  const login = Buffer.from(`\0${USER}\0${PASSWORD}`).toString("base64");
  const lines = [
    ...[
      "EHLO client.test",
      `AUTH PLAIN ${login}`,
      "MAIL FROM:<a@a.test>",
      "RCPT TO:<s-client@b.test>",
    ],
    ...["DATA", "Subject: s_client", "", "..dot", ".", "QUIT", ""],
  ];
  const { code, stdout, stderr } = await runPeer(
    "openssl",
    [
      ...["s_client", "-starttls", "smtp", "-connect", `127.0.0.1:${starttls.port}`, "-quiet"],
      ...["-CAfile", ca, "-verify_return_error", "-verify_hostname", "relay.test"],
    ],
    { input: lines.join("\r\n") },
  );
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /235 .*\r\n250 .*\r\n250 .*\r\n354 .*\r\n250 message processed\r\n221 OK\r\n/,
  );
  const mail = mailFor(starttls, "s-client@b.test");
  assertSecured(mail);
  assert.equal(mail.content, "Subject: s_client\r\n\r\n.dot\r\n");
});
