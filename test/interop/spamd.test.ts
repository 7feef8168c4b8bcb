import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { OK } from "../../src/filters/item.ts";
import { spamFilter } from "../../src/filters/spamd.ts";
import { freePort } from "../support/catcher.ts";
import { filterMessage, termsWithin } from "../support/filter-message.ts";
import { present } from "../support/peer.ts";
import { sendMail, TestRelay } from "../support/relayd.ts";

const never = new AbortController().signal;
const GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

const HEADER = [
  "Received: from client.test (client.test [192.0.2.1]) by relay.test; Sat, 21 Nov 2026 06:00:00 +0000",
  "From: Alice <alice@example.com>",
  "To: Bob <bob@example.net>",
  "Subject: Minutes of the meeting",
  "Date: Sat, 21 Nov 2026 06:00:00 +0000",
  "Message-ID: <1@example.com>",
];
const BODY = ["Dear Bob,", "", "..here are the minutes.", "", "Alice"];
const mail = (...body: string[]) => [...HEADER, "", ...body, ""].join("\r\n");

/** spamd on loopback and on a unix socket, with nothing but its local rules. */
class Spamd {
  readonly #directory = mkdtempSync(join(tmpdir(), "relayd-spamd-"));
  readonly path = join(this.#directory, "spamd.sock");
  address = "";
  #process: ChildProcess | null = null;

  async start(): Promise<void> {
    const port = await freePort();
    this.address = `127.0.0.1:${port}`;
    const options = ["--local", "--nouser-config", "--syslog=stderr", `--cf=use_bayes 0`];
    const children = [
      "--min-children=1",
      "--max-children=1",
      `--helper-home-dir=${this.#directory}`,
    ];
    const listen = [`--listen=${this.address}`, `--listen=${this.path}`];
    const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const child = spawn("spamd", [...options, ...children, ...listen], {
      stdio: "ignore",
      env: { PATH, HOME: this.#directory, LC_ALL: "C.UTF-8" },
    });
    this.#process = child;
    await once(child, "spawn");
    for (let tries = 0; !(await answers(port)); tries += 1) {
      if (tries > 600 || child.exitCode !== null) throw new Error("spamd does not start");
      await delay(100);
    }
  }

  /** Asks it to end: it ends its own children first. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child !== null && child.exitCode === null) {
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

void suite("spamd of SpamAssassin", { skip: present("spamd") }, () => {
  const spamd = new Spamd();
  before(async () => await spamd.start());
  after(async () => await spamd.stop());

  test("spam: refuses GTUBE and leaves the content as it is", async () => {
    await using filter = spamFilter(spamd.address, false, termsWithin(60_000));
    using message = filterMessage(mail(GTUBE));
    const { verdict, response, reason } = await filter.run(message.job, never);
    assert.deepEqual([verdict, response], ["fail", "rejected"]);
    assert.match(reason, /^spam: True ; 1\d\d\d\.\d \/ 5\.0$/);
    assert.equal(message.content(), mail(GTUBE));
    assert.deepEqual(message.names(), ["emailrelay.7.1.1.content"]);
  });

  test("spam: lets other mail pass as it is, over a unix socket too", async () => {
    await using filter = spamFilter(spamd.path, false, termsWithin(60_000));
    using message = filterMessage(mail(...BODY));
    assert.deepEqual(await filter.run(message.job, never), OK);
    assert.equal(message.content(), mail(...BODY));
  });

  test("relayd --filter=spam: refuses GTUBE, and spam-edit: stores spamd's edition", async () => {
    const judge = await TestRelay.start([`--filter=spam:${spamd.address}`]);
    assert.equal(await sendMail(judge.port, { content: mail(GTUBE) }), "452 rejected");
    assert.deepEqual(judge.files(), []);
    assert.equal(await sendMail(judge.port, { content: mail("Hello") }), "250 message processed");
    const editor = await TestRelay.start([`--filter=spam-edit:${spamd.path}`]);
    assert.equal(await sendMail(editor.port, { content: mail(GTUBE) }), "250 message processed");
    const [content = ""] = editor.files();
    assert.match(readFileSync(join(editor.spool, content), "latin1"), /^X-Spam-Flag: YES\r$/m);
  });

  test("spam-edit: adds spamd's header lines to mail that is none", async () => {
    await using filter = spamFilter(spamd.address, true, termsWithin(60_000));
    using message = filterMessage(mail(...BODY));
    assert.deepEqual(await filter.run(message.job, never), OK);
    const [header = "", ...body] = message.content().split("\r\n\r\n");
    assert.match(header, /^X-Spam-Status: No, /m);
    for (const line of HEADER) assert.ok(header.includes(line), line);
    assert.equal(body.join("\r\n\r\n"), [...BODY, ""].join("\r\n"));
    assertCrlf(message.content());
  });

  test("spam-edit: marks GTUBE and lets it pass, over a unix socket too", async () => {
    await using filter = spamFilter(spamd.path, true, termsWithin(60_000));
    using message = filterMessage(mail(GTUBE));
    assert.deepEqual(await filter.run(message.job, never), OK);
    assert.match(message.content(), /^X-Spam-Flag: YES\r$/m);
    assert.ok(message.content().includes(GTUBE));
    assertCrlf(message.content());
    assert.equal(message.mode(), 0o640);
    assert.deepEqual(message.names(), ["emailrelay.7.1.1.content"]);
  });

  test("spam-edit: stores CR LF when spamd was given other line ends", async () => {
    await using filter = spamFilter(spamd.address, true, termsWithin(60_000));
    using message = filterMessage(mail(GTUBE, "x").replaceAll("\r\n", "\n"));
    assert.deepEqual(await filter.run(message.job, never), OK);
    assert.match(message.content(), /^X-Spam-Flag: YES\r$/m);
    assertCrlf(message.content());
  });

  test("spam-edit: keeps every byte of a message with 8-bit text and a megabyte of lines", async () => {
    const lines = Array.from({ length: 15_000 }, (_, at) => `${at} gr\xfc\xdfe ${"x".repeat(60)}`);
    await using filter = spamFilter(spamd.address, true, termsWithin(60_000));
    using message = filterMessage(mail(...lines));
    assert.deepEqual(await filter.run(message.job, never), OK);
    const content = message.content();
    assert.ok(content.slice(content.indexOf("\r\n\r\n") + 4) === [...lines, ""].join("\r\n"));
  });
});

function assertCrlf(content: string): void {
  assert.ok(content.endsWith("\r\n"));
  assert.equal(/\r(?!\n)|(?<!\r)\n/.exec(content), null);
}
