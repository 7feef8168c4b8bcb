#!/usr/bin/env node
/** The command relayd-passwd: password in, mask out. */
import { basename, extname } from "node:path";
import { passwd } from "../auth/passwd.ts";

const [, script = "relayd-passwd", ...args] = process.argv;
const { exitCode, stdout, stderr } = await passwd({
  program: basename(script, extname(script)),
  args,
  readLine,
});
process.stdout.write(stdout);
process.stderr.write(stderr);
process.exitCode = exitCode;

/** Standard input up to its first line feed; about 64 kilobytes at most. */
async function readLine(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > 65536 || chunk.includes(0x0a)) break;
  }
  const all = Buffer.concat(chunks);
  const end = all.indexOf(0x0a);
  return end < 0 ? all : all.subarray(0, end);
}
