/** The table and the JSON: every figure, what relayd's is divided by it, and what was to be reached. */
import type { Goal, Scenario } from "./scenario-list.ts";
import type { Figures } from "./scenarios.ts";

export type Measured = Readonly<Record<string, Figures>>;

/** Something that is measured for relayd alone. */
export interface Finding {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly goal: { readonly atLeast: number } | { readonly atMost: number } | null;
}

export interface Ratios {
  readonly rate: number;
  /** null where the other has no CPU figure. */
  readonly cpu: number | null;
}

export interface Reached extends Goal {
  /** null when the peer was not measured. */
  readonly found: number | null;
  readonly reached: boolean | null;
}

/** relayd's figures divided by those of each other. */
export function ratiosOf(measured: Measured): Readonly<Record<string, Ratios>> {
  const { relayd, ...others } = measured;
  if (relayd === undefined) return {};
  return Object.fromEntries(
    Object.entries(others).map(([name, other]) => [
      name,
      { rate: relayd.perSecond / other.perSecond, cpu: quotient(relayd.cpuMs, other.cpuMs) },
    ]),
  );
}

export function reachedOf(goals: readonly Goal[], measured: Measured): readonly Reached[] {
  const ratios = ratiosOf(measured);
  return goals.map((goal) => {
    const found = ratios[goal.peer]?.[goal.figure] ?? null;
    return { ...goal, found, reached: found === null ? null : keeps(goal, found) };
  });
}

function keeps({ figure, ratio }: Goal, found: number): boolean {
  return figure === "rate" ? found >= ratio : found <= ratio;
}

export function isReached({ value, goal }: Finding): boolean | null {
  if (goal === null) return null;
  return "atLeast" in goal ? value >= goal.atLeast : value <= goal.atMost;
}

const WIDTHS = [32, 9, 17, 8, 7, 9, 12, 8, 12];

/** The head of the columns of `tableOf`. */
export const HEAD = line([
  "",
  "a second",
  "lowest - highest",
  "CPU ms",
  "MB",
  "relayd's",
  "goal",
  "CPU",
  "goal",
]);

export function tableOf(scenario: Scenario, measured: Measured): string {
  const ratios = ratiosOf(measured);
  const goals = reachedOf(scenario.goals, measured);
  const goalOf = (peer: string, figure: Goal["figure"]) =>
    goalText(goals.find((one) => one.peer === peer && one.figure === figure));
  const lines = Object.entries(measured).map(([name, figures]) =>
    line([
      `  ${name}`,
      figures.perSecond.toFixed(figures.perSecond < 100 ? 1 : 0),
      figures.rounds.length < 2
        ? ""
        : `${Math.min(...figures.rounds).toFixed(0)} - ${Math.max(...figures.rounds).toFixed(0)}`,
      fixed(figures.cpuMs),
      fixed(figures.peakMegabytes, 0),
      fixed(ratios[name]?.rate),
      goalOf(name, "rate"),
      fixed(ratios[name]?.cpu),
      goalOf(name, "cpu"),
    ]),
  );
  return [scenario.name, ...lines].join("\n");
}

export function findingText(finding: Finding): string {
  const { name, value, unit, goal } = finding;
  const wanted =
    goal === null ? "" : "atLeast" in goal ? `>= ${goal.atLeast}` : `<= ${goal.atMost}`;
  const verdict =
    goal === null ? "" : ` (goal ${wanted}: ${isReached(finding) === true ? "yes" : "NO"})`;
  return `  ${name.padEnd(70)} ${value.toFixed(value < 100 ? 2 : 0).padStart(8)} ${unit}${verdict}`;
}

function goalText(goal: Reached | undefined): string {
  if (goal === undefined) return "";
  const { figure, ratio, reached } = goal;
  return `${figure === "rate" ? ">=" : "<="} ${ratio}: ${reached === true ? "yes" : "NO"}`;
}

function line(cells: readonly string[]): string {
  return cells
    .map((cell, at) => (at === 0 ? cell.padEnd(WIDTHS[at] ?? 0) : cell.padStart(WIDTHS[at] ?? 0)))
    .join(" ")
    .trimEnd();
}

function fixed(value: number | null | undefined, digits = 2): string {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

function quotient(a: number | null, b: number | null): number | null {
  return a === null || b === null || b === 0 ? null : a / b;
}
