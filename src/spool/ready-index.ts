/** The ids that wait, always sorted, in memory: asking costs nothing while nothing changes. */
import type { MessageId } from "../core/message-id.ts";

export class ReadyIndex {
  #sorted: MessageId[] = [];
  /** What is before it has been deleted: a queue is emptied from its front. */
  #start = 0;
  #members = new Set<MessageId>();
  /** True while somebody may hold the array itself. */
  #shared = false;

  /** In byte order. Never changes under whoever holds it. */
  snapshot(): readonly MessageId[] {
    if (this.#start > 0) this.#copy();
    this.#shared = true;
    return this.#sorted;
  }

  has(id: MessageId): boolean {
    return this.#members.has(id);
  }

  /** False when it was there already. */
  add(id: MessageId): boolean {
    if (this.#members.has(id)) return false;
    this.#members.add(id);
    this.#own().splice(this.#place(id), 0, id);
    return true;
  }

  delete(id: MessageId): void {
    if (!this.#members.delete(id)) return;
    if (this.#sorted[this.#start] === id) this.#start += 1;
    else this.#own().splice(this.#place(id), 1);
  }

  /** True when there is an id that was not there before. */
  replace(ids: readonly MessageId[]): boolean {
    const grown = ids.some((id) => !this.#members.has(id));
    this.#sorted = [...ids].sort(byBytes);
    this.#members = new Set(ids);
    this.#start = 0;
    this.#shared = false;
    return grown;
  }

  #own(): MessageId[] {
    if (this.#shared || this.#start > this.#sorted.length / 2) this.#copy();
    return this.#sorted;
  }

  #copy(): void {
    this.#sorted = this.#sorted.slice(this.#start);
    this.#start = 0;
    this.#shared = false;
  }

  /** Where it is, or belongs. */
  #place(id: MessageId): number {
    let low = this.#start;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (byBytes(this.#sorted[middle] ?? "", id) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Code units; the same as bytes for every name that a mail program makes. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
