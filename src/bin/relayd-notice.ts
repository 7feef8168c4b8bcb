#!/usr/bin/env node
/** relayd-notice: prints the mail that tells a sender why a message could not be delivered. */
import { readFile, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, extname } from "node:path";
import { pipeline } from "node:stream/promises";
import { composeBadReport } from "../compose/bad-report.ts";
import { composeNotice, noticeRecipient } from "../compose/notice.ts";
import { NOTICE_USAGE, noticeRequest } from "../compose/notice-request.ts";
import { readOriginal } from "../compose/original.ts";
import type { Envelope } from "../core/envelope.ts";
import { describeError } from "../core/errors.ts";
import { systemClock } from "../io/clock.ts";
import { ownDomain } from "../io/host-name.ts";
import { decodeEnvelope } from "../spool/envelope-format.ts";

try {
  await run(process.argv.slice(2));
} catch (error) {
  const [, script = "relayd-notice"] = process.argv;
  process.stderr.write(`${basename(script, extname(script))}: ${describeError(error)}\n`);
  process.exitCode = 1;
}

async function run(args: readonly string[]): Promise<void> {
  const request = noticeRequest(args);
  if (request.kind === "help") {
    process.stdout.write(NOTICE_USAGE);
    return;
  }
  const envelope = await readEnvelope(request.envelope);
  const to = request.to ?? noticeRecipient(envelope);
  if (request.kind === "recipient") {
    process.stdout.write(`${to}\n`);
    return;
  }
  const original = await readOriginal(request.content);
  const now = systemClock.now();
  if (request.kind === "report") {
    const { mtimeMs } = await stat(request.envelope);
    const domain = await ownDomain();
    const bad = { path: request.envelope, envelope, original, setAside: mtimeMs, to, domain, now };
    process.stdout.write(await composeBadReport(bad));
    return;
  }
  const { from } = request;
  const notice = composeNotice({ envelope, original, from, to, host: hostname(), now });
  await pipeline(notice, process.stdout);
}

async function readEnvelope(path: string): Promise<Envelope> {
  try {
    return decodeEnvelope(await readFile(path), path);
  } catch (error) {
    const why = `cannot read envelope file: ${path}: ${describeError(error)}`;
    throw new Error(why, { cause: error });
  }
}
