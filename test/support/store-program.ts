/** Other processes for spool tests: `node store-program.js <part> <spool>`; what happens goes to stdout. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { RelayError } from "../../src/core/errors.ts";
import type { Journal } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import { type FileStore, openFileStore } from "../../src/spool/file-store.ts";
import { storeMessage } from "./messages.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

const journal: Journal = {
  detail: false,
  tell(event) {
    if (event.kind === "note" && !/cannot register/.test(event.text)) {
      say(`${event.level} ${event.text}`);
    }
  },
};

/** Holds a lease and a half-written draft until it is killed. */
async function holdForEver(store: FileStore): Promise<void> {
  const stored = await storeMessage(store, "held");
  const lease = await store.lease(stored);
  const draft = await store.create();
  await draft.write(Buffer.from("half a mess"));
  say(`${lease?.id} ${draft.id}`);
  await new Promise(() => setInterval(() => undefined, 1000));
}

/** Takes and removes what waits. */
async function forwardAll(store: FileStore): Promise<void> {
  for (const id of await store.ready()) {
    await using lease = await store.lease(id);
    await lease?.complete();
    say(id);
  }
  await store.close();
}

/** The same, but it is killed when it is about to remove the first content. */
async function forwardHalf(store: FileStore): Promise<void> {
  const { unlinkSync } = fs;
  fs.unlinkSync = (path) => {
    if (String(path).endsWith(".content")) process.kill(process.pid, "SIGKILL");
    unlinkSync(path);
  };
  syncBuiltinESMExports();
  await forwardAll(store);
}

async function storeAsNobody(store: FileStore): Promise<void> {
  try {
    await storeMessage(store, "x");
    say("stored");
  } catch (error) {
    say(error instanceof RelayError ? error.code : String(error));
  }
  await store.close();
}

/** What the program is told to do. */
export type Part = "hold" | "forward-all" | "forward-half" | "store-as-nobody";

const [, , part, directory = ""] = process.argv;
if (part === "store-as-nobody") process.setuid?.(65534);
const store = await openFileStore({
  directory,
  sync: true,
  shared: false,
  journal,
  clock: systemClock,
});
if (part === "store-as-nobody") await storeAsNobody(store);
else if (part === "forward-all") await forwardAll(store);
else if (part === "forward-half") await forwardHalf(store);
else await holdForEver(store);
