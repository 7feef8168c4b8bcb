/**
 * Asks saslauthd whether a password is right. One question a connection: name, password, service and
 * realm, each with its length in two octets before it; the answer has the same form and begins with "OK"
 * or "NO". Source: Cyrus SASL 2.1, saslauthd(8), and what it was seen to say.
 */
import { connect, type Socket } from "node:net";
import { describeError } from "../core/errors.ts";
import { asRoot } from "../io/identity.ts";

export interface SaslauthdQuestion {
  readonly id: Buffer;
  readonly password: Buffer;
  /** Which PAM service: a file in /etc/pam.d. */
  readonly service: string;
}

export type SaslauthdAnswer =
  | { readonly kind: "yes" }
  | { readonly kind: "no" }
  /** It could not be asked, or did not answer. */
  | { readonly kind: "none"; readonly why: string };

/** What saslauthd reads of a field. */
const MAX_FIELD = 256;
/** Nothing that it says is longer. */
const MAX_ANSWER = 1024;

/** Never rejects. `timeoutMs` is for all of it. */
export async function askSaslauthd(
  path: string,
  question: SaslauthdQuestion,
  timeoutMs: number,
): Promise<SaslauthdAnswer> {
  const { id, password, service } = question;
  const fields = [id, password, Buffer.from(service), Buffer.alloc(0)];
  // Cut at a zero, or at its limit, it would be another name or password.
  if (fields.some((field) => field.length > MAX_FIELD || field.includes(0))) return { kind: "no" };
  try {
    // Its directory is closed to all but root and a group that we do not keep.
    const socket = asRoot(() => connect(path));
    return await talk(socket, Buffer.concat(fields.flatMap(counted)), timeoutMs);
  } catch (error) {
    return { kind: "none", why: describeError(error) };
  }
}

function counted(field: Buffer): Buffer[] {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(field.length);
  return [length, field];
}

async function talk(socket: Socket, request: Buffer, timeoutMs: number): Promise<SaslauthdAnswer> {
  const timer = setTimeout(() => socket.destroy(new Error("no answer in time")), timeoutMs);
  timer.unref();
  try {
    socket.write(request);
    let heard = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      heard = Buffer.concat([heard, chunk]);
      const answer = understand(heard);
      if (answer !== null) return answer;
    }
    return { kind: "none", why: "it closed the connection without an answer" };
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** null: not all of it has come yet. */
function understand(heard: Buffer): SaslauthdAnswer | null {
  const length = heard.length < 2 ? 0 : heard.readUInt16BE();
  if (heard.length < 2) return null;
  if (length > MAX_ANSWER) return { kind: "none", why: "its answer makes no sense" };
  if (heard.length < 2 + length) return null;
  const text = heard.toString("latin1", 2, 2 + length);
  if (/^OK(?![A-Za-z])/.test(text)) return { kind: "yes" };
  if (/^NO(?![A-Za-z])/.test(text)) return { kind: "no" };
  return { kind: "none", why: "its answer makes no sense" };
}
