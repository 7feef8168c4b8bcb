#!/usr/bin/env node
/** relayd-notice: prints the mail that tells a sender why a message could not be delivered. */
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, extname } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { composeNotice, noticeRecipient } from "../compose/notice.ts";
import { readOriginal } from "../compose/original.ts";
import type { Envelope } from "../core/envelope.ts";
import { describeError } from "../core/errors.ts";
import { systemClock } from "../io/clock.ts";
import { decodeEnvelope } from "../spool/envelope-format.ts";

const USAGE = `usage: relayd-notice [--from <address>] [--to <address>] <envelope.bad> <content>
       relayd-notice --print-recipient <envelope.bad>
Prints the notice for a failed message, or only the address that it goes to.
`;

try {
  await run(process.argv.slice(2));
} catch (error) {
  const [, script = "relayd-notice"] = process.argv;
  process.stderr.write(`${basename(script, extname(script))}: ${describeError(error)}\n`);
  process.exitCode = 1;
}

async function run(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      from: { type: "string", default: "postmaster" },
      to: { type: "string" },
      "print-recipient": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [envelopePath, contentPath, ...more] = positionals;
  const recipientOnly = values["print-recipient"];
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  if (
    envelopePath === undefined ||
    more.length > 0 ||
    (contentPath === undefined && !recipientOnly)
  ) {
    throw new Error(`wrong number of arguments\n${USAGE.trimEnd()}`);
  }
  const envelope = await readEnvelope(envelopePath);
  const to = values.to ?? noticeRecipient(envelope);
  if (recipientOnly || contentPath === undefined) {
    process.stdout.write(`${to}\n`);
    return;
  }
  const original = await readOriginal(contentPath);
  const { from } = values;
  const now = systemClock.now();
  const notice = composeNotice({ envelope, original, from, to, host: hostname(), now });
  await pipeline(notice, process.stdout);
}

async function readEnvelope(path: string): Promise<Envelope> {
  const bytes = await readFile(path);
  try {
    return decodeEnvelope(bytes, path);
  } catch (error) {
    throw new Error(`cannot read envelope file: ${path}: ${describeError(error)}`, {
      cause: error,
    });
  }
}
