/** The options of the program: one table, which the lexer and the help text both come from. */

type OptionName =
  | "auth"
  | "bcc-split"
  | "body"
  | "content"
  | "content-date"
  | "content-from"
  | "content-message-id"
  | "content-to"
  | "copy"
  | "filename"
  | "from"
  | "from-auth-in"
  | "from-auth-out"
  | "help"
  | "input-file"
  | "no-stdin"
  | "spool-dir"
  | "to"
  | "verbose"
  | "version";

interface OptionSpec {
  readonly name: OptionName;
  /** null: no letter. */
  readonly letter: string | null;
  /** What the value is called; null: takes none. */
  readonly value: string | null;
  /** The value may be left out; it only comes after "=". */
  readonly optional?: true;
  readonly repeatable?: true;
  readonly help: string;
}

const OPTIONS: readonly OptionSpec[] = [
  { name: "spool-dir", letter: "s", value: "dir", help: "spool directory ('@app' allowed)" },
  { name: "from", letter: "f", value: "address", help: "envelope sender" },
  { name: "to", letter: null, value: "addresses", repeatable: true, help: "more recipients" },
  { name: "input-file", letter: "x", value: "file", help: "read this instead of stdin" },
  { name: "no-stdin", letter: "N", value: null, help: "read nothing" },
  {
    name: "content",
    letter: "C",
    value: "base64",
    repeatable: true,
    help: "a line of content; the first empty one ('=') ends the header",
  },
  { name: "body", letter: "B", value: null, help: "the input is body only" },
  {
    name: "content-to",
    letter: "t",
    value: null,
    help: "replace To, Cc and Bcc by the recipients",
  },
  { name: "content-from", letter: "F", value: null, help: "replace From and Sender by the sender" },
  { name: "content-date", letter: "d", value: null, help: "add Date if there is none" },
  {
    name: "content-message-id",
    letter: "I",
    value: "domain",
    optional: true,
    help: "add Message-ID if there is none",
  },
  { name: "bcc-split", letter: "b", value: null, help: "a message apart for each Bcc recipient" },
  { name: "copy", letter: "c", value: null, help: "copy the envelope into all sub-directories" },
  { name: "from-auth-in", letter: "i", value: "name", help: "AUTH= of the sender, as if received" },
  {
    name: "from-auth-out",
    letter: "o",
    value: "name",
    help: "AUTH= of the sender when forwarding",
  },
  { name: "auth", letter: "a", value: "name", help: "accepted, without effect" },
  { name: "verbose", letter: "v", value: null, help: "print the path of the content file" },
  { name: "filename", letter: "n", value: null, help: "print the name of the content file" },
  { name: "help", letter: "h", value: null, help: "print this text" },
  { name: "version", letter: "V", value: null, help: "print the version" },
];

/** What stood on the command line. */
export interface CommandLine {
  /** Options that are on, with their values in order; "" for an option without one. */
  readonly options: ReadonlyMap<OptionName, readonly string[]>;
  /** Everything from the first word on that is no option. */
  readonly recipients: readonly string[];
  /** One line each, sorted; empty when all is well. */
  readonly errors: readonly string[];
}

/** Reads the arguments by E-MailRelay's rules: options come first, "-p25" is three letters. */
export function readCommandLine(args: readonly string[]): CommandLine {
  const lexer = new Lexer(args);
  lexer.run();
  return lexer.result();
}

/** The help text, one option a line. */
export function usage(program: string): string {
  const rows = OPTIONS.map(({ name, letter, value, optional, help }) => {
    const argument = optional === true ? `[=<${value}>]` : ` <${value}>`;
    const long = `--${name}${value === null ? "" : argument}`;
    return `  ${letter === null ? "    " : `-${letter}, `}${long.padEnd(31)} ${help}`;
  });
  return [
    `usage: ${program} [<options>] [<recipient> ...] < message`,
    "Puts a message into the spool. Without recipients they are taken from To, Cc and Bcc.",
    "",
    ...rows,
    "",
  ].join("\n");
}

const YES = /^(?:y|yes|t|true|1|on)$/i;
const NO = /^(?:n|no|f|false|0|off)$/i;

class Lexer {
  readonly #args: string[];
  readonly #on = new Map<OptionName, string[]>();
  readonly #off = new Set<OptionName>();
  readonly #errors: string[] = [];

  constructor(args: readonly string[]) {
    this.#args = [...args];
  }

  run(): void {
    for (let word = this.#args[0]; word?.startsWith("-") === true; word = this.#args[0]) {
      this.#args.shift();
      if (word === "--") return;
      if (word.startsWith("--")) this.#long(word);
      else this.#short(word.slice(1));
    }
  }

  result(): CommandLine {
    for (const name of this.#off) {
      if (this.#on.has(name)) this.#errors.push(`conflicting values: "--${name}"`);
    }
    return { options: this.#on, recipients: this.#args, errors: this.#errors.sort() };
  }

  #long(word: string): void {
    const [, name = "", value] = /^--([a-z0-9_-]*)(?:=([\s\S]*))?$/.exec(word) ?? [];
    const spec = OPTIONS.find((option) => option.name === name);
    if (spec === undefined) this.#errors.push(`invalid option: "${word.replace(/=[\s\S]*/, "")}"`);
    else if (spec.value === null) this.#flag(spec, value);
    else if (value !== undefined) this.#set(spec, value);
    else if (spec.optional === true) this.#set(spec, "");
    else this.#nextWord(spec, `--${name}`);
  }

  /** "-f x", or a set of letters that take no value. */
  #short(letters: string): void {
    const [letter = ""] = letters;
    const only = OPTIONS.find((option) => option.letter === letter);
    if (only?.optional === true && letters[1] === "=") {
      this.#set(only, letters.slice(2));
      return;
    }
    if (letters.length === 1 && only !== undefined && only.value !== null && !only.optional) {
      const value = this.#args.shift();
      if (value === undefined) this.#errors.push(`no value supplied for -${letter}`);
      else this.#set(only, value);
      return;
    }
    if (letters === "") this.#errors.push('invalid option: "-"');
    for (const one of letters) this.#letterInSet(one);
  }

  #letterInSet(letter: string): void {
    const spec = OPTIONS.find((option) => option.letter === letter);
    if (spec === undefined) this.#errors.push(`invalid option: "-${letter}"`);
    else if (spec.value === null) this.#flag(spec, undefined);
    else if (spec.optional === true) this.#set(spec, "");
    else this.#errors.push(`no value supplied for -${letter}`);
  }

  #flag({ name }: OptionSpec, value: string | undefined): void {
    if (value === undefined || YES.test(value)) this.#on.set(name, [""]);
    else if (NO.test(value)) this.#off.add(name);
    else this.#errors.push(`cannot give a value with "--${name}" (${value})`);
  }

  /** A dash in front of the value is more likely a forgotten value. */
  #nextWord(spec: OptionSpec, word: string): void {
    const value = this.#args[0];
    if (value === undefined) {
      this.#errors.push(`no value supplied for "${word}"`);
    } else if (value.startsWith("-")) {
      this.#errors.push(
        `"${word} ${value}" is probably a mistake, use "${word}=... ${value}" or "${word}=${value}"`,
      );
      this.#args.shift();
    } else {
      this.#args.shift();
      this.#set(spec, value);
    }
  }

  #set({ name, repeatable }: OptionSpec, value: string): void {
    const before = this.#on.get(name);
    if (before === undefined) this.#on.set(name, [value]);
    else if (repeatable === true) before.push(value);
    else if (before[0] !== value) this.#errors.push(`duplicate use of "--${name}"`);
  }
}
