/** Every command that the documents show in a block marked `sh` is run, in a directory of its own. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { bin, temporary, until } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

const root = join(import.meta.dirname, "../../..");
const documents = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

interface Block {
  readonly where: string;
  readonly script: string;
}

function blocks(document: string): Block[] {
  const text = readFileSync(join(root, document), "utf8");
  return [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) => ({
    where: `${document}:${text.slice(0, match.index).split("\n").length}`,
    script: match[1] ?? "",
  }));
}

/** A directory with the programs on its PATH, a spool with a failed message, and a certificate. */
async function stage() {
  const directory = temporary();
  const path = join(directory, "bin");
  const spool = join(directory, "spool");
  mkdirSync(path);
  mkdirSync(spool);
  for (const name of ["relayd", "relayd-submit", "relayd-passwd", "relayd-notice"]) {
    const wrapper = join(path, name);
    writeFileSync(wrapper, `#!/bin/sh\nexec "${process.execPath}" "${bin(name)}" "$@"\n`);
    chmodSync(wrapper, 0o755);
  }
  putMessage(spool, "emailrelay.1.1.1");
  const bad = readFileSync(join(spool, "emailrelay.1.1.1.envelope"), "latin1");
  writeFileSync(join(spool, "emailrelay.1.1.2.envelope.bad"), `${bad}X-MailRelay-Reason: full\r\n`);
  spawnSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=relay.test"],
      ...["-keyout", "relay.pem", "-out", "certificate"],
    ],
    { cwd: directory },
  );
  const smarthost = await openCatcher();
  return { directory, path, spool, smarthost };
}

async function shell(script: string, directory: string, path: string) {
  const env = { ...process.env, PATH: `${path}:${process.env.PATH ?? ""}` };
  const child = spawn("sh", ["-eu", "-c", script], { cwd: directory, env });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data: Buffer) => {
      output += data.toString("latin1");
    });
  }
  const watchdog = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(watchdog);
  return { code, output };
}

/** The first `npm start` that a reader makes, without the installing: relayd --trial. */
async function startTrial(directory: string) {
  const port = await freePort();
  mkdirSync(join(directory, "trial"));
  const child = spawn(process.execPath, [bin("relayd"), `--trial=${port}`], {
    cwd: join(directory, "trial"),
    stdio: ["ignore", "pipe", "pipe"],
  });
  after(() => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data: Buffer) => {
      output += data.toString("latin1");
    });
  }
  await until(
    () => output.includes(`:${port}`),
    () => `no trial relay: ${output}`,
  );
  return { port, child, output: () => output };
}

test("the commands in the documents do what they are shown for", async (context) => {
  const { directory, path, spool, smarthost } = await stage();
  const certificate = readFileSync(join(directory, "certificate"), "latin1");
  writeFileSync(join(directory, "relay.pem"), certificate, { flag: "a" });
  chmodSync(join(directory, "relay.pem"), 0o600);
  const trial = await startTrial(directory);
  const here = (text: string) =>
    text
      .replaceAll("127.0.0.1:10025", `127.0.0.1:${trial.port}`)
      .replaceAll("smarthost.example.com:smtp ", `${smarthost.address} `)
      .replaceAll("/var/spool/relayd", spool)
      .replaceAll("scripts/", `${root}/scripts/`);
  const found = documents.flatMap(blocks);
  assert.ok(found.length >= 7, "the documents show commands");
  for (const { where, script } of found) {
    await context.test(where, async () => {
      const { code, output } = await shell(here(script), directory, path);
      assert.equal(code, 0, `${script}\n${output}`);
    });
  }
  await context.test("the mail of the README arrives where the trial relay says", async () => {
    await until(
      () => /trial\/\S+\.eml/.test(trial.output()) && trial.output().includes("hello"),
      () => trial.output(),
    );
    const [file = ""] = /\S*trial\/\S+\.eml/.exec(trial.output()) ?? [];
    const kept = existsSync(file) ? file : join(directory, "trial", file);
    assert.match(readFileSync(kept, "latin1"), /\r\nSubject: hello\r\n\r\nIt works\.\r\n$/);
  });
  await context.test("the trial relay ends at Ctrl-C", async () => {
    const ended = once(trial.child, "exit");
    trial.child.kill("SIGINT");
    assert.equal((await ended)[0], 0);
  });
  assert.equal(smarthost.messages.length, 1);
});
