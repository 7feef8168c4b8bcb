/** The part of the option table about what senders are told: all of it is relayd's own. */
import type { OptionSection } from "./option-spec.ts";

export const REPORTS_SECTION = {
  title: "Reports",
  since: "relayd",
  options: [
    {
      name: "bounce",
      value: "optional",
      argument: "yes|no",
      default: "no",
      scope: "instance",
      help: "Tells the sender when a message could not be delivered",
      more:
        "The report goes through the spool as mail from <>. Clients are offered DSN (RFC 3461), with which they " +
        "ask for other reports or none. A message from <> gets none in any case.",
    },
    {
      name: "delay-warning",
      value: "value",
      argument: "time",
      default: "4h",
      scope: "instance",
      help: "Tells the sender when a message waits for longer; 0 for never",
      more: "Once for each message, and only with --bounce.",
    },
  ],
} as const satisfies OptionSection;
