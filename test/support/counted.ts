/** Work that can be counted: how it grows is told without a clock. */

/** A list that counts how often one of its elements is read. */
export function counted<T>(items: readonly T[]): { readonly items: readonly T[]; reads(): number } {
  let count = 0;
  const proxy = new Proxy(items, {
    get(target, key, receiver): unknown {
      if (typeof key === "string" && /^\d+$/.test(key)) count += 1;
      return Reflect.get(target, key, receiver);
    },
  });
  return { items: proxy, reads: () => count };
}
