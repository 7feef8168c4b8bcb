/** What the system calls an error: as strerror() says it, without Node's code and call around it. */
import { getSystemErrorMap } from "node:util";
import { describeError } from "../core/errors.ts";

/** "address already in use"; the error's own message when it is not one of the system's. */
export function systemText(error: unknown): string {
  const errno: unknown = error instanceof Error ? Reflect.get(error, "errno") : null;
  const known = typeof errno === "number" ? getSystemErrorMap().get(errno) : undefined;
  return known?.[1] ?? describeError(error);
}
