import assert from "node:assert/strict";
import { test } from "node:test";
import { dnsblFaults, parseDnsbl } from "../../src/policy/dnsbl-spec.ts";

const DEFAULTS = {
  lists: ["a.test"],
  threshold: 1,
  timeoutMs: 5000,
  afterTimeout: "allow",
  server: null,
};

test("parseDnsbl() takes lists alone", () => {
  assert.deepEqual(parseDnsbl("a.test"), DEFAULTS);
  assert.deepEqual(parseDnsbl("a.test,b.test."), { ...DEFAULTS, lists: ["a.test", "b.test"] });
  assert.deepEqual(parseDnsbl(" a.test , b.test").lists, ["a.test", "b.test"]);
});

test("parseDnsbl() takes threshold, time-out and server after the lists", () => {
  assert.deepEqual(parseDnsbl("a.test,2"), { ...DEFAULTS, threshold: 2 });
  assert.deepEqual(parseDnsbl("a.test,0,100").timeoutMs, 100);
  assert.deepEqual(parseDnsbl("a.test,b.test,2,-3s,1.2.3.4:5353"), {
    lists: ["a.test", "b.test"],
    threshold: 2,
    timeoutMs: 3000,
    afterTimeout: "deny",
    server: { host: "1.2.3.4", port: 5353 },
  });
});

test("parseDnsbl() takes everything in the reverse order", () => {
  assert.deepEqual(parseDnsbl("1.2.3.4:5353,-3000ms,2,a.test,b.test"), {
    lists: ["a.test", "b.test"],
    threshold: 2,
    timeoutMs: 3000,
    afterTimeout: "deny",
    server: { host: "1.2.3.4", port: 5353 },
  });
  assert.deepEqual(parseDnsbl("[::1]:53,1s,0,a.test").server, { host: "::1", port: 53 });
});

test("parseDnsbl() takes the time-out in milliseconds or seconds", () => {
  const timeouts = ["500", "500ms", "5s", "+5s", "-1", "-2s", "0", "-0"].map((word) => {
    const { timeoutMs, afterTimeout } = parseDnsbl(`a.test,1,${word}`);
    return `${timeoutMs} ${afterTimeout}`;
  });
  assert.deepEqual(timeouts, [
    "500 allow",
    "500 allow",
    "5000 allow",
    "5000 allow",
    "1 deny",
    "2000 deny",
    "0 allow",
    "0 allow",
  ]);
});

test("parseDnsbl() takes a server with and without port", () => {
  const servers = ["1.2.3.4", "1.2.3.4:54", "::1", "[::1]", "[::1]:54"].map(
    (word) => parseDnsbl(`a.test,1,1,${word}`).server,
  );
  assert.deepEqual(servers, [
    { host: "1.2.3.4", port: 53 },
    { host: "1.2.3.4", port: 54 },
    { host: "::1", port: 53 },
    { host: "::1", port: 53 },
    { host: "::1", port: 54 },
  ]);
});

test("dnsblFaults() names the word at fault", () => {
  const faults = {
    "": 'not the name of a block list: ""',
    "a.test,,b.test": 'not the name of a block list: ""',
    "a b": 'not the name of a block list: "a b"',
    "a..test": 'not the name of a block list: "a..test"',
    "a.test,1.2.3.4": 'not the name of a block list: "1.2.3.4"',
    "a.test,127.0.0.1:53": 'not the name of a block list: "127.0.0.1:53"',
    [`${"abcdefg.".repeat(25)}test`]: `not the name of a block list: "${"abcdefg.".repeat(25)}test"`,
    "1": 'no block list before "1"',
    "a.test,-1": 'not a threshold: "-1"',
    "a.test,1s": 'not a threshold: "1s"',
    "a.test,1,x": 'not a timeout: "x"',
    "a.test,1,5m": 'not a timeout: "5m"',
    "a.test,1,9999s": 'not a timeout: "9999s"',
    "a.test,1,5s,dns.test": 'not the address of a dns server: "dns.test"',
    "a.test,1,5s,1.2.3.4:0": 'not the address of a dns server: "1.2.3.4:0"',
    "a.test,1,5s,1.2.3.4,b.test": 'nothing may follow the dns server: "b.test"',
    "1.2.3.4": 'not a timeout: ""',
    "1.2.3.4,a.test": 'not a timeout: "a.test"',
    "1.2.3.4,5s,a.test": 'not a threshold: "a.test"',
    "1.2.3.4,5s,1": 'no block list before "1"',
    "1.2.3.4,5s,1,a.test,2": 'not the name of a block list: "2"',
  };
  for (const [text, why] of Object.entries(faults)) {
    assert.deepEqual(dnsblFaults(text), [`invalid dnsbl configuration: ${why}`], text);
  }
  assert.deepEqual(dnsblFaults("a.test,1,5s,1.2.3.4"), []);
});
