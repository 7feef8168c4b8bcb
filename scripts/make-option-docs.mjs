// Writes docs/options.md and docs/relayd.1 from the compiled option table. Run it after "npm run build";
// another directory than dist may be named.
import { writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const compiled = resolve(root, process.argv[2] ?? "dist", "src/config");
const load = async (name) => await import(pathToFileURL(join(compiled, name)).href);
const { OPTION_SECTIONS } = await load("options.js");
const { renderManual, renderMarkdown } = await load("option-docs.js");
writeFileSync(join(root, "docs/options.md"), renderMarkdown(OPTION_SECTIONS));
writeFileSync(join(root, "docs/relayd.1"), renderManual(OPTION_SECTIONS));
