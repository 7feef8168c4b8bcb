import assert from "node:assert/strict";
import { test } from "node:test";
import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import type { RecipientReport, Report } from "../../src/core/report.ts";
import type { Store } from "../../src/core/store.ts";
import { openReporter } from "../../src/instance/reports.ts";
import { systemClock } from "../../src/io/clock.ts";
import { contentOf } from "../support/client-under-test.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { noteKeeper } from "../support/programs.ts";
import { tempSpool } from "../support/temp-spool.ts";

const about = (recipient: string): RecipientReport => ({
  recipient,
  reply: { code: 550, text: "no" },
  why: "no",
  status: "5.0.0",
  smarthost: "mail:25",
  lastAttempt: 1_800_000_060,
});

interface Case {
  readonly action?: Report["action"];
  readonly envelope?: Partial<Envelope>;
  readonly recipients?: readonly string[];
  readonly content?: string | null;
}

function reportOf({ action = "failed", envelope, recipients = ["b@x"], content }: Case): Report {
  return {
    action,
    envelope: { ...emptyEnvelope, from: "a@y", ...envelope },
    content: async () => (content === null ? null : contentOf(content ?? "Subject: x\r\n\r\n")),
    recipients: recipients.map(about),
    arrived: 1_800_000_000,
    retriedUntil: null,
  };
}

function reporterOver(store: Store) {
  const runs: string[] = [];
  const { journal, notes } = noteKeeper();
  const requestRun = (reason: string) => void runs.push(reason);
  const options = { store, domain: "relay.test", clock: systemClock, journal, requestRun };
  return { reporter: openReporter(options), runs, notes };
}

/** What was queued for this case: envelope and content. */
async function reported(report: Case): Promise<{ envelope: Envelope; content: string }[]> {
  const store = new MemoryStore();
  const { reporter, runs } = reporterOver(store);
  await reporter.report(reportOf(report));
  const kept = [...store.kept.values()];
  assert.equal(runs.length, kept.length);
  return kept.map((one) => ({
    envelope: one.envelope,
    content: (one.content ?? Buffer.alloc(0)).toString("latin1"),
  }));
}

/** Final recipients of the only report; [] when there is none. */
async function told(report: Case): Promise<string[]> {
  const [only] = await reported(report);
  return [...(only?.content ?? "").matchAll(/^Final-Recipient: rfc822; (.*)\r$/gm)].map(
    ([, recipient = ""]) => recipient,
  );
}

test("report() queues mail from nobody to the sender, of which nobody is to hear", async () => {
  const [report, ...more] = await reported({});
  assert.equal(more.length, 0);
  assert.deepEqual(report?.envelope, {
    ...emptyEnvelope,
    body: "7bit",
    from: "",
    toRemote: ["a@y"],
    trailer: ["X-Relayd-Dsn-Rcpt: a@y NOTIFY=NEVER"],
  });
  assert.match(report?.content ?? "", /^Auto-Submitted: auto-replied\r$/m);
  assert.match(report?.content ?? "", /^To: a@y\r$/m);
});

test("report() tells the envelope what the content needs of a smarthost", async () => {
  const [report] = await reported({
    envelope: { from: "\u00e4@y", utf8Mailboxes: true },
    content: "Subject: \xe4\r\n\r\n",
  });
  assert.equal(report?.envelope.body, "8bit");
  assert.equal(report?.envelope.utf8Mailboxes, true);
});

test("report() answers neither nobody nor a report", async () => {
  assert.deepEqual(await reported({ envelope: { from: "" } }), []);
  assert.deepEqual(await reported({ envelope: { from: "MAILER-Daemon@z" } }), []);
  const content = 'Content-Type: multipart/report;\r\n boundary="x"\r\n\r\n';
  assert.deepEqual(await reported({ content }), []);
});

test("report() tells each sender what was asked for each recipient", async () => {
  const trailer = [
    "X-Relayd-Dsn-Rcpt: never@x NOTIFY=NEVER",
    "X-Relayd-Dsn-Rcpt: success@x NOTIFY=SUCCESS",
    "X-Relayd-Dsn-Rcpt: failure@x NOTIFY=FAILURE",
    "X-Relayd-Dsn-Rcpt: delay@x NOTIFY=SUCCESS,DELAY",
    "X-Relayd-Dsn-Rcpt: only@x ORCPT=rfc822;o@x",
    "X-Relayd-Dsn-Rcpt: damaged@x NOTIFY=NEVER,",
  ];
  const recipients = ["never", "success", "failure", "delay", "only", "damaged", "silent"].map(
    (name) => `${name}@x`,
  );
  const of = async (action: Report["action"]) =>
    await told({ action, envelope: { trailer }, recipients });
  assert.deepEqual(await of("failed"), ["failure@x", "only@x", "damaged@x", "silent@x"]);
  assert.deepEqual(await of("delayed"), ["delay@x", "only@x", "damaged@x", "silent@x"]);
  assert.deepEqual(await of("relayed"), ["success@x", "delay@x"]);
});

test("report() queues nothing when nobody wants to hear", async () => {
  const trailer = ["X-Relayd-Dsn-Rcpt: b@x NOTIFY=NEVER"];
  assert.deepEqual(await reported({ envelope: { trailer } }), []);
  assert.deepEqual(await reported({ action: "relayed" }), []);
});

test("report() says whether anybody else is to tell the sender", async () => {
  const isTold = async (report: Case) =>
    await reporterOver(new MemoryStore()).reporter.report(reportOf(report));
  assert.equal(await isTold({}), true);
  assert.equal(
    await isTold({ envelope: { trailer: ["X-Relayd-Dsn-Rcpt: b@x NOTIFY=NEVER"] } }),
    true,
  );
  assert.equal(await isTold({ envelope: { from: "" } }), false);
  const content = 'Content-Type: multipart/report;\r\n boundary="x"\r\n\r\n';
  assert.equal(await isTold({ content }), false);
});

test("report() does without content that is gone", async () => {
  const [report] = await reported({ content: null });
  assert.match(report?.content ?? "", /no longer there/);
});

test("report() throws what the store throws, and leaves nothing", async () => {
  const store = new MemoryStore();
  const { reporter, runs } = reporterOver(store);
  for (const on of ["create", "write", "commit"] as const) {
    store.trouble = { on, error: new RelayError("SPOOL_FULL", "", "full") };
    await assert.rejects(reporter.report(reportOf({})), { code: "SPOOL_FULL" });
  }
  assert.deepEqual([store.kept.size, store.drafts, runs.length], [0, 0, 0]);
});

test("report() puts into a spool what a forwarder reads as it was", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const { reporter, notes } = reporterOver(store);
  await reporter.report(reportOf({ content: "Subject: \xe4\r\n\r\n\xff\r\n" }));
  const [id] = await store.ready();
  assert.ok(id !== undefined);
  await using lease = (await store.lease(id)) ?? assert.fail("no lease");
  assert.deepEqual(lease.envelope.trailer, ["X-Relayd-Dsn-Rcpt: a@y NOTIFY=NEVER"]);
  assert.deepEqual([lease.envelope.from, lease.envelope.toRemote], ["", ["a@y"]]);
  const content = spool.read(`${id}.content`);
  assert.ok(content.includes(Buffer.from("Subject: \xe4\r\n\r\n\xff\r\n", "latin1")));
  assert.ok(notes.some((note) => note.includes(`delivery report (failed) to <a@y>: ${id}`)));
});
