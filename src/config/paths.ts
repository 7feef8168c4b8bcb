/** File names in options: `@app` is the directory of the program, relative ones are from where it was started. */
import { isAbsolute, join } from "node:path";

export interface Places {
  /** Where the program is. */
  readonly appDirectory: string;
  /** Where it was started. */
  readonly cwd: string;
}

/** Absolute, since a daemon changes to "/". Source: R1. */
export function absolutePath(path: string, places: Places): string {
  const expanded = expandApp(path, places);
  return isAbsolute(expanded) ? expanded : join(places.cwd, expanded);
}

export function expandApp(path: string, { appDirectory }: Places): string {
  return path === "@app" || path.startsWith("@app/") ? `${appDirectory}${path.slice(4)}` : path;
}

/** True for a value of --server-auth or --pop-auth that asks for PAM: no file name. */
export function isPam(text: string): boolean {
  return text === "/pam" || text.startsWith("pam:");
}

/** The secrets file by its absolute path; PAM as it is. */
export function secretsPlace(text: string | null, places: Places): string | null {
  return text === null || isPam(text) ? text : absolutePath(text, places);
}
