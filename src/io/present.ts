/**
 * A Set would cost dear where members come and go all the time: V8 makes its table anew again and
 * again, and each table that is left behind keeps its members, and the tables after it, alive until
 * the next full collection of garbage.
 */

/** One member's place. */
export interface Place<One> {
  readonly one: One;
  at: number;
}

/** Who is there at the moment, in no order. */
export class Present<One> implements Iterable<One> {
  readonly #places: Place<One>[] = [];

  get size(): number {
    return this.#places.length;
  }

  enter(one: One): Place<One> {
    const place = { one, at: this.#places.length };
    this.#places.push(place);
    return place;
  }

  /** A place that was left already stays as it is. */
  leave(place: Place<One>): void {
    if (this.#places[place.at] !== place) return;
    const last = this.#places.pop();
    if (last === undefined || last === place) return;
    this.#places[place.at] = last;
    last.at = place.at;
  }

  /** Who is there now, all of them, also those who leave meanwhile; nobody who enters meanwhile. */
  [Symbol.iterator](): Iterator<One> {
    return this.#places.map(({ one }) => one)[Symbol.iterator]();
  }
}
