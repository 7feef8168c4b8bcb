/** The lanes of one run: one for each smarthost and account that its messages go to, but not too many at a time. */
import type { Lease } from "../core/store.ts";
import type { Lane } from "./lane.ts";

/** Different smarthosts at a time. */
const MAX_LANES = 20;

/** Where nearly all mail goes. */
export const USUAL = JSON.stringify(["", ""]);

/** Where a message goes. */
export interface Heading {
  /** "" for the usual smarthost. */
  readonly address: string;
  /** That one with the account: what shares connections. */
  readonly lane: string;
}

export const USUALLY: Heading = { address: "", lane: USUAL };

export function headingOf(lease: Lease): Heading {
  const lane = laneKey(lease);
  return lane === USUAL ? USUALLY : { address: lease.envelope.forwardToAddress, lane };
}

export function laneKey({ envelope }: Lease): string {
  const { forwardToAddress, clientAccountSelector } = envelope;
  if (forwardToAddress === "" && clientAccountSelector === "") return USUAL;
  return JSON.stringify([forwardToAddress, clientAccountSelector]);
}

export class Lanes {
  readonly #lanes = new Map<string, Lane>();
  readonly #politely: () => boolean;

  /** `politely`: true while connections are ended with QUIT. */
  constructor(politely: () => boolean) {
    this.#politely = politely;
  }

  get usual(): Lane | null {
    return this.#lanes.get(USUAL) ?? null;
  }

  /** null when there are too many, and all of them at work. */
  async open(key: string, make: () => Lane): Promise<Lane | null> {
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    if (this.#lanes.size >= MAX_LANES && !(await this.#makeRoom())) return null;
    const lane = make();
    this.#lanes.set(key, lane);
    return lane;
  }

  async settled(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map(async (lane) => await lane.settled()));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map(async (lane) => await this.#close(lane)));
  }

  async #makeRoom(): Promise<boolean> {
    const [key, lane] = [...this.#lanes].find(([one, { idle }]) => idle && one !== USUAL) ?? [];
    if (key === undefined || lane === undefined) return false;
    this.#lanes.delete(key);
    await this.#close(lane);
    return true;
  }

  async #close(lane: Lane): Promise<void> {
    await lane.settled();
    await lane.close(this.#politely());
  }
}
