/** One line of an administrator, understood. Pure. Source: R14, observed, E-MailRelay 2.6. */

/** What is about the connection itself, and what has an answer. */
export type Command =
  | Bare<"flush" | "forward" | "notify" | "quit" | "terminate" | "unknown">
  | Question;

export type Question =
  | Bare<"blank" | "failures" | "help" | "list" | "pid" | "status" | "unfail-all">
  | { readonly kind: "info"; readonly topic: Topic }
  /** 0: ask the block lists again. */
  | { readonly kind: "dnsbl"; readonly seconds: number }
  | { readonly kind: "smtp"; readonly enabled: boolean }
  | { readonly kind: "usage"; readonly text: string };

type Bare<Kind extends string> = Kind extends string ? { readonly kind: Kind } : never;

/** Commands of one word; what follows it is not looked at. */
const PLAIN = [
  "failures",
  "flush",
  "forward",
  "help",
  "list",
  "notify",
  "pid",
  "quit",
  "status",
  "terminate",
  "unfail-all",
] as const;

export type Topic = (typeof TOPICS)[number];
const TOPICS = ["copyright", "credit", "version", "warranty"] as const;

/** `dnsbl stop` without a number: what is stopped and forgotten comes back. */
const DNSBL_STOP_SECONDS = 3600;

/** Takes a line without its end. */
export function parseCommand(line: string): Command {
  const [verb = "", ...words] = line
    .toLowerCase()
    .split(/[ \t\r]+/)
    .filter((word) => word !== "");
  if (verb === "") return { kind: "blank" };
  const plain = PLAIN.find((name) => name === verb);
  if (plain !== undefined) return { kind: plain };
  switch (verb) {
    case "info":
      return info(words);
    case "dnsbl":
      return dnsbl(words);
    case "smtp":
      return smtp(words);
    default:
      return { kind: "unknown" };
  }
}

/** The reply to `help`; `terminate` is only named where it works. */
export function commandList(terminates: boolean): string {
  const names = [...PLAIN, "dnsbl", "info", "smtp"].filter(
    (name) => name !== "terminate" || terminates,
  );
  return `commands: ${names.sort().join(", ")}`;
}

function info([word]: readonly string[]): Command {
  const topic = TOPICS.find((name) => name === word);
  if (topic === undefined) return { kind: "usage", text: `usage: info {${TOPICS.join("|")}}` };
  return { kind: "info", topic };
}

function dnsbl([verb, seconds]: readonly string[]): Command {
  if (verb === "start") return { kind: "dnsbl", seconds: 0 };
  if (verb === "stop" && seconds === undefined) {
    return { kind: "dnsbl", seconds: DNSBL_STOP_SECONDS };
  }
  if (verb === "stop" && /^\d{1,9}$/.test(seconds ?? "")) {
    return { kind: "dnsbl", seconds: Number(seconds) };
  }
  return { kind: "usage", text: "usage: dnsbl {start|stop <timeout>}" };
}

function smtp([verb]: readonly string[]): Command {
  if (verb === "enable" || verb === "disable") return { kind: "smtp", enabled: verb === "enable" };
  return { kind: "usage", text: "usage: smtp {disable|enable}" };
}
