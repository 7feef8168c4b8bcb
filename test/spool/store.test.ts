import { rmSync } from "node:fs";
import { join } from "node:path";
import { silentJournal } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import { openFileStore } from "../../src/spool/file-store.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import { tempSpool } from "../support/temp-spool.ts";
import { storeContract } from "./store-contract.ts";

storeContract("FileStore", async () => {
  const spool = await tempSpool();
  return {
    store: await spool.open(),
    loseContent: (id) => rmSync(join(spool.directory, `${id}.content`)),
    [Symbol.asyncDispose]: async () => await spool[Symbol.asyncDispose](),
  };
});

storeContract("FileStore watching", async () => {
  const spool = await tempSpool();
  return {
    store: await spool.open({ watch: true }),
    loseContent: (id) => rmSync(join(spool.directory, `${id}.content`)),
    [Symbol.asyncDispose]: async () => await spool[Symbol.asyncDispose](),
  };
});

storeContract("FileStore in memory", async () => {
  const disk = new CrashingDisk();
  const store = await openFileStore({
    directory: disk.directory,
    sync: true,
    shared: false,
    journal: silentJournal,
    clock: systemClock,
    disk,
  });
  return {
    store,
    loseContent: (id) => disk.remove(`${id}.content`),
    [Symbol.asyncDispose]: async () => await store.close(),
  };
});
