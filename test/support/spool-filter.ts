/** A message in a spool of its own, and the terms of a filter that works on it. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Envelope } from "../../src/core/envelope.ts";
import type { Draft } from "../../src/core/store.ts";
import type { FilterItem, FilterResult, FilterTerms } from "../../src/filters/item.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { FileStore } from "../../src/spool/file-store.ts";
import { anEnvelope } from "./messages.ts";
import { type TempSpool, tempSpool } from "./temp-spool.ts";

export const CONTENT = "Received: from x\r\nSubject: hello\r\n\r\n.dot\r\nbody\r\n";

export interface FilterBench extends AsyncDisposable {
  readonly spool: TempSpool;
  readonly store: FileStore;
  readonly terms: FilterTerms;
  /** Sealed, as a server filter finds it. */
  readonly draft: Draft;
  /** Lines for --verbose. */
  details(): string[];
  run(item: FilterItem): Promise<FilterResult>;
}

export async function filterBench(
  envelope: Partial<Envelope> = {},
  content: string | Buffer = CONTENT,
): Promise<FilterBench> {
  const spool = await tempSpool();
  const store = await spool.open();
  const draft = await store.create();
  await draft.write(Buffer.from(content));
  await draft.seal({ ...anEnvelope, ...envelope });
  const terms: FilterTerms = {
    role: "filter",
    timeoutMs: 0,
    account: null,
    domain: "relay.test",
    spoolDirectory: spool.directory,
    deliveryDirectory: spool.directory,
    editor: store.editor,
    journal: { detail: true, tell: (event) => void events.push(event) },
    clock: systemClock,
  };
  const events: Parameters<FilterTerms["journal"]["tell"]>[0][] = [];
  return {
    spool,
    store,
    terms,
    draft,
    details: () => events.flatMap((event) => (event.kind === "note" ? [event.text] : [])),
    run: async (item) =>
      await item.run({ id: draft.id, files: draft.files() }, new AbortController().signal),
    async [Symbol.asyncDispose]() {
      await draft[Symbol.asyncDispose]();
      await spool[Symbol.asyncDispose]();
    },
  };
}

export function makeMaildir(parent: string, name: string): string {
  const path = join(parent, name);
  for (const folder of ["tmp", "new", "cur"]) mkdirSync(join(path, folder), { recursive: true });
  return path;
}
