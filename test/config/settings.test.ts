import assert from "node:assert/strict";
import { test } from "node:test";
import { configFile, configOf, errorsOf, instanceOf, read } from "../support/configuration.ts";

const listenerOf = (...argv: string[]) => instanceOf(argv).listener;
const forwardOf = (...argv: string[]) => instanceOf(["--forward-to=mail:25", ...argv]).forward;

const words = (line: string): string[] => line.split(" ");

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

test("forwarding has the documented time-outs", () => {
  const forward = forwardOf();
  assert.deepEqual(forward, {
    to: "mail:25",
    atStart: false,
    onDisconnect: false,
    immediate: false,
    pollSeconds: null,
    recipients: "all",
    fallbacks: [],
    retry: null,
    parallel: 4,
    rate: null,
    client: {
      interface: null,
      connectionTimeoutMs: 40_000,
      responseTimeoutMs: 60_000,
      promptTimeoutMs: 20_000,
      messageTimeoutMs: 3_600_000,
      smtp: {
        pipelining: true,
        smtputf8strict: true,
        eightbitstrict: false,
        binarymimestrict: true,
        linger: true,
      },
      anonymous: false,
      secrets: null,
      authConfig: "",
      tls: null,
    },
  });
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

test("the log goes where the options say", () => {
  const log = (...argv: string[]) => configOf(argv).log;
  assert.equal(log("-l", "--no-syslog").syslog, null);
  assert.equal(log("-l", "--no-syslog", "--syslog").syslog, "mail");
  assert.equal(log("--as-client=a:1", "--syslog=local7").syslog, "local7");
  const file = log("-l", "--log-file=logs/%d");
  assert.deepEqual([file.file, file.stderr], ["/home/me/logs/%d", false]);
});

test("only warnings go to a standard error that a daemon with syslog is about to close", () => {
  const level = (...argv: string[]) => configOf(argv).log.stderrLevel;
  assert.equal(level("--as-server"), "warnings");
  assert.equal(level("-l", "-e"), "warnings");
  assert.equal(level("--as-server", "--no-daemon"), "all");
  assert.equal(level("--as-server", "--no-syslog"), "all");
  assert.equal(level("--log"), "all");
});

test("--log-time, --log-address and the words of --log-format choose what lines begin with", () => {
  const fields = (...argv: string[]) => configOf(argv).log.fields;
  assert.deepEqual(fields("--log-format=msgid,foo,time"), ["time", "msgid"]);
  assert.deepEqual(fields("-L", "--log-address"), ["time", "address"]);
  assert.deepEqual(fields("-L", "--log-format=time"), ["time"]);
  assert.equal(configOf(["--log-format=time", "--log-format=json"]).log.format, "json");
});

test("the old variable names the log file when no option does", () => {
  const env = { GLOGOUTPUT_FILE: "/var/log/old" };
  assert.equal(configOf(["--log"], { env }).log.file, "/var/log/old");
  assert.equal(configOf(["--log", "--log-file=/new"], { env }).log.file, "/new");
  const argv = ["--in-spool-dir=/a", "--in-log-file=/new"];
  assert.equal(configOf(argv, { env }).log.file, "/new");
});

test("numbers that are none silently mean the default", () => {
  assert.equal(listenerOf("--port=x")?.port, 25);
  assert.equal(listenerOf("--port=-1")?.port, 25);
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

test("--poll is a period, and 0 means on disconnect", () => {
  assert.equal(forwardOf("--poll=60")?.pollSeconds, 60);
  const zero = forwardOf("--poll=0");
  assert.deepEqual([zero?.pollSeconds, zero?.onDisconnect], [null, true]);
  assert.equal(instanceOf(["--poll=0"]).forward, null);
});

test("when and how to forward is taken", () => {
  const forward = forwardOf("-f", "-1", "-m", "--forward-to-some", "-6", "::");
  assert.deepEqual(
    [forward?.atStart, forward?.onDisconnect, forward?.immediate, forward?.recipients],
    [true, true, true, "some"],
  );
  assert.equal(forward?.client.interface, "::");
  assert.equal(forwardOf("--forward-to-all")?.recipients, "all");
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

test("E-MailRelay's spool is used where only that exists", () => {
  const spool = (...there: string[]) =>
    instanceOf([], { exists: (path) => there.includes(path) }).spool.directory;
  assert.equal(spool("/var/spool/emailrelay"), "/var/spool/emailrelay");
  assert.equal(spool("/var/spool/emailrelay", "/var/spool/relayd"), "/var/spool/relayd");
  assert.equal(spool(), "/var/spool/relayd");
});

test("a prefix with a spool directory makes an instance", () => {
  const config = configOf([
    ...["--out-port", "26", "--in-spool-dir=/in", "--out-spool-dir=/out", "--in-server-auth=f"],
    ...["--domain=example.com", "--out-forward-to=mail:25"],
  ]);
  assert.deepEqual(
    config.instances.map((one) => [one.name, one.spool.directory, one.listener?.port, one.domain]),
    [
      ["in", "/in", 25, "example.com"],
      ["out", "/out", 26, null],
    ],
  );
  assert.equal(config.instances[0]?.listener?.secrets, "/home/me/f");
  assert.deepEqual(
    config.instances.map((one) => one.forward?.to ?? null),
    [null, "mail:25"],
  );
});

test("settings of the process come from the first instance, and each is checked on its own", () => {
  const dirs = ["--in-spool-dir=/in", "--out-spool-dir=/out"];
  assert.equal(configOf([...dirs, "--in-log", "--in-user=me"]).user, "me");
  assert.equal(configOf([...dirs, "--out-log", "--out-user=me"]).user, "daemon");
  assert.equal(configOf([...dirs, "--out-log"]).log.enabled, false);
  assert.deepEqual(read([...dirs, "--in-log", "--out-verbose"]), {
    kind: "errors",
    lines: [
      "relayd: usage error: the --verbose option must be used with --log, --help, --as-client, --as-server or --as-proxy",
    ],
    exitCode: 1,
  });
});

test("a file may declare the prefix that the command line uses", () => {
  const path = configFile("in-spool-dir /in\nout-spool-dir /out\nout-domain out.example\n");
  const config = configOf(["--out-port", "26", path]);
  assert.deepEqual(
    config.instances.map((one) => [one.name, one.listener?.port, one.domain]),
    [
      ["in", 25, null],
      ["out", 26, "out.example"],
    ],
  );
});

test("origins tell where an option was given", () => {
  const path = configFile("log\nin-spool-dir /in\nout-spool-dir /out\nout-domain x\n");
  const reading = read(["--in-port=26", path]);
  assert.equal(reading.kind, "run");
  if (reading.kind !== "run") return;
  assert.equal(reading.origins("port"), "--in-port");
  assert.equal(reading.origins("spool-dir"), `${path}:2`);
  assert.equal(reading.origins("spool-dir", "out"), `${path}:3`);
  assert.equal(reading.origins("port", "out"), "--out-port");
});

test("problems of a check name the line of the file", () => {
  const path = configFile("# nothing\n\nforward\nport 70000\n");
  const reading = read(["--check-config", path]);
  assert.equal(reading.kind, "check");
  if (reading.kind !== "check") return;
  assert.deepEqual(
    reading.problems.map(({ where }) => where),
    [`${path}:3`, `${path}:4`],
  );
});

test("--retry has a schedule, gives each recipient its own fate, and takes lists and rates", () => {
  const forward = (line: string) => {
    const reading = read(words(line));
    return reading.kind === "run" ? (reading.config.instances[0]?.forward ?? null) : null;
  };
  const minute = 60_000;
  const usual = forward("--forward-to=a:1,b:2 --retry");
  assert.equal(usual?.to, "a:1");
  assert.deepEqual(usual.fallbacks, ["b:2"]);
  assert.deepEqual(usual.retry, {
    delaysMs: [
      minute,
      5 * minute,
      15 * minute,
      30 * minute,
      60 * minute,
      120 * minute,
      240 * minute,
    ],
    expireMs: 5 * 24 * 60 * minute,
  });
  assert.equal(usual.recipients, "some");
  const own = forward(
    "-o a:1 --retry=30s,2h --expire=1d --forward-rate=100/1h --forward-parallel=9",
  );
  assert.deepEqual(own?.retry, { delaysMs: [30_000, 120 * minute], expireMs: 24 * 60 * minute });
  assert.deepEqual(own.rate, { count: 100, periodMs: 60 * minute });
  assert.equal(own.parallel, 9);
  assert.equal(forward("-o a:1 --retry --forward-to-all")?.recipients, "all");
});

test("a client filter, which may end a run, has one connection at a time unless mail is tried again", () => {
  const parallel = (...argv: string[]) => forwardOf(...argv)?.parallel;
  assert.equal(parallel(), 4);
  assert.equal(parallel("--client-filter=exit:0"), 1);
  assert.equal(parallel("--client-filter=exit:0", "--forward-parallel=3"), 3);
  assert.equal(parallel("--client-filter=exit:0", "--retry"), 4);
});

test("wrong gaps, times, rates and lists are named", () => {
  const cases: readonly [string, string][] = [
    ["-o a:1 --retry=1m,x", 'invalid --retry value: "1m,x": use gaps such as 1m,5m,15m,30m,1h,4h'],
    ["-o a:1 --retry=0", 'invalid --retry value: "0": use gaps such as 1m,5m,15m,30m,1h,4h'],
    ["-o a:1 --retry --expire=soon", 'invalid --expire value: "soon": use a time such as 5d'],
    ["-o a:1 --expire=5d", "the --expire option requires --retry"],
    [
      "-o a:1 --forward-rate=0/1m",
      'invalid --forward-rate value: "0/1m": use a number and a time such as 100/1h',
    ],
  ];
  for (const [line, text] of cases) {
    assert.deepEqual(errorsOf(words(line)), [`relayd: usage error: ${text}`], line);
  }
  assert.match(errorsOf(words("-o a:1,,b:2"))[0] ?? "", /invalid --forward-to value: ""/);
});
