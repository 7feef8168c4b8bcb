import assert from "node:assert/strict";
import { test } from "node:test";
import { configFile, configOf, instanceOf, read } from "../support/configuration.ts";

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
