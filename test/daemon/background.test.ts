/** What the process in the background has from the one in front. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort } from "../support/catcher.ts";
import { bin, dialogue, temporary, temporarySpool, until } from "../support/relayd.ts";

async function configured(port: number, listen: string) {
  const folder = temporary();
  const [file, pidFile] = [join(folder, "relayd.conf"), join(folder, "pid")];
  const lines = [
    ...["close-stderr", "user root", `interface ${listen}`, `port ${port}`],
    ...["domain relay.test", `spool-dir ${temporarySpool()}`, `pid-file ${pidFile}`],
  ];
  // Also when the test fails: nobody else would end what runs in the background.
  after(() => {
    if (existsSync(pidFile)) process.kill(Number(readFileSync(pidFile, "latin1")), "SIGTERM");
  });
  writeFileSync(file, `${lines.join("\n")}\n`);
  return {
    file,
    /** A shell does it; "$@" is relayd and "$file" the file of options. */
    shell(script: string) {
      const relayd = [process.execPath, bin("relayd")];
      const env = { ...process.env, file };
      const ran = spawnSync("sh", ["-c", script, "sh", ...relayd], { env, encoding: "latin1" });
      assert.deepEqual([ran.status, ran.stderr], [0, ""]);
    },
    async greets() {
      assert.match((await dialogue(port, ["QUIT"])).join(), /^220 relay\.test .*,221 OK$/);
      process.kill(Number(readFileSync(pidFile, "latin1")), "SIGTERM");
      await until(() => !existsSync(pidFile));
    },
  };
}

test("a configuration that comes through standard input is read once, for both processes", async () => {
  const { shell, greets } = await configured(await freePort(), "127.0.0.1");
  shell('cat "$file" | "$@" /dev/stdin');
  await greets();
});

test("a configuration on a descriptor that is closed in the background is used there", async () => {
  const { shell, greets } = await configured(await freePort(), "127.0.0.1");
  shell('"$@" /dev/fd/9 9<"$file"');
  await greets();
});

test("a configuration of any size reaches the background", async () => {
  const { shell, greets } = await configured(await freePort(), "127.0.0.1");
  shell('{ yes "# a comment" | head -c 1000000; echo; cat "$file"; } | "$@" /dev/stdin');
  await greets();
});

/** A socket to listen on, like one that inetd or systemd hands on. */
async function listening() {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const handle: unknown = Reflect.get(server, "_handle");
  assert.ok(typeof handle === "object" && handle !== null);
  const fd: unknown = Reflect.get(handle, "fd");
  assert.ok(typeof fd === "number");
  return { port: address.port, fd, [Symbol.dispose]: () => void server.close() };
}

for (const fd of [0, 1, 3]) {
  test(`a socket that is inherited as descriptor ${fd} is listened on in the background`, async () => {
    using socket = await listening();
    const { file, greets } = await configured(socket.port, `fd#${fd}`);
    const stdio: ("ignore" | number)[] = ["ignore", "ignore", "ignore"];
    stdio[fd] = socket.fd;
    const { status } = spawnSync(process.execPath, [bin("relayd"), file], { stdio });
    assert.equal(status, 0);
    socket[Symbol.dispose]();
    await greets();
  });
}
