/** What verifiers are told in tests, and a recipient for them to judge. */
import type { RecipientQuery } from "../../src/core/verifier.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { VerifierTerms } from "../../src/verifiers/item.ts";
import { noteKeeper } from "./programs.ts";

export function aQuery(recipient: string): RecipientQuery {
  return {
    recipient,
    sender: "alice@example.com",
    client: "127.0.0.1:4711",
    domain: "relay.example",
    mechanism: "none",
    account: "",
  };
}

/** Terms, and the notes that are told under them. */
export function verifierTerms(changes: Partial<VerifierTerms> = {}): {
  terms: VerifierTerms;
  notes: string[];
} {
  const { journal, notes } = noteKeeper();
  const terms: VerifierTerms = {
    timeoutMs: 60_000,
    account: null,
    domain: "relay.example",
    journal,
    clock: systemClock,
    ...changes,
  };
  return { terms, notes };
}
