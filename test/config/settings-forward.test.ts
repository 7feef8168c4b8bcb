import assert from "node:assert/strict";
import { test } from "node:test";
import { errorsOf, instanceOf, read } from "../support/configuration.ts";

const forwardOf = (...argv: string[]) => instanceOf(["--forward-to=mail:25", ...argv]).forward;

const words = (line: string): string[] => line.split(" ");

test("forwarding has the documented time-outs", () => {
  const forward = forwardOf();
  assert.deepEqual(forward, {
    to: "mail:25",
    atStart: false,
    onDisconnect: false,
    immediate: false,
    pollSeconds: null,
    recipients: "all",
    fallbacks: [],
    retry: null,
    parallel: 4,
    rate: null,
    client: {
      interface: null,
      connectionTimeoutMs: 40_000,
      responseTimeoutMs: 60_000,
      promptTimeoutMs: 20_000,
      messageTimeoutMs: 3_600_000,
      smtp: {
        pipelining: true,
        smtputf8strict: true,
        eightbitstrict: false,
        binarymimestrict: true,
        linger: true,
      },
      anonymous: false,
      secrets: null,
      authConfig: "",
      tls: null,
    },
  });
});

test("--poll is a period, and 0 means on disconnect", () => {
  assert.equal(forwardOf("--poll=60")?.pollSeconds, 60);
  const zero = forwardOf("--poll=0");
  assert.deepEqual([zero?.pollSeconds, zero?.onDisconnect], [null, true]);
  assert.equal(instanceOf(["--poll=0"]).forward, null);
});

test("when and how to forward is taken", () => {
  const forward = forwardOf("-f", "-1", "-m", "--forward-to-some", "-6", "::");
  assert.deepEqual(
    [forward?.atStart, forward?.onDisconnect, forward?.immediate, forward?.recipients],
    [true, true, true, "some"],
  );
  assert.equal(forward?.client.interface, "::");
  assert.equal(forwardOf("--forward-to-all")?.recipients, "all");
});

test("--retry has a schedule, gives each recipient its own fate, and takes lists and rates", () => {
  const forward = (line: string) => {
    const reading = read(words(line));
    return reading.kind === "run" ? (reading.config.instances[0]?.forward ?? null) : null;
  };
  const minute = 60_000;
  const usual = forward("--forward-to=a:1,b:2 --retry");
  assert.equal(usual?.to, "a:1");
  assert.deepEqual(usual.fallbacks, ["b:2"]);
  assert.deepEqual(usual.retry, {
    delaysMs: [
      minute,
      5 * minute,
      15 * minute,
      30 * minute,
      60 * minute,
      120 * minute,
      240 * minute,
    ],
    expireMs: 5 * 24 * 60 * minute,
  });
  assert.equal(usual.recipients, "some");
  const own = forward(
    "-o a:1 --retry=30s,2h --expire=1d --forward-rate=100/1h --forward-parallel=9",
  );
  assert.deepEqual(own?.retry, { delaysMs: [30_000, 120 * minute], expireMs: 24 * 60 * minute });
  assert.deepEqual(own.rate, { count: 100, periodMs: 60 * minute });
  assert.equal(own.parallel, 9);
  assert.equal(forward("-o a:1 --retry --forward-to-all")?.recipients, "all");
});

test("a client filter, which may end a run, has one connection at a time unless mail is tried again", () => {
  const parallel = (...argv: string[]) => forwardOf(...argv)?.parallel;
  assert.equal(parallel(), 4);
  assert.equal(parallel("--client-filter=exit:0"), 1);
  assert.equal(parallel("--client-filter=exit:0", "--forward-parallel=3"), 3);
  assert.equal(parallel("--client-filter=exit:0", "--retry"), 4);
});

test("wrong gaps, times, rates and lists are named", () => {
  const cases: readonly [string, string][] = [
    ["-o a:1 --retry=1m,x", 'invalid --retry value: "1m,x": use gaps such as 1m,5m,15m,30m,1h,4h'],
    ["-o a:1 --retry=0", 'invalid --retry value: "0": use gaps such as 1m,5m,15m,30m,1h,4h'],
    ["-o a:1 --retry --expire=soon", 'invalid --expire value: "soon": use a time such as 5d'],
    ["-o a:1 --expire=5d", "the --expire option requires --retry"],
    [
      "-o a:1 --forward-rate=0/1m",
      'invalid --forward-rate value: "0/1m": use a number and a time such as 100/1h',
    ],
  ];
  for (const [line, text] of cases) {
    assert.deepEqual(errorsOf(words(line)), [`relayd: usage error: ${text}`], line);
  }
  assert.match(errorsOf(words("-o a:1,,b:2"))[0] ?? "", /invalid --forward-to value: ""/);
});
