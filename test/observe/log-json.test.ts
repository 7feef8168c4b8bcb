import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { delivery, EVENTS, id, logBench, note, peer, START } from "../support/log-bench.ts";

const FIELDS: Readonly<Record<string, string>> = {
  "listener.opened": "server address",
  "secrets.configured": "server path",
  "forward.configured": "address",
  "secrets.reread": "path",
  "spool.recovered": "id action",
  note: "",
  "session.opened": "server peer local",
  "session.refused": "server peer why",
  "session.closed": "server peer why",
  "auth.accepted": "peer account detail",
  "auth.refused": "peer account detail",
  "client.misbehaved": "peer reason",
  "client.trusted": "peer pattern line",
  "recipient.refused": "peer recipient code text why",
  "tls.established": "peer protocol cipher",
  "tls.failed": "peer why",
  traffic: "direction peer text",
  "content.created": "id peer",
  "envelope.created": "id peer",
  "message.accepted": "id peer from to size account tls ms",
  "message.rejected": "id peer from code text why",
  "message.abandoned": "id",
  "forward.requested": "reason",
  "forward.busy": "reason queued connectedTo",
  "forward.idle": "tried error",
  "forward.abandoned": "id",
  "forward.skipped": "id why",
  "forward.message": "id selector forwardTo forwardToAddress",
  "smarthost.resolving": "address",
  "smarthost.connecting": "address",
  "smarthost.connected": "peer local",
  "smarthost.disconnected": "peer local",
  "smarthost.authenticated": "peer encrypted detail",
  "smarthost.failed": "address why",
  "message.delivered": "result id from to smarthost peer tls account code size text ms",
  "message.failed": "result id from to smarthost peer tls account code size text ms",
  "message.deferred":
    "result id from to smarthost peer tls account code size text ms retrySeconds unknown",
  "smarthost.paused": "address account why seconds",
  "smarthost.resumed": "address account",
  "message.queued": "result id from to smarthost peer tls account code size text ms",
};

test("--log-format=json writes one line per event with the documented fields in their order", () => {
  using at = logBench();
  const journal = at.open({ format: "json", verbosity: 2 }).journal("");
  for (const event of EVENTS) journal.tell(event);
  const records = at.lines().map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(records.length, EVENTS.length);
  assert.deepEqual(
    records.map((record) => Object.keys(record).join(" ")),
    EVENTS.map(({ kind }) =>
      `level time program pid event ${FIELDS[kind]} msg`.replaceAll("  ", " "),
    ),
  );
});

test("--log-format=json tells a finished attempt with everything an operator looks for", () => {
  using at = logBench();
  const journal = at.open({ format: "json" }).journal("out");
  journal.tell({ kind: "message.delivered", id, delivery });
  journal.tell({
    kind: "message.accepted",
    id,
    peer,
    from: "",
    to: ["c@d"],
    bytes: 5,
    account: "",
    tls: "",
    ms: 0.4,
  });
  journal.tell({ kind: "smarthost.resolving", address: "only twice verbose" });
  const [first = "", second = "", ...more] = at.lines();
  assert.deepEqual(more, []);
  assert.deepEqual(JSON.parse(first), {
    level: "info",
    time: new Date(START).toISOString(),
    program: "relayd",
    pid: 4711,
    unit: "out",
    event: "message.delivered",
    result: "delivered",
    id: "emailrelay.9330.1795226071.1",
    from: "alice@example.com",
    to: ["bob@example.net"],
    smarthost: "mail.example.net:587",
    peer: "192.0.2.1:587",
    tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
    account: "alice",
    code: 250,
    size: 1234,
    text: "2.0.0 Ok: queued as 12345",
    ms: 13,
    msg:
      "delivered [emailrelay.9330.1795226071.1]: from=<alice@example.com> to=<bob@example.net> " +
      "size=1234 smarthost=mail.example.net:587 peer=192.0.2.1:587 " +
      "tls=TLSv1.3/TLS_AES_256_GCM_SHA384 account=alice code=250 ms=13 " +
      'text="2.0.0 Ok: queued as 12345"',
  });
  const accepted = JSON.parse(second) as Record<string, unknown>;
  assert.equal(accepted.peer, "127.0.0.1:57830");
  assert.equal(accepted.size, 5);
  assert.equal(accepted.from, "");
});

test("--log-format=json says warning and error as the text does, and how much it lost", () => {
  using at = logBench();
  const journal = at.open({ format: "json" }).journal("");
  journal.tell(note("one", "warning"));
  journal.tell(note("two", "error"));
  const levels = at.lines().map((line) => (JSON.parse(line) as { level: string }).level);
  assert.deepEqual(levels, ["warning", "error"]);
});

test("docs/logging.md documents every event with each of its fields", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../docs/logging.md"), "utf8");
  const kinds = readFileSync(
    join(import.meta.dirname, "../../../src/core/events.ts"),
    "utf8",
  ).matchAll(/kind: "([a-z.]+)"/g);
  const missing = [...kinds].flatMap(([, kind = ""]) => {
    const row = text.split("\n").find((line) => line.startsWith(`| \`${kind}\` |`)) ?? "";
    const fields = FIELDS[kind]?.split(" ").filter((field) => field !== "") ?? [
      "(not in the test)",
    ];
    const absent = fields.filter((field) => !row.includes(`\`${field}\``));
    return row === "" || absent.length > 0 ? [`${kind}: ${absent.join(" ")}`] : [];
  });
  assert.deepEqual(missing, []);
});
