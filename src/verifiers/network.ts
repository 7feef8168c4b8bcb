/** The "net:" verifier: asks a service about one recipient in one line. Source: R8. */
import type { RecipientQuery, SessionVerifier, Verification } from "../core/verifier.ts";
import { LineClient } from "../io/line-client.ts";
import { serviceEndpoint } from "../io/service-address.ts";
import type { VerifierTerms } from "./item.ts";
import { unfit } from "./unfit.ts";

/** Throws CONFIG_INVALID. The connection is made for the first recipient and kept until it is disposed of. */
export function networkVerifier(address: string, terms: VerifierTerms): SessionVerifier {
  const client = new LineClient(serviceEndpoint(address), terms);
  const tell = (text: string): void =>
    terms.journal.tell({ kind: "note", level: "info", detail: true, text });
  return {
    verify: async (query, signal) => {
      const question = questionAbout(query);
      if (question === null) return UNASKABLE;
      tell(`verification request: [${query.recipient}] (${query.client})`);
      const answer = await client.ask(question, signal);
      if (answer.kind === "failed") return refuse(450, "cannot verify", answer.why);
      tell(`verification response: [${answer.line}]`);
      return understand(answer.line);
    },
    [Symbol.asyncDispose]: async () => await client[Symbol.asyncDispose](),
  };
}

/**
 * Null when a field holds what separates fields or lines. "|" is allowed in a local part, so without
 * this a client could forge the fields that follow, the account it claims to be among them.
 */
function questionAbout(query: RecipientQuery): string | null {
  const { recipient, sender, client, domain, mechanism, account } = query;
  const fields = [recipient, sender, client, domain, mechanism, account];
  return fields.some((field) => /[|\p{Cc}]/u.test(field)) ? null : fields.join("|");
}

/** An answer that is none of the forms refuses for good, as in E-MailRelay, but with a text. */
function understand(line: string): Verification {
  // A mailbox or an address is written into the envelope file: no control character gets there.
  if (/\p{Cc}/u.test(line)) return MALFORMED;
  const [kind = "", first = "", second = "", ...more] = line.split("|");
  const fields = line.split("|").length;
  switch (kind) {
    case "0":
      if (fields < 3 || !isName(first)) return MALFORMED;
      return { kind: "local", mailbox: first, description: [second, ...more].join("|") };
    case "1":
      return fields === 2 && isName(first) ? { kind: "remote", address: first } : MALFORMED;
    case "2":
      return refuse(550, first, second);
    case "3":
      return refuse(450, first, second);
    case "100":
      return { kind: "abort" };
    default:
      return MALFORMED;
  }
}

const isName = (field: string): boolean => field !== "" && unfit(field) === null;

function refuse(code: number, text: string, reason: string): Verification {
  return { kind: "refuse", reply: { code, text: text || "mailbox unavailable" }, reason };
}

const MALFORMED = refuse(550, "rejected", "malformed answer from the address verifier");
const UNASKABLE = refuse(
  550,
  "mailbox name not allowed",
  'cannot ask about a name with "|" or a control character',
);
