// Writes src/smtp/plain-lines-code.ts from src/smtp/plain-lines.wat.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import openWabt from "wabt";

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), "src/smtp");
const wabt = await openWabt();
const text = readFileSync(join(folder, "plain-lines.wat"), "utf8");
const parsed = wabt.parseWat("plain-lines.wat", text, { simd: true });
const code = Buffer.from(parsed.toBinary({}).buffer).toString("base64");
const lines = code.match(/.{1,90}/g).map((part) => `  "${part}",`);
writeFileSync(
  join(folder, "plain-lines-code.ts"),
  `/** Made of plain-lines.wat by scripts/make-plain-lines.mjs: WebAssembly, in base64. */
export const PLAIN_LINES_CODE = [
${lines.join("\n")}
].join("");
`,
);
