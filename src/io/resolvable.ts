/** Whether a host name can be found, for a warning at start. */
import { lookup } from "node:dns/promises";

/** null when it can; else the reason, as the resolver says it. */
export async function whyNotFound(host: string): Promise<string | null> {
  try {
    await lookup(host);
    return null;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (code === "ENOTFOUND") return "Name or service not known";
    if (code === "EAI_AGAIN") return "Temporary failure in name resolution";
    return code;
  }
}
