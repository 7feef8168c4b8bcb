/** What one run has to do with the messages in the queue: which it has still to try, has in hand, or has dealt with. */
import type { MessageId } from "../core/message-id.ts";
import type { Agenda } from "./agenda.ts";

export class Roll {
  readonly #agenda: Agenda | null;
  readonly #forced: boolean;
  /** Dealt with, as long as they are there: each is tried once. */
  readonly #seen = new Set<MessageId>();
  /** Those of them that a lane has. */
  readonly #held = new Set<MessageId>();
  /** Looked at, and left for later: they go the usual way. */
  readonly usual = new Set<MessageId>();

  /** `forced`: what was put off for later is tried too. `agenda` is null where nothing is. */
  constructor(agenda: Agenda | null, forced: boolean) {
    this.#agenda = agenda;
    this.#forced = forced;
  }

  /** As it is now: what comes back from a lane after this is in neither, where the queue was looked into before. */
  held(): ReadonlySet<MessageId> {
    return new Set(this.#held);
  }

  /** What is to be tried of what is `ready`; `held` is from before that was known. */
  wanted(ready: readonly MessageId[], held: ReadonlySet<MessageId>): MessageId[] {
    this.#agenda?.keep(ready, held);
    this.#forgetGone(ready, held);
    const now = this.#agenda?.now() ?? 0;
    return ready.filter((id) => this.#isWanted(id, now));
  }

  /** It is not tried again in this run, unless it is put off and its time comes. */
  done(id: MessageId): void {
    this.#seen.add(id);
  }

  taken(id: MessageId): void {
    this.#seen.add(id);
    this.#held.add(id);
  }

  released(id: MessageId): void {
    this.#held.delete(id);
  }

  /** It has left the queue. */
  gone(id: MessageId): void {
    this.#seen.delete(id);
  }

  /** A run may never end, where there is always new mail. */
  #forgetGone(ready: readonly MessageId[], held: ReadonlySet<MessageId>): void {
    if (this.#seen.size === 0 && this.usual.size === 0) return;
    const there = new Set(ready);
    for (const ids of [this.#seen, this.usual]) {
      for (const id of ids) if (!there.has(id) && !held.has(id)) ids.delete(id);
    }
  }

  #isWanted(id: MessageId, now: number): boolean {
    // A run may last longer than the time until the next attempt.
    if (this.#seen.has(id)) return this.#agenda?.hasWaited(id, now) === true;
    return this.#forced || this.#agenda?.isDue(id, now) !== false;
  }
}
