/** What hostile or broken smarthosts do, through the real program: whatever it is, the message stays. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runProgram, temporarySpool } from "../support/relayd.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";
import { putMessage } from "../support/spool-files.ts";

interface Trick {
  readonly name: string;
  readonly play: (peer: PeerConnection) => Promise<void>;
  /** What the operator is told. */
  readonly told: RegExp;
  readonly options?: readonly string[];
}

const CONTENT = "Subject: x\r\n\r\n.\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<evil@x>\r\nDATA\r\nevil\r\n";

/** Up to a step, where this is said instead of the proper reply. */
function at(
  step: "MAIL" | "RCPT" | "DATA" | "dot",
  say: (peer: PeerConnection) => Promise<void> | void,
) {
  return async (peer: PeerConnection): Promise<void> => {
    await peer.greet("8BITMIME");
    for (const [name, line] of [
      ["MAIL", /^MAIL /],
      ["RCPT", /^RCPT /],
      ["DATA", /^DATA$/],
    ] as const) {
      await peer.expect(line);
      if (name === step) return await say(peer);
      peer.say(name === "DATA" ? "354 go" : "250 ok");
    }
    await peer.content();
    await say(peer);
  };
}

async function endless(peer: PeerConnection, line: string): Promise<void> {
  const block = Buffer.from(line.repeat(Math.ceil(65_536 / line.length)));
  let left = true;
  void peer.gone().then(() => {
    left = false;
  });
  for (let sent = 0; left && sent < 2 ** 30; sent += block.length) {
    peer.raw(block);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const TRICKS: readonly Trick[] = [
  {
    name: "a greeting without end",
    play: async (peer) => await endless(peer, "220-welcome\r\n"),
    told: /unexpected|invalid|response/i,
  },
  {
    name: "a greeting line without end",
    play: async (peer) => await endless(peer, "220 x"),
    told: /unexpected|invalid|response/i,
  },
  {
    name: "an answer to EHLO without end",
    play: async (peer) => {
      peer.say("220 hello");
      await peer.expect(/^EHLO /);
      await endless(peer, "250-X-NOTHING\r\n");
    },
    told: /unexpected|invalid|response/i,
  },
  {
    name: "an answer to EHLO that drips",
    play: async (peer) => {
      peer.say("220 hello");
      await peer.expect(/^EHLO /);
      await peer.drip("250-X-NOTHING\r\n", 20);
    },
    told: /timed? ?out/i,
    options: ["--response-timeout=1"],
  },
  {
    name: "noise and NUL for a greeting",
    play: async (peer) => {
      peer.raw(Buffer.from("\0\x01\xff\xfe220 hello\r\n", "latin1"));
      await peer.gone();
    },
    told: /unexpected|invalid|response/i,
  },
  {
    name: "no greeting but a closed connection",
    play: async (peer) => peer.close(),
    told: /peer disconnected/,
  },
  ...(["MAIL", "RCPT", "DATA", "dot"] as const).flatMap((step) => [
    {
      name: `a closed connection at ${step}`,
      play: at(step, (peer) => peer.close()),
      told: /peer disconnected/,
    },
    {
      name: `a reset at ${step}`,
      play: at(step, (peer) => peer.reset()),
      told: /peer disconnected/,
    },
    {
      name: `noise at ${step}`,
      play: at(step, (peer) => peer.say("2", "25 ok", "2garbage")),
      told: /unexpected|invalid|response/i,
    },
    {
      name: `different codes in one reply at ${step}`,
      play: at(step, (peer) => peer.say("250-ok", "550 5.7.1 no")),
      told: /unexpected|invalid|response/i,
    },
    {
      name: `421 at ${step}`,
      play: at(step, (peer) => peer.say("421 4.3.2 go away")),
      told: /421|go away/,
    },
  ]),
  {
    name: "DATA answered by 250: the content is not sent as commands",
    play: at("DATA", async (peer) => {
      peer.say("250 ok");
      const next = await peer.line().catch(() => "closed");
      assert.match(next, /^(?:QUIT|closed|RSET)/);
    }),
    told: /250|unexpected/,
  },
  {
    name: "354 with the 250 that belongs after the content",
    play: at("DATA", (peer) => peer.say("354 go", "250 queued")),
    told: /unexpected|invalid|response|early/i,
  },
  {
    name: "a 250 to everything in advance",
    play: async (peer) => {
      peer.say("220 hi", "250 ok", "250 ok", "250 ok", "354 go", "250 queued");
      await peer.gone();
    },
    told: /unexpected|invalid|response|early/i,
  },
  {
    name: "STARTTLS with plain text behind the answer",
    play: async (peer) => {
      await peer.greet("STARTTLS");
      await peer.answer(
        "STARTTLS",
        "220 go",
        "250-peer",
        "250 AUTH PLAIN",
        "250 ok",
        "250 ok",
        "354 go",
        "250 ok",
      );
      await peer.gone();
    },
    told: /tls|disconnected/i,
    options: ["--client-tls"],
  },
];

for (const { name, play, told, options = [] } of TRICKS) {
  test(`${name}: the message is kept as it was, and the program ends`, async () => {
    await using peer = await SmtpPeer.listen(play);
    const spool = temporarySpool();
    putMessage(spool, "emailrelay.1.2.3", { content: CONTENT });
    const ran = await runProgram("relayd", [
      ...[
        `--as-client=${peer.address}`,
        `--spool-dir=${spool}`,
        "--user=root",
        "--log",
        "--no-syslog",
      ],
      ...["--response-timeout=5", ...options],
    ]);
    assert.match(ran.stderr, told);
    const files = readdirSync(spool).filter((file) => file !== ".relayd");
    assert.match(
      files.sort().join(" "),
      /^emailrelay\.1\.2\.3\.content emailrelay\.1\.2\.3\.envelope(?:\.bad)?$/,
    );
    assert.equal(readFileSync(join(spool, "emailrelay.1.2.3.content"), "latin1"), CONTENT);
    await peer.done();
  });
}

test("noise after the reply to QUIT changes nothing for a message that was taken", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.message();
    connection.say("250 queued");
    await connection.expect("QUIT");
    connection.say("221 bye", "550 no", "250-", "garbage");
    await connection.gone();
  });
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.2.3", { content: CONTENT });
  const args = [
    `--as-client=${peer.address}`,
    `--spool-dir=${spool}`,
    "--user=root",
    "--no-syslog",
  ];
  assert.equal((await runProgram("relayd", args)).code, 0);
  assert.deepEqual(
    readdirSync(spool).filter((file) => file !== ".relayd"),
    [],
  );
  await peer.done();
});
