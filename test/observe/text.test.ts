import assert from "node:assert/strict";
import { test } from "node:test";
import type { Delivery, RelayEvent } from "../../src/core/events.ts";
import { linesOf } from "../../src/observe/text.ts";
import { delivery, id, peer } from "../support/log-bench.ts";

const delivered: Delivery = { ...delivery, to: ["bob@example.net", "carol@example.net"] };

/** Level and verbosity as one letter and digit, then the text. */
function told(event: RelayEvent): string[] {
  return linesOf(event).map(
    ({ level, verbosity, text }) => `${level.charAt(0)}${verbosity} ${text}`,
  );
}

test("linesOf() writes E-MailRelay's lines for what the process does", () => {
  const address = "127.0.0.1:17025";
  assert.deepEqual(told({ kind: "listener.opened", server: "smtp", address }), [
    "i0 smtp server on 127.0.0.1:17025",
  ]);
  const path = "/etc/relayd.auth";
  assert.deepEqual(told({ kind: "secrets.configured", server: "pop", path }), [
    'i0 pop server authentication secrets from "/etc/relayd.auth"',
  ]);
  assert.deepEqual(told({ kind: "forward.configured", address: "mail:25" }), [
    "i1 forwarding to mail:25",
  ]);
  assert.deepEqual(told({ kind: "secrets.reread", path }), [
    "i0 re-reading secrets file: /etc/relayd.auth",
  ]);
  assert.deepEqual(told({ kind: "note", level: "error", detail: true, text: "x" }), ["e1 x"]);
  assert.deepEqual(told({ kind: "note", level: "warning", detail: false, text: "x" }), ["w0 x"]);
});

test("linesOf() writes E-MailRelay's lines for sessions", () => {
  assert.deepEqual(told({ kind: "session.opened", server: "smtp", peer, local: () => "" }), [
    "i0 smtp connection from 127.0.0.1:57830",
  ]);
  const why = "configured to reject non-local smtp connection: 1.2.3.4 is not in 127.0.0.0/8";
  assert.deepEqual(told({ kind: "session.refused", server: "smtp", peer, why }), [
    `w0 ${why}`,
    "w0 connection rejected from 127.0.0.1:57830",
  ]);
  const done = "smtp protocol done";
  assert.deepEqual(told({ kind: "session.closed", server: "smtp", peer, why: done }), [
    "i0 smtp connection closed: smtp protocol done: 127.0.0.1:57830",
  ]);
  const six = { address: "::1", port: 25 };
  assert.deepEqual(told({ kind: "session.opened", server: "pop", peer: six, local: () => "" }), [
    "i0 pop connection from ::1.25",
  ]);
  const unix = { address: "/", port: 0 };
  assert.deepEqual(told({ kind: "session.opened", server: "smtp", peer: unix, local: () => "" }), [
    "i0 smtp connection from /",
  ]);
});

test("linesOf() writes E-MailRelay's lines for who may do what", () => {
  const detail = "using mechanism [plain] and plaintext secret for [alice] from line 2";
  assert.deepEqual(told({ kind: "auth.accepted", peer, id: "alice", detail }), [
    `i0 successful authentication of remote client ${detail}`,
  ]);
  assert.deepEqual(told({ kind: "auth.refused", peer, id: "alice", detail }), [
    `w0 failed authentication of remote client ${detail}`,
    "w0 client 127.0.0.1: failed authentication",
  ]);
  const reason = "too many refused recipients";
  assert.deepEqual(told({ kind: "client.misbehaved", peer, reason }), [
    "w0 client 127.0.0.1: too many refused recipients",
  ]);
  assert.deepEqual(told({ kind: "client.trusted", peer, pattern: "127.0.0.0/8", line: 3 }), [
    "i0 trusting [127.0.0.1]: matched [127.0.0.0/8] from line 3",
  ]);
  const reply = { code: 550, text: "mailbox unavailable" };
  const recipient = "bob@x";
  assert.deepEqual(
    told({ kind: "recipient.refused", peer, recipient, reply, why: "exit code 2" }),
    ['w0 rejecting recipient "bob@x": mailbox unavailable: exit code 2'],
  );
  assert.deepEqual(told({ kind: "recipient.refused", peer, recipient, reply, why: "" }), [
    'w0 rejecting recipient "bob@x": mailbox unavailable',
  ]);
});

test("linesOf() writes E-MailRelay's lines for TLS and protocol traffic", () => {
  const suite = { protocol: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" };
  assert.deepEqual(told({ kind: "tls.established", peer, ...suite }), [
    "i0 tls protocol established with 127.0.0.1:57830 protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
  ]);
  assert.deepEqual(told({ kind: "tls.failed", peer, why: "SSL_accept(): [no cipher]" }), [
    "w0 tls: tls error: SSL_accept(): [no cipher]",
  ]);
  const traffic = (direction: "rx" | "tx", text: string) =>
    told({ kind: "traffic", direction, peer, text });
  assert.deepEqual(traffic("rx", "MAIL FROM:<a@b>"), ['i1 rx<<: "MAIL FROM:<a@b>"']);
  assert.deepEqual(traffic("tx", "AUTH PLAIN [not logged]"), [
    'i1 tx>>: "AUTH PLAIN [not logged]"',
  ]);
  assert.deepEqual(traffic("rx", "[message content not logged]"), [
    "i1 rx<<: [message content not logged]",
  ]);
});

test("linesOf() writes E-MailRelay's lines for a message's way in, and one of ours when it is accepted", () => {
  assert.deepEqual(told({ kind: "content.created", id, peer }), [
    "i1 new content file [emailrelay.9330.1795226071.1.content]",
  ]);
  assert.deepEqual(told({ kind: "envelope.created", id, peer }), [
    "i1 new envelope file [emailrelay.9330.1795226071.1.envelope.new]",
  ]);
  const { from, to, bytes, account, tls, ms } = delivered;
  assert.deepEqual(
    told({ kind: "message.accepted", id, peer, from, to, bytes, account, tls, ms }),
    [
      "i0 accepted [emailrelay.9330.1795226071.1]: from=<alice@example.com> " +
        "to=<bob@example.net>,<carol@example.net> size=1234 client=127.0.0.1:57830 " +
        "tls=TLSv1.3/TLS_AES_256_GCM_SHA384 account=alice ms=13",
    ],
  );
  const reply = { code: 550, text: "rejected" };
  assert.deepEqual(told({ kind: "message.rejected", id, peer, from, reply, why: "spam" }), [
    "w0 rejecting message [emailrelay.9330.1795226071.1]: 550 rejected: spam",
  ]);
  const said = told({ kind: "message.rejected", id, peer, from, reply, why: "rejected" });
  assert.deepEqual(said, ["w0 rejecting message [emailrelay.9330.1795226071.1]: 550 rejected"]);
});

test("linesOf() writes E-MailRelay's lines for a forwarding run", () => {
  const reason = "poll";
  assert.deepEqual(told({ kind: "forward.requested", reason: "startup" }), [
    "i1 forwarding: [startup]",
  ]);
  assert.deepEqual(
    told({ kind: "forward.busy", reason, queued: true, connectedTo: "1.2.3.4:25" }),
    [
      "i1 forwarding: [poll]: still busy from last time: connected to 1.2.3.4:25",
      "i1 forwarding: queued request [poll]",
    ],
  );
  assert.deepEqual(told({ kind: "forward.busy", reason, queued: false, connectedTo: "" }), [
    "i1 forwarding: [poll]: still busy from last time",
  ]);
  assert.deepEqual(told({ kind: "forward.idle", tried: 0, error: "" }), [
    "i1 forwarding: no messages to send",
  ]);
  assert.deepEqual(told({ kind: "forward.idle", tried: 1, error: "" }), [
    "i1 forwarding: no more messages to send",
  ]);
  const plain = { selector: "", forwardTo: "", forwardToAddress: "" };
  assert.deepEqual(told({ kind: "forward.message", id, ...plain }), [
    "i1 forwarding [emailrelay.9330.1795226071.1]",
  ]);
  const routed = { selector: "s", forwardTo: "x.net", forwardToAddress: "1.2.3.4:25" };
  assert.deepEqual(told({ kind: "forward.message", id, ...routed }), [
    "i1 forwarding [emailrelay.9330.1795226071.1] selector=[s] forward-to=[x.net] forward-to-address=[1.2.3.4:25]",
  ]);
});

test("linesOf() writes E-MailRelay's lines for the smarthost", () => {
  assert.deepEqual(told({ kind: "smarthost.connected", peer, local: "" }), [
    "i0 smtp connection to 127.0.0.1:57830",
  ]);
  const detail = "using mechanism [login] and plaintext secret for [bob] from line 1";
  assert.deepEqual(told({ kind: "smarthost.authenticated", peer, tls: true, detail }), [
    `i0 successful authentication with remote server over tls ${detail}`,
  ]);
  assert.deepEqual(told({ kind: "smarthost.authenticated", peer, tls: false, detail }), [
    `i0 successful authentication with remote server ${detail}`,
  ]);
  const why = "connect failure: cannot connect to 127.0.0.1:25";
  assert.deepEqual(told({ kind: "smarthost.failed", address: "", why }), [
    `w0 smtp client error: ${why}`,
  ]);
  assert.deepEqual(told({ kind: "smarthost.failed", address: "127.0.0.1:25", why }), [
    `w0 smtp connection failed: ${why}`,
  ]);
});

test("linesOf() tells a finished attempt in one line of ours, followed by E-MailRelay's", () => {
  const name = "emailrelay.9330.1795226071.1";
  const facts =
    "from=<alice@example.com> to=<bob@example.net>,<carol@example.net> size=1234 " +
    "smarthost=mail.example.net:587 peer=192.0.2.1:587 tls=TLSv1.3/TLS_AES_256_GCM_SHA384 " +
    'account=alice code=250 ms=13 text="2.0.0 Ok: queued as 12345"';
  assert.deepEqual(told({ kind: "message.delivered", id, delivery: delivered }), [
    `i0 delivered [${name}]: ${facts}`,
    `i1 deleting envelope [${name}.envelope.busy]`,
    `i1 deleting content [${name}.content]`,
  ]);
  const lost = { ...delivered, peer: "", tls: "", account: "", code: 0, text: "peer disconnected" };
  const few =
    "from=<alice@example.com> to=<bob@example.net>,<carol@example.net> size=1234 " +
    'smarthost=mail.example.net:587 ms=13 text="peer disconnected"';
  assert.deepEqual(told({ kind: "message.failed", id, delivery: lost }), [
    `w0 failed [${name}]: ${few}`,
    `i0 failing envelope [${name}.envelope.busy] -> [${name}.envelope.bad]`,
  ]);
  assert.deepEqual(told({ kind: "message.queued", id, delivery: lost }), [
    `i0 queued [${name}]: ${few}`,
  ]);
});

test("linesOf() makes the lines that the verbosity asks for, and no others", () => {
  const event: RelayEvent = { kind: "message.delivered", id, delivery: delivered };
  assert.deepEqual(
    [0, 1, 2].map((verbosity) => linesOf(event, verbosity).length),
    [1, 3, 3],
  );
  const made: string[] = [];
  const watched: RelayEvent = {
    kind: "content.created",
    peer,
    get id() {
      made.push("id");
      return id;
    },
  };
  assert.deepEqual(linesOf(watched, 0), []);
  assert.deepEqual(made, []);
  assert.deepEqual(linesOf({ kind: "note", level: "info", detail: true, text: "x" }, 0), []);
});
