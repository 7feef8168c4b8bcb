/** The part of the option table that E-MailRelay 2.6 does not have: additions, and spellings of its first version. */
import type { OptionSection } from "./option-spec.ts";

/** A week: what no time limit needs to exceed. */
const WEEK = 604_800;

export const ADDITIONS_SECTION = {
  title: "Additions to E-MailRelay's options",
  since: "relayd",
  options: [
    {
      name: "check-config",
      value: "none",
      scope: "process",
      common: true,
      help: "Says everything that is wrong with the configuration, and runs nothing",
      more: "Each problem is named with its option, or with file and line. The exit code is 1 if there is any.",
    },
    {
      name: "trial",
      value: "optional",
      argument: "port",
      default: "10025",
      scope: "process",
      common: true,
      range: { min: 0, max: 65_535 },
      help: "Runs a relay to try out, with a smarthost of its own that accepts everything",
      more: "It listens on 127.0.0.1 only, stays in the foreground and keeps its mail in ./spool.",
    },
    {
      name: "no-sync",
      value: "none",
      scope: "instance",
      help: "Acknowledges mail before it is safely on the disk",
      more: "Faster, but a power cut can lose mail that was acknowledged.",
    },
    {
      name: "shared-spool",
      value: "none",
      scope: "instance",
      help: "Tells that other programs than relayd forward from this spool too",
      more: "A message that is locked by one of those is then left alone for an hour.",
    },
    {
      name: "grace-time",
      value: "value",
      argument: "seconds",
      default: "30",
      scope: "process",
      range: { min: 0, max: 86_400 },
      help: "Gives what is in hand so much time when relayd is told to end",
    },
    {
      name: "bare-newlines",
      value: "value",
      argument: "fix|reject|accept",
      default: "fix",
      scope: "instance",
      help: "Says what to do with a CR or LF on its own in a message",
      more: "fix makes CRLF of it, reject refuses the message, accept keeps it as it is.",
    },
    {
      name: "max-recipients",
      value: "value",
      argument: "n",
      default: "1000",
      scope: "instance",
      range: { min: 1, max: 1_000_000 },
      help: "Refuses further recipients of a message",
    },
    {
      name: "max-hops",
      value: "value",
      argument: "n",
      default: "100",
      scope: "instance",
      range: { min: 0, max: 1_000_000 },
      help: "Refuses a message with more Received lines; 0 for no limit",
    },
    {
      name: "session-timeout",
      value: "value",
      argument: "seconds",
      default: "86400",
      scope: "instance",
      range: { min: 0, max: WEEK },
      help: "Limits a session of a client in all; 0 for no limit",
    },
    {
      name: "message-timeout",
      value: "value",
      argument: "seconds",
      default: "3600",
      scope: "instance",
      range: { min: 0, max: WEEK },
      help: "Limits one message or one command from a client in all; 0 for no limit",
    },
    {
      name: "forward-timeout",
      value: "value",
      argument: "seconds",
      default: "3600",
      scope: "instance",
      range: { min: 0, max: WEEK },
      help: "Limits one message to the smarthost in all; 0 for no limit",
    },
  ],
} as const satisfies OptionSection;

export const OLD_SECTION = {
  title: "Old spellings",
  since: "E-MailRelay 1",
  options: [
    {
      name: "verifier",
      value: "value",
      argument: "program",
      scope: "instance",
      alias: { of: "address-verifier", prefix: "" },
      help: "Old spelling of --address-verifier",
    },
    {
      name: "scanner",
      value: "value",
      argument: "host:port",
      scope: "instance",
      alias: { of: "filter", prefix: "net:" },
      help: "Old spelling of --filter=net:<host:port>",
    },
  ],
} as const satisfies OptionSection;
