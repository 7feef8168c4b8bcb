import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openTrialSmarthost } from "../../src/trial/smarthost.ts";

interface Trial extends AsyncDisposable {
  readonly directory: string;
  readonly port: number;
  readonly lines: string[];
}

async function openTrial(keep = 5): Promise<Trial> {
  const parent = await mkdtemp(join(tmpdir(), "relayd-trial-"));
  const directory = join(parent, "trial");
  const lines: string[] = [];
  const smarthost = await openTrialSmarthost({
    directory,
    keep,
    print: (line) => lines.push(line),
  });
  return {
    directory,
    port: smarthost.port,
    lines,
    [Symbol.asyncDispose]: async () => {
      await smarthost.close();
      await rm(parent, { recursive: true, force: true });
    },
  };
}

/** A client that sends what it is told and waits for one whole reply each time. */
class RawClient {
  readonly #socket: Socket;
  #text = "";

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1" });
    this.#socket.setEncoding("latin1");
    this.#socket.setTimeout(20_000, () => this.#socket.destroy(new Error("No reply")));
    this.#socket.on("data", (text: string) => {
      this.#text += text;
    });
    this.#socket.on("error", () => undefined);
  }

  async reply(): Promise<string> {
    for (;;) {
      const whole = /^(?:\d{3}-.*\r\n)*\d{3} .*\r\n/.exec(this.#text)?.[0];
      if (whole !== undefined) {
        this.#text = this.#text.slice(whole.length);
        return whole;
      }
      await this.#more();
    }
  }

  async say(line: string): Promise<string> {
    this.#socket.write(`${line}\r\n`, "latin1");
    return await this.reply();
  }

  async send(content: string): Promise<string> {
    const transaction = ["MAIL FROM:<a@example.test>", "RCPT TO:<b@example.test>"];
    for (const line of transaction) assert.match(await this.say(line), /^250 /);
    assert.match(await this.say("DATA"), /^354 /);
    this.#socket.write(content, "latin1");
    return await this.say(".");
  }

  vanish(last: string): void {
    this.#socket.write(last, () => this.#socket.resetAndDestroy());
  }

  async quit(): Promise<void> {
    this.#socket.end("QUIT\r\n");
    if (!this.#socket.closed) await new Promise((resolve) => this.#socket.once("close", resolve));
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const closed = (): void => reject(new Error(`Connection closed after: ${this.#text}`));
      this.#socket.once("close", closed);
      this.#socket.once("data", () => {
        this.#socket.off("close", closed);
        resolve();
      });
    });
  }
}

async function greeted(port: number): Promise<RawClient> {
  const client = new RawClient(port);
  assert.match(await client.reply(), /^220 /);
  assert.match(await client.say("EHLO test"), /^250/);
  return client;
}

async function keptFiles(trial: Trial): Promise<string[]> {
  return (await readdir(trial.directory)).sort();
}

test("openTrialSmarthost() keeps the content and prints one line with sender, recipients, subject and place", async () => {
  await using trial = await openTrial();
  const client = await greeted(trial.port);
  const subject = "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=";
  assert.match(await client.send(`Subject: ${subject}\r\n\r\nhello\r\n`), /^250 /);
  await client.quit();
  const [name = "", ...others] = await keptFiles(trial);
  assert.deepEqual(others, []);
  const content = await readFile(join(trial.directory, name), "utf8");
  assert.equal(content, `Subject: ${subject}\r\n\r\nhello\r\n`);
  assert.equal(trial.lines.length, 1);
  assert.match(
    trial.lines[0] ?? "",
    /^\d{4}-\d\d-\d\dT[\d:.]+Z <a@example\.test> -> <b@example\.test>: "Grüße", kept in .*\.eml$/,
  );
  assert.ok(trial.lines[0]?.endsWith(join(trial.directory, name)));
});

test("openTrialSmarthost() offers neither STARTTLS nor AUTH and refuses both", async () => {
  await using trial = await openTrial();
  const client = new RawClient(trial.port);
  assert.match(await client.reply(), /^220 /);
  assert.doesNotMatch(await client.say("EHLO test"), /STARTTLS|AUTH/);
  assert.match(await client.say("STARTTLS"), /^5/);
  assert.match(await client.say("AUTH PLAIN AHVzZXIAcGFzcw=="), /^5/);
  await client.quit();
});

test("openTrialSmarthost() does not answer the joke commands of its library", async () => {
  await using trial = await openTrial();
  const client = await greeted(trial.port);
  assert.match(await client.say("WIZ"), /^5/);
  assert.match(await client.say("SHELL"), /^5/);
  assert.match(await client.say("KILL all"), /^5/);
  await client.quit();
});

test("openTrialSmarthost() keeps only the last messages", async () => {
  await using trial = await openTrial(2);
  const client = await greeted(trial.port);
  assert.match(await client.send("Subject: one\r\n\r\n1\r\n"), /^250 /);
  assert.match(await client.send("Subject: two\r\n\r\n2\r\n"), /^250 /);
  assert.match(await client.send("Subject: three\r\n\r\n3\r\n"), /^250 /);
  await client.quit();
  const names = await keptFiles(trial);
  const contents = await Promise.all(
    names.map(async (name) => await readFile(join(trial.directory, name), "utf8")),
  );
  assert.deepEqual(contents, ["Subject: two\r\n\r\n2\r\n", "Subject: three\r\n\r\n3\r\n"]);
  assert.equal(trial.lines.length, 3);
});

test("openTrialSmarthost() accepts a message that is no mail at all", async () => {
  await using trial = await openTrial();
  const client = await greeted(trial.port);
  assert.match(await client.send("\x00\xff\x1b[31m: \r\n=?x?B?%%?=\r\n"), /^250 /);
  await client.quit();
  assert.equal((await keptFiles(trial)).length, 1);
  assert.match(trial.lines[0] ?? "", /: no subject, kept in /);
});

test("openTrialSmarthost() prints no control characters out of a subject", async () => {
  await using trial = await openTrial();
  const client = await greeted(trial.port);
  const subject = Buffer.from("a\n\x1b[2Jb\u202ec\u2028d").toString("base64");
  assert.match(await client.send(`Subject: =?utf-8?B?${subject}?=\r\n\r\n\r\n`), /^250 /);
  await client.quit();
  assert.doesNotMatch(trial.lines[0] ?? "", /[\p{Cc}\p{Cf}\p{Zl}]/u);
  assert.match(trial.lines[0] ?? "", /"a \[2Jb c d"/);
});

test("openTrialSmarthost() answers 451 when a message cannot be kept, and goes on", async () => {
  await using trial = await openTrial();
  const client = await greeted(trial.port);
  await rm(trial.directory, { recursive: true });
  const body = "x".repeat(70).concat("\r\n").repeat(20_000);
  assert.match(await client.send(`Subject: lost\r\n\r\n${body}`), /^451 /);
  assert.match(await client.say("NOOP"), /^250 /);
  await client.quit();
  assert.match(trial.lines[0] ?? "", /^trial: cannot keep a message: ENOENT/);
});

test("openTrialSmarthost() leaves nothing of a message whose sender vanished", async () => {
  const directory = await mkdtemp(join(tmpdir(), "relayd-trial-"));
  const said = new EventEmitter();
  const told = once(said, "line");
  const smarthost = await openTrialSmarthost({
    directory,
    keep: 5,
    print: (line) => said.emit("line", line),
  });
  const client = await greeted(smarthost.port);
  assert.match(await client.say("MAIL FROM:<a@example.test>"), /^250 /);
  assert.match(await client.say("RCPT TO:<b@example.test>"), /^250 /);
  assert.match(await client.say("DATA"), /^354 /);
  client.vanish("Subject: half\r\n\r\nhalf a li");
  assert.match(String(await told), /^trial: cannot keep a message/);
  assert.deepEqual(await readdir(directory), []);
  await smarthost.close();
  await rm(directory, { recursive: true });
});

test("close() frees the port", async () => {
  const trial = await openTrial();
  const client = await greeted(trial.port);
  await client.quit();
  await trial[Symbol.asyncDispose]();
  const late = new RawClient(trial.port);
  await assert.rejects(late.reply(), /Connection closed/);
});
