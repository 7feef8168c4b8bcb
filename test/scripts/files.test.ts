import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { needs, project, putFailed, type TempTree, tempTree } from "./temp-tree.ts";

const run = promisify(execFile);

async function shellScripts(): Promise<string[]> {
  const scripts = (await readdir(join(project, "scripts")))
    .filter((name) => name.endsWith(".sh"))
    .map((name) => join("scripts", name));
  return [...scripts, "scripts/ip-up.local", "scripts/ppp-ip-up.d-relayd", "init.d/relayd"];
}

async function text(file: string): Promise<string> {
  return await readFile(join(project, file), "utf8");
}

test("shellcheck finds nothing in the scripts", { skip: needs("shellcheck") }, async () => {
  const posix = ["-s", "sh", ...(await shellScripts()), "scripts/default-relayd"];
  await run("shellcheck", posix, { cwd: project });
  await run("shellcheck", ["-s", "bash", ".ci/run"], { cwd: project });
});

test("what is run is executable, what is read is not", async () => {
  for (const file of await shellScripts()) {
    const { mode } = await stat(join(project, file));
    assert.equal((mode & 0o111) !== 0, file !== "scripts/relayd-profile.sh", file);
  }
});

test("init.d/relayd has a full LSB header", async () => {
  const header = /### BEGIN INIT INFO\n([\s\S]*?)### END INIT INFO/.exec(
    await text("init.d/relayd"),
  )?.[1];
  const fields = [...(header ?? "").matchAll(/^# ([A-Z][A-Za-z-]+): +\S/gm)].map(
    ([, name]) => name,
  );
  const wanted = ["Provides", "Required-Start", "Required-Stop", "Should-Start", "Should-Stop"];
  wanted.push("Default-Start", "Default-Stop", "Short-Description", "Description");
  assert.deepEqual(
    wanted.filter((name) => !fields.includes(name)),
    [],
  );
});

test("systemd accepts relayd.service", { skip: needs("systemd-analyze") }, async () => {
  await using tree = await tempTree();
  const unit = (await text("scripts/relayd.service")).replace("/usr/local/bin/relayd", "/bin/true");
  const path = join(tree.root, "relayd.service");
  await writeFile(path, unit);
  const { stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", path]);
  assert.equal(stdout + stderr, "");
  assert.doesNotMatch(unit, /^MemoryDenyWriteExecute/m);
});

test("logrotate rotates by relayd.logrotate and tells the daemon", {
  skip: needs("logrotate"),
}, async () => {
  await using tree = await tempTree();
  const log = join(tree.root, "var/log/relayd.log");
  await writeFile(log, "line\n");
  await mkdir(join(tree.root, "run/relayd"), { recursive: true });
  const told = join(tree.root, "told");
  const pidFile = join(tree.root, "run/relayd/relayd.pid");
  // A process that waits to be told, and says when it is ready for it.
  const waiting = execFile("sh", [
    "-c",
    `trap 'echo told >"$1"; exit' HUP; echo $$ >"$2"; while :; do sleep 0.1; done`,
    "sh",
    told,
    pidFile,
  ]);
  try {
    await run("sh", ["-c", 'while [ ! -s "$1" ]; do sleep 0.1; done', "sh", pidFile], {
      timeout: 20_000,
    });
    const config = join(tree.root, "relayd.logrotate");
    const rules = (await text("scripts/relayd.logrotate"))
      .replaceAll("/var/log", join(tree.root, "var/log"))
      .replaceAll("/run/relayd", join(tree.root, "run/relayd"));
    await writeFile(config, rules);
    await chmod(config, 0o644);
    await run("logrotate", ["--force", "--state", join(tree.root, "state"), config]);
    await new Promise((resolve) => waiting.once("exit", resolve));
    assert.equal(await readFile(told, "utf8"), "told\n");
    assert.ok((await readdir(join(tree.root, "var/log"))).includes("relayd.log.1"));
  } finally {
    waiting.kill("SIGKILL");
  }
});

test("every job of relayd.cron.d runs, the ones that are off too", {
  skip: needs("dash"),
}, async () => {
  await using tree = await tempTree();
  const jobs = [
    ...(await text("scripts/relayd.cron.d")).matchAll(/^#?\d+ [\d*]+ \* \* \* root (.+)$/gm),
  ].map(([, command = ""]) => command);
  assert.equal(jobs.length, 3);
  const log = join(tree.root, "calls");
  for (const name of ["relayd-resubmit.sh", "relayd-forward.sh", "relayd-notify.sh"]) {
    await tree.program(name, `#!/bin/sh\necho ${name} >>'${log}'\n`);
  }
  for (const job of jobs) {
    // A "%" would end the command: cron reads it as a line end.
    assert.doesNotMatch(job, /%/);
    await run("dash", ["-c", job], { env: { RELAYD_LIB: join(tree.root, "bin") } });
    await run("dash", ["-c", job], { env: { RELAYD_LIB: "/none" } });
  }
  assert.equal(
    await readFile(log, "utf8"),
    "relayd-resubmit.sh\nrelayd-forward.sh\nrelayd-notify.sh\n",
  );
});

async function loginShell(tree: TempTree, shell: readonly string[]): Promise<string> {
  const profile = join(project, "scripts/relayd-profile.sh");
  const [program = "sh", ...options] = shell;
  const script = '. "$0"; set | grep -E "^(spool|bad|count|more)=" || true';
  const { stdout } = await run(program, [...options, "-c", script, profile], {
    env: { PATH: "/usr/bin:/bin", RELAYD_ROOT: tree.root },
  });
  return stdout;
}

test("relayd-profile.sh tells an interactive shell how much could not be delivered", {
  skip: needs("dash", "bash"),
}, async () => {
  await using tree = await tempTree();
  assert.equal(await loginShell(tree, ["dash", "-i"]), "");
  await putFailed(tree.spool, "a b");
  const one = `relayd: 1 message could not be delivered: see ${tree.spool}\n`;
  assert.equal(await loginShell(tree, ["dash", "-i"]), one);
  assert.equal(await loginShell(tree, ["bash", "-i"]), one);
  await putFailed(tree.spool, "c");
  const two = `relayd: 2 messages could not be delivered: see ${tree.spool}\n`;
  assert.equal(await loginShell(tree, ["dash", "-i"]), two);
  assert.equal(await loginShell(tree, ["dash", "-eufi"]), two);
});

test("relayd-profile.sh says nothing to a shell where nobody sits", {
  skip: needs("dash"),
}, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a");
  assert.equal(await loginShell(tree, ["dash"]), "");
});

test("relayd accepts relayd.conf as it is shipped", async () => {
  await using tree = await tempTree();
  const path = join(tree.root, "etc/relayd.conf");
  const shipped = await text("scripts/relayd.conf");
  await writeFile(path, `${shipped}spool-dir ${tree.spool}\n`);
  await run(join(tree.root, "bin/relayd"), ["--check-config", path]);
});

test("relayd accepts relayd.conf with everything in it turned on", {
  skip: needs("openssl"),
}, async () => {
  await using tree = await tempTree();
  const key = join(tree.root, "relayd.pem");
  const secrets = join(tree.root, "relayd.auth");
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
  await run("openssl", [...request, "-keyout", key, "-out", `${key}.crt`]);
  await writeFile(key, (await readFile(key, "utf8")) + (await readFile(`${key}.crt`, "utf8")));
  await chmod(key, 0o600);
  await writeFile(secrets, "server plain me secret\nclient plain me secret\n", { mode: 0o600 });
  // An option that is off is a "#" and its name with nothing between; a remark has a blank there.
  const everything = (await text("scripts/relayd.conf"))
    .replaceAll(/^#(?=[a-z])/gm, "")
    .replaceAll("/etc/ssl/private/relayd.pem", key)
    .replaceAll("/etc/relayd.auth", secrets)
    .replaceAll("/var/spool/relayd", tree.spool)
    .replaceAll(/^(# .*)$/gm, "")
    .replaceAll("smtp.example.com", "127.0.0.1");
  const path = join(tree.root, "etc/relayd.conf");
  await writeFile(path, everything);
  await run(join(tree.root, "bin/relayd"), ["--check-config", path]);
});
