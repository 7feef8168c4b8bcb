/**
 * Messages whose connection was lost, where nothing is tried again at a time of its own: further runs
 * begin with the others, or three messages that end their sessions would end each run before those.
 */
import type { MessageId } from "../core/message-id.ts";

/** More are forgotten, the oldest first: they are tried in their usual place. */
const MOST = 10_000;

/** One for an instance: it outlives the runs. In memory: after a restart the first runs find out anew. */
export class Stragglers {
  /** Who was lost last comes last. */
  readonly #ids = new Set<MessageId>();

  lost(id: MessageId): void {
    this.#ids.delete(id);
    this.#ids.add(id);
    if (this.#ids.size <= MOST) return;
    const [oldest] = this.#ids;
    if (oldest !== undefined) this.#ids.delete(oldest);
  }

  /** Those of `ids` that were lost come last, who was lost last behind the others. Forgets who is not among them. */
  last(ids: readonly MessageId[]): readonly MessageId[] {
    if (this.#ids.size === 0) return ids;
    const there = new Set(ids);
    for (const id of this.#ids) if (!there.has(id)) this.#ids.delete(id);
    if (this.#ids.size === 0) return ids;
    return [...ids.filter((id) => !this.#ids.has(id)), ...this.#ids];
  }
}
