import assert from "node:assert/strict";
import { test } from "node:test";
import { parseEndpoint } from "../../src/core/endpoint.ts";
import { isOwnListener } from "../../src/io/own-listener.ts";

const OURS = ["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7", "fe80::1"];

function own(far: string, ...listening: readonly string[]): boolean {
  const endpoint = parseEndpoint(far);
  assert.ok(endpoint !== null, far);
  return isOwnListener(endpoint, listening, OURS);
}

test("isOwnListener() knows a listener by its address and port", () => {
  assert.ok(own("192.0.2.7:25", "192.0.2.7:25"));
  assert.ok(own("[2001:DB8:0::7]:25", "2001:db8::7.25"));
  assert.ok(own("localhost:25", "127.0.0.1:25"));
  assert.ok(own("/run/smtp", "/run/smtp"));
  assert.ok(!own("192.0.2.7:26", "192.0.2.7:25"));
  assert.ok(!own("192.0.2.8:25", "192.0.2.7:25"));
  assert.ok(!own("127.0.0.1:25", "192.0.2.7:25"));
  assert.ok(!own("/run/other", "/run/smtp"));
});

test("isOwnListener() knows every address of this machine where any is listened on", () => {
  for (const far of ["127.0.0.1:25", "127.9.9.9:25", "192.0.2.7:25", "0.0.0.0:25"]) {
    assert.ok(own(far, "0.0.0.0:25", "::.25"), far);
    assert.ok(!own(far, "::.25"), far);
  }
  for (const far of ["[::1]:25", "[2001:db8::7]:25", "[::]:25"]) {
    assert.ok(own(far, "0.0.0.0:25", "::.25"), far);
    assert.ok(!own(far, "0.0.0.0:25"), far);
  }
  assert.ok(!own("192.0.2.8:25", "0.0.0.0:25"));
});

test("isOwnListener() says nothing of names, of proxies, and of no listeners", () => {
  assert.ok(!own("mail.example.test:25", "0.0.0.0:25"));
  assert.ok(!own("127.0.0.1:25@127.0.0.1:1080", "0.0.0.0:25"));
  assert.ok(!own("127.0.0.1:25"));
});
