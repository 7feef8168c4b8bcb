import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/io/clock.ts";
import { type Decision, openDnsbl } from "../../src/policy/dnsbl.ts";
import {
  DnsServer,
  deadServer,
  nxdomain,
  type Script,
  servfail,
  zone,
} from "../support/dns-server.ts";
import { noteKeeper } from "../support/programs.ts";
import { ManualClock } from "../support/smtp-listener.ts";

const NEVER = new AbortController().signal;
const ALLOWED: Decision = { denied: false };
const denied = (why: string): Decision => ({ denied: true, why });

const PEER = "192.0.2.99";
/** The example address as block lists are asked for it. */
const LISTED = (list: string, address = "127.0.0.2"): string => `99.2.0.192.${list} A ${address}`;

/** A server that follows the script, and block lists that are asked there. */
async function blockLists(
  lists: string,
  script: Script,
  { clock = systemClock, terms = "1,20s" }: { clock?: Clock; terms?: string } = {},
) {
  const server = await DnsServer.start(script);
  const { journal, notes } = noteKeeper();
  const dnsbl = openDnsbl({ spec: `${lists},${terms},${server.address}`, journal, clock });
  return {
    server,
    dnsbl,
    check: async (address = PEER, signal = NEVER) => await dnsbl.check(address, signal),
    /** Without the lines for --verbose. */
    told: () => notes.filter((note) => !note.startsWith("detail ")),
    notes,
    async [Symbol.asyncDispose]() {
      dnsbl.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("check() denies a client that a list names", async () => {
  await using at = await blockLists("a.test", zone(LISTED("a.test")));
  assert.deepEqual(await at.check(), denied("listed by a.test (127.0.0.2)"));
  assert.deepEqual(at.server.asked, ["A 99.2.0.192.a.test"]);
  assert.deepEqual(at.told(), [
    "warning dnsbl: connection from [192.0.2.99] denied: listed by a.test (127.0.0.2)",
  ]);
});

test("check() allows a client that no list names", async () => {
  await using at = await blockLists("a.test,b.test", () => nxdomain);
  assert.deepEqual(await at.check(), ALLOWED);
  assert.deepEqual(at.server.asked.toSorted(), ["A 99.2.0.192.a.test", "A 99.2.0.192.b.test"]);
  assert.deepEqual(at.told(), []);
});

test("check() tells of each question and vote when details are wanted", async () => {
  await using at = await blockLists("a.test", () => nxdomain);
  await at.check();
  assert.deepEqual(at.notes, [
    `detail dnsbl: asking ${at.server.address} for [A 99.2.0.192.a.test]`,
    "detail dnsbl: [192.0.2.99] is not listed by [a.test]",
  ]);
});

test("check() denies as soon as there are votes enough, whatever the others say", async () => {
  const script: Script = (asked) =>
    asked.endsWith("c.test") ? null : { records: [LISTED(asked.slice(-6))] };
  const clock = new ManualClock();
  await using at = await blockLists("a.test,b.test,c.test", script, { clock, terms: "2,5s" });
  const decision = await at.check();
  assert.ok(decision.denied);
  assert.match(
    decision.why,
    /^listed by [ab]\.test \(127\.0\.0\.2\), [ab]\.test \(127\.0\.0\.2\)$/,
  );
});

test("check() allows as soon as there cannot be votes enough", async () => {
  const script: Script = (asked) => (asked.endsWith("c.test") ? null : nxdomain);
  const clock = new ManualClock();
  await using at = await blockLists("a.test,b.test,c.test", script, { clock, terms: "2,5s" });
  assert.deepEqual(await at.check(), ALLOWED);
});

test("check() allows one vote less than the threshold", async () => {
  await using at = await blockLists("a.test,b.test", zone(LISTED("a.test")), { terms: "2,20s" });
  assert.deepEqual(await at.check(), ALLOWED);
});

test("check() asks nobody when nobody can be denied", async () => {
  await using none = await blockLists("a.test", zone(LISTED("a.test")), { terms: "0,20s" });
  await using more = await blockLists("a.test", zone(LISTED("a.test")), { terms: "2,20s" });
  assert.deepEqual([await none.check(), await more.check()], [ALLOWED, ALLOWED]);
  assert.deepEqual([...none.server.asked, ...more.server.asked], []);
});

test("check() allows after the time-out, and says so once an hour", async () => {
  const clock = new ManualClock();
  await using at = await blockLists("a.test", () => null, { clock, terms: "1,5s" });
  for (const [count, seconds] of [5, 3594, 5].entries()) {
    const decision = at.check();
    await at.server.received(count + 1);
    await clock.advance(seconds);
    assert.deepEqual(await decision, ALLOWED);
  }
  const why = "warning dnsbl: no answer from the block lists after 5s";
  assert.deepEqual(at.told(), [why]);
  const decision = at.check();
  await clock.advance(5);
  await decision;
  assert.deepEqual(at.told(), [why, why]);
});

test("check() denies after a negative time-out", async () => {
  const clock = new ManualClock();
  await using at = await blockLists("a.test", () => null, { clock, terms: "1,-5000" });
  const decision = at.check();
  await clock.advance(5);
  assert.deepEqual(await decision, denied("no answer from the block lists after 5s"));
});

test("check() asks once more when half the time is over", async () => {
  const script: Script = (_, nth) => (nth === 1 ? null : { records: [LISTED("a.test")] });
  await using at = await blockLists("a.test", script, {
    clock: new ManualClock(),
    terms: "1,80ms",
  });
  assert.deepEqual(await at.check(), denied("listed by a.test (127.0.0.2)"));
});

test("check() allows at once when the server cannot be reached", async () => {
  const { journal, notes } = noteKeeper();
  const dead = await deadServer();
  const spec = `a.test,1,5s,${dead}`;
  const dnsbl = openDnsbl({ spec, journal, clock: new ManualClock() });
  assert.deepEqual(await dnsbl.check(PEER, NEVER), ALLOWED);
  assert.deepEqual(await dnsbl.check(PEER, NEVER), ALLOWED);
  assert.deepEqual(
    notes.filter((note) => note.startsWith("warning")),
    [`warning dnsbl: no answer from dns server ${dead}: ECONNREFUSED`],
  );
});

test("check() denies at once when the server cannot be reached and the time-out is negative", async () => {
  const spec = `a.test,b.test,1,-5s,${await deadServer()}`;
  const dnsbl = openDnsbl({ spec, journal: noteKeeper().journal, clock: new ManualClock() });
  const decision = await dnsbl.check(PEER, NEVER);
  assert.deepEqual(decision, denied("no answer from the block lists"));
});

test("check() takes a server's failure for no vote, and says so", async () => {
  await using at = await blockLists("a.test", () => servfail, { terms: "1,-20s" });
  assert.deepEqual(await at.check(), ALLOWED);
  await at.check();
  assert.deepEqual(at.told(), ["warning dnsbl: the dns server cannot look up [a.test]: SERVFAIL"]);
});

test("check() never denies for a list's error answers, and warns once of them", async () => {
  const script = zone(LISTED("a.test", "127.255.255.254"));
  await using at = await blockLists("a.test", script);
  assert.deepEqual([await at.check(), await at.check()], [ALLOWED, ALLOWED]);
  assert.deepEqual(at.told(), [
    "warning dnsbl: the answer of [a.test] blocks nobody: 127.255.255.254: the list refuses to serve this dns server",
  ]);
});

test("check() never denies for public addresses in the answer", async () => {
  await using at = await blockLists("a.test", zone(LISTED("a.test", "203.0.113.7")));
  assert.deepEqual(await at.check(), ALLOWED);
  assert.deepEqual(at.told(), [
    "warning dnsbl: the answer of [a.test] blocks nobody: 203.0.113.7: not an address that a block list gives",
  ]);
});

test("check() takes any one of several addresses for a vote", async () => {
  const script = zone(LISTED("a.test", "127.255.255.1"), LISTED("a.test", "127.0.1.4"));
  await using at = await blockLists("a.test", script);
  assert.deepEqual(await at.check(), denied("listed by a.test (127.0.1.4)"));
});

test("check() asks for IPv6 clients digit by digit, for both kinds of address", async () => {
  await using at = await blockLists("a.test", () => nxdomain);
  assert.deepEqual(await at.check("2001:db8::567:89ab%eth0"), ALLOWED);
  const name = "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.a.test";
  assert.deepEqual(at.server.asked.toSorted(), [`A ${name}`, `AAAA ${name}`]);
});

test("check() denies an IPv6 client by either kind of address", async () => {
  const ip = "2001:db8::1";
  const only =
    (type: string, record: string): Script =>
    (asked) => {
      const [question, name] = asked.split(" ");
      return question === type ? { records: [`${name} ${record}`] } : null;
    };
  await using v4 = await blockLists("a.test", only("A", "A 127.0.0.4"));
  assert.deepEqual(await v4.check(ip), denied("listed by a.test (127.0.0.4)"));
  await using v6 = await blockLists("a.test", only("AAAA", "AAAA ::2"));
  assert.deepEqual(await v6.check(ip), denied("listed by a.test (::2)"));
});

test("check() never denies for public or no IPv6 addresses in the answer", async () => {
  const odd = ["2001:db8::1", "::", "64:ff9b::7f00:2", "::ffff:7fff:fffe", "fe80::1"];
  for (const address of odd) {
    await using at = await blockLists("a.test", (asked) =>
      asked.startsWith("AAAA") ? { records: [`${asked.slice(5)} AAAA ${address}`] } : nxdomain,
    );
    assert.deepEqual(await at.check("2001:db8::9"), ALLOWED, address);
  }
});

test("check() takes an IPv4 client on an IPv6 socket for IPv4", async () => {
  await using at = await blockLists("a.test", zone(LISTED("a.test")));
  assert.ok((await at.check("::ffff:192.0.2.99")).denied);
  assert.ok((await at.check("::ffff:c000:263")).denied);
  assert.deepEqual(at.server.asked, ["A 99.2.0.192.a.test", "A 99.2.0.192.a.test"]);
});

test("check() does not ask for local clients", async () => {
  await using at = await blockLists("a.test", () => servfail);
  const local = ["127.0.0.1", "10.1.2.3", "::1", "fe80::1%lo", "::ffff:10.1.2.3", "/", "", "?"];
  for (const address of local) assert.deepEqual(await at.check(address), ALLOWED);
  assert.deepEqual(at.server.asked, []);
});

test("check() overlooks forged, broken and foreign answers", async () => {
  const script: Script = (asked) => ({
    ...nxdomain,
    before: (query, answer) => {
      const forged = Buffer.from(answer);
      forged.writeUInt16BE(answer.readUInt16BE(0) ^ 1, 0);
      return [forged, query, Buffer.from(asked), answer.subarray(0, 20)];
    },
  });
  await using at = await blockLists("a.test", script);
  assert.deepEqual(await at.check(), ALLOWED);
  assert.equal(at.notes.length, 2);
});

test("check() takes a truncated answer from TCP", async () => {
  const script: Script = () => ({ records: [LISTED("a.test")], truncated: true });
  await using at = await blockLists("a.test", script);
  assert.ok((await at.check()).denied);
});

test("check() rejects when the client has gone", async () => {
  await using at = await blockLists("a.test", () => null, { terms: "1,-20s" });
  const gone = new AbortController();
  const decision = at.check(PEER, gone.signal);
  await at.server.received(1);
  gone.abort(new Error("Gone"));
  await assert.rejects(decision, /Gone/);
  await assert.rejects(at.check(PEER, gone.signal), /Gone/);
  assert.deepEqual(at.told(), []);
});

test("check() allows what was being asked when everything is closed", async () => {
  await using at = await blockLists("a.test", () => null, { terms: "1,-20s" });
  const decision = at.check();
  await at.server.received(1);
  at.dnsbl.close();
  assert.deepEqual(await decision, ALLOWED);
  assert.deepEqual(await at.check(), ALLOWED);
  assert.deepEqual([at.server.asked.length, at.told().length], [1, 0]);
});

test("check() asks many lists for many clients without a warning from the runtime", async () => {
  const warnings: string[] = [];
  const note = (warning: Error): number => warnings.push(warning.message);
  process.on("warning", note);
  const lists = Array.from({ length: 15 }, (_, n) => `list${n}.test`).join(",");
  await using at = await blockLists(lists, () => nxdomain);
  const clients = Array.from({ length: 15 }, (_, n) => `192.0.2.${n}`);
  await Promise.all(
    clients.map(async (client) => await at.check(client, new AbortController().signal)),
  );
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", note);
  assert.deepEqual(warnings, []);
  assert.equal(at.server.asked.length, 225);
});

test("suspend() lets everybody in for so many seconds", async () => {
  const clock = new ManualClock();
  await using at = await blockLists("a.test", zone(LISTED("a.test")), { clock });
  at.dnsbl.suspend(10);
  await clock.advance(9);
  assert.deepEqual(await at.check(), ALLOWED);
  assert.deepEqual(at.server.asked, []);
  await clock.advance(1);
  assert.ok((await at.check()).denied);
});

test("suspend() with 0 asks the lists again", async () => {
  const clock = new ManualClock();
  await using at = await blockLists("a.test", zone(LISTED("a.test")), { clock });
  at.dnsbl.suspend(Number.POSITIVE_INFINITY);
  await clock.advance(100);
  assert.deepEqual(await at.check(), ALLOWED);
  at.dnsbl.suspend(0);
  assert.ok((await at.check()).denied);
});

test("openDnsbl() refuses a text that is no configuration", () => {
  const { journal } = noteKeeper();
  assert.throws(() => openDnsbl({ spec: "a.test,x,y z", journal, clock: systemClock }), {
    code: "CONFIG_INVALID",
  });
});
