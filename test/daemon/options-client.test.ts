/** Options towards the smarthost, each seen by what the smarthost gets or what relayd then says. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { createSecureContext } from "node:tls";
import { asClient, reasons } from "../interop/kept-mail.ts";
import { freePort, openCatcher } from "../support/catcher.ts";
import { present } from "../support/peer.ts";
import { runProgram, sendMail, temporary, temporarySpool, until } from "../support/relayd.ts";
import { SmtpPeer } from "../support/smtp-peer.ts";
import { putMessage } from "../support/spool-files.ts";
import { makeTestCa } from "../support/test-ca.ts";

function spoolWithOne(to: readonly string[] = ["bob@example.net"]): string {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to });
  return spool;
}

const left = (spool: string): string[] =>
  readdirSync(spool).filter((name) => name.startsWith("emailrelay."));

test("--forward-to-all sends nothing when a recipient is refused, and keeps them all", async () => {
  const smarthost = await openCatcher({
    rcpt: (line) => (line.includes("carol") ? "550 no such carol" : undefined),
  });
  const spool = spoolWithOne(["bob@example.net", "carol@example.net"]);
  const { code } = await asClient(smarthost.address, spool, "--forward-to-all");
  assert.equal(code, 0);
  assert.equal(smarthost.messages.length, 0);
  assert.deepEqual(reasons(spool), ["one or more recipients rejected (550)"]);
  const bad = readFileSync(join(spool, "emailrelay.1.1.1.envelope.bad"), "latin1");
  assert.match(bad, /^X-MailRelay-ToCount: 2\r$/m);
});

test("--client-interface binds the connection to that address", async () => {
  let peer = "";
  const server = createServer((socket) => {
    peer = socket.remoteAddress ?? "";
    socket.on("error", () => undefined);
    socket.end("421 not now\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await asClient(`127.0.0.1:${port}`, spoolWithOne(), "--client-interface=127.0.0.7");
  assert.equal(peer, "127.0.0.7");
});

/** Says nothing at all, and keeps the connection. */
const silent = async () =>
  await SmtpPeer.listen(async (peer) => {
    await peer.gone();
  });

test("--connection-timeout ends a TLS handshake in which the smarthost is silent", async () => {
  await using smarthost = await silent();
  const spool = spoolWithOne();
  const options = ["--client-tls-connection", "--connection-timeout=1"];
  const { stderr } = await asClient(smarthost.address, spool, ...options);
  assert.match(stderr, /secure connection timeout/);
});

test("--response-timeout leaves the message in the queue when the smarthost is silent", async () => {
  const smarthost = await openCatcher({ mail: () => "" });
  const spool = spoolWithOne();
  const { code, stderr } = await asClient(smarthost.address, spool, "--response-timeout=1");
  assert.equal(code, 1);
  assert.match(stderr, /response timeout after 1s/);
  assert.deepEqual(left(spool), ["emailrelay.1.1.1.content", "emailrelay.1.1.1.envelope"]);
});

test("--prompt-timeout goes on without the smarthost's greeting", async () => {
  const smarthost = await openCatcher({ greeting: "" });
  const spool = spoolWithOne();
  const { code, stderr } = await asClient(smarthost.address, spool, "--prompt-timeout=1");
  assert.equal(code, 0, stderr);
  assert.match(stderr, /no greeting from remote server after 1s: continuing/);
  assert.equal(smarthost.messages.length, 1);
});

test("--client-tls-server-name is the name in the handshake", {
  skip: present("openssl"),
}, async () => {
  using ca = makeTestCa();
  const { key, certificate } = ca.issue("smarthost.test");
  const own = { key: readFileSync(key), cert: readFileSync(certificate) };
  const names: string[] = [];
  await using smarthost = await SmtpPeer.listen(
    async (peer) => {
      await peer.gone();
    },
    {
      implicit: {
        ...own,
        SNICallback: (name, answer) => {
          names.push(name);
          answer(null, createSecureContext(own));
        },
      },
    },
  );
  const tls = ["--client-tls-connection", "--client-tls-server-name=mail.example.com"];
  await asClient(
    smarthost.address,
    spoolWithOne(),
    ...tls,
    "--prompt-timeout=1",
    "--response-timeout=1",
  );
  assert.deepEqual(names.slice(0, 1), ["mail.example.com"]);
});

test("--as-proxy forwards what it takes when the client disconnects", async () => {
  const smarthost = await openCatcher();
  const port = await freePort();
  const spool = temporarySpool();
  const pidFile = join(temporary(), "pid");
  const { code, stderr } = await runProgram("relayd", [
    ...[`--as-proxy=${smarthost.address}`, "--no-syslog", "--user=root", "--interface=127.0.0.1"],
    ...[`--port=${port}`, `--spool-dir=${spool}`, `--pid-file=${pidFile}`],
  ]);
  assert.equal(code, 0, stderr);
  assert.match(await sendMail(port), /^250 /);
  const [caught] = await smarthost.caught(1);
  assert.deepEqual(caught?.to, ["bob@example.net"]);
  process.kill(Number(readFileSync(pidFile, "latin1")), "SIGTERM");
  await until(() => !existsSync(pidFile));
});

test("--forward forwards once at the start", async () => {
  const smarthost = await openCatcher();
  const spool = spoolWithOne();
  const { code, stderr } = await runProgram("relayd", [
    ...["--forward", `--forward-to=${smarthost.address}`, "--dont-serve", "--no-daemon"],
    ...["--no-syslog", "--log", "--user=root", `--spool-dir=${spool}`],
  ]);
  assert.equal(code, 0, stderr);
  assert.equal(smarthost.messages.length, 1);
  assert.deepEqual(left(spool), []);
});
