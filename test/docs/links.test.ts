/** The documents lead to each other: no link goes nowhere, and no page is one that nobody finds. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../../..");
const pages = ["README.md", ...pagesIn("docs"), ...pagesIn("docs/decisions")];

function pagesIn(folder: string): string[] {
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith(".md"));
  return names.map((name) => `${folder}/${name}`);
}

/** Where the page's links go, from the project's root; what they say after "#" on its own. */
function linksOf(page: string): { path: string; section: string | undefined }[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)].map(
    ([, target = "", section]) => ({
      path: target === "" ? page : normalize(join(dirname(page), target)),
      section,
    }),
  );
}

function sectionsOf(page: string): string[] {
  const headings = readFileSync(join(root, page), "utf8").matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

test("every link in the documents leads to a file, and to a section that is there", () => {
  const dead = pages.flatMap((page) =>
    linksOf(page)
      .filter(({ path, section }) => {
        if (!existsSync(join(root, path))) return true;
        return section !== undefined && !sectionsOf(path).includes(section);
      })
      .map(({ path, section }) => `${page}: ${path}#${section ?? ""}`),
  );
  assert.deepEqual(dead, []);
});

test("every document can be reached from README.md", () => {
  const reached = new Set(["README.md"]);
  for (const page of reached) {
    if (!pages.includes(page)) continue;
    for (const { path } of linksOf(page)) reached.add(path);
  }
  const lost = pages.filter((page) => !reached.has(page));
  assert.deepEqual(lost, []);
});
