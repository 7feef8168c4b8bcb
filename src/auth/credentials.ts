/**
 * Judges passwords and CRAM answers. An unknown id costs the same work as a known one, and answers are
 * compared in constant time, so that nobody learns from the clock who has an account here.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { ApopProof } from "../core/auth.ts";
import type { HashName } from "./hash-state.ts";
import { hmacFromMask, maskBytes } from "./hmac-mask.ts";
import { idKey, type Secret, type SecretKind, type Secrets } from "./secrets.ts";

/** What came out of one try to log in. */
export interface Judgement {
  readonly accepted: boolean;
  readonly id: string;
  /** "using mechanism [plain] and plaintext secret for [alice] from line 2". */
  readonly detail: string;
}

/** Longest id that is written to the log. */
const MAX_SHOWN = 200;

/** `mechanism` is upper case. */
export function judgePassword(
  secrets: Secrets["server"],
  mechanism: string,
  given: { readonly id: Buffer; readonly password: Buffer },
): Judgement {
  const found = secrets.get("plain")?.get(idKey(given.id));
  const same = equal(given.password, found?.secret ?? randomBytes(32));
  return judgement(mechanism, given.id, found, same);
}

/** `digest` is the hexadecimal text that the client sent. */
export function judgeCram(
  secrets: Secrets["server"],
  mechanism: string,
  given: {
    readonly hash: HashName;
    readonly id: Buffer;
    readonly challenge: Buffer;
    readonly digest: string;
  },
): Judgement {
  const { hash, id, challenge } = given;
  const hashed = secrets.get(hash)?.get(idKey(id));
  const plain = secrets.get("plain")?.get(idKey(id));
  // Both ways are gone every time: see above.
  const fromMask = hmacFromMask(hash, hashed?.secret ?? randomBytes(maskBytes(hash)), challenge);
  const fromPlain = createHmac(hash, plain?.secret ?? randomBytes(32))
    .update(challenge)
    .digest();
  const wanted = hashed === undefined ? fromPlain : fromMask;
  const same = equal(Buffer.from(given.digest.toLowerCase()), Buffer.from(wanted.toString("hex")));
  return judgement(mechanism, id, hashed ?? plain, same);
}

/** RFC 1939, "APOP": only a plain secret will do. */
export function judgeApop(secrets: Secrets["server"], given: ApopProof): Judgement {
  const { id, challenge, digest } = given;
  const found = secrets.get("plain")?.get(idKey(id));
  const wanted = createHash("md5")
    .update(challenge)
    .update(found?.secret ?? randomBytes(32))
    .digest("hex");
  const same = equal(Buffer.from(digest.toLowerCase()), Buffer.from(wanted));
  return judgement("APOP", id, found, same);
}

/** How a secret is named in the log. */
export function describeSecret(mechanism: string, id: Buffer, secret: Secret | undefined): string {
  const shown = id.toString("utf8").slice(0, MAX_SHOWN);
  const kind = secret === undefined ? "missing" : kindName(secret.kind);
  const line = typeof secret?.line === "number" ? ` from line ${secret.line}` : "";
  return `using mechanism [${mechanism.toLowerCase()}] and ${kind} secret for [${shown}]${line}`;
}

function kindName(kind: SecretKind): string {
  return kind === "plain" ? "plaintext" : kind;
}

function judgement(
  mechanism: string,
  id: Buffer,
  secret: Secret | undefined,
  same: boolean,
): Judgement {
  return {
    accepted: secret !== undefined && same,
    id: id.toString("utf8"),
    detail: describeSecret(mechanism, id, secret),
  };
}

/** Compares fixed-size digests under a fresh key, because the comparison itself wants equal lengths. */
function equal(one: Buffer, other: Buffer): boolean {
  const key = randomBytes(32);
  const digest = (data: Buffer) => createHmac("sha256", key).update(data).digest();
  return timingSafeEqual(digest(one), digest(other));
}
