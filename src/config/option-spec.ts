/** What the option table says about one option. Everything that knows options is made from this. */

export interface OptionSpec {
  /** Without the dashes. */
  readonly name: string;
  readonly letter?: string;
  /** `multi`: may be repeated, values are joined with commas. `optional`: a value only after "=". */
  readonly value: "none" | "value" | "multi" | "optional";
  /** What the value is called in help. */
  readonly argument?: string;
  /** The default, as text for people. */
  readonly default?: string;
  /** `process`: one setting for the whole process, taken from its first instance. */
  readonly scope: "process" | "instance";
  /** One sentence without a full stop. */
  readonly help: string;
  /** What else there is to know; whole sentences. */
  readonly more?: string;
  /** Shown by --help without --verbose too. */
  readonly common?: true;
  /** An empty value makes sense. */
  readonly empty?: true;
  /** An older name for another option; `prefix` goes before its value. */
  readonly alias?: { readonly of: string; readonly prefix: string };
  /** The value must be a number in this range; without it, a wrong number means the default (R1). */
  readonly range?: { readonly min: number; readonly max: number };
}

/** Options that belong together, under one heading. */
export interface OptionSection {
  readonly title: string;
  readonly since: "E-MailRelay 2.6" | "E-MailRelay 1" | "relayd";
  readonly options: readonly OptionSpec[];
}

/** "--port=<port>", "--syslog[=<facility>]", "--log". */
export function optionUsage(spec: OptionSpec): string {
  switch (spec.value) {
    case "none":
      return `--${spec.name}`;
    case "optional":
      return `--${spec.name}[=<${spec.argument ?? "value"}>]`;
    case "value":
    case "multi":
      return `--${spec.name}=<${spec.argument ?? "value"}>`;
  }
}
