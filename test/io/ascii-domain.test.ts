import assert from "node:assert/strict";
import { test } from "node:test";
import { asciiDomain } from "../../src/io/ascii-domain.ts";

test("asciiDomain() makes A-labels of what is not ASCII, as IDNA maps it", () => {
  const same = (domain: string, ascii: string) => assert.equal(asciiDomain(domain), ascii, domain);
  same("m\u00fcnchen.de", "xn--mnchen-3ya.de");
  same("M\u00dcNCHEN.DE.", "xn--mnchen-3ya.de.");
  same("fa\u00df.de", "xn--fa-hia.de");
  same("_x.m\u00fc-1.de", "_x.xn--m-1-hoa.de");
  same("\uff45xample\u3002com", "example.com");
});

test("asciiDomain() leaves ASCII alone, whatever it is", () => {
  for (const domain of ["", "ExAmPle.ORG", "1.2", "[1.2.3.4]", "a b", "a/b", "%41"]) {
    assert.equal(asciiDomain(domain), domain);
  }
});

test("asciiDomain() gives no other domain and no address instead", () => {
  const none = [
    ...["m\u00fcnchen.de/foo", "m\u00fcnchen.de?x", "m\u00fcnchen.de#x", "m\u00fcnchen.de:25"],
    ...["m\u00fc%41.de", "\u00fc\\b", "[\u00fc]", "\u00fc@x", "\u00fc x", "m\u00fc\u2100.de"],
    ...["\uff11.\uff12", "\uff11.2.3.4", "\uff10x7f\u30021", "\u00fc.1", "\uff11"],
    ...["xn--\u00fc.de", "a\u3002\u3002\u00fc", "\u3002\u00fc", "\u00ad"],
  ];
  for (const domain of none) assert.equal(asciiDomain(domain), null, JSON.stringify(domain));
});
