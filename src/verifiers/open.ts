/** Builds the address verifier that the options name, one for each session. Source: R8. */
import { acceptAll, type SessionVerifier } from "../core/verifier.ts";
import { accountVerifier } from "./account.ts";
import { accountLookup } from "./account-lookup.ts";
import type { VerifierTerms } from "./item.ts";
import { networkVerifier } from "./network.ts";
import { programVerifier } from "./program.ts";
import { parseVerifierSpec } from "./spec.ts";

/** Checks the specification at once: throws CONFIG_INVALID. Programs are looked for only when they run. */
export function openVerifier(text: string, terms: VerifierTerms): () => SessionVerifier {
  const spec = parseVerifierSpec(text);
  switch (spec.kind) {
    case "program":
      return () => programVerifier(spec.path, terms);
    case "network":
      return () => networkVerifier(spec.address, terms);
    case "account": {
      const lookup = accountLookup(terms);
      return () => accountVerifier(spec.rule, lookup, terms);
    }
    case "accept":
      return () => acceptAll;
  }
}
