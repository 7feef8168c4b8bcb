// What smtp-server does to a relay's mail: one probe for each finding of decision 001.
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { SMTPServer } from "smtp-server";

const DRIP_MS = 4000;

/** A probe resolves to { so: boolean, seen: string }. */
export const serverFindings = [
  {
    id: "server-dot-after-bare-lf",
    library: "smtp-server",
    claim: "removes a dot that follows a bare LF",
    probe: () => storedContent("a\n..b\r\n", (stored) => stored === "a\n.b\r\n"),
  },
  {
    id: "server-leading-dot-kept",
    library: "smtp-server",
    claim: "keeps a single leading dot (RFC 5321 4.5.2: delete it)",
    probe: () => storedContent(".x\r\n", (stored) => stored === ".x\r\n"),
  },
  {
    id: "server-xn-domain-rewritten",
    library: "smtp-server",
    claim: "rewrites an xn-- domain to Unicode",
    probe: () =>
      storedRecipients(["<a@xn--mnchen-3ya.test>"], (kept) => kept[0] !== "a@xn--mnchen-3ya.test"),
  },
  {
    id: "server-recipients-merged",
    library: "smtp-server",
    claim: "merges recipients that differ in case",
    probe: () => storedRecipients(["<Joe@x.test>", "<joe@x.test>"], (kept) => kept.length === 1),
  },
  {
    id: "server-quoted-local-part",
    library: "smtp-server",
    claim: "refuses a quoted local part",
    probe: () => replyTo(['RCPT TO:<"a b"@x.test>'], (reply) => reply.startsWith("5")),
  },
  {
    id: "server-unknown-parameter",
    library: "smtp-server",
    claim: "accepts unknown MAIL parameters (RFC 5321 4.1.1.11: 555)",
    probe: () =>
      replyTo(["RSET", "MAIL FROM:<a@x.test> FOO=BAR"], (reply) => reply.startsWith("2")),
  },
  {
    id: "server-no-chunking",
    library: "smtp-server",
    claim: "has no CHUNKING",
    probe: () => replyTo(["EHLO probe"], (reply) => !/CHUNKING/i.test(reply)),
  },
  {
    id: "server-drip-never-ended",
    library: "smtp-server",
    claim: "never ends a connection fed a byte at a time, whatever socketTimeout",
    probe: probeServerDrip,
  },
  {
    id: "server-dot-lines-cpu",
    library: "smtp-server",
    claim: "spends many times the CPU on lines that begin with two dots",
    alone: true,
    probe: probeServerCpu,
  },
];

/** Starts a server of the library that remembers what it was given, lets `use` talk to it. */
async function withServer(options, use) {
  const got = { content: Buffer.alloc(0), envelope: null };
  const server = new SMTPServer({
    authOptional: true,
    hideSTARTTLS: true,
    disabledCommands: ["STARTTLS"],
    disableReverseLookup: true,
    closeTimeout: 100,
    ...options,
    onData(stream, session, callback) {
      const chunks = [];
      stream.on("data", (chunk) => chunks.push(chunk));
      stream.on("end", () => {
        got.content = Buffer.concat(chunks);
        got.envelope = session.envelope;
        callback();
      });
    },
  });
  server.on("error", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server.server, "listening");
  const socket = connect(server.server.address().port, "127.0.0.1");
  socket.on("error", () => undefined);
  try {
    return await use(dialogue(socket), got, socket);
  } finally {
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Speaks SMTP over a socket: sends a line (or nothing), resolves to the next whole reply. */
function dialogue(socket) {
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk) => {
    text += chunk;
    socket.emit("reply");
  });
  return async (line) => {
    if (line !== undefined) socket.write(`${line}\r\n`, "latin1");
    for (;;) {
      const whole = /^(?:\d{3}-.*\r\n)*\d{3} .*\r\n/.exec(text)?.[0];
      if (whole !== undefined) {
        text = text.slice(whole.length);
        return whole.trimEnd();
      }
      if (socket.closed) throw new Error("connection closed");
      await Promise.race([once(socket, "reply"), once(socket, "close")]);
    }
  };
}

/** Greets, then sends one message; resolves to the reply after its end. */
async function sendMessage(say, recipients, content) {
  await say();
  await say("EHLO probe");
  await say("MAIL FROM:<a@x.test>");
  for (const recipient of recipients) await say(`RCPT TO:${recipient}`);
  await say("DATA");
  return await say(`${content}.`);
}

async function storedContent(sent, stillSo) {
  return await withServer({}, async (say, got) => {
    await sendMessage(say, ["<b@x.test>"], sent);
    const stored = got.content.toString("latin1");
    return {
      so: stillSo(stored),
      seen: `${JSON.stringify(sent)} is kept as ${JSON.stringify(stored)}`,
    };
  });
}

async function storedRecipients(recipients, stillSo) {
  return await withServer({}, async (say, got) => {
    await sendMessage(say, recipients, "x\r\n");
    const kept = got.envelope.rcptTo.map((recipient) => recipient.address);
    return { so: stillSo(kept), seen: `${recipients.join(" ")} is kept as ${kept.join(" ")}` };
  });
}

/** The reply to the last of some lines, inside a transaction. */
async function replyTo(lines, stillSo) {
  return await withServer({}, async (say) => {
    await say();
    await say("EHLO probe");
    await say("MAIL FROM:<a@x.test>");
    let reply = "";
    for (const line of lines) reply = await say(line);
    const last = lines.at(-1);
    return { so: stillSo(reply), seen: `${last}: ${reply.replaceAll("\r\n", " | ")}` };
  });
}

async function probeServerDrip() {
  return await withServer({ socketTimeout: 1000 }, async (say, _got, socket) => {
    await say();
    const end = performance.now() + DRIP_MS;
    while (performance.now() < end && !socket.closed) {
      socket.write("N");
      await delay(250);
    }
    const open = !socket.closed;
    return {
      so: open,
      seen: `socketTimeout 1 s; after ${DRIP_MS / 1000} s ${open ? "open" : "ended"}`,
    };
  });
}

async function probeServerCpu() {
  const lines = 250_000;
  // The first run only warms the compiler up.
  await cpuMs("x\r\n".repeat(10_000));
  const plain = await cpuMs("xx\r\n".repeat(lines));
  const dotted = await cpuMs("..\r\n".repeat(lines));
  const ratio = dotted / Math.max(plain, 1);
  return { so: ratio > 4, seen: `1 MB of each: ${ratio.toFixed(1)} times the CPU of plain lines` };
}

async function cpuMs(content) {
  return await withServer({}, async (say) => {
    const before = process.cpuUsage();
    await sendMessage(say, ["<b@x.test>"], content);
    const used = process.cpuUsage(before);
    return (used.user + used.system) / 1000;
  });
}
