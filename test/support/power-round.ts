/** Rounds of a power-cut test: mail is pumped into a relayd on a file system that loses what was not synced. */
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JOURNAL_FOLDER } from "../../src/spool/journal-files.ts";
import { PAGE_BYTES } from "../../src/spool/journal-format.ts";
import { type Account, accountFor } from "./accounting.ts";
import { freePort } from "./catcher.ts";
import { Children } from "./children.ts";
import { DiskImage, type ImageKind } from "./disk-image.ts";
import { MailPump, randomFrom } from "./mail-pump.ts";
import { bin, canConnect, dialogue, until } from "./relayd.ts";
import { whateverHappens } from "./whatever-happens.ts";

interface PowerKindTerms {
  readonly options: readonly string[];
  readonly forwards: boolean;
  readonly after: "cut" | "copy";
}

/** Each message is synced by itself. */
const ALONE = "--no-commit-journal";

/** Mail that only comes in, or goes on at the same time; with the journal of commits, or without. */
export const POWER_KINDS = {
  intake: { options: [ALONE], forwards: false, after: "cut" },
  forwarding: { options: [ALONE], forwards: true, after: "cut" },
  journal: { options: [], forwards: false, after: "cut" },
  "journal, forwarding": { options: [], forwards: true, after: "cut" },
  /** The disk as it was is copied, and read while the first relayd still runs. */
  copy: { options: [ALONE], forwards: false, after: "copy" },
  "journal, copy": { options: [], forwards: false, after: "copy" },
} as const satisfies Record<string, PowerKindTerms>;
export type PowerKind = keyof typeof POWER_KINDS;

export interface PowerAccount extends Account {
  readonly cuts: number;
  /** Messages that were made whole from the journal. */
  readonly restored: number;
  /** Envelopes in the spool after the drain. */
  readonly left: readonly string[];
}

export interface PowerTerms {
  readonly seed: number;
  readonly kind: PowerKind;
  /** For relayd, besides those of its kind. */
  readonly more?: readonly string[];
  /** Mail is pumped in for so long at the most. */
  readonly loadMs?: number;
  /** ext4 if not given. */
  readonly fileSystem?: ImageKind;
}

/** Enough for the journal, which leaves the last 512 MB alone. Sparse. */
const MEGABYTES = 1024;
const SESSIONS = 8;
/** What the kernel and relayd keep of a removal before it is on disk: a power cut within takes it back. */
const REMOVAL_MS = 7000;
const PATIENCE = { tries: 400, everyMs: 50 };

export async function powerRound(terms: PowerTerms): Promise<PowerAccount> {
  const folder = mkdtempSync(join(tmpdir(), "relayd-power-"));
  const clear = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  const done = whateverHappens(clear);
  const round = new PowerRound(folder, terms, {
    ports: [await freePort(), await freePort()],
    smarthostPort: await freePort(),
  });
  try {
    return await round.run();
  } finally {
    await round.end();
    clear();
    done();
  }
}

class PowerRound {
  readonly #terms: PowerTerms;
  /** Of the one that serves now, and of those that come after it. */
  readonly #ports: [number, ...number[]];
  readonly #smarthostPort: number;
  readonly #record: string;
  readonly #log: string;
  readonly #random: () => number;
  readonly #children = new Children();
  readonly #images: DiskImage[] = [];
  /** From when on nothing reached the disk, until nobody was left to try. */
  readonly #cuts: { readonly from: number; readonly to: number }[] = [];

  constructor(
    folder: string,
    terms: PowerTerms,
    { ports, smarthostPort }: { ports: [number, ...number[]]; smarthostPort: number },
  ) {
    this.#terms = terms;
    this.#ports = ports;
    this.#smarthostPort = smarthostPort;
    this.#record = join(folder, "record");
    this.#log = join(folder, "log");
    this.#random = randomFrom(terms.seed);
    for (const path of [this.#record, this.#log]) writeFileSync(path, "");
  }

  async run(): Promise<PowerAccount> {
    const { options, forwards, after } = POWER_KINDS[this.#terms.kind];
    await this.#startSmarthost();
    const { fileSystem = "ext4" } = this.#terms;
    const image = this.#keep(DiskImage.make({ megabytes: MEGABYTES, kind: fileSystem }));
    const serving = await this.#start(image, [...options, ...(forwards ? this.#out() : [])]);
    const pump = await this.#load(image);
    await this.#cut(image, after === "cut" ? serving : null);
    await pump.stop();
    const last = after === "cut" ? await this.#again(image) : this.#copyOf(image);
    await this.#drain(last);
    return this.#account(pump, last);
  }

  async end(): Promise<void> {
    await this.#children.endAll();
    for (const image of this.#images) image[Symbol.dispose]();
  }

  async #load(image: DiskImage): Promise<MailPump> {
    const { seed, kind, loadMs = 800 } = this.#terms;
    const pump = new MailPump(this.#ports[0], {
      ...{ prefix: `p${seed}`, sessions: SESSIONS, random: this.#random },
    });
    // The first connections take a moment.
    await until(() => pump.accepted.size > SESSIONS);
    if (!POWER_KINDS[kind].options.some((one) => one === ALONE)) await journaled(image, pump);
    await pause(this.#random() * loadMs);
    return pump;
  }

  async #cut(image: DiskImage, victim: ChildProcess | null): Promise<void> {
    const from = Date.now();
    await image.cutPower();
    // It may go on for a moment, but must not promise anything any more.
    await pause(this.#random() * 60);
    if (victim !== null) await this.#children.end(victim, "SIGKILL");
    // The smarthost has read by then what was sent to it before.
    await dialogue(this.#smarthostPort, ["NOOP", "QUIT"]);
    this.#cuts.push({ from, to: Date.now() });
  }

  /** The power is there again; sometimes it goes once more, while relayd puts things right. */
  async #again(image: DiskImage): Promise<DiskImage> {
    for (let again = this.#random() < 0.3; ; again = false) {
      image.unmount();
      image.mount();
      if (!again) return image;
      const hasty = this.#spawn(image, this.#out());
      await pause(150 + this.#random() * 250);
      await this.#cut(image, hasty);
    }
  }

  /** Whoever serves the original is alive, and has nothing to say about the copy. */
  #copyOf(image: DiskImage): DiskImage {
    const copy = this.#keep(image.copy());
    copy.mount();
    this.#ports.shift();
    return copy;
  }

  async #drain(image: DiskImage): Promise<void> {
    const daemon = await this.#start(image, this.#out());
    for (let tries = 0; tries < PATIENCE.tries && waiting(image).length > 0; tries++) {
      daemon.kill("SIGUSR1");
      await pause(PATIENCE.everyMs);
    }
    const code = await this.#children.end(daemon, "SIGTERM");
    if (code !== 0) throw new Error(`relayd ended with ${code}: ${this.#lastWords()}`);
  }

  #account(pump: MailPump, image: DiskImage): PowerAccount {
    const cuts = this.#cuts;
    const isFinal = (ms: number) => cuts.every(({ from, to }) => ms > to || from - ms > REMOVAL_MS);
    const account = accountFor(pump, this.#record, isFinal);
    const restored = readFileSync(this.#log, "latin1").split("restored from the journal").length;
    const left = waiting(image);
    image.unmount();
    image.check();
    return { ...account, left, cuts: cuts.length, restored: restored - 1 };
  }

  #keep(image: DiskImage): DiskImage {
    this.#images.push(image);
    return image;
  }

  async #startSmarthost(): Promise<void> {
    const path = join(import.meta.dirname, "recording-smarthost.js");
    this.#children.start([path, String(this.#smarthostPort), this.#record]);
    await until(async () => await canConnect(this.#smarthostPort));
  }

  async #start(image: DiskImage, options: readonly string[]): Promise<ChildProcess> {
    const child = this.#spawn(image, options);
    await until(
      async () => child.exitCode !== null || (await canConnect(this.#ports[0])),
      () => `relayd does not start: ${this.#lastWords()}`,
    );
    return child;
  }

  #out(): readonly string[] {
    const where = `--forward-to=127.0.0.1:${this.#smarthostPort}`;
    return [where, "--forward", "--forward-on-disconnect", "--poll=1"];
  }

  #spawn(image: DiskImage, options: readonly string[]): ChildProcess {
    return this.#children.start([
      ...[bin("relayd"), "--no-daemon", "--user=root", "--domain=power.test", "--no-syslog"],
      ...[`--spool-dir=${image.spool}`, `--port=${this.#ports[0]}`, "--interface=127.0.0.1"],
      ...["--server-smtp-config=pipelining,chunking", "--log", `--log-file=${this.#log}`],
      ...[...options, ...(this.#terms.more ?? [])],
    ]);
  }

  #lastWords(): string {
    return readFileSync(this.#log, "latin1").slice(-2000);
  }
}

function waiting(image: DiskImage): string[] {
  return readdirSync(image.spool).filter((name) => /\.envelope(?:\.busy)?$/.test(name));
}

/** Resolves when mail is accepted by way of the journal, which is made once there is demand. */
async function journaled({ spool }: DiskImage, { accepted }: MailPump): Promise<void> {
  const folder = join(spool, JOURNAL_FOLDER);
  const isUsed = (name: string) =>
    readFileSync(join(folder, name)).subarray(0, PAGE_BYTES).includes('"state":"used"');
  await until(
    () => existsSync(folder) && readdirSync(folder).some(isUsed),
    () => `the journal was not used for ${accepted.size} messages`,
  );
  // What each of them was at may have gone another way.
  const before = accepted.size;
  await until(() => accepted.size > before + SESSIONS);
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
