/** Other processes for spool tests: `node store-program.js <part> <spool>`; what happens goes to stdout. */
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
export type Part = "hold" | "store-as-nobody";

const [, , part, directory = ""] = process.argv;
if (part === "store-as-nobody") process.setuid?.(65534);
const store = await openFileStore({
  directory,
  sync: true,
  shared: false,
  journal,
  clock: systemClock,
});
await (part === "store-as-nobody" ? storeAsNobody(store) : holdForEver(store));
