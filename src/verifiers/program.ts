/** A verifier that is a program: it is told the recipient, and answers with its exit code and two lines. Source: R8. */
import { RelayError } from "../core/errors.ts";
import type { RecipientQuery, SessionVerifier, Verification } from "../core/verifier.ts";
import { isShortage, type ProgramEnd, runProgram } from "../io/program.ts";
import type { VerifierTerms } from "./item.ts";
import { unfit } from "./unfit.ts";

/** `path` is absolute. */
export function programVerifier(path: string, terms: VerifierTerms): SessionVerifier {
  const { account, timeoutMs, journal } = terms;
  const tell = (text: string) =>
    journal.tell({
      kind: "note",
      level: "info",
      detail: true,
      text: `address verifier: ${text}`,
    });

  return {
    async verify(query, signal) {
      const args = argumentsFor(query);
      tell(`executing ${bracketed([path, ...args])}`);
      let end: ProgramEnd;
      try {
        end = await runProgram({ path, args, account, timeoutMs, signal });
      } catch (error) {
        if (!(error instanceof RelayError)) throw error;
        return refuse(isShortage(error) ? 450 : 550, "error", `exec error: ${error.message}`);
      }
      if (end.timedOut) return refuse(450, "timeout", "");
      const lines = end.output.replace(/[ \t\r\n]+$/, "").split(/\r?\n/);
      tell(`exit code ${end.exitCode}: ${bracketed([lines[0] ?? "", lines[1] ?? ""])}`);
      return judge(end, lines);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function argumentsFor(query: RecipientQuery): string[] {
  const { recipient, sender, client, domain, mechanism, account } = query;
  return [recipient, sender, client, domain, mechanism, account];
}

/** The meaning of the exit code and the lines. A program that crashed has not judged anybody. */
function judge({ exitCode, killedBy }: ProgramEnd, lines: readonly string[]): Verification {
  const [first = "", second = ""] = lines;
  if (killedBy !== null) return refuse(450, "error", `killed by ${killedBy}`);
  if (exitCode === 100) return { kind: "abort" };
  if (exitCode === 127) return refuse(550, "error", first);
  if ((exitCode === 0 || exitCode === 1) && second !== "") {
    const why = unfit(second);
    if (why !== null) return refuse(550, UNAVAILABLE, why);
    return exitCode === 0
      ? { kind: "local", mailbox: second, description: first }
      : { kind: "remote", address: second };
  }
  const code = exitCode === 3 ? 450 : 550;
  return refuse(code, first || UNAVAILABLE, second || `exit code ${exitCode}`);
}

const UNAVAILABLE = "mailbox unavailable";

function refuse(code: 450 | 550, text: string, reason: string): Verification {
  return { kind: "refuse", reply: { code, text }, reason };
}

function bracketed(words: readonly string[]): string {
  return words.map((word) => `[${word}]`).join(" ");
}
