/**
 * What hosts that announce PIPELINING have shown that they can take: some discard, or close the connection, when
 * more than one command comes at a time. Until they have answered once they are waited for only so long.
 */

/** "group": MAIL and RCPT together. "overlap": those together with the content before them. "eager": DATA with them. */
export type Skill = "group" | "overlap" | "eager";

/** Milliseconds between two answers, at most ... */
const STALL_MS = 5000;
/** ... and at most this share of the time that any answer may take. */
const STALL_SHARE = 0.5;

/** Of one host; not yet known when absent. */
export class Skills {
  readonly #known: { [skill in Skill]?: boolean } = {};
  /** What was last sent there was taken, and the next message probably will be. */
  isWilling = false;

  /** True unless it is known that it cannot. */
  mayHave(skill: Skill): boolean {
    return this.#known[skill] !== false;
  }

  has(skill: Skill): boolean {
    return this.#known[skill] === true;
  }

  /**
   * How long an answer to what needs these is waited for, so that a host that cannot is found out; 0
   * for as long as any other, when it has shown all of them. `responseMs` as in the config.
   */
  stallMs(used: readonly Skill[], responseMs: number): number {
    if (used.every((skill) => this.has(skill))) return 0;
    return responseMs > 0 ? Math.min(STALL_MS, responseMs * STALL_SHARE) : STALL_MS;
  }

  note(skill: Skill, has: boolean): void {
    this.#known[skill] = has;
  }
}

/** Of every host, by its address: one for all connections. */
export class HostSkills {
  readonly #hosts = new Map<string, Skills>();

  of(address: string): Skills {
    const known = this.#hosts.get(address) ?? new Skills();
    this.#hosts.set(address, known);
    return known;
  }
}
