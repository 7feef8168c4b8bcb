/** What is measured, how often, and what relayd is to reach there. */
import type { Load } from "./load.ts";

export interface Scenario extends Load {
  readonly name: string;
  readonly kind: "intake" | "end to end" | "drain";
  /** To the smarthost and back; 0 for one on the same machine. */
  readonly distanceMs: number;
  /** To the smarthost at a time, at most; null for what each program does by itself. */
  readonly connections: number | null;
  /** If there are any, only relayd takes part. */
  readonly relaydOptions: readonly string[];
  /** At most. */
  readonly rounds: number;
  readonly goals: readonly Goal[];
}

/** relayd's figure divided by that of `peer`: at least so much of the rate, at most so much of the CPU. */
export interface Goal {
  readonly peer: string;
  readonly figure: "rate" | "cpu";
  readonly ratio: number;
}

const KB = 1024;
const MB = 1024 ** 2;
const SIZES: ReadonlyMap<number, string> = new Map([
  [KB, "1 kB"],
  [10 * KB, "10 kB"],
  [MB, "1 MB"],
]);

/** A round takes a second or more where it can: shorter ones measure how warm a program is. */
export function scenarios(quick: boolean): readonly Scenario[] {
  return quick
    ? [
        intake(10, KB, 1500),
        intake(10, KB, 2000, "reused connections"),
        intake(10, MB, 60),
        endToEnd(10, KB, 1500),
        endToEnd(10, MB, 60),
        drain(2000, KB),
        farDrain(200, { rounds: 1 }),
      ]
    : [
        intake(1, KB, 1000),
        ...[10, 20, 50].map((sessions) => intake(sessions, KB, 5000)),
        intake(10, KB, 6000, "reused connections"),
        intake(10, 10 * KB, 1500),
        intake(10, MB, 120),
        endToEnd(1, KB, 1000),
        ...[10, 20, 50].map((sessions) => endToEnd(sessions, KB, 5000)),
        endToEnd(10, KB, 5000, "reused connections"),
        endToEnd(10, 10 * KB, 1500),
        endToEnd(10, MB, 300),
        drain(2000, KB),
        drain(10_000, KB),
        drain(1000, 10 * KB),
        drain(100, MB),
        farDrain(400),
        farDrain(400, { relaydOptions: ["--client-smtp-config=-pipelining"] }),
      ];
}

const NEAR = {
  distanceMs: 0,
  connections: null,
  relaydOptions: [],
  rounds: Number.POSITIVE_INFINITY,
} as const;

function intake(sessions: number, bytes: number, messages: number, how = ""): Scenario {
  const reuse = how !== "";
  const name = nameOf("intake", bytes, [counted(sessions, "session"), how]);
  const load = { sessions, bytes, messages, reuse };
  return { ...NEAR, ...load, kind: "intake", name, goals: intakeGoals(load) };
}

function intakeGoals({ sessions, bytes, reuse }: Load): readonly Goal[] {
  if (bytes === MB) return [rate("postfix", 1.2)];
  if (bytes !== KB) return [];
  if (reuse) return [rate("postfix", 3)];
  if (sessions === 1) return [rate("postfix", 1)];
  if (sessions === 50) return [rate("postfix", 2)];
  return [rate("postfix", 2.5), ...(sessions === 10 ? [rate("emailrelay", 0.9)] : [])];
}

function endToEnd(sessions: number, bytes: number, messages: number, how = ""): Scenario {
  const reuse = how !== "";
  const name = nameOf("end to end", bytes, [counted(sessions, "session"), how]);
  const load = { sessions, bytes, messages, reuse };
  return { ...NEAR, ...load, kind: "end to end", name, goals: endToEndGoals(load) };
}

function endToEndGoals({ sessions, bytes, reuse }: Load): readonly Goal[] {
  if (bytes === MB) return [rate("postfix", 1.5), rate("emailrelay", 8)];
  if (bytes !== KB) return [];
  const cpu = { peer: "postfix", figure: "cpu", ratio: 0.25 } as const;
  if (sessions === 1) return [rate("postfix", 1), cpu];
  if (reuse || sessions === 20) return [cpu];
  return [rate("postfix", 3), rate("emailrelay", 100), cpu];
}

function drain(messages: number, bytes: number): Scenario {
  const name = nameOf("drain", bytes, [`${messages} waiting`]);
  const goals = [
    ...(bytes === KB && messages === 2000 ? [rate("postfix", 2), rate("emailrelay", 150)] : []),
    ...(bytes === KB && messages === 10_000 ? [rate("postfix", 3)] : []),
  ];
  return { ...NEAR, kind: "drain", name, messages, bytes, sessions: 20, reuse: true, goals };
}

/** Three rounds are enough: what waits for round trips hardly varies. */
function farDrain(
  messages: number,
  { rounds = 3, relaydOptions = [] }: { rounds?: number; relaydOptions?: readonly string[] } = {},
): Scenario {
  const name = nameOf("drain", KB, [
    `${messages} waiting`,
    "20 ms away",
    "4 connections",
    ...relaydOptions,
  ]);
  const far = { distanceMs: 20, connections: 4, relaydOptions, rounds };
  const goals = [rate("emailrelay", 8), rate("one connection, reply by reply", 8)];
  const load = { messages, bytes: KB, sessions: 20, reuse: true };
  return { kind: "drain", name, ...load, ...far, goals };
}

function rate(peer: string, ratio: number): Goal {
  return { peer, figure: "rate", ratio };
}

function nameOf(kind: string, bytes: number, more: readonly string[]): string {
  return [kind, SIZES.get(bytes), ...more].filter((part) => part !== "").join(", ");
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
