/** The part of the option table about when and how mail is tried again: all of it is relayd's own. */
import type { OptionSection } from "./option-spec.ts";

/** What `--retry` without a value means. */
export const USUAL_SCHEDULE = "1m,5m,15m,30m,1h,2h,4h";

export const QUEUE_SECTION = {
  title: "The queue",
  since: "relayd",
  options: [
    {
      name: "retry",
      value: "optional",
      argument: "gap,gap...",
      default: "off",
      scope: "instance",
      help: "Keeps mail with temporary trouble and tries it again after growing gaps",
      more:
        `The last gap repeats (without a value: ${USUAL_SCHEDULE}). Trouble with the smarthost itself, such ` +
        "as refused authentication or TLS failure, pauses the smarthost and fails no mail. " +
        "Without this option what fails is set aside as .bad.",
    },
    {
      name: "expire",
      value: "value",
      argument: "time",
      default: "5d",
      scope: "instance",
      help: "Sets mail aside that could not be delivered for so long",
      more: "Only with --retry.",
    },
    {
      name: "forward-parallel",
      value: "value",
      argument: "n",
      default: "4",
      scope: "instance",
      range: { min: 1, max: 100 },
      help: "Opens at most so many connections to a smarthost at a time",
      more: "More than one only when mail waits. 1 is usual for --client-filter without --retry.",
    },
    {
      name: "forward-rate",
      value: "value",
      argument: "n/time",
      default: "no limit",
      scope: "instance",
      help: "Sends at most so many messages to a smarthost in that time",
      more: "For example 100/1h, or 5/s.",
    },
  ],
} as const satisfies OptionSection;
