import assert from "node:assert/strict";
import { test } from "node:test";
import { configFile, configOf, errorsOf, instanceOf, read } from "../support/configuration.ts";

const HINT = '        try "relayd --help --verbose" for more information';

/** Each command line and the syntax errors it gets. */
const SYNTAX_ERRORS: readonly [readonly string[], readonly string[]][] = [
  [["--nonsense"], ['invalid option: "--nonsense"']],
  [["--Port=1"], ['invalid option: "--Port"']],
  [["--"], []],
  [["--=x"], ['invalid option: "--"']],
  [["--por", "25"], ['invalid option: "--por"']],
  [["-R"], ['invalid option: "-R"']],
  [["-lRv"], ['invalid option: "-R"']],
  [["--in-port=26"], ['invalid option: "--in-port"']],
  [["--hidden"], ['invalid option: "--hidden"']],
  [["--show=x"], ['invalid option: "--show"']],
  [["--test=x"], ['invalid option: "--test"']],
  [["--constructor"], ['invalid option: "--constructor"']],
  [["--port"], ['no value supplied for "--port"']],
  [["--port="], ['no value supplied for "--port"']],
  [["-p"], ["no value supplied for -p"]],
  [["-lpv"], ["no value supplied for -p"]],
  [["-lp", "25"], ["no value supplied for -p"]],
  [["-p25"], ['invalid option: "-2"', 'invalid option: "-5"', "no value supplied for -p"]],
  [["--port=1", "--port=2"], ['duplicate use of "--port"']],
  [["-p", "1", "--port=2"], ['duplicate use of "--port"']],
  [["--syslog", "--syslog=user"], ['duplicate use of "--syslog"']],
  [["--in-spool-dir=/a", "--spool-dir=/b"], ['duplicate use of "--spool-dir"']],
  [["--log=maybe"], ['cannot give a value with "--log" (maybe)']],
  [["--log="], ['cannot give a value with "--log" ()']],
  [["--log", "--log=no"], ['conflicting values: "--log"']],
  [["--log=off", "-l"], ['conflicting values: "--log"']],
  [
    ["--domain", "-x"],
    ['"--domain -x" is probably a mistake, use "--domain=... -x" or "--domain=-x"'],
  ],
  [
    ["--domain", "--"],
    ['"--domain --" is probably a mistake, use "--domain=... --" or "--domain=--"'],
  ],
  [
    ["--zoo", "--log=x", "--port="],
    [
      'cannot give a value with "--log" (x)',
      'invalid option: "--zoo"',
      'no value supplied for "--port"',
    ],
  ],
];

test("syntax errors are said with E-MailRelay's texts, sorted, with a hint after them", () => {
  for (const [argv, texts] of SYNTAX_ERRORS) {
    const wanted = texts.map((text) => `relayd: error: ${text}`);
    const said = errorsOf(argv);
    assert.deepEqual(said, texts.length > 0 ? [...wanted, HINT] : [], argv.join(" "));
  }
});

test("errors carry the name that the program was called by", () => {
  assert.deepEqual(errorsOf(["--nonsense"], { program: "emailrelay" }), [
    'emailrelay: error: invalid option: "--nonsense"',
    '            try "emailrelay --help --verbose" for more information',
  ]);
  assert.deepEqual(errorsOf(["--forward"], { program: "emailrelay" }), [
    "emailrelay: usage error: --forward requires --forward-to",
  ]);
});

test("values follow an option after = or in the next word", () => {
  for (const argv of [["--port=26"], ["--port", "26"], ["-p", "26"]]) {
    assert.equal(instanceOf(argv).listener?.port, 26);
  }
});

test("a value may begin with a dash after = or after a letter", () => {
  assert.equal(instanceOf(["--domain=-x"]).domain, "-x");
  assert.equal(instanceOf(["-D", "-x"]).domain, "-x");
});

test("only the first = ends the name", () => {
  assert.equal(instanceOf(["--domain=a=b"]).domain, "a=b");
});

test("letters without values may stand in one word", () => {
  const config = configOf(["-ltv"]);
  assert.deepEqual([config.log.enabled, config.detach, config.log.verbosity], [true, false, 1]);
});

test("an optional value only comes after =", () => {
  const [file] = ["--syslog", "--syslog=user"].map((option) => read([option, "--log", "/no/conf"]));
  assert.deepEqual(file, {
    kind: "errors",
    lines: ["relayd: error: error reading configuration file: /no/conf"],
    exitCode: 1,
  });
  assert.equal(configOf(["--log", "--syslog=user"]).log.syslog, "user");
  assert.equal(configOf(["--log", "--syslog"]).log.syslog, "mail");
});

test("yes words turn an option on and no words make it absent, in any case", () => {
  for (const word of ["y", "yes", "t", "true", "1", "on", "YES", "On"]) {
    assert.equal(configOf([`--log=${word}`]).log.enabled, true, word);
  }
  for (const word of ["n", "no", "f", "false", "0", "off", "NO", "Off"]) {
    assert.equal(configOf([`--log=${word}`]).log.enabled, false, word);
  }
  assert.deepEqual(errorsOf(["--forward=no"]), []);
});

test("a repeated option without a value counts", () => {
  assert.equal(configOf(["-lv"]).log.verbosity, 1);
  assert.equal(configOf(["-lv", "--verbose"]).log.verbosity, 2);
  assert.equal(configOf(["-lvvv"]).log.verbosity, 2);
});

test("a single value may be repeated when it is the same", () => {
  assert.equal(instanceOf(["--port=26", "-p", "26"]).listener?.port, 26);
});

test("repeated values are joined in their order", () => {
  const hosts = instanceOf(["-I", "1.1.1.1", "--interface=2.2.2.2,3.3.3.3"]).listener?.interfaces;
  assert.deepEqual(
    hosts?.map((one) => (one.kind === "address" ? one.host : "")),
    ["1.1.1.1", "2.2.2.2", "3.3.3.3"],
  );
});

test("-- and the first other word end the options", () => {
  const path = configFile("port 26\n");
  assert.equal(instanceOf(["--", path]).listener?.port, 26);
  assert.deepEqual(errorsOf([path, "--log"]), [
    "relayd: usage error: too many non-option arguments",
  ]);
  assert.deepEqual(errorsOf(["a", "b"]), ["relayd: usage error: too many non-option arguments"]);
});

test("help comes before syntax errors, these before version, version before too many arguments", () => {
  assert.equal(read(["--help", "--nonsense"]).kind, "help");
  assert.equal(errorsOf(["--version", "--nonsense"]).length, 2);
  assert.equal(read(["--version", "a", "b"]).kind, "version");
  assert.equal(read(["--version", "--forward"]).kind, "version");
  assert.deepEqual(errorsOf(["--forward", "a", "b"]), [
    "relayd: usage error: too many non-option arguments",
  ]);
});

test("the configuration file has E-MailRelay's syntax", () => {
  const path = configFile(
    [
      "# a comment",
      "   # another",
      "",
      "log",
      "port=26",
      "  domain \t example.com  \r",
      'interface "1.2.3.4"',
      "interface = 1.2.3.5",
      'server-smtp-config ""',
      "client-auth plain:YQ==:Yg== # no comment",
      "remote-clients yes",
      "verbose no",
    ].join("\n"),
  );
  const config = configOf(["--forward-to=a:25", path]);
  const [instance] = config.instances;
  assert.equal(config.log.enabled, true);
  assert.equal(config.log.verbosity, 0);
  assert.equal(instance?.listener?.port, 26);
  assert.equal(instance?.domain, "example.com");
  assert.equal(instance?.listener?.interfaces.length, 2);
  assert.equal(instance?.listener?.remoteClients, true);
  assert.equal(instance?.forward?.client.secrets, "plain:YQ==:Yg== # no comment");
});

test("only one enclosing pair of quotes is removed", () => {
  const domain = (line: string) => instanceOf([configFile(`${line}\n`)]).domain;
  assert.equal(domain('domain ""a""'), '"a"');
  assert.equal(domain('domain "a'), '"a');
  assert.equal(domain('domain "a b"'), "a b");
});

test("file and command line are equal: they add up, and contradict each other", () => {
  const path = configFile("port 26\ninterface 2.2.2.2\nverbose\nlog\n");
  const config = configOf(["-v", "--interface=1.1.1.1", "--port=26", path]);
  assert.equal(config.log.verbosity, 2);
  assert.deepEqual(config.instances[0]?.listener?.interfaces, [
    { kind: "address", host: "1.1.1.1" },
    { kind: "address", host: "2.2.2.2" },
  ]);
  assert.equal(errorsOf(["--port=27", path])[0], 'relayd: error: duplicate use of "--port"');
});

test("the first --pid-file counts, with a warning", () => {
  const path = configFile("pid-file /run/file.pid\n");
  const reading = read(["--pid-file=/run/line.pid", path]);
  assert.equal(reading.kind, "run");
  if (reading.kind !== "run") return;
  assert.equal(reading.config.pidFile, "/run/line.pid");
  assert.deepEqual(reading.warnings, ["more than one --pid-file: using the first"]);
});

test("wrong lines of a file are syntax errors", () => {
  const path = configFile("nonsense\nport\nlog maybe\n= \nconfig-file other\n");
  assert.deepEqual(errorsOf([path]), [
    'relayd: error: cannot give a value with "--log" (maybe)',
    'relayd: error: invalid option: "--"',
    'relayd: error: invalid option: "--config-file"',
    'relayd: error: invalid option: "--nonsense"',
    'relayd: error: no value supplied for "--port"',
    HINT,
  ]);
});

test("a NUL byte in a file is an error with its line", () => {
  const path = configFile("log\nport 2\0\n");
  assert.deepEqual(errorsOf([path]), [`relayd: error: NUL byte in configuration file: ${path}:2`]);
});

test("a file that cannot be read is an error with its name, @app and all", () => {
  assert.deepEqual(errorsOf(["@app/no.conf"]), [
    "relayd: error: error reading configuration file: /opt/relayd/no.conf",
  ]);
  assert.deepEqual(errorsOf(["/"]), ["relayd: error: error reading configuration file: /"]);
});
