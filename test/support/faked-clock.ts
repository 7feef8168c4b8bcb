/** A wall clock that jumps, for programs that are started under it (libfaketime); what counts seconds goes on as it does. */
import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { present } from "./peer.ts";
import { TestRelay, temporary } from "./relayd.ts";

/** For a test's `skip`. */
export const cannotFakeTime = (): string | false => present("faketime");

export class FakedClock {
  readonly #offset = join(temporary(), "offset");

  constructor() {
    this.jump("+0s");
  }

  /** From the real time: "+3600s". */
  jump(offset: string): void {
    writeFileSync(`${this.#offset}.new`, offset);
    renameSync(`${this.#offset}.new`, this.#offset);
  }

  async start(args: readonly string[], spool?: string): Promise<TestRelay> {
    const faked = {
      LD_PRELOAD: library(),
      FAKETIME_TIMESTAMP_FILE: this.#offset,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
    Object.assign(process.env, faked);
    try {
      return await TestRelay.start(args, spool === undefined ? {} : { spool });
    } finally {
      for (const name of Object.keys(faked)) delete process.env[name];
    }
  }
}

function library(): string {
  const paths = readdirSync("/usr/lib").map(
    (folder) => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`,
  );
  return paths.find((path) => existsSync(path)) ?? "";
}
