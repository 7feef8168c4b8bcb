/** In which order one pass looks at its messages. */
import type { MessageId } from "../core/message-id.ts";
import type { Lease } from "../core/store.ts";
import type { Retrying } from "./retrying.ts";

/** Where answers fail to come, mail that waits for none goes first; what nobody could say before is asked last. */
export class Line {
  readonly #ids: readonly MessageId[];
  readonly #late: readonly [MessageId[], MessageId[]] = [[], []];
  readonly #retrying: Retrying | null;
  #place = 0;
  #isLate = false;

  /** `retrying` is null where nothing is looked up, or tried again. */
  constructor(ids: readonly MessageId[], retrying: Retrying | null) {
    this.#ids = ids;
    this.#retrying = retrying;
  }

  /** True from the second of the messages that had to wait for the others. */
  get isLate(): boolean {
    return this.#isLate;
  }

  *[Symbol.iterator](): Iterator<MessageId> {
    yield* this.#ids;
    for (const late of this.#late) {
      this.#place += 1;
      for (const id of late) {
        yield id;
        this.#isLate = true;
      }
    }
  }

  /** True when the message has to wait for others: it comes again. */
  postpones({ id, envelope }: Lease): boolean {
    const place = this.#retrying?.lookups.placeOf(envelope.forwardTo) ?? 0;
    if (place <= this.#place) return false;
    this.#late[place - 1]?.push(id);
    return true;
  }
}
