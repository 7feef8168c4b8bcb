import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { programWarnings } from "../../src/io/program.ts";
import { errorsOf, read, warningsOf } from "../support/configuration.ts";
import { tempPrograms } from "../support/programs.ts";

/** Each usage error with a command line that gets it, in the order in which they are checked. */
const USAGE_ERRORS: readonly [string, string][] = [
  [
    "--log --syslog=local8",
    "invalid --syslog facility: use 'mail', 'user', 'daemon', or 'local0' to 'local7'",
  ],
  ["--poll=5m", "invalid --poll period: try --forward-on-disconnect"],
  ["--pop-port=1", "pop options require --pop"],
  ["--pop-auth=f", "pop options require --pop"],
  ["--pop-by-name", "pop options require --pop"],
  ["--pop-no-delete", "pop options require --pop"],
  ["--pop", "the --pop option requires --pop-auth"],
  ["--admin-terminate", "the --admin-terminate option requires --admin"],
  [
    "--forward-to=a:1 --as-client=b:1",
    "--forward-to cannot be used with --as-client or --as-proxy",
  ],
  ["--forward-to=a:1 --as-proxy=b:1", "--forward-to cannot be used with --as-client or --as-proxy"],
  ["--forward", "--forward requires --forward-to"],
  ["--forward-on-disconnect", "--forward-on-disconnect requires --forward-to"],
  ["--client-filter=/f", "--client-filter requires --forward-to"],
  ["--filter=/f -q a:1", "the --filter option cannot be used with --as-client or --dont-serve"],
  ["--port=1 -q a:1", "the --port option cannot be used with --as-client or --dont-serve"],
  [
    "--server-auth=f -x",
    "the --server-auth option cannot be used with --as-client or --dont-serve",
  ],
  ["-B -F f -x", "the --pop option cannot be used with --as-client or --dont-serve"],
  ["--admin=1 -x", "the --admin option cannot be used with --as-client or --dont-serve"],
  ["--filter=/f -X", "the --filter option cannot be used with --no-smtp"],
  ["--port=1 -X", "the --port option cannot be used with --no-smtp"],
  ["--server-auth=f -X", "the --server-auth option cannot be used with --no-smtp"],
  ["--server-auth-config=x", "the --server-auth-config option requires --server-auth"],
  ["--client-auth-config=x", "the --client-auth-config option requires --client-auth"],
  [
    "--verbose",
    "the --verbose option must be used with --log, --help, --as-client, --as-server or --as-proxy",
  ],
  ["--debug", "the --debug option requires --log, --as-client, --as-server or --as-proxy"],
  [
    "--client-tls --client-tls-connection",
    "the --client-tls and --client-tls-connection options cannot be used together",
  ],
  [
    "--server-tls --server-tls-connection",
    "the --server-tls and --server-tls-connection options cannot be used together",
  ],
  ["--server-tls", "the --server-tls option requires --server-tls-certificate"],
  [
    "--server-tls-connection",
    "the --server-tls-connection option requires --server-tls-certificate",
  ],
  [
    "--server-tls-certificate=f",
    "the --server-tls options require either --server-tls or --server-tls-connection",
  ],
  [
    "--server-tls-verify=f",
    "the --server-tls options require either --server-tls or --server-tls-connection",
  ],
  [
    "--client-tls-certificate=f",
    "the --client-tls- options require --client-tls or --client-tls-connection",
  ],
  [
    "--client-tls-verify=f",
    "the --client-tls- options require --client-tls or --client-tls-connection",
  ],
  [
    "--client-tls-required",
    "the --client-tls- options require --client-tls or --client-tls-connection",
  ],
  [
    "-K --server-tls-certificate=a,b --server-tls-certificate=c",
    "the --server-tls-certificate option cannot be used more than twice",
  ],
  [
    "-j --client-tls-certificate=a,b,c",
    "the --client-tls-certificate option cannot be used more than twice",
  ],
  [
    "--client-tls-verify-name=n",
    "the --client-tls-verify-name options requires --client-tls-verify",
  ],
  [
    "--server-tls-required",
    "--server-tls-required requires --server-tls or --server-tls-connection",
  ],
  [
    "--interface=client=1.2.3.4",
    "using --interface with client= is no longer supported: use --client-interface instead",
  ],
  ["--dnsbl=x", "--dnsbl requires --remote-clients or -r"],
  [
    "--client-interface=1.2.3.4 -o /sock",
    "the --client-interface option cannot be used with a unix-domain forwarding address",
  ],
  ["--domain=", "the --domain value must not be empty"],
  ["--filter=foo:bar", "invalid filter specification: unknown type: foo:"],
  ["--scanner=bar", 'invalid filter specification: invalid value for net: "bar"'],
  [
    "--client-filter=exit:x -o a:1",
    'invalid client filter specification: invalid value for exit: "x"',
  ],
  ["--verifier=foo:", "invalid verifier specification: unknown type: foo:"],
  // What relayd adds to them.
  ["--as-proxy=a:1 --as-client=b:1", "--as-proxy cannot be used with --as-client"],
  ["--trial --forward-to=a:1", "--forward-to cannot be used with --trial"],
  ["--trial=x", 'invalid --trial value: "x": use a number from 0 to 65535'],
  [
    "--forward-to=a",
    'invalid --forward-to value: "a": use <host>:<port>, [<ipv6>]:<port>, <host>:<port>@<socks-host>:<port> or /<path>',
  ],
  [
    "--as-client=a:nonsense",
    'invalid --as-client value: "a:nonsense": use <host>:<port>, [<ipv6>]:<port>, <host>:<port>@<socks-host>:<port> or /<path>',
  ],
  [
    "--port=65536",
    'invalid --port value: "65536": use a port number up to 65535, or a service name',
  ],
  [
    "--client-interface=eth0 -o a:1",
    'invalid --client-interface value: "eth0": use an IPv4 or IPv6 address',
  ],
  ["--bare-newlines=x", 'invalid --bare-newlines value: "x": use fix, reject or accept'],
  ["--grace-time=5m", 'invalid --grace-time value: "5m": use a number from 0 to 86400'],
  ["--max-recipients=0", 'invalid --max-recipients value: "0": use a number from 1 to 1000000'],
  ["--max-hops=-1", 'invalid --max-hops value: "-1": use a number from 0 to 1000000'],
  ["--session-timeout=x", 'invalid --session-timeout value: "x": use a number from 0 to 604800'],
  ["--message-timeout=x", 'invalid --message-timeout value: "x": use a number from 0 to 604800'],
  ["--forward-timeout=x", 'invalid --forward-timeout value: "x": use a number from 0 to 604800'],
  [
    "--tls-config=tlsv1.3,-tlsv1.2",
    "the lowest TLS version in --tls-config is above the highest one",
  ],
];

const words = (line: string): string[] => line.split(" ").filter((word) => word !== "");

test("each usage error is said alone, with its text", () => {
  for (const [line, text] of USAGE_ERRORS) {
    assert.deepEqual(errorsOf(words(line)), [`relayd: usage error: ${text}`], line);
  }
});

test("usage errors are checked in E-MailRelay's order", () => {
  const each = ["--syslog=x", "--poll=x", "--pop", "--forward", "--verbose", "--server-tls"];
  const said = each.map((_, index) => errorsOf([...each.slice(index)].reverse())[0] ?? "");
  assert.deepEqual(
    said.map((line) => line.replace("relayd: usage error: ", "").slice(0, 24)),
    [
      "invalid --syslog facilit",
      "invalid --poll period: t",
      "the --pop option require",
      "--forward requires --for",
      "the --verbose option mus",
      "the --server-tls option ",
    ],
  );
});

test("PAM is no file name, and stays as it is written", () => {
  for (const text of ["pam:", "/pam", "pam:/run/mux"]) {
    const reading = read(words(`--server-auth=${text} --pop --pop-auth=${text}`));
    assert.ok(reading.kind === "run", text);
    const [one] = reading.config.instances;
    assert.deepEqual([one?.listener?.secrets, one?.pop?.secrets], [text, text]);
  }
});

test("filters, verifiers, block lists, POP and administration are settings", () => {
  const line =
    "-r --filter=bin/f,exit:0 --client-filter=mx: -o a:1 --filter-timeout=5 --verifier=net:a:1 " +
    "--dnsbl=x.test,1 --delivery-dir=d --pop --pop-auth=s --pop-port=pop3 --pop-by-name " +
    "--admin=10026 --admin-terminate --interface=127.0.0.1,pop=127.0.0.2,admin=/run/a";
  const reading = read(words(line));
  assert.equal(reading.kind, "run");
  if (reading.kind !== "run") return;
  const [one] = reading.config.instances;
  const cwd = dirname(one?.filters.deliveryDirectory ?? "");
  assert.deepEqual(one?.filters, {
    server: [join(cwd, "bin/f"), "exit:0"],
    client: ["mx:"],
    timeoutMs: 5000,
    deliveryDirectory: join(cwd, "d"),
  });
  assert.equal(one.listener?.verifier, "net:a:1");
  assert.equal(one.listener?.dnsbl, "x.test,1");
  const any = { kind: "address", host: "127.0.0.1" };
  assert.deepEqual(one.pop, {
    port: 110,
    interfaces: [any, { kind: "address", host: "127.0.0.2" }],
    remoteClients: true,
    byName: true,
    noDelete: false,
    connections: { inAll: 2000, perClient: 50 },
    maxAuthFailures: 5,
    idleTimeoutMs: 60_000,
    secrets: join(cwd, "s"),
    authConfig: "",
    tls: null,
  });
  assert.deepEqual(one.admin, {
    port: 10026,
    interfaces: [any, { kind: "unix", path: "/run/a" }],
    remoteClients: true,
    terminate: true,
  });
  const client = read(words("--as-client=a:1 --pop --pop-auth=s"));
  assert.equal(client.kind, "errors");
});

test("an impossible interface is an error with its text", () => {
  assert.deepEqual(errorsOf(["--interface=smtp=10.0.0.0/8"]), [
    "relayd: error: invalid address or interface name: 10.0.0.0/8",
  ]);
});

test("combinations that mean something are accepted", () => {
  for (const line of [
    "",
    "--immediate",
    "--poll=60",
    "--poll=0",
    "--dont-serve",
    "--debug --log",
    "--localedir=/x",
    "--tls-config=",
    "--tls-config=mbedtls,tlsv1.2",
    "--forward-to=[::1]:25",
    "--forward-to=far:25@near:1080",
    "--forward-to=/run/lmtp.sock --forward",
    "--as-client=mail.example.com:submission -v",
    "--as-proxy=mail.example.com:smtp --port=submission",
    "--trial",
    "--client-interface=:: -o a:1",
  ]) {
    assert.equal(read(words(line)).kind, "run", line);
  }
});

test("warnings have E-MailRelay's texts", () => {
  const stops = (option: string) =>
    `logging will stop because ${option} closes the standard error stream soon after startup`;
  const cases: readonly [string, readonly string[]][] = [
    ["--pid-file=/a --pid-file=/a", ["more than one --pid-file: using the first"]],
    ["--as-server --no-syslog", [stops("--as-server")]],
    ["--as-proxy=a:1 --no-syslog", [stops("--as-proxy")]],
    ["--log --close-stderr -n", [stops("--close-stderr")]],
    ["--as-server -n --log-file=/f", []],
    ["--as-server -n --syslog", []],
    ["--as-server", []],
    ["--close-stderr -n", []],
    [
      "--domain=bücher.example",
      ['the domain should be printable ascii: try using "xn--bcher-kva.example"'],
    ],
    [
      "--server-smtp-config=chunking,foo --client-smtp-config=bar",
      ["unknown smtp-config item [foo]", "unknown smtp-config item [bar]"],
    ],
  ];
  for (const [line, wanted] of cases) assert.deepEqual(warningsOf(words(line)), wanted, line);
  // It has no form that is ASCII.
  assert.deepEqual(warningsOf(["--domain=a b.test"]), ["the domain should be printable ascii"]);
});

test("warnings name programs that cannot be run now, and nothing else", () => {
  using programs = tempPrograms();
  const { directory } = programs;
  const plain = programs.file("plain", "", 0o644);
  const none = join(directory, "none");
  const fine = programs.script("fine");
  const cases: readonly [string, readonly string[]][] = [
    [`--filter=${plain}`, [`filter program is not executable: ${plain}`]],
    [`--filter=exit:0,${none},file:${fine}`, [`filter program does not exist: ${none}`]],
    [`--client-filter=${directory} -o a:1`, [`invalid program: ${directory}`]],
    [`--address-verifier=${none}`, [`verifier program does not exist: ${none}`]],
    [`--address-verifier=${directory}`, [`invalid program: ${directory}`]],
    [`--address-verifier=file:${fine} --filter=${fine}`, []],
    ["--address-verifier=exit:0", []],
  ];
  for (const [line, wanted] of cases) {
    assert.deepEqual(warningsOf(words(line), { programWarnings }), wanted, line);
  }
});

test("a check says everything at once, with the place of each", () => {
  const reading = read(
    words(
      "--check-config --filter=/f --verifier=/v --server-auth=/pam --forward --size=5M --zoo a b",
    ),
    { programWarnings },
  );
  assert.equal(reading.kind, "check");
  if (reading.kind !== "check") return;
  assert.deepEqual(
    reading.problems.map(({ where, severity, text }) => `${where}: ${severity}: ${text}`),
    [
      '--zoo: error: invalid option: "--zoo"',
      "relayd: error: too many non-option arguments",
      "--forward: error: --forward requires --forward-to",
      "--server-auth: warning: pam authentication should be enabled with pam: rather than /pam",
      "--filter: warning: filter program does not exist: /f",
      "--verifier: warning: verifier program does not exist: /v",
      '--size: warning: not a number: "5M": --size has its default value',
    ],
  );
});

test("a check says of a port that it is neither number nor name, and nothing of a name", () => {
  const noted = (line: string) => {
    const reading = read(words(`--check-config --pop --pop-auth=s ${line}`));
    return reading.kind === "check" ? reading.problems.map(({ text }) => text) : [];
  };
  assert.deepEqual(noted("--pop-port=abc"), [
    'not a number: "abc": --pop-port has its default value',
  ]);
  assert.deepEqual(noted("--pop-port=pop3 --admin=10026 --port=smtp"), []);
});
