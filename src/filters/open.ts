/** Builds the filters that the options name: a chain for each session or run. Source: R9. */
import { assertNever } from "../core/assert-never.ts";
import { RelayError } from "../core/errors.ts";
import { silentJournal } from "../core/events.ts";
import type { FilterRole, OpenFilter } from "../core/filter.ts";
import { systemClock } from "../io/clock.ts";
import { filterChain } from "./chain.ts";
import { copyFilter } from "./copy.ts";
import { deliverFilter } from "./deliver.ts";
import { exitFilter, sleepFilter } from "./exit.ts";
import type { FilterItem, FilterTerms } from "./item.ts";
import { msgidFilter } from "./msgid.ts";
import { mxFilter } from "./mx.ts";
import { networkFilter } from "./network.ts";
import { programFilter } from "./program.ts";
import { spamFilter } from "./spamd.ts";
import { type FilterSpec, parseFilterSpec } from "./spec.ts";
import { splitFilter } from "./split.ts";

/** The option's values in their order. Throws CONFIG_INVALID for what none of the filters takes. */
export function openFilter(values: readonly string[], terms: FilterTerms): OpenFilter {
  const specs = values.flatMap(parseFilterSpec);
  // Built once to no purpose but this: faults are found now, and not when the first message comes.
  for (const spec of specs) buildFilter(spec, terms);
  return () =>
    filterChain(
      specs.map((spec) => buildFilter(spec, terms)),
      terms,
    );
}

/** Everything that keeps one value of the option from being used; none when it can be. */
export function filterFaults(value: string, role: FilterRole): string[] {
  try {
    openFilter([value], { ...NO_TERMS, role });
    return [];
  } catch (error) {
    if (error instanceof RelayError) return [error.message];
    throw error;
  }
}

/** Building a filter connects to nothing and opens nothing: that is left to its first message. */
function buildFilter(spec: FilterSpec, terms: FilterTerms): FilterItem {
  switch (spec.kind) {
    case "program":
      return programFilter(spec.path, terms);
    case "exit":
      return exitFilter(spec.params, terms);
    case "sleepms":
      return sleepFilter(spec.params, terms);
    case "net":
      return networkFilter(spec.params, terms);
    case "spam":
      return spamFilter(spec.params, false, terms);
    case "spam-edit":
      return spamFilter(spec.params, true, terms);
    case "copy":
      return copyFilter(spec.params, terms);
    case "deliver":
      return deliverFilter(spec.params, terms);
    case "split":
      return splitFilter(spec.params, terms);
    case "mx":
      return mxFilter(spec.params, terms);
    case "msgid":
      return msgidFilter(spec.params, terms);
    default:
      return assertNever(spec);
  }
}

/** Enough to build filters that are never run. */
const NO_TERMS: FilterTerms = {
  role: "filter",
  timeoutMs: 0,
  account: null,
  domain: "localhost",
  spoolDirectory: "/",
  deliveryDirectory: "/",
  editor: {
    readEnvelope: unused,
    writeEnvelope: unused,
    addMessage: unused,
    splitMessage: unused,
    folders: unused,
    distribute: unused,
    readStart: unused,
    prepend: unused,
    serial: () => 0,
  },
  journal: silentJournal,
  clock: systemClock,
};

async function unused(): Promise<never> {
  throw new Error("this filter was built only to be checked");
}
