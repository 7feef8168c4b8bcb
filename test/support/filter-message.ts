/** What a filter under test is told, and a message for it to look at. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FilterJob, FilterTerms } from "../../src/filters/item.ts";
import { filterTerms } from "./filter-terms.ts";

export function termsWithin(timeoutMs = 10_000): FilterTerms {
  return filterTerms({ timeoutMs }).terms;
}

export interface FilterMessage extends Disposable {
  readonly directory: string;
  readonly job: FilterJob;
  content(): string;
  /** Permission bits of the content file. */
  mode(): number;
  /** Files beside the content, itself included. */
  names(): string[];
}

/** Content of latin1 text in a folder of its own. */
export function filterMessage(content = "Subject: test\r\n\r\nHello\r\n"): FilterMessage {
  const directory = mkdtempSync(join(tmpdir(), "relayd-filter-"));
  const id = "emailrelay.7.1.1";
  const path = join(directory, `${id}.content`);
  writeFileSync(path, content, { encoding: "latin1", mode: 0o640 });
  return {
    directory,
    job: { id, files: { content: path, envelope: join(directory, `${id}.envelope.new`) } },
    content: () => readFileSync(path, "latin1"),
    mode: () => statSync(path).mode & 0o7777,
    names: () => readdirSync(directory).sort(),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}
