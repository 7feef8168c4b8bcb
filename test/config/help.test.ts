import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { renderManual, renderMarkdown } from "../../src/config/option-docs.ts";
import type { OptionSpec } from "../../src/config/option-spec.ts";
import { OPTION_SECTIONS } from "../../src/config/options.ts";
import { read } from "../support/configuration.ts";

const root = join(import.meta.dirname, "../../..");
const options = OPTION_SECTIONS.flatMap((section) => section.options);

function textOf(...argv: string[]): string {
  const reading = read(argv, { program: "mailer" });
  return reading.kind === "help" || reading.kind === "version" ? reading.text : "";
}

test("every option has a name, a letter of its own, and help", () => {
  const names = new Set(options.map((spec) => spec.name));
  assert.equal(names.size, options.length);
  const letters = options.flatMap((spec) => spec.letter ?? []);
  assert.equal(new Set(letters).size, letters.length);
  for (const spec of options) {
    assert.match(spec.name, /^[a-z][a-z0-9-]*$/);
    assert.match(spec.help, /^[A-Z].{10,}[^.]$/, spec.name);
    assert.equal(spec.argument === undefined, spec.value === "none", spec.name);
  }
});

test("the table has all of E-MailRelay's options under their letters", () => {
  const wanted =
    "q:as-client y:as-proxy d:as-server s:spool-dir h:help V:version v:verbose c:client-smtp-config " +
    "f:forward 1:forward-on-disconnect o:forward-to O:poll m:immediate Y:client-filter " +
    "6:client-interface U:connection-timeout T:response-timeout w:prompt-timeout p:port " +
    "r:remote-clients A:anonymous D:domain z:filter W:filter-timeout I:interface " +
    "Z:server-smtp-config M:size B:pop E:pop-port F:pop-auth J:pop-by-name G:pop-no-delete a:admin " +
    "Q:admin-terminate C:client-auth S:server-auth j:client-tls b:client-tls-connection " +
    "K:server-tls 9:tls-config x:dont-serve X:no-smtp t:no-daemon i:pid-file u:user l:log " +
    "N:log-file L:log-time g:debug k:syslog n:no-syslog e:close-stderr";
  const lettered = options.flatMap((spec) =>
    spec.letter === undefined ? [] : [`${spec.letter}:${spec.name}`],
  );
  assert.deepEqual(lettered.sort(), wanted.split(" ").sort());
  const unlettered =
    "delivery-dir forward-to-all forward-to-some idle-timeout address-verifier dnsbl " +
    "client-auth-config server-auth-config client-tls-required client-tls-certificate " +
    "client-tls-verify client-tls-verify-name client-tls-server-name server-tls-connection " +
    "server-tls-required server-tls-certificate server-tls-verify localedir log-address log-format";
  const theirs = OPTION_SECTIONS.filter((section) => section.since === "E-MailRelay 2.6")
    .flatMap((section): readonly OptionSpec[] => section.options)
    .filter((spec) => spec.letter === undefined)
    .map((spec) => spec.name);
  assert.deepEqual(theirs.sort(), unlettered.split(" ").sort());
});

test("help begins as E-MailRelay's does and has the program's name", () => {
  const lines = textOf("--help").split("\n");
  assert.deepEqual(lines.slice(0, 4), [
    "relayd V1.2.3",
    "",
    "abbreviated usage: mailer [<option> ...] [<config-file>]",
    "",
  ]);
  assert.match(textOf("-hv"), /^relayd V1\.2\.3\n\nusage: mailer \[/);
  assert.match(
    textOf("-h"),
    /\n\nTry "mailer --help --verbose" for all options\.\n\nCopyright .*\n$/,
  );
});

test("verbose help has every option, our additions under a heading of their own", () => {
  const text = textOf("--help", "--verbose");
  for (const spec of options) assert.match(text, new RegExp(`--${spec.name}[=[ \n]`), spec.name);
  const [before = "", after = ""] = text.split("\nAdditions to E-MailRelay's options:\n");
  assert.match(after, /--check-config/);
  assert.match(after, /--bare-newlines/);
  assert.doesNotMatch(before, /--max-hops/);
  assert.match(text, /--port=<port> .*\n.*\(default: 25\)/);
});

test("short help is shorter, and no line of help is longer than a hundred columns", () => {
  assert.ok(textOf("-h").length < textOf("-hv").length / 3);
  for (const line of textOf("-hv").split("\n")) assert.ok(line.length <= 100, line);
});

test("version has the banner, and what is built in when asked for", () => {
  assert.match(textOf("--version"), /^relayd V1\.2\.3\n\nCopyright [^\n]+\n\nTLS by /);
  assert.match(
    textOf("-Vv"),
    /\n\nMulti-threading: disabled\nUnix domain sockets: enabled\nPOP server: enabled\nAdmin server: enabled\nTLS library: OpenSSL [\d.]+.*\n\n/,
  );
});

test("docs/options.md and docs/relayd.1 are what the table makes", () => {
  const file = (name: string) => readFileSync(join(root, "docs", name), "utf8");
  const remedy = "run: npm run build && node scripts/make-option-docs.mjs";
  assert.equal(file("options.md"), renderMarkdown(OPTION_SECTIONS), remedy);
  assert.equal(file("relayd.1"), renderManual(OPTION_SECTIONS), remedy);
});

test("groff has nothing to say about the manual page", (context) => {
  const page = join(root, "docs/relayd.1");
  const ran = spawnSync("groff", ["-ww", "-man", "-Tutf8", "-z", page], { encoding: "utf8" });
  if (ran.error !== undefined) return context.skip("groff is not installed");
  assert.deepEqual([ran.status, ran.stderr], [0, ""]);
});
