import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../src/core/clock.ts";
import { parseEndpoint } from "../../src/core/endpoint.ts";
import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import { encodeXtext } from "../../src/core/xtext.ts";
import { type FilterResult, OK } from "../../src/filters/item.ts";
import { mxFilter } from "../../src/filters/mx.ts";
import { systemClock } from "../../src/io/clock.ts";
import {
  authoritativeNxdomain,
  DnsServer,
  deadServer,
  noData,
  nxdomain,
  type Script,
  servfail,
  zone,
} from "../support/dns-server.ts";
import { aJob, filterTerms, NEVER } from "../support/filter-terms.ts";
import { ManualClock } from "../support/smtp-listener.ts";

interface Setting {
  readonly params?: string;
  readonly clock?: Clock;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly envelope?: Partial<Envelope>;
}

/** Runs the filter over an envelope with this routing domain. */
async function route(forwardTo: string, setting: Setting = {}) {
  const { params = "", clock = systemClock, timeoutMs = 20_000, signal = NEVER } = setting;
  let envelope: Envelope = { ...emptyEnvelope, ...setting.envelope, forwardTo };
  let writes = 0;
  const { terms, notes } = filterTerms({ role: "routing-filter", clock, timeoutMs });
  const editor = {
    ...terms.editor,
    readEnvelope: async () => envelope,
    writeEnvelope: async (path: string, changed: Envelope) => {
      assert.equal(path, aJob.files.envelope);
      envelope = changed;
      writes += 1;
    },
  };
  await using filter = mxFilter(params, { ...terms, editor });
  const result = await filter.run(aJob, signal);
  return { result, envelope, writes, notes, address: envelope.forwardToAddress };
}

/** The same, with one server that follows the script. */
async function scripted(forwardTo: string, script: Script, setting: Setting = {}) {
  await using server = await DnsServer.start(script);
  const done = await route(forwardTo, { ...setting, params: server.address });
  return { ...done, asked: server.asked, at: server.address };
}

function failed({ verdict, response, reason, code }: FilterResult): string {
  assert.equal(verdict, "fail");
  assert.equal(response, "cannot route message");
  return `${code} ${reason}`;
}

const A_TEST = zone("a.test MX 10 mail.a.test", "mail.a.test A 10.1.2.3");

test("mxFilter() takes the address of the domain's mail host", async () => {
  const { result, address, asked } = await scripted("a.test", A_TEST);
  assert.deepEqual(result, OK);
  assert.equal(address, "10.1.2.3:25");
  assert.deepEqual(asked, ["MX a.test", "A mail.a.test"]);
});

test("mxFilter() writes nothing but the address into the envelope", async () => {
  const envelope = { from: "me@here", toRemote: ["you@a.test"], trailer: ["X-Other: 1"] };
  const done = await scripted("a.test", A_TEST, { envelope });
  assert.deepEqual(done.envelope, {
    ...emptyEnvelope,
    ...envelope,
    forwardTo: "a.test",
    forwardToAddress: "10.1.2.3:25",
  });
});

test("mxFilter() has nothing to do without a routing domain", async () => {
  for (const forwardTo of ["", ":2525", "user@"]) {
    const { result, writes } = await route(forwardTo);
    assert.deepEqual(result, OK, forwardTo);
    assert.equal(writes, 0);
  }
});

test("mxFilter() takes the port from the routing domain and overlooks the user", async () => {
  assert.equal((await scripted("a.test:2525", A_TEST)).address, "10.1.2.3:2525");
  assert.equal((await scripted("joe@a.test:587", A_TEST)).address, "10.1.2.3:587");
  assert.equal((await scripted('"j@e"@a.test', A_TEST)).address, "10.1.2.3:25");
  assert.equal((await scripted("A.Test.", A_TEST)).address, "10.1.2.3:25");
});

test("mxFilter() reads the routing domain as xtext, and asks for its ASCII form", async () => {
  assert.equal((await scripted("joe+40a.test", A_TEST)).address, "10.1.2.3:25");
  const { asked } = await scripted("m+C3+BCnchen.test", () => nxdomain);
  assert.deepEqual(asked, ["MX xn--mnchen-3ya.test"]);
});

test("mxFilter() makes no other domain of one that is no host name", async () => {
  for (const domain of ["m\u00fcnchen.test/foo", "m\u00fc%41.test", "\uff11.\uff12"]) {
    const { result } = await route(encodeXtext(domain), { params: "127.0.0.1:1" });
    assert.equal(failed(result), `0 invalid forward-to "${encodeXtext(domain)}"`);
  }
});

test("mxFilter() looks up no literal addresses", async () => {
  const literals = {
    "[1.2.3.4]": "1.2.3.4:25",
    "[1.2.3.4]:2525": "1.2.3.4:2525",
    "joe@[1.2.3.4]": "1.2.3.4:25",
    "1.2.3.4:26": "1.2.3.4:26",
    "[IPv6:2001:db8::1]": "[2001:db8::1]:25",
    "[ipv6:2001:db8::1]:26": "[2001:db8::1]:26",
    "[2001:db8::1]": "[2001:db8::1]:25",
    "2001:db8::1": "[2001:db8::1]:25",
  };
  for (const [forwardTo, expected] of Object.entries(literals)) {
    const { result, address, notes } = await route(forwardTo, { params: "127.0.0.1:1" });
    assert.deepEqual(result, OK);
    assert.equal(address, expected);
    assert.equal(parseEndpoint(address)?.kind, "ip");
    assert.equal(notes.length, 1);
  }
});

test("mxFilter() empties the address for 0.0.0.0", async () => {
  const envelope = { forwardToAddress: "10.9.9.9:25" };
  const script = zone("a.test MX 1 m.test", "m.test A 0.0.0.0");
  assert.equal((await scripted("a.test", script, { envelope })).address, "");
  assert.equal((await route("[0.0.0.0]:2525", { envelope })).address, "");
});

test("mxFilter() fails what is no domain", async () => {
  const bad = ["a..test", "[1.2.3]", "[a.test]", "a.test:0", "a.test:99999", "[IPv6:1.2.3.4]"];
  for (const forwardTo of [...bad, "a b", "a:b:c", `${"x".repeat(64)}.test`, "a[b"]) {
    const { result } = await route(forwardTo, { params: "127.0.0.1:1" });
    assert.equal(failed(result), `0 invalid forward-to "${forwardTo}"`);
  }
  const { result } = await route("a+0D+0Ab\x1b[31m.test", { params: "127.0.0.1:1" });
  assert.equal(failed(result), '0 invalid forward-to "a+0D+0Ab?[31m.test"');
});

test("mxFilter() takes the best mail host, the first of equals", async () => {
  const script = zone(
    "a.test MX 30 c.test",
    "a.test MX 10 b1.test",
    "a.test MX 10 b2.test",
    "b1.test A 10.0.0.1",
    "b2.test A 10.0.0.2",
    "c.test A 10.0.0.3",
  );
  assert.equal((await scripted("a.test", script)).address, "10.0.0.1:25");
});

test("mxFilter() takes the next mail host when the best has no address", async () => {
  const script = zone("a.test MX 10 gone.test", "a.test MX 20 m.test", "m.test A 10.0.0.2");
  assert.equal((await scripted("a.test", script)).address, "10.0.0.2:25");
});

test("mxFilter() takes the domain's own address when it has no mail host", async () => {
  const { address, asked } = await scripted("a.test", zone("a.test A 10.0.0.1"));
  assert.equal(address, "10.0.0.1:25");
  assert.deepEqual(asked, ["MX a.test", "A a.test"]);
});

test("mxFilter() takes an IPv6 address when there is no other", async () => {
  const script = zone("a.test MX 10 m.test", "m.test AAAA 2001:db8::1");
  const { address, asked } = await scripted("a.test:2525", script);
  assert.equal(address, "[2001:db8::1]:2525");
  assert.deepEqual(asked, ["MX a.test", "A m.test", "AAAA m.test"]);
});

test("mxFilter() takes an address in the answer for the mail host at once", async () => {
  const script: Script = () => ({ records: ["a.test A 10.0.0.7"] });
  const { address, asked } = await scripted("a.test", script);
  assert.equal(address, "10.0.0.7:25");
  assert.deepEqual(asked, ["MX a.test"]);
});

test("mxFilter() follows aliases that come with their target", async () => {
  const script = zone(
    "a.test CNAME b.test",
    "b.test MX 10 m.test",
    "m.test CNAME n.test",
    "n.test A 10.0.0.1",
  );
  const { address, asked } = await scripted("a.test", script);
  assert.equal(address, "10.0.0.1:25");
  assert.deepEqual(asked, ["MX a.test", "A m.test"]);
});

test("mxFilter() follows aliases that come alone", async () => {
  const records: Record<string, string> = {
    "MX a.test": "a.test CNAME b.test",
    "MX b.test": "b.test MX 10 m.test",
    "A m.test": "m.test CNAME n.test",
    "A n.test": "n.test A 10.0.0.1",
  };
  const script: Script = (asked) => ({ records: [records[asked] ?? ""] });
  const { address, asked } = await scripted("a.test", script);
  assert.equal(address, "10.0.0.1:25");
  assert.deepEqual(asked, Object.keys(records));
});

test("mxFilter() fails a domain whose aliases go round in circles", async () => {
  const script: Script = (asked) => ({
    records: asked.endsWith("a.test") ? ["a.test CNAME b.test"] : ["b.test CNAME a.test"],
  });
  const { result } = await scripted("a.test", script);
  assert.equal(failed(result), '550 too many aliases of "a.test"');
});

test("mxFilter() fails a domain that says that it takes no mail", async () => {
  const { result } = await scripted("a.test", zone("a.test MX 0 .", "a.test A 10.0.0.1"));
  assert.equal(failed(result), '556 domain "a.test" does not accept mail (null mx)');
});

test("mxFilter() fails a domain that has neither mail host nor address", async () => {
  const { result, address } = await scripted("a.test", () => noData);
  assert.equal(failed(result), '550 no mail host or address for "a.test"');
  assert.equal(address, "");
});

test("mxFilter() fails a domain that does not exist", async () => {
  const { result, at } = await scripted("a.test", () => nxdomain);
  assert.equal(failed(result), `550 no such domain "a.test" (dns server ${at})`);
});

test("mxFilter() asks the next server for a name that one does not know", async () => {
  await using one = await DnsServer.start(() => nxdomain);
  await using two = await DnsServer.start(A_TEST);
  const clock = new ManualClock();
  const { address } = await route("a.test", { params: `${one.address};${two.address}`, clock });
  assert.equal(address, "10.1.2.3:25");
});

test("mxFilter() asks nobody else when the answer is authoritative", async () => {
  await using one = await DnsServer.start(() => authoritativeNxdomain);
  await using two = await DnsServer.start(A_TEST);
  const { result } = await route("a.test", { params: `${one.address};${two.address}` });
  assert.equal(failed(result), `550 no such domain "a.test" (dns server ${one.address})`);
  assert.deepEqual(two.asked, []);
});

test("mxFilter() fails for now when all servers refuse", async () => {
  await using one = await DnsServer.start(() => servfail);
  await using two = await DnsServer.start(() => ({ code: 5 }));
  const clock = new ManualClock();
  const params = `${one.address};${two.address}`;
  const { result } = await route("a.test", { params, clock });
  assert.equal(failed(result), `0 dns server ${one.address} cannot look up "a.test": SERVFAIL`);
});

test("mxFilter() asks many servers without a warning from the runtime", async () => {
  const warnings: string[] = [];
  const note = (warning: Error): number => warnings.push(warning.message);
  process.on("warning", note);
  await using server = await DnsServer.start((_, nth) =>
    nth < 15 ? servfail : { records: ["a.test A 10.0.0.1"] },
  );
  const params = Array.from({ length: 15 }, () => server.address).join(";");
  const { address } = await route("a.test", { params, clock: new ManualClock() });
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", note);
  assert.equal(address, "10.0.0.1:25");
  assert.deepEqual(warnings, []);
});

test("mxFilter() goes on at once from a server that cannot be reached", async () => {
  await using two = await DnsServer.start(A_TEST);
  const params = `${await deadServer()};${two.address}`;
  const { address } = await route("a.test", { params, clock: new ManualClock() });
  assert.equal(address, "10.1.2.3:25");
});

test("mxFilter() asks the next server after a second of silence", async () => {
  await using one = await DnsServer.start(() => null);
  await using two = await DnsServer.start(() => ({ records: ["a.test A 10.0.0.1"] }));
  const clock = new ManualClock();
  const routed = route("a.test", { params: `${one.address};${two.address}`, clock });
  await one.received(1);
  assert.deepEqual(two.asked, []);
  await clock.advance(1);
  assert.equal((await routed).address, "10.0.0.1:25");
});

test("mxFilter() takes the answer of a slow server while it asks another", async () => {
  await using two = await DnsServer.start(() => null);
  await using one = await DnsServer.start(async () => {
    await two.received(1);
    return { records: ["a.test A 10.0.0.1"] };
  });
  const clock = new ManualClock();
  const routed = route("a.test", { params: `${one.address};${two.address}`, clock });
  await one.received(1);
  await clock.advance(1);
  assert.equal((await routed).address, "10.0.0.1:25");
});

test("mxFilter() starts again with the first server after 15 seconds", async () => {
  await using one = await DnsServer.start((_, nth) =>
    nth === 1 ? null : { records: ["a.test A 10.0.0.1"] },
  );
  const clock = new ManualClock();
  const routed = route("a.test", { params: one.address, clock });
  await one.received(1);
  await clock.advance(15);
  assert.equal(one.asked.length, 1);
  await clock.advance(1);
  assert.equal((await routed).address, "10.0.0.1:25");
});

test("mxFilter() takes its pauses from nst= and rt=", async () => {
  await using one = await DnsServer.start((_, nth) =>
    nth === 1 ? null : { records: ["a.test A 10.0.0.1"] },
  );
  const clock = new ManualClock();
  const routed = route("a.test", { params: `nst=2;rt=3;${one.address}`, clock });
  await one.received(1);
  await clock.advance(4);
  assert.equal(one.asked.length, 1);
  await clock.advance(1);
  assert.equal((await routed).address, "10.0.0.1:25");
});

test("mxFilter() gives up when its time is over", async () => {
  await using server = await DnsServer.start(() => null);
  const { result } = await route("a.test", { params: server.address, timeoutMs: 50 });
  assert.equal(failed(result), '0 no answer from dns after 0.05s: "a.test"');
});

test("mxFilter() rejects when the run is stopped", async () => {
  await using server = await DnsServer.start(() => null);
  const stop = new AbortController();
  const routed = route("a.test", { params: server.address, signal: stop.signal });
  await server.received(1);
  stop.abort(new Error("Enough"));
  await assert.rejects(routed, /Enough/);
});

test("mxFilter() overlooks forged answers", async () => {
  const forged: Script = (asked) => {
    const before = (query: Buffer, answer: Buffer) => {
      const wrongId = Buffer.from(answer);
      wrongId.writeUInt16BE(answer.readUInt16BE(0) ^ 0xffff, 0);
      wrongId.writeUInt16BE(0x8583, 2);
      return [wrongId, query, Buffer.from("garbage")];
    };
    return { ...A_TEST(asked), before };
  };
  assert.equal((await scripted("a.test", forged)).address, "10.1.2.3:25");
});

test("mxFilter() tells of each question and answer, and nothing raw", async () => {
  const script = zone("a.test MX 10 e\x1b[31m\n.test", "e\x1b[31m\n.test A 10.0.0.1");
  const { notes, at } = await scripted("a.test", script);
  const start = `detail routing-filter [mx:]: [${aJob.id}]:`;
  assert.deepEqual(notes, [
    `${start} dns query [MX a.test] to ${at}`,
    `${start} dns answer [MX a.test] from ${at}: MX 10 e\\027[31m\\010.test`,
    `${start} dns query [A e\\027[31m\\010.test] to ${at}`,
    `${start} dns answer [A e\\027[31m\\010.test] from ${at}: A 10.0.0.1`,
    `${start} [a.test]: forward-to-address [10.0.0.1:25]`,
  ]);
});

test("mxFilter() writes nothing when the address is there already", async () => {
  const envelope = { forwardToAddress: "10.1.2.3:25" };
  assert.equal((await scripted("a.test", A_TEST, { envelope })).writes, 0);
});

test("mxFilter() refuses parameters that it does not know", () => {
  const { terms } = filterTerms();
  for (const word of ["dns.test", "nst=", "nst=x", "rt=-1", "1.2.3.4:0", "ttl=3", "nst=1s"]) {
    assert.throws(() => mxFilter(`nst=1;${word};1.2.3.4`, terms), {
      code: "CONFIG_INVALID",
      message: `invalid value for mx: "${word}": expected "nst=<seconds>", "rt=<seconds>" or "<dns ip>[:<port>]"`,
    });
  }
  for (const params of ["", "nst=1;rt=2;", "1.2.3.4;[::1]:5353;::1", "127.0.0.1:5353"]) {
    assert.equal(mxFilter(params, terms).id, "mx:");
  }
});
