import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientCount } from "../../src/io/client-count.ts";

test("ClientCount lets each client have its share, and no more until one leaves", () => {
  const clients = new ClientCount(2);
  assert.ok(clients.enter("192.0.2.1") && clients.enter("192.0.2.1"));
  assert.ok(!clients.enter("192.0.2.1"));
  assert.ok(clients.enter("192.0.2.2"));
  clients.leave("192.0.2.1");
  assert.ok(clients.enter("192.0.2.1"));
  assert.ok(!clients.enter("192.0.2.1"));
});

test("ClientCount takes a /64 network of IPv6 for one client, however it is written", () => {
  const clients = new ClientCount(4);
  for (const one of [
    "2001:db8::1",
    "2001:db8:0:0:1::",
    "2001:db8::ffff:1:2:3",
    "2001:db8::1.2.3.4",
  ]) {
    assert.ok(clients.enter(one), one);
  }
  assert.ok(!clients.enter("2001:db8::2"));
  assert.ok(clients.enter("2001:db8:0:1::2"));
  assert.ok(clients.enter("fe80::1%eth0"));
});

test("ClientCount never counts this machine's own programs, and nobody without a limit", () => {
  const one = new ClientCount(1);
  const none = new ClientCount(0);
  for (let n = 0; n < 3; n += 1) {
    assert.ok(one.enter("127.0.0.1") && one.enter("::1") && one.enter("/"));
    assert.ok(none.enter("192.0.2.1"));
  }
});
