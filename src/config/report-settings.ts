/** Settings of delivery reports. Pure. */
import type { ReportConfig } from "../core/config.ts";
import { readDuration } from "./durations.ts";
import type { OptionSet } from "./option-set.ts";

const USUAL_WARNING = "4h";

export function reportSettings(options: OptionSet): ReportConfig | null {
  const bounces = options.has("bounce") && options.text("bounce") !== "no";
  if (!bounces) return null;
  const delayMs = readDuration(options.text("delay-warning") ?? USUAL_WARNING);
  return { delayWarningSeconds: Math.round((delayMs ?? 0) / 1000) };
}
