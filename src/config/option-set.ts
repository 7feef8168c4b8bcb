/** The options of one instance, repeats put together: what validation and the making of settings look at. */
import type { Fault } from "./lexer.ts";
import type { OptionSpec } from "./option-spec.ts";
import type { OptionName } from "./options.ts";

/** One use of an option whose name and value have been understood. */
export interface OptionLine {
  readonly spec: OptionSpec;
  /** With its prefix, without dashes. */
  readonly written: string;
  /** `off`: given with a no-word. */
  readonly state: "on" | "off";
  /** "" for an option without a value. */
  readonly value: string;
  readonly origin: string;
}

export class OptionSet {
  /** Prefix of the instance; "" without one. */
  readonly prefix: string;
  readonly #lines = new Map<string, OptionLine[]>();

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Adds one use; tells what is wrong with it beside the earlier ones, or null. */
  add(line: OptionLine): Fault | null {
    const earlier = this.#lines.get(line.spec.name) ?? [];
    this.#lines.set(line.spec.name, [...earlier, line]);
    const [first] = earlier;
    if (first === undefined) return null;
    if (earlier.some((one) => one.state !== line.state)) {
      return { origin: line.origin, text: `conflicting values: "--${line.written}"` };
    }
    const single = line.spec.value === "value" || line.spec.value === "optional";
    if (single && first.value !== line.value) {
      return { origin: line.origin, text: `duplicate use of "--${line.written}"` };
    }
    return null;
  }

  has(name: OptionName): boolean {
    return this.count(name) > 0;
  }

  /** How often it is on. */
  count(name: OptionName): number {
    return this.#on(name).length;
  }

  /** The value; those of a repeated option joined with commas; null when it is not given. */
  text(name: OptionName): string | null {
    const lines = this.#on(name);
    if (lines.length === 0) return null;
    const repeats = lines[0]?.spec.value === "multi";
    return repeats ? lines.map((line) => line.value).join(",") : (lines[0]?.value ?? "");
  }

  /** The single words of all values, split at commas. */
  list(name: OptionName): string[] {
    return (this.text(name) ?? "")
      .split(",")
      .map((word) => word.trim())
      .filter((word) => word !== "");
  }

  /** The value of the first use; null when it is not given. */
  first(name: OptionName): string | null {
    return this.#on(name)[0]?.value ?? null;
  }

  /** Where it was given first: "relayd.conf:12" or "--in-port"; "--port" when it was not. */
  origin(name: OptionName): string {
    const prefix = this.prefix === "" ? "" : `${this.prefix}-`;
    return this.#on(name)[0]?.origin ?? `--${prefix}${name}`;
  }

  #on(name: OptionName): readonly OptionLine[] {
    return (this.#lines.get(name) ?? []).filter((line) => line.state === "on");
  }
}
