/**
 * Nobody from outside who has not logged in gets mail relayed, whatever the options, unless they say so:
 * every combination, against the rules as docs/operating.md has them. Written down a second time here, in
 * the simplest words, and compared with what the server does.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type OpenServerAccounts, openServerAccounts } from "../../src/auth/server-accounts.ts";
import type { ListenerConfig, ServerTls } from "../../src/core/config.ts";
import { silentJournal } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import { remoteReason } from "../../src/io/local-peer.ts";
import { ServerProtocol, type ServerRules } from "../../src/smtp/server-protocol.ts";
import { freePort } from "../support/catcher.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { sendMail, TestRelay, temporary, temporarySpool, until } from "../support/relayd.ts";
import { plainConfig } from "../support/smtp-listener.ts";

const ENCRYPTION = { protocol: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384", certificate: "" };

const CLIENTS = ["192.0.2.1", "2001:db8::1", "10.1.2.3", "127.0.0.1", "::1", "/"] as const;
const SECRETS = [
  null,
  "server plain alice e=mc2\n",
  "server plain alice e=mc2\nserver none 192.0.2.0/24 trusted\n",
  "server plain alice e=mc2\nserver none 10.0.0.0/8 trusted\nserver none 127.0.0.1 trusted\n",
  "server plain alice e=mc2\nserver none * trusted\n",
  "",
] as const;
const TLS = ["none", "starttls", "required", "implicit"] as const;
const ANONYMOUS = [false, true] as const;
const VERIFIERS = ["remote", "local"] as const;
const TRIES = [
  "nothing",
  "AUTH PLAIN =",
  "AUTH PLAIN AGFsaWNlAGJhZA==",
  "AUTH ANONYMOUS =",
  "AUTH EXTERNAL =",
] as const;

interface Case {
  readonly client: (typeof CLIENTS)[number];
  readonly remoteClients: boolean;
  readonly secrets: (typeof SECRETS)[number];
  readonly tls: (typeof TLS)[number];
  readonly encrypted: boolean;
  readonly anonymous: boolean;
  readonly verifier: (typeof VERIFIERS)[number];
  readonly tries: (typeof TRIES)[number];
}

function* cases(): Generator<Case> {
  for (const client of CLIENTS)
    for (const remoteClients of [false, true])
      for (const secrets of SECRETS)
        for (const tls of TLS)
          for (const encrypted of tls === "none"
            ? [false]
            : tls === "implicit"
              ? [true]
              : [false, true])
            for (const anonymous of ANONYMOUS)
              for (const verifier of VERIFIERS)
                for (const tries of TRIES)
                  yield {
                    client,
                    remoteClients,
                    secrets,
                    tls,
                    encrypted,
                    anonymous,
                    verifier,
                    tries,
                  };
}

/** The rules. `secrets` is what --server-auth names. */
function mayRelay({ client, remoteClients, secrets, tls, encrypted, verifier }: Case): boolean {
  const isLocal = ["10.1.2.3", "127.0.0.1", "::1", "/"].includes(client);
  if (!isLocal && !remoteClients) return false;
  if (tls === "required" && !encrypted) return false;
  if (verifier === "local") return false;
  if (secrets === null) return true;
  const trusted = (pattern: string): boolean => secrets.includes(`none ${pattern} `);
  return (
    (client === "192.0.2.1" && trusted("192.0.2.0/24")) ||
    (client === "10.1.2.3" && trusted("10.0.0.0/8")) ||
    (client === "127.0.0.1" && trusted("127.0.0.1")) ||
    // As E-MailRelay has it, "*" is not everybody: patterns name addresses.
    false
  );
}

const opened = new Map<string, OpenServerAccounts>();

/** Opened once for each secrets file, with and without TLS. */
function accountsFor(secrets: string | null, tlsAvailable: boolean): OpenServerAccounts {
  const key = JSON.stringify([secrets, tlsAvailable]);
  const accounts =
    opened.get(key) ??
    openServerAccounts({
      ...{ path: secrets === null ? null : "/nonexistent", authConfig: "", domain: "relay.test" },
      ...{ tlsAvailable, journal: silentJournal, clock: systemClock, read: () => secrets ?? "" },
    });
  opened.set(key, accounts);
  return accounts;
}

function rulesOf({ secrets, tls, anonymous }: Case): ServerRules {
  const serverTls: ServerTls | null =
    tls === "none"
      ? null
      : {
          mode: tls === "implicit" ? "implicit" : "starttls",
          required: tls === "required",
          certificate: [],
          verify: null,
          versions: { min: null, max: null },
        };
  const config: ListenerConfig = {
    ...plainConfig,
    tls: serverTls,
    anonymous: { vrfy: anonymous, server: anonymous, content: anonymous },
  };
  const accounts = accountsFor(secrets, serverTls !== null);
  return {
    ...{ config, domain: "relay.test", version: "0", accounts, journal: silentJournal },
    ...{ starttls: serverTls?.mode === "starttls", tlsRequired: tls === "required", enabled: true },
  };
}

/** True if a message for a remote recipient would be taken. */
function relays(one: Case): boolean {
  if (!one.remoteClients && remoteReason(one.client, "smtp") !== null) return false;
  const protocol = new ServerProtocol(rulesOf(one), { address: one.client, port: 4711 });
  if (one.encrypted) protocol.secured(ENCRYPTION);
  const say = (line: string) => protocol.command(Buffer.from(line));
  say("EHLO client.test");
  if (one.tries !== "nothing") say(one.tries);
  say("MAIL FROM:<a@b>");
  const asked = say("RCPT TO:<victim@far.test>");
  if (asked.kind === "verify") {
    protocol.verified(
      one.verifier === "remote"
        ? { kind: "remote", address: asked.query.recipient }
        : { kind: "local", mailbox: "victim", description: "" },
    );
  }
  return say("DATA").kind === "data" && protocol.envelope.toRemote.length > 0;
}

test("in every combination of options, who may relay is who the rules name", () => {
  let count = 0;
  let refused = 0;
  for (const one of cases()) {
    const may = mayRelay(one);
    assert.equal(relays(one), may, JSON.stringify(one));
    count += 1;
    if (!may) refused += 1;
  }
  assert.ok(count > 3000 && refused > count / 2, `${count} cases, ${refused} refused`);
});

/** An address of this machine that does not count as local. */
const here = Object.values(networkInterfaces())
  .flatMap((entries) => entries ?? [])
  .find(
    ({ family, address }) => family === "IPv4" && remoteReason(address, "smtp") !== null,
  )?.address;
const skip = here === undefined ? "this machine has only private addresses" : false;

const device = Object.entries(networkInterfaces()).find(([, all]) =>
  all?.some(({ address }) => address === here),
)?.[0];

/** Its only options are these: `instances` keeps the harness from adding an interface. */
async function listeningOn(...options: readonly string[]): Promise<TestRelay> {
  const [port, spool] = [await freePort(), temporarySpool()];
  return await TestRelay.start(
    [`--port=${port}`, `--spool-dir=${spool}`, "--domain=relay.test", ...options],
    { port, spool, instances: true },
  );
}

const INTERFACES = [
  [],
  ["--interface=0.0.0.0"],
  ["--interface=127.0.0.1", `--interface=${here}`],
  ["--interface=lo", `--interface=${device}`],
];

for (const interfaces of INTERFACES) {
  test(`a client from outside is closed without a word: ${interfaces.join(" ")}`, {
    skip,
  }, async () => {
    const relay = await listeningOn(...interfaces);
    await using client = await RawClient.connect(`${here}:${relay.port}`);
    client.send("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\nx\r\n.\r\n");
    assert.equal(await client.line(), "<<EOF>>");
    await relay.logged(/configured to reject non-local smtp connection/);
    assert.deepEqual(relay.files(), []);
  });
}

test("a client from outside must log in where there is --server-auth", { skip }, async () => {
  const secrets = join(temporary(), "secrets");
  writeFileSync(secrets, "server plain alice e=mc2\nserver none 127.0.0.1 local\n", {
    mode: 0o600,
  });
  const relay = await listeningOn("--remote-clients", `--server-auth=${secrets}`);
  await using client = await RawClient.connect(`${here}:${relay.port}`);
  await client.reply();
  await client.ask("EHLO x");
  assert.equal(await client.ask("MAIL FROM:<a@b>"), "530 authentication required");
  assert.match(await client.ask("AUTH PLAIN AGFsaWNlAGU9bWMy"), /^235 /);
  assert.match(await client.ask("MAIL FROM:<a@b>"), /^250 /);
});

test("--max-connections-per-client counts a client from outside", { skip }, async () => {
  const relay = await listeningOn("--remote-clients", "--max-connections-per-client=2");
  const far = `${here}:${relay.port}`;
  const [one, two] = [await RawClient.connect(far), await RawClient.connect(far)];
  for (const client of [one, two]) assert.match(await client.reply(), /^220 /);
  await using three = await RawClient.connect(far);
  assert.equal(await three.line(), "421 4.7.0 too many connections from your address");
  assert.equal(await sendMail(relay.port), "250 message processed");
  await one.ask("QUIT");
  one.destroy();
  await until(async () => {
    await using again = await RawClient.connect(far);
    return (await again.line()).startsWith("220");
  });
  for (const client of [one, two]) client.destroy();
});
