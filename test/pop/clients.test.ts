import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { ServerTls } from "../../src/core/config.ts";
import { present, runPeer } from "../support/peer.ts";
import { testPop } from "../support/pop-server.ts";
import { makeTestCa } from "../support/test-ca.ts";

/** Real clients fetch mail. */
const skip = present("openssl");
const curl = skip || present("curl");
const python = skip || present("python3");
const fetchmail = skip || present("fetchmail");

const MESSAGE =
  "Subject: gr\xfc\xdfe\r\nX: y\r\n\r\n.\r\n..\r\n.dot\r\n  blanks  \r\n\xe9\xff\r\nend\r\n";
const bytes = Buffer.from(MESSAGE, "latin1");

const ca = skip === false ? makeTestCa() : null;
const certificate = ca?.issue("localhost", { names: ["localhost", "127.0.0.1"] }).combined ?? "";
const folder = mkdtempSync(join(tmpdir(), "relayd-pop-clients-"));
after(() => {
  ca?.[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

const tls = (mode: ServerTls["mode"], required = false): ServerTls => ({
  mode,
  required,
  certificate: [certificate],
  verify: null,
  versions: { min: null, max: null },
});

const authority = (): string => ca?.certificate ?? "";

async function mailbox(config: Parameters<typeof testPop>[0] = {}) {
  const pop = await testPop(config);
  for (const n of [1, 2]) pop.put(`emailrelay.1.2.${n}`, bytes);
  return pop;
}

async function runCurl(url: string, ...more: readonly string[]): Promise<string> {
  const options = ["--silent", "--show-error", "--max-time", "20", "--user", "me:secret"];
  const { code, stdout, stderr } = await runPeer("curl", [...options, ...more, url]);
  assert.equal(code, 0, stderr);
  return stdout;
}

const used = (pop: Awaited<ReturnType<typeof mailbox>>): string[] =>
  pop.events.flatMap((event) =>
    event.kind === "auth.accepted"
      ? (/mechanism \[(.*?)\]/.exec(event.detail)?.slice(1) ?? [])
      : [],
  );

test("curl fetches with every way to log in", { skip: curl }, async () => {
  await using pop = await mailbox();
  const url = `pop3://127.0.0.1:${pop.port}/1`;
  const ways = ["+APOP", "PLAIN", "LOGIN", "CRAM-MD5"];
  for (const way of ways) {
    assert.equal(await runCurl(url, "--login-options", `AUTH=${way}`), MESSAGE);
  }
  assert.equal(await runCurl(url, "--login-options", "AUTH=PLAIN", "--sasl-ir"), MESSAGE);
  assert.deepEqual(used(pop), ["apop", "plain", "login", "cram-md5", "plain"]);
});

test("curl lists, asks for identifiers, for the top, and removes", { skip: curl }, async () => {
  await using pop = await mailbox();
  const url = `pop3://127.0.0.1:${pop.port}`;
  assert.equal(await runCurl(`${url}/`), `1 ${bytes.length}\r\n2 ${bytes.length}\r\n`);
  assert.equal(
    await runCurl(`${url}/`, "--request", "UIDL"),
    "1 emailrelay.1.2.1.content\r\n2 emailrelay.1.2.2.content\r\n",
  );
  assert.equal(
    await runCurl(`${url}/`, "--request", "TOP 1 2"),
    "Subject: gr\xfc\xdfe\r\nX: y\r\n\r\n.\r\n..\r\n",
  );
  await runCurl(`${url}/1`, "--request", "DELE", "--head");
  assert.deepEqual(pop.names(), ["emailrelay.1.2.2.content", "emailrelay.1.2.2.envelope"]);
});

test("curl over STLS and over implicit TLS", { skip: curl }, async () => {
  for (const mode of ["starttls", "implicit"] as const) {
    await using pop = await mailbox({ config: { tls: tls(mode, true) } });
    const scheme = mode === "implicit" ? "pop3s" : "pop3";
    const url = `${scheme}://localhost:${pop.port}/2`;
    for (const way of ["+APOP", "PLAIN", "CRAM-MD5"]) {
      const trust = ["--ssl-reqd", "--cacert", authority(), "--ipv4"];
      assert.equal(await runCurl(url, ...trust, "--login-options", `AUTH=${way}`), MESSAGE);
    }
  }
});

const SCRIPT = `
import poplib, ssl, sys
mode, port, cafile = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=cafile)
if mode == "implicit":
    box = poplib.POP3_SSL("localhost", port, timeout=20, context=context)
else:
    box = poplib.POP3("localhost", port, timeout=20)
print(sorted(box.capa()))
if mode == "stls":
    box.stls(context)
    # The next answer must be that of the next command.
    assert box.user("me") == b"+OK user: me"
    assert box.pass_("secret") == b"+OK"
elif mode == "apop":
    assert box.apop("me", "secret") == b"+OK"
else:
    box.user("me")
    box.pass_("secret")
print(box.stat(), box.list()[1], box.uidl()[1])
answer, lines, size = box.retr(1)
print(b"\\r\\n".join(lines + [b""]).decode("latin1"), end="")
assert box.top(1, 1)[1][-1] == b"."
try:
    box.retr(3)
    print("no error")
except poplib.error_proto:
    pass
box.dele(1)
box.rset()
box.dele(2)
print(box.quit())
`;

test("poplib in clear, with APOP, over STLS and over implicit TLS", { skip: python }, async () => {
  const script = join(folder, "client.py");
  writeFileSync(script, SCRIPT);
  for (const mode of ["plain", "apop", "stls", "implicit"]) {
    const encrypted =
      mode === "stls" ? tls("starttls") : mode === "implicit" ? tls("implicit") : null;
    await using pop = await mailbox({ config: { tls: encrypted } });
    const args = [script, mode, String(pop.port), authority()];
    const { code, stdout, stderr } = await runPeer("python3", args, {
      env: { PYTHONIOENCODING: "latin1" },
    });
    assert.equal(code, 0, stderr);
    const [capabilities = "", numbers = "", ...rest] = stdout.split("\n");
    assert.equal(capabilities.includes("STLS"), mode === "stls");
    const size = bytes.length;
    assert.equal(
      numbers,
      `(2, ${2 * size}) [b'1 ${size}', b'2 ${size}'] [b'1 emailrelay.1.2.1.content', b'2 emailrelay.1.2.2.content']`,
    );
    assert.equal(rest.join("\n"), `${MESSAGE}b'+OK signing off'\n`);
    assert.deepEqual(pop.names(), ["emailrelay.1.2.1.content", "emailrelay.1.2.1.envelope"]);
  }
});

const FETCHES = [
  { protocol: "POP3", auth: "auth password", how: 'sslproto ""', mechanism: "plain", stls: false },
  {
    protocol: "POP3",
    auth: "auth cram-md5",
    how: 'sslproto ""',
    mechanism: "cram-md5",
    stls: false,
  },
  { protocol: "APOP", auth: "", how: 'sslproto ""', mechanism: "apop", stls: false },
  {
    protocol: "POP3",
    auth: "auth password",
    how: 'sslproto "TLS1.2+"',
    mechanism: "plain",
    stls: true,
  },
];

test("fetchmail fetches and removes, in clear and over STLS", { skip: fetchmail }, async () => {
  for (const { protocol, auth, how, mechanism, stls } of FETCHES) {
    await using pop = await mailbox({ config: { tls: stls ? tls("starttls", true) : null } });
    const home = mkdtempSync(join(folder, "fetchmail-"));
    const got = join(home, "got");
    const trust = stls ? `sslcertck sslcertfile "${authority()}"` : "";
    const settings = [
      `poll localhost service ${pop.port} protocol ${protocol} ${auth}`,
      `user "me" password "secret" ${how} ${trust} fetchall no rewrite mda "cat >>${got}"`,
    ];
    const file = join(home, "fetchmailrc");
    writeFileSync(file, `${settings.join("\n")}\n`, { mode: 0o600 });
    const { code, stdout, stderr } = await runPeer("fetchmail", ["-f", file, "--nosyslog", "-v"], {
      env: { HOME: home, FETCHMAILHOME: home },
    });
    assert.equal(code, 0, stdout + stderr);
    const text = readFileSync(got, "latin1");
    assert.equal(text.split("\n\n.\n..\n.dot\n  blanks  \n\xe9\xff\nend\n").length, 3);
    assert.deepEqual(pop.names(), []);
    assert.deepEqual(used(pop), [mechanism]);
    assert.equal(
      pop.events.some(({ kind }) => kind === "tls.established"),
      stls,
    );
  }
});
