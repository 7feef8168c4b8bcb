import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { test } from "node:test";
import { blockBytes, digestFrom, stateAfter } from "../../src/auth/hash-state.ts";
import {
  dottedMask,
  HASHES,
  hmacFromMask,
  makeMask,
  parseDottedMask,
} from "../../src/auth/hmac-mask.ts";

test("digestFrom() continues a hash from its first block exactly as node:crypto computes it whole", () => {
  for (const hash of HASHES) {
    for (const length of [0, 1, 54, 55, 56, 63, 64, 65, 111, 112, 119, 120, 127, 128, 129, 1000]) {
      const block = Buffer.from(
        Array.from({ length: blockBytes(hash) }, (_, i) => (i * 37 + length) & 0xff),
      );
      const rest = Buffer.from(Array.from({ length }, (_, i) => (i * 91 + 200) & 0xff));
      const whole = createHash(hash).update(block).update(rest).digest("hex");
      const found = digestFrom(hash, stateAfter(hash, block), rest).toString("hex");
      assert.equal(found, whole, `${hash} with ${length} bytes`);
    }
  }
});

test("hmacFromMask() equals the HMAC of the password, short, long and empty", () => {
  const challenge = Buffer.from("<3978.1795226189@relay.test.localnet>");
  for (const hash of HASHES) {
    for (const password of ["", "foobar", "x".repeat(64), "y".repeat(129)]) {
      const key = Buffer.from(password);
      const wanted = createHmac(hash, key).update(challenge).digest("hex");
      const found = hmacFromMask(hash, makeMask(hash, key), challenge).toString("hex");
      assert.equal(found, wanted, `${hash} with a key of ${password.length} bytes`);
    }
  }
});

test("makeMask() makes the MD5 masks that E-MailRelay 2.6 makes", () => {
  const mask = (password: string) => makeMask("md5", Buffer.from(password)).toString("base64");
  assert.equal(mask("foobar"), "3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE=");
  assert.equal(mask("secret"), "qeD38fvADIqBu6rDlXMbVs07p96q1uXKI0SLpC43l0c=");
  assert.equal(mask(`${"0".repeat(99)}7`), "RmWp/dAyFW8xgrS13GXgeVya/BBYzA/ct3WarymIkAc=");
});

test("dottedMask() and parseDottedMask() are inverse, and only eight 32-bit words are a dotted mask", () => {
  const mask = makeMask("md5", Buffer.from("foobar"));
  const dotted =
    "3507327710.2524437411.674156941.3275202688.3577739107.3692417735.1542828932.27631078";
  assert.equal(dottedMask(mask), dotted);
  assert.deepEqual(parseDottedMask(dotted), mask);
  assert.equal(parseDottedMask("1.2.3"), null);
  assert.equal(parseDottedMask(dotted.replace("27631078", "4294967296")), null);
  assert.equal(parseDottedMask(dotted.replace("27631078", "-1")), null);
});
