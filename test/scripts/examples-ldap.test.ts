/** The LDAP example, with a directory that answers as told, and with a real one. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort } from "../support/catcher.ts";
import { canConnect, temporary, until } from "../support/relayd.ts";
import { editExample, runReduced } from "./filter-stage.ts";
import { needs } from "./temp-tree.ts";

const REST = ["me@example.test", "127.0.0.1:1", "relay.test", "none", ""];

/** An ldapsearch that writes down its arguments, one a line, and does what `does` says. */
async function fake(does: string) {
  const directory = temporary();
  const script = await editExample("verifier-ldap.sh", { seconds: "3" }, directory);
  const program = join(directory, "ldapsearch");
  await writeFile(program, `#!/bin/sh\nprintf '%s\\n' "$@" >'${directory}/asked'\n${does}\n`);
  await chmod(program, 0o755);
  return async (recipient: string) => {
    const done = await runReduced([script, recipient, ...REST], `${directory}:/usr/bin:/bin`);
    const asked = await readFile(join(directory, "asked"), "utf8").catch(() => "");
    return { ...done, asked: asked.split("\n") };
  };
}

test("verifier-ldap.sh accepts who is found, refuses who is not", async () => {
  const known = await fake("echo 'dn: uid=bob,dc=example,dc=com'; echo");
  const { status, stdout, stderr, asked } = await known("bob@example.com");
  assert.deepEqual([status, stdout, stderr], [1, "\nbob@example.com\n", ""]);
  assert.ok(asked.includes("(|(mail=bob@example.com)(mailAlternateAddress=bob@example.com))"));
  assert.ok(asked.includes("nettimeout=3"));
  const unknown = await (await fake("exit 0"))("eve@example.com");
  assert.deepEqual(
    [unknown.status, unknown.stdout],
    [2, "no such recipient\nnot in the directory\n"],
  );
  const many = await (await fake("echo 'dn: uid=bob'; exit 4"))("bob@example.com");
  assert.equal(many.status, 1);
});

test("verifier-ldap.sh asks the client to try again when the directory does not answer", async () => {
  const down = await (await fake("exit 255"))("bob@example.com");
  assert.deepEqual(
    [down.status, down.stdout],
    [3, "cannot verify the recipient now\nldapsearch: exit code 255\n"],
  );
  const directory = temporary();
  const script = await editExample("verifier-ldap.sh", {}, directory);
  assert.equal((await runReduced([script, "bob@example.com", ...REST], "/bin:/none")).status, 3);
});

test("verifier-ldap.sh lets no address mean anything to the directory or the shell", async () => {
  const ask = await fake("exit 0");
  const escaped = async (address: string) => {
    const { asked } = await ask(address);
    return asked.find((line) => line.startsWith("("));
  };
  const filter = (text: string) => `(|(mail=${text})(mailAlternateAddress=${text}))`;
  assert.equal(await escaped("*"), filter("\\2a"));
  assert.equal(
    await escaped("a)(uid=*))(|(x=\\2a"),
    filter("a\\29\\28uid=\\2a\\29\\29\\28|\\28x=\\5c2a"),
  );
  assert.equal(await escaped("$(id)`id`;'\"&@b"), filter("$\\28id\\29`id`;'\"&@b"));
  assert.equal(await escaped("-n"), filter("-n"));
  assert.equal(await escaped("j\u00fcrgen@b"), filter("j\u00fcrgen@b"));
  assert.equal((await ask("a\nb@c")).status, 2);
  assert.equal((await ask("")).status, 2);
});

test("verifier-ldap.sh asks slapd", { skip: needs("slapd", "slapadd", "ldapsearch") }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "relayd-ldap-"));
  after(async () => await rm(directory, { recursive: true, force: true }));
  const port = await freePort();
  const server = await directoryServer(directory, port);
  const script = await editExample(
    "verifier-ldap.sh",
    { server: `ldap://127.0.0.1:${port}`, attributes: "mail" },
    directory,
  );
  const status = async (address: string) => (await runReduced([script, address, ...REST])).status;
  assert.equal(await status("bob@example.com"), 1);
  assert.equal(await status("BOB@example.com"), 1);
  assert.equal(await status("s(t)a*r\\@example.com"), 1);
  assert.equal(await status("eve@example.com"), 2);
  assert.equal(await status("*"), 2);
  assert.equal(await status("b*"), 2);
  assert.equal(await status("x)(objectClass=*"), 2);
  const ended = once(server, "exit");
  server.kill("SIGTERM");
  await ended;
  assert.equal(await status("bob@example.com"), 3);
});

/** slapd in the foreground with two people in it; resolves when it answers. */
async function directoryServer(directory: string, port: number) {
  const config = join(directory, "slapd.conf");
  await mkdir(join(directory, "data"));
  const schemas = ["core", "cosine", "inetorgperson"].map(
    (name) => `include /etc/ldap/schema/${name}.schema`,
  );
  const lines = [
    ...schemas,
    `pidfile ${directory}/pid`,
    "modulepath /usr/lib/ldap",
    "moduleload back_mdb",
    ...["database mdb", "maxsize 10485760", 'suffix "dc=example,dc=com"'],
    `directory ${directory}/data`,
  ];
  await writeFile(config, `${lines.join("\n")}\n`);
  const person = (uid: string, mail: string) =>
    `dn: uid=${uid},dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: ${uid}\ncn: ${uid}\nsn: ${uid}\n` +
    `mail: ${mail}\n`;
  const entries = [
    "dn: dc=example,dc=com\nobjectClass: domain\ndc: example\n",
    person("bob", "bob@example.com"),
    person("star", "s(t)a*r\\@example.com"),
  ];
  const ldif = join(directory, "people.ldif");
  await writeFile(ldif, entries.join("\n"));
  const added = spawn("slapadd", ["-f", config, "-l", ldif], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  added.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const [code] = (await once(added, "close")) as [number | null];
  assert.equal(code, 0, complaint);
  const server = spawn("slapd", ["-d", "0", "-f", config, "-h", `ldap://127.0.0.1:${port}`], {
    stdio: "ignore",
  });
  after(() => server.kill("SIGKILL"));
  await until(async () => await canConnect(port));
  return server;
}
