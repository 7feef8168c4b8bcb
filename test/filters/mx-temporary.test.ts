/** What "mx:" cannot find out at the moment, and what it has found out for good. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { filterChain } from "../../src/filters/chain.ts";
import { mxFilter } from "../../src/filters/mx.ts";
import { DnsServer, nxdomain, type Script, servfail, zone } from "../support/dns-server.ts";
import { aJob, filterTerms, NEVER } from "../support/filter-terms.ts";
import { ManualClock } from "../support/smtp-listener.ts";

/** True if the message may be routed another time; null if it was routed. */
async function isTemporary(script: Script): Promise<boolean | null> {
  await using server = await DnsServer.start(script);
  const { terms } = filterTerms({ role: "routing-filter", clock: new ManualClock() });
  const envelope = { ...emptyEnvelope, forwardTo: "a.test" };
  const editor = {
    ...terms.editor,
    readEnvelope: async () => envelope,
    writeEnvelope: async () => undefined,
  };
  const given = { ...terms, editor };
  await using filter = filterChain([mxFilter(server.address, given)], given);
  const verdict = await filter.run(aJob.files, NEVER);
  return verdict.kind === "reject" ? verdict.temporary === true : null;
}

test("mxFilter() may be able to route another time where no server can say now", async () => {
  assert.equal(await isTemporary(() => servfail), true);
});

test("mxFilter() will never route to a domain that does not exist", async () => {
  assert.equal(await isTemporary(() => nxdomain), false);
});

const TWO_HOSTS = zone("a.test MX 10 m.test", "a.test MX 20 n.test", "n.test A 10.0.0.2");

test("mxFilter() gives no domain up while one of its mail hosts cannot be looked up", async () => {
  const script: Script = (asked) =>
    asked === "A n.test" ? servfail : asked === "A m.test" ? nxdomain : TWO_HOSTS(asked);
  assert.equal(await isTemporary(script), true);
});

test("mxFilter() routes to the next mail host where the best cannot be looked up", async () => {
  const script: Script = (asked) => (asked === "A m.test" ? servfail : TWO_HOSTS(asked));
  assert.equal(await isTemporary(script), null);
});
