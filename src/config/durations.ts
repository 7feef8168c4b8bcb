/** Durations in options: "90", "90s", "5m", "4h", "5d"; lists of them; counts in a period. */

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ["", 1000],
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** A year: what no duration needs to exceed. */
const LONGEST_MS = 366 * 86_400_000;

/** Milliseconds; null for what is no duration, or is longer than a year. A number alone is seconds. */
export function readDuration(text: string): number | null {
  const [, number, unit = ""] = /^(\d{1,12})([a-z]*)$/.exec(text.trim()) ?? [];
  const factor = UNIT_MS.get(unit);
  if (number === undefined || factor === undefined) return null;
  const ms = Number(number) * factor;
  return ms <= LONGEST_MS ? ms : null;
}

/** "1m,5m,1h": at least one, none of them zero; null otherwise. */
export function readSchedule(items: readonly string[]): readonly number[] | null {
  const delays = items.map(readDuration);
  const good = delays.filter((one): one is number => one !== null && one > 0);
  return good.length > 0 && good.length === delays.length ? good : null;
}

/** "100/1m", "5/s": so many in such a time; null otherwise. */
export function readRate(text: string): { count: number; periodMs: number } | null {
  const [, number, period = ""] = /^(\d{1,9})\/(\d*[a-z]*)$/.exec(text.trim()) ?? [];
  const periodMs = readDuration(/^\d/.test(period) ? period : `1${period}`);
  const count = Number(number);
  return number === undefined || count === 0 || periodMs === null || periodMs === 0
    ? null
    : { count, periodMs };
}
