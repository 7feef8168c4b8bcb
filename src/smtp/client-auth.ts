/** The AUTH exchange (RFC 4954), one mechanism after the other until one is accepted. Pure. */
import type { SaslClient } from "../core/auth.ts";
import { isRefusal, type Reply } from "../core/reply.ts";
import type { Trouble } from "../core/transport.ts";
import { connectionTrouble, type Step, unexpected, whisper } from "./client-protocol.ts";

/** Of the encoded response: RFC 4954 4 keeps the whole AUTH line within 512 bytes. */
const INITIAL_LIMIT = 450;
const ROUNDS = 20;

export class Authentication {
  readonly #attempts: readonly SaslClient[];
  readonly #warn: (text: string) => void;
  #index = 0;
  #rounds = 0;
  #initialDue = false;
  #cancelled = false;

  accepted: SaslClient | null = null;
  /** Why it ended without success. */
  trouble: Trouble = connectionTrouble("smtp error: authentication failed");
  /** The last verdict on name and password: whatever comes behind it, the login is wrong. null when there was none. */
  refusal: Trouble | null = null;

  constructor(attempts: readonly SaslClient[], warn: (text: string) => void) {
    this.#attempts = attempts;
    this.#warn = warn;
  }

  /** Null when there is nothing to try. */
  start(): Step | null {
    const attempt = this.#attempts[this.#index];
    if (attempt === undefined) return null;
    this.#rounds = 0;
    this.#cancelled = false;
    const { mechanism, initial } = attempt;
    const encoded = initial === null ? null : initial.toString("base64") || "=";
    this.#initialDue = encoded !== null && encoded.length > INITIAL_LIMIT;
    if (encoded === null || this.#initialDue) {
      return whisper(`AUTH ${mechanism}`, `AUTH ${mechanism}`);
    }
    return whisper(`AUTH ${mechanism} ${encoded}`, `AUTH ${mechanism} [not logged]`);
  }

  /** Null when it is over: see `accepted` and `trouble`. */
  reply(reply: Reply): Step | null {
    const attempt = this.#attempts[this.#index];
    if (attempt === undefined) return null;
    // RFC 4954 4: what we have broken off is refused with 501. Nobody was authenticated by it.
    if (this.#cancelled && !isRefusal(reply)) return this.#outOfStep(reply);
    if (reply.code === 334) return this.#answer(attempt, reply);
    if (reply.code === 235) {
      this.accepted = attempt;
      return null;
    }
    if (!isRefusal(reply)) return this.#outOfStep(reply);
    return this.#refused(attempt, reply);
  }

  #answer(attempt: SaslClient, reply: Reply): Step | null {
    this.#rounds += 1;
    if (this.#rounds > ROUNDS) return this.#outOfStep(reply);
    const challenge = decodeBase64(reply.text);
    const response = challenge === null ? null : this.#response(attempt, challenge);
    if (response === null) {
      this.#cancelled = true;
      return whisper("*", "*");
    }
    return whisper(response.toString("base64"), "[response not logged]");
  }

  #outOfStep(reply: Reply): null {
    this.trouble = unexpected(reply);
    return null;
  }

  #response(attempt: SaslClient, challenge: Buffer): Buffer | null {
    if (!this.#initialDue) return attempt.respond(challenge);
    this.#initialDue = false;
    return attempt.initial;
  }

  #refused(attempt: SaslClient, reply: Reply): Step | null {
    const said = reply.text.split("\n").join(" ");
    const why = `smtp error: authentication failed ${attempt.detail}: [${said}]`;
    this.trouble = { kind: "authentication", connected: true, why, reply };
    // RFC 4954 6: any other code is about the mechanism, or this moment. What we have broken off was not refused.
    if (reply.code === 535 && !this.#cancelled) this.refusal = this.trouble;
    this.#index += 1;
    const next = this.#attempts[this.#index];
    if (next !== undefined) this.#warn(`${why}: trying [${next.mechanism.toLowerCase()}]`);
    return this.start();
  }
}

function decodeBase64(text: string): Buffer | null {
  const plain = text.trim();
  const valid = plain.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(plain);
  return valid ? Buffer.from(plain, "base64") : null;
}
