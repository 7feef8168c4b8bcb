import assert from "node:assert/strict";
import { test } from "node:test";
import { configOf, instanceOf } from "../support/configuration.ts";

const listenerOf = (...argv: string[]) => instanceOf(argv).listener;
const forwardOf = (...argv: string[]) => instanceOf(["--forward-to=mail:25", ...argv]).forward;

test("without options everything has its default", () => {
  const config = configOf([]);
  assert.deepEqual(
    { ...config, instances: [] },
    {
      program: "relayd",
      detach: true,
      closeStderr: false,
      pidFile: null,
      user: "daemon",
      log: {
        enabled: false,
        verbosity: 0,
        file: null,
        stderr: true,
        stderrLevel: "all",
        syslog: "mail",
        format: "text",
        fields: [],
      },
      graceSeconds: 30,
      client: false,
      trial: false,
      instances: [],
    },
  );
  assert.deepEqual(config.instances, [
    {
      name: "",
      domain: null,
      spool: {
        directory: "/var/spool/relayd",
        sync: true,
        shared: false,
        commitJournal: true,
        minFree: { bytes: 10_485_760, percent: 10 },
      },
      listener: {
        port: 25,
        interfaces: [],
        remoteClients: false,
        maxSizeBytes: 0,
        idleTimeoutMs: 60_000,
        sessionTimeoutMs: 86_400_000,
        messageTimeoutMs: 3_600_000,
        maxRecipients: 1000,
        maxHops: 100,
        connections: { inAll: 2000, perClient: 50 },
        maxAuthFailures: 5,
        maxErrors: 8,
        maxRefusals: 100,
        maxCommandBytes: 4096,
        bareNewlines: "fix",
        dsn: false,
        anonymous: { vrfy: false, server: false, content: false },
        smtp: {
          pipelining: true,
          chunking: false,
          smtputf8: false,
          smtputf8strict: false,
          strictparsing: true,
          alabels: true,
          linger: true,
        },
        verifier: null,
        dnsbl: null,
        secrets: null,
        authConfig: "",
        tls: null,
      },
      forward: null,
      reports: null,
      filters: {
        server: [],
        client: [],
        timeoutMs: 60_000,
        deliveryDirectory: "/var/spool/relayd",
      },
      pop: null,
      admin: null,
    },
  ]);
});

test("--as-client logs to standard error, stays in front, and forwards once", () => {
  const config = configOf(["--as-client=mail:25"]);
  assert.deepEqual(
    [config.client, config.detach, config.closeStderr, config.log.enabled, config.log.syslog],
    [true, false, false, true, null],
  );
  const [instance] = config.instances;
  assert.equal(instance?.listener, null);
  assert.deepEqual([instance?.forward?.to, instance?.forward?.atStart], ["mail:25", true]);
});

test("--as-proxy logs, closes standard error, and forwards on disconnect", () => {
  const config = configOf(["--as-proxy=mail:25"]);
  assert.deepEqual(
    [config.client, config.detach, config.closeStderr, config.log.enabled, config.log.syslog],
    [false, true, true, true, "mail"],
  );
  const [instance] = config.instances;
  assert.equal(instance?.listener?.port, 25);
  assert.deepEqual(
    [instance?.forward?.to, instance?.forward?.atStart, instance?.forward?.onDisconnect],
    ["mail:25", false, true],
  );
});

test("--as-server logs and closes standard error", () => {
  const config = configOf(["--as-server"]);
  assert.deepEqual(
    [config.detach, config.closeStderr, config.log.enabled, config.instances[0]?.forward],
    [true, true, true, null],
  );
});

test("--trial stays on loopback and in front, and logs there", () => {
  const config = configOf(["--trial"]);
  const [instance] = config.instances;
  assert.deepEqual(
    [config.trial, config.detach, config.log.enabled, config.log.syslog],
    [true, false, true, null],
  );
  assert.equal(instance?.spool.directory, "/home/me/spool");
  assert.equal(instance?.listener?.port, 10025);
  assert.deepEqual(instance?.listener?.interfaces, [{ kind: "address", host: "127.0.0.1" }]);
  assert.equal(instance?.forward?.onDisconnect, true);
  assert.equal(listenerOf("--trial=10026")?.port, 10026);
  assert.equal(listenerOf("--trial", "--port=10027")?.port, 10027);
});

test("--dont-serve and --no-smtp have no listener", () => {
  assert.equal(listenerOf("--dont-serve"), null);
  assert.equal(listenerOf("--no-smtp"), null);
});

test("numbers that are none silently mean the default", () => {
  assert.equal(listenerOf("--port=x")?.port, 25);
  assert.equal(listenerOf("--port=-1")?.port, 25);
  assert.equal(instanceOf(["--pop", "--pop-auth=s", "--pop-port=x"]).pop?.port, 110);
  assert.equal(listenerOf("--size=5M")?.maxSizeBytes, 0);
  assert.equal(listenerOf("--idle-timeout=1.5")?.idleTimeoutMs, 60_000);
  assert.equal(forwardOf("--connection-timeout=x")?.client.connectionTimeoutMs, 40_000);
  assert.equal(forwardOf("--response-timeout=-5")?.client.responseTimeoutMs, 60_000);
  assert.equal(forwardOf("--prompt-timeout=1s")?.client.promptTimeoutMs, 20_000);
});

test("numbers are taken, and times never exceed what a timer can do", () => {
  assert.equal(listenerOf("--port=0")?.port, 0);
  assert.equal(listenerOf("--port=submission")?.port, 587);
  assert.equal(listenerOf("--size=1000")?.maxSizeBytes, 1000);
  assert.equal(listenerOf("--idle-timeout=0")?.idleTimeoutMs, 0);
  assert.equal(listenerOf("--idle-timeout=99999999999")?.idleTimeoutMs, 2_147_483_000);
  assert.equal(forwardOf("--poll=99999999999")?.pollSeconds, 2_147_483);
});

test("limits of clients are taken", () => {
  const listener = listenerOf(
    ...["--max-connections=1", "--max-connections-per-client=0", "--max-auth-failures=2"],
    ...["--max-errors=3", "--max-refusals=4", "--max-command-length=512"],
  );
  assert.deepEqual(listener?.connections, { inAll: 1, perClient: 0 });
  assert.deepEqual(
    [listener?.maxAuthFailures, listener?.maxErrors, listener?.maxRefusals],
    [2, 3, 4],
  );
  assert.equal(listener?.maxCommandBytes, 512);
});

test("our own numbers and words are taken", () => {
  const listener = listenerOf(
    ...["--max-recipients=5", "--max-hops=0", "--bare-newlines=reject"],
    ...["--session-timeout=7", "--message-timeout=8"],
  );
  assert.deepEqual(
    [
      listener?.maxRecipients,
      listener?.maxHops,
      listener?.bareNewlines,
      listener?.sessionTimeoutMs,
      listener?.messageTimeoutMs,
    ],
    [5, 0, "reject", 7000, 8000],
  );
  assert.equal(forwardOf("--forward-timeout=9")?.client.messageTimeoutMs, 9000);
  assert.equal(configOf(["--grace-time=4"]).graceSeconds, 4);
  assert.deepEqual(instanceOf(["--no-sync", "--no-commit-journal", "--shared-spool"]).spool, {
    directory: "/var/spool/relayd",
    sync: false,
    shared: true,
    commitJournal: false,
    minFree: { bytes: 10_485_760, percent: 10 },
  });
  assert.deepEqual(instanceOf(["--spool-min-free=50"]).spool.minFree, {
    bytes: 52_428_800,
    percent: 100,
  });
  const { minFree } = instanceOf(["--spool-min-free=5%"]).spool;
  assert.equal(minFree.percent, 5);
  assert.ok(minFree.bytes > 1e15);
});

test("interfaces are addresses, sockets, descriptors or names, each for its server", () => {
  const listener = listenerOf(
    "--interface=1.2.3.4,smtp=::1,[::2],/run/smtp.sock,fd#3",
    "--interface=eth0,eth0-ipv4,smtp=eth0-ipv6,pop=5.6.7.8,admin=/run/admin",
  );
  assert.deepEqual(listener?.interfaces, [
    { kind: "address", host: "1.2.3.4" },
    { kind: "address", host: "::1" },
    { kind: "address", host: "::2" },
    { kind: "unix", path: "/run/smtp.sock" },
    { kind: "fd", fd: 3 },
    { kind: "device", name: "eth0", family: null },
    { kind: "device", name: "eth0", family: 4 },
    { kind: "device", name: "eth0", family: 6 },
  ]);
  assert.deepEqual(listenerOf("--interface=pop=1.2.3.4")?.interfaces, []);
});

test("--anonymous without a value is all of it", () => {
  assert.deepEqual(listenerOf("-A")?.anonymous, { vrfy: true, server: true, content: true });
  assert.equal(forwardOf("-A")?.client.anonymous, true);
  assert.deepEqual(listenerOf("--anonymous=server,client")?.anonymous, {
    vrfy: false,
    server: true,
    content: false,
  });
  assert.equal(forwardOf("--anonymous=server,client")?.client.anonymous, true);
  assert.equal(forwardOf("--anonymous=server")?.client.anonymous, false);
});

test("SMTP words may be written in all of E-MailRelay's ways", () => {
  const server = (words: string) => listenerOf(`--server-smtp-config=${words}`)?.smtp;
  for (const word of ["chunking", "+chunking", "with-chunking"]) {
    assert.equal(server(word)?.chunking, true, word);
  }
  for (const word of ["-alabels", "noalabels", "without-alabels"]) {
    assert.equal(server(word)?.alabels, false, word);
  }
  assert.equal(server("-alabels,=alabels")?.alabels, true);
  assert.equal(server("chunking,=chunking")?.chunking, false);
  assert.deepEqual(server("foo,__proto__,noconstructor"), server(""));
  const client = forwardOf("-c", "pipelining,nosmtputf8strict", "-c", "+eightbitstrict")?.client;
  assert.deepEqual(client?.smtp, {
    pipelining: true,
    smtputf8strict: false,
    eightbitstrict: true,
    binarymimestrict: true,
    linger: true,
  });
});

test("file names are absolute, with @app, unless they are words", () => {
  const listener = listenerOf(
    ...["-K", "--server-tls-certificate=key.pem", "--server-tls-certificate=@app/cert.pem"],
    ...["--server-tls-verify=<none>", "--server-auth=secrets"],
  );
  assert.deepEqual(listener?.tls?.certificate, ["/home/me/key.pem", "/opt/relayd/cert.pem"]);
  assert.equal(listener?.tls?.verify, "<none>");
  assert.equal(listener?.secrets, "/home/me/secrets");
  const client = forwardOf("-C", "plain:YQ==:Yg==", "-j", "--client-tls-verify=<default>")?.client;
  assert.deepEqual([client?.secrets, client?.tls?.verify], ["plain:YQ==:Yg==", "<default>"]);
  assert.equal(forwardOf("-b", "--client-tls-verify=ca")?.client.tls?.verify, "/home/me/ca");
  assert.equal(instanceOf(["-s", "@app/spool"]).spool.directory, "/opt/relayd/spool");
  assert.equal(instanceOf(["-s", "@apple"]).spool.directory, "/home/me/@apple");
  assert.equal(configOf(["-i", "run/pid"]).pidFile, "/home/me/run/pid");
});

test("TLS is as asked for in both directions", () => {
  const config = "--tls-config=tlsv1.2,-tlsv1.3,openssl";
  const versions = { min: "TLSv1.2", max: "TLSv1.3" };
  assert.deepEqual(
    listenerOf("--server-tls-connection", "--server-tls-certificate=/c", config)?.tls,
    { mode: "implicit", required: false, certificate: ["/c"], verify: null, versions },
  );
  assert.deepEqual(
    forwardOf(
      ...["-j", "--client-tls-required", "--client-tls-verify=/ca", config],
      ...["--client-tls-verify-name=n", "--client-tls-server-name=s"],
    )?.client.tls,
    {
      mode: "starttls",
      required: true,
      certificate: [],
      verify: "/ca",
      verifyName: "n",
      serverName: "s",
      versions,
    },
  );
});
