/** What `info` says about the program. */
import type { Topic } from "./command.ts";

/** Lines; an empty last one makes the empty line that E-MailRelay shows there. */
export function about(topic: Topic, version: string): readonly string[] {
  return topic === "version" ? [version] : TEXTS[topic];
}

const TEXTS: Readonly<Record<Exclude<Topic, "version">, readonly string[]>> = {
  copyright: ["Copyright (c) 2026 The relayd authors"],
  credit: [
    "This program runs on Node.js (https://nodejs.org/)",
    "and its OpenSSL (https://www.openssl.org/)",
    "",
  ],
  warranty: [
    "This program comes with ABSOLUTELY NO WARRANTY.",
    "This is free software under the MIT License, and you are welcome to",
    "redistribute it under its conditions. For",
    "more information refer to the file named LICENSE.",
    "",
  ],
};
