import assert from "node:assert/strict";
import { test } from "node:test";
import { RelayError } from "../../src/core/errors.ts";
import type { Draft, Store } from "../../src/core/store.ts";
import { readCommandLine } from "../../src/submit/options.ts";
import { readRequest } from "../../src/submit/request.ts";
import { submit } from "../../src/submit/submit.ts";
import { MemoryStore } from "../support/memory-store.ts";

async function* bytes(...chunks: string[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk, "latin1");
}

const stations = (store: Pick<Store, "create">) => ({ store, clock: { now: () => 0 }, pid: 1 });
const request = (...args: string[]) => readRequest(readCommandLine(args));

test("submit() queues header and body with the envelope", async () => {
  const store = new MemoryStore();
  const ids = await submit(
    request("-f", "a@b", "c@d"),
    bytes("X: y\n", "\nbo", "dy\n.\n"),
    stations(store),
  );
  assert.equal(ids.length, 1);
  const [kept] = [...store.kept.values()];
  assert.equal(kept?.content?.toString("latin1"), "X: y\r\n\r\nbody\r\n.\r\n");
  assert.equal(kept?.envelope.from, "a@b");
  assert.deepEqual(kept?.envelope.toRemote, ["c@d"]);
});

test("submit() gives every part of a split message the whole body", async () => {
  const store = new MemoryStore();
  await submit(request("-b"), bytes("To: a@b\nBcc: c@d\n\none\n", "two\n"), stations(store));
  const contents = [...store.kept.values()].map((kept) => kept.content?.toString("latin1"));
  assert.deepEqual(contents, [
    "To: a@b\r\n\r\none\r\ntwo\r\n",
    "To: a@b\r\nbcc: c@d\r\n\r\none\r\ntwo\r\n",
  ]);
});

test("submit() leaves nothing when the input fails half-way", async () => {
  const store = new MemoryStore();
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("To: a@b\n\nhalf");
    throw new Error("the terminal burnt down");
  }
  await assert.rejects(submit(request(), failing(), stations(store)), /burnt down/);
  assert.equal(store.kept.size, 0);
  assert.equal(store.drafts, 0);
});

test("submit() leaves nothing when the disk is full", async () => {
  const store = new MemoryStore();
  store.trouble = { on: "commit", error: new RelayError("SPOOL_FULL", "x", "no space left") };
  await assert.rejects(
    submit(request("-b"), bytes("To: a@b\nBcc: c@d\n\n"), stations(store)),
    /no space left/,
  );
  assert.equal(store.kept.size, 0);
  assert.equal(store.drafts, 0);
});

test("submit() says how many messages went into the queue before one could not", async () => {
  const store = new MemoryStore();
  const create = async (): Promise<Draft> => {
    const draft = await store.create();
    const { commit } = draft;
    draft.commit = async () => {
      await commit();
      store.trouble = { on: "commit", error: new RelayError("SPOOL_FULL", "x", "no space left") };
    };
    return draft;
  };
  await assert.rejects(
    submit(request("-b"), bytes("Bcc: a@b, c@d, e@f\n\n"), stations({ create })),
    {
      message: "1 of 3 messages submitted, then: no space left",
    },
  );
  assert.equal(store.kept.size, 1);
});

test("submit() touches no store when the header cannot be read", async () => {
  const create = (): Promise<Draft> => assert.fail("no draft may be made");
  await assert.rejects(
    submit(request(), bytes('To: "x\n\n'), stations({ create })),
    /invalid address-list/,
  );
});

test("submit() holds no more of a large body than a chunk", async () => {
  const store = new MemoryStore();
  let unwritten = 0;
  let most = 0;
  let total = 0;
  async function* large(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("To: a@b\n\n");
    for (let count = 0; count < 1000; count++) {
      unwritten += 65_536;
      most = Math.max(most, unwritten);
      yield Buffer.alloc(65_536, "0123456789abcde\n");
    }
  }
  const create = async (): Promise<Draft> => {
    const draft = await store.create();
    draft.write = async (chunk) => {
      total += chunk.length;
      unwritten = 0;
    };
    return draft;
  };
  await submit(request(), large(), stations({ create }));
  assert.equal(total, "To: a@b\r\n\r\n".length + 1000 * 65_536 + 1000 * 4096);
  assert.ok(most <= 2 * 65_536, `${most} bytes were waiting`);
});
