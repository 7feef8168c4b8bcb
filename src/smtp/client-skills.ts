/**
 * What hosts that announce PIPELINING have shown that they can take: some discard, or close the connection, when
 * more than one command comes at a time. Until they have answered once they are waited for only so long.
 */

/** "group": MAIL and RCPT together. "overlap": those together with the content before them. */
export type Skill = "group" | "overlap";

/** Milliseconds between two answers, at most ... */
const STALL_MS = 5000;
/** ... and at most this share of the time that any answer may take. */
const STALL_SHARE = 0.5;

export class Skills {
  /** By address and skill. */
  readonly #known = new Map<string, boolean>();

  /** True unless it is known that it cannot. */
  mayHave(address: string, skill: Skill): boolean {
    return this.#known.get(`${skill} ${address}`) !== false;
  }

  has(address: string, skill: Skill): boolean {
    return this.#known.get(`${skill} ${address}`) === true;
  }

  /** How long an answer is waited for, so that a host that cannot is found out; 0 for as long as it likes. `responseMs` as in the config. */
  stallMs(address: string, responseMs: number): number {
    if (this.has(address, "group") && this.has(address, "overlap")) return 0;
    return responseMs > 0 ? Math.min(STALL_MS, responseMs * STALL_SHARE) : STALL_MS;
  }

  note(address: string, skill: Skill, has: boolean): void {
    this.#known.set(`${skill} ${address}`, has);
  }
}
