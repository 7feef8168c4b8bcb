/** The "net:" filter: tells a service where the content is, and hears in one line what it thinks of it. Source: R9.2. */
import { LineClient } from "../io/line-client.ts";
import { serviceEndpoint, serviceId } from "../io/service-address.ts";
import { type FilterItem, type FilterResult, type FilterTerms, failure, OK } from "./item.ts";
import { splitCode } from "./response.ts";

/** The longest text that fits a reply line with its code (RFC 5321 4.5.3.1.5). */
const MAX_RESPONSE = 500;

/** Throws CONFIG_INVALID. The connection is made for the first message and kept until it is disposed of. */
export function networkFilter(address: string, terms: FilterTerms): FilterItem {
  const endpoint = serviceEndpoint(address);
  const client = new LineClient(endpoint, terms);
  return {
    id: serviceId(endpoint),
    run: async ({ files }, signal) => {
      const answer = await client.ask(files.content, signal);
      return answer.kind === "line" ? understand(answer.line) : failure("failed", answer.why);
    },
    [Symbol.asyncDispose]: async () => await client[Symbol.asyncDispose](),
  };
}

/** "ok...", nothing at all, or "[<4xx|5xx> ]<response>[TAB<reason>]". */
function understand(line: string): FilterResult {
  if (line === "" || line.startsWith("ok")) return OK;
  const tab = line.indexOf("\t");
  const said = oneLine(tab < 0 ? line : line.slice(0, tab));
  const { response, code } = splitCode(said.slice(0, MAX_RESPONSE));
  const reason = tab < 0 ? "" : oneLine(line.slice(tab + 1));
  return failure(response, reason || response || "rejected", code);
}

/** The response goes to an SMTP client, the reason into an envelope file: nothing may break out of its line. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, " ").trim();
}
