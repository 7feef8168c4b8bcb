import assert from "node:assert/strict";
import { Resolver } from "node:dns/promises";
import { test } from "node:test";
import { askDns, parseDnsServer, systemDnsServers } from "../../src/io/dns.ts";
import { type DnsQuestion, decodeAnswer, encodeQuery } from "../../src/io/dns-message.ts";
import {
  answerTo,
  authoritativeNxdomain,
  DnsServer,
  deadServer,
  nxdomain,
  type Script,
  zone,
} from "../support/dns-server.ts";

const A: DnsQuestion = { name: "a.test", type: "A" };

async function ask(
  server: string,
  question: DnsQuestion = A,
  signal = AbortSignal.timeout(10_000),
) {
  const at = parseDnsServer(server);
  assert.ok(at !== null);
  return await askDns(question, at, { resendMs: 0, signal });
}

async function answered(script: Script, question: DnsQuestion = A) {
  await using server = await DnsServer.start(script);
  return await ask(server.address, question);
}

test("the scripted server is understood by another resolver too", async () => {
  await using server = await DnsServer.start(
    zone("a.test A 10.1.2.3", "a.test AAAA 2001:db8::1", "a.test MX 10 mail.a.test"),
  );
  const resolver = new Resolver({ timeout: 5000, tries: 1 });
  resolver.setServers([server.address]);
  assert.deepEqual(await resolver.resolve4("a.test"), ["10.1.2.3"]);
  assert.deepEqual(await resolver.resolve6("a.test"), ["2001:db8::1"]);
  const [mx] = await resolver.resolveMx("a.test");
  assert.deepEqual([mx?.exchange, mx?.priority], ["mail.a.test", 10]);
  await assert.rejects(resolver.resolve4("b.test"), { code: "ENOTFOUND" });
});

test("askDns() reads addresses, mail exchangers and aliases", async () => {
  const records = ["a.test CNAME b.test", "b.test MX 10 m.test", "m.test A 10.1.2.3"];
  const answer = await answered(() => ({ records }), { name: "a.test", type: "MX" });
  assert.deepEqual(answer.records, [
    { type: "CNAME", owner: "a.test", target: "b.test" },
    { type: "MX", owner: "b.test", preference: 10, exchange: "m.test" },
    { type: "A", owner: "m.test", address: "10.1.2.3" },
  ]);
});

test("askDns() writes IPv6 addresses in their short form", async () => {
  const { records } = await answered(zone("a.test AAAA 2001:db8::1"), { ...A, type: "AAAA" });
  assert.deepEqual(records, [{ type: "AAAA", owner: "a.test", address: "2001:db8::1" }]);
});

test("askDns() leaves out types that nobody asked for", async () => {
  const { records } = await answered(() => ({
    records: ["a.test TXT hello", "a.test A 10.0.0.1"],
  }));
  assert.deepEqual(records, [{ type: "A", owner: "a.test", address: "10.0.0.1" }]);
});

test("askDns() tells whether the answer is authoritative", async () => {
  const plain = await answered(() => nxdomain);
  const authoritative = await answered(() => authoritativeNxdomain);
  assert.deepEqual([plain.code, plain.authoritative], [3, false]);
  assert.deepEqual([authoritative.code, authoritative.authoritative], [3, true]);
});

test("askDns() asks again over TCP when the answer was truncated", async () => {
  const records = Array.from({ length: 100 }, (_, n) => `a.test A 10.0.0.${n}`);
  await using server = await DnsServer.start(() => ({ records, truncated: true }));
  const answer = await ask(server.address);
  assert.equal(answer.records.length, 100);
  assert.equal(server.overTcp, 1);
});

test("askDns() rejects when the whole answer does not come over TCP either", async () => {
  await using server = await DnsServer.start((_, nth) =>
    nth === 1 ? { truncated: true } : Buffer.from("nonsense"),
  );
  await assert.rejects(ask(server.address), /no answer from dns server .*: not an answer/);
});

test("askDns() overlooks a wrong id, another question, a question and garbage", async () => {
  const script: Script = () => ({
    records: ["a.test A 10.0.0.1"],
    before: (query, answer) => {
      const wrongId = Buffer.from(answer);
      wrongId.writeUInt16BE(answer.readUInt16BE(0) ^ 1, 0);
      wrongId.writeUInt16BE(0, 6);
      const other = Buffer.from(answer);
      other.write("x", 13, "latin1");
      const cut = answer.subarray(0, answer.length - 1);
      return [
        wrongId,
        other,
        query,
        cut,
        Buffer.from("?"),
        Buffer.alloc(0),
        Buffer.alloc(600, 0xff),
      ];
    },
  });
  const { records } = await answered(script);
  assert.deepEqual(records, [{ type: "A", owner: "a.test", address: "10.0.0.1" }]);
});

test("askDns() overlooks an answer from another port", async () => {
  await using server = await DnsServer.start(() => ({
    records: ["a.test A 10.0.0.1"],
    fromElsewhere: true,
  }));
  const stop = new AbortController();
  const answer = ask(server.address, A, stop.signal);
  await server.received(1);
  // What was sent before is there before a second question comes back.
  await ask(server.address, A, AbortSignal.timeout(50)).catch(() => undefined);
  stop.abort(new Error("Enough"));
  await assert.rejects(answer, /Enough/);
});

test("askDns() compares names without case, as servers may change it", async () => {
  const script: Script = () => ({
    before: (query) => {
      const upper = Buffer.from(query);
      upper.write("A", 13, "latin1");
      return [answerTo(upper, { records: ["A.test A 10.0.0.2"] })];
    },
  });
  assert.equal((await answered(script)).records.length, 1);
});

test("askDns() sends the question once more when it was told to", async () => {
  await using server = await DnsServer.start((_, nth) => (nth === 1 ? null : nxdomain));
  const at = { host: "127.0.0.1", port: server.port };
  const answer = await askDns(A, at, { resendMs: 20, signal: AbortSignal.timeout(10_000) });
  assert.equal(answer.code, 3);
});

test("askDns() rejects at once when nobody listens", async () => {
  const dead = await deadServer();
  await assert.rejects(ask(dead), { message: `no answer from dns server ${dead}: ECONNREFUSED` });
});

test("askDns() rejects with the signal's reason", async () => {
  await using server = await DnsServer.start(() => null);
  const stop = new AbortController();
  const answer = ask(server.address, A, stop.signal);
  await server.received(1);
  stop.abort(new Error("Enough"));
  await assert.rejects(answer, /Enough/);
  await assert.rejects(ask(server.address, A, stop.signal), /Enough/);
});

test("askDns() rejects with the signal's reason while it waits for TCP", async () => {
  await using server = await DnsServer.start((_, nth) => (nth === 1 ? { truncated: true } : null));
  const stop = new AbortController();
  const answer = ask(server.address, A, stop.signal);
  await server.received(2);
  stop.abort(new Error("Enough"));
  await assert.rejects(answer, /Enough/);
});

test("askDns() speaks to a server on IPv6", async (context) => {
  let server: DnsServer;
  try {
    server = await DnsServer.start(zone("a.test A 10.0.0.1"), "::1");
  } catch {
    context.skip("no IPv6 here");
    return;
  }
  await using _ = server;
  assert.equal((await ask(server.address)).records.length, 1);
});

test("decodeAnswer() escapes what is not printable, and it can be asked for again", () => {
  const query = encodeQuery(7, { name: "a.test", type: "MX" });
  assert.ok(query !== null);
  const answer = answerTo(query, { records: ["a.test MX 1 e\r\n\x1b[31m\\.test"] });
  const [record] = decodeAnswer(answer, 7, { name: "a.test", type: "MX" })?.records ?? [];
  assert.ok(record?.type === "MX");
  assert.equal(record.exchange, "e\\013\\010\\027[31m\\092.test");
  const again = encodeQuery(7, { name: record.exchange, type: "A" });
  assert.equal(again?.includes("e\r\n\x1b[31m\\"), true);
});

test("decodeAnswer() refuses names that point forwards or at themselves", () => {
  const query = encodeQuery(7, A);
  assert.ok(query !== null);
  const answer = answerTo(query, { records: ["a.test CNAME b.test"] });
  const owner = query.length;
  for (const target of [owner, owner + 2, 0x3fff]) {
    const looped = Buffer.from(answer);
    looped.writeUInt16BE(0xc000 | target, owner);
    assert.equal(decodeAnswer(looped, 7, A), null);
  }
});

test("decodeAnswer() never throws, whatever is cut off or changed", () => {
  const query = encodeQuery(7, { name: "a.test", type: "MX" });
  assert.ok(query !== null);
  const question: DnsQuestion = { name: "a.test", type: "MX" };
  const records = ["a.test CNAME b.test", "b.test MX 1 m.test", "m.test AAAA 2001:db8::1"];
  const answer = answerTo(query, { records });
  for (let at = 0; at < answer.length; at += 1) {
    decodeAnswer(answer.subarray(0, at), 7, question);
    for (const value of [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff]) {
      const changed = Buffer.from(answer);
      changed[at] = value;
      decodeAnswer(changed, 7, question);
    }
  }
});

test("encodeQuery() refuses what cannot be a name", () => {
  const bad = ["", ".", "a..b", ".a", `${"x".repeat(64)}.test`, "abcdefg.".repeat(32)];
  assert.deepEqual(
    bad.filter((name) => encodeQuery(1, { name, type: "A" }) !== null),
    [],
  );
  assert.notEqual(encodeQuery(1, { name: "a.test.", type: "A" }), null);
});

test("parseDnsServer() takes addresses with and without port", () => {
  assert.deepEqual(parseDnsServer("1.2.3.4"), { host: "1.2.3.4", port: 53 });
  assert.deepEqual(parseDnsServer("1.2.3.4:5353"), { host: "1.2.3.4", port: 5353 });
  assert.deepEqual(parseDnsServer("::1"), { host: "::1", port: 53 });
  assert.deepEqual(parseDnsServer("[::1]"), { host: "::1", port: 53 });
  assert.deepEqual(parseDnsServer("[::1]:5353"), { host: "::1", port: 5353 });
  const bad = ["", "dns.test", "dns.test:53", "1.2.3", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:70000"];
  assert.deepEqual(
    [...bad, "1.2.3.4:smtp", "/run/dns", "[]"].filter((text) => parseDnsServer(text) !== null),
    [],
  );
});

test("systemDnsServers() knows at least one", () => {
  assert.ok(systemDnsServers().every(({ host, port }) => host !== "" && port > 0));
});
