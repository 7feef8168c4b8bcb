/** What becomes of a message that may be tried again: carried out and told for each of its recipients. */
import type { Reply } from "../core/reply.ts";
import {
  type FailedRecipient,
  hasRetryState,
  type RetryState,
  retryStateOf,
  UNTRIED,
  withRetryState,
} from "../core/retry-state.ts";
import { type RecipientOutcome, settleEach } from "../core/settle-each.ts";
import type { FailureReason, Lease } from "../core/store.ts";
import type { Receipt, Trouble } from "../core/transport.ts";
import { ageToNote } from "./arrival.ts";
import { deliveryTo } from "./delivery.ts";
import type { Forwarded, Routed, Stations } from "./journey.ts";
import {
  type Ended,
  EXPIRED,
  tellRelayed,
  tellSender,
  tellsRelayed,
  warnSender,
} from "./reporting.ts";
import type { Retrying } from "./retrying.ts";

/** Carries out what a smarthost said about each recipient: who has it is never sent it again. */
export async function concludeEach(
  at: Stations,
  retrying: Retrying,
  routed: Routed,
  receipt: Receipt,
  ended: Ended,
): Promise<Forwarded> {
  const { lease } = routed;
  const { smarthost } = ended.attempt;
  const site = siteTrouble(receipt);
  if (site !== null) {
    retrying.fails(smarthost, site);
    return await retrying.unreached(at, routed, site, ended.attempt);
  }
  if (receipt.kind === "lost") retrying.loses(smarthost, lease.id, receipt.trouble);
  else if (receipt.kind !== "unsendable") retrying.works(smarthost);
  const subject = { lease, ended };
  const settled = settleEach(receipt, lease.envelope.toRemote, at.recipients);
  const fates = await fatesOf(retrying, lease, settled);
  const { delivered, deferred, failed } = fates;
  if (failed.length > 0) await tellSender(at, subject, failed);
  if (tellsRelayed(at, ended)) await tellRelayed(at, subject, delivered);
  const all = [...retryStateOf(lease.envelope).failed, ...failed];
  if (deferred.length === 0) await finish(retrying, lease, all);
  else await putOff(at, retrying, subject, { ...fates, unknown: isUnknown(receipt) });
  if (delivered.length > 0) tell(at, subject, "message.delivered", delivered);
  if (failed.length > 0) tell(at, subject, "message.failed", failed);
  const outcome = outcomeOf(fates, all, troubleOf(receipt));
  return { kind: "over", outcome, next: ended.next };
}

interface Fates {
  readonly delivered: readonly RecipientOutcome[];
  readonly deferred: readonly RecipientOutcome[];
  readonly failed: readonly RecipientOutcome[];
}

async function fatesOf(
  retrying: Retrying,
  lease: Lease,
  settled: readonly RecipientOutcome[],
): Promise<Fates> {
  if (settled.every(({ kind }) => kind === "delivered")) {
    return { delivered: settled, deferred: [], failed: [] };
  }
  const expired = await retrying.isExpired(lease);
  const fates = settled.map((one) => (one.kind === "deferred" && expired ? timedOut(one) : one));
  const of = (kind: RecipientOutcome["kind"]) => fates.filter((one) => one.kind === kind);
  return { delivered: of("delivered"), deferred: of("deferred"), failed: of("failed") };
}

/** Somebody waits: the envelope then has those alone, and remembers the others that never got it. */
async function putOff(
  at: Stations,
  retrying: Retrying,
  subject: { readonly lease: Lease; readonly ended: Ended },
  { delivered, deferred, failed, unknown }: Fates & { readonly unknown: boolean },
): Promise<void> {
  const { lease } = subject;
  const state = retryStateOf(lease.envelope);
  const noted: RetryState = {
    ...state,
    // Who is left was not to blame for the attempts before: there were too many at a time.
    tries: delivered.length > 0 ? 0 : state.tries,
    arrived: await ageToNote(lease, at.clock.now()),
    failed: [...state.failed, ...failed],
  };
  const warnAfter = at.reporter === null ? null : at.delayWarningSeconds;
  const { next, ms } = await retrying.after(lease, noted, { unknown, warnAfter });
  const names = deferred.map(({ recipient }) => recipient);
  await retrying.notes.write(lease, withRetryState(lease.envelope, names, next));
  const retrySeconds = Math.round(ms / 1000);
  tell(at, subject, "message.deferred", deferred, { retrySeconds, unknown });
  await warnSender(at, retrying, subject, deferred);
}

function outcomeOf(
  { delivered, deferred, failed }: Fates,
  all: readonly FailedRecipient[],
  trouble: Trouble | null,
): Forwarded["outcome"] {
  const [worst] = [...failed, ...deferred, ...delivered];
  const reply = worst?.reply ?? { code: 250, text: "" };
  if (deferred.length > 0) return { kind: "deferred", trouble, reply };
  if (failed.length > 0) return { kind: "failed", reason: reasonOf(all), trouble, reply };
  return { kind: "delivered", reply };
}

/** Not a word about the message: the smarthost wants a password or encryption first (RFC 4954 6, RFC 3207 4). */
function siteTrouble(receipt: Receipt): Trouble | null {
  if (receipt.kind !== "refused" && receipt.kind !== "lost") return null;
  const said = (receipt.rejected ?? []).filter(({ reply }) => reply.code !== 0);
  const reply = receipt.kind === "refused" ? receipt.reply : said[0]?.reply;
  if (reply?.code !== 530 || isUnknown(receipt)) return null;
  const isOfRecipients = receipt.kind === "lost" || receipt.step === "rcpt";
  if (isOfRecipients && said.some((one) => one.reply.code !== 530)) return null;
  return { kind: "authentication", connected: true, why: reply.text, reply };
}

/** Nobody knows whether the smarthost took it. */
function isUnknown(receipt: Receipt): boolean {
  return receipt.kind === "lost" && receipt.unknown;
}

/** A message that nobody can be asked about any more: its smarthost has been in trouble for all its time. */
export async function expire(
  at: Stations,
  retrying: Retrying,
  { lease, ended }: { readonly lease: Lease; readonly ended: Ended },
  { said, trouble }: { readonly said: Reply; readonly trouble: Trouble | null },
): Promise<Forwarded> {
  const failed = lease.envelope.toRemote.map((recipient) =>
    timedOut({ recipient, kind: "deferred", reply: said, step: null }),
  );
  const report = { lease, ended };
  await tellSender(at, report, failed);
  const all = [...retryStateOf(lease.envelope).failed, ...failed];
  await finish(retrying, lease, all);
  tell(at, report, "message.failed", failed);
  const outcome = { kind: "failed", reason: reasonOf(all), trouble, reply: said } as const;
  return { kind: "over", outcome, next: "continue" };
}

/** Nobody waits any more: the message is removed, or set aside for those who never got it. */
async function finish(
  retrying: Retrying,
  lease: Lease,
  failed: readonly FailedRecipient[],
): Promise<void> {
  if (failed.length === 0) await lease.complete();
  else await setAside(retrying, lease, reasonOf(failed));
  retrying.agenda.forget(lease.id);
  retrying.notes.forget(lease.id);
}

/** What no smarthost was asked about is set aside for those who were refused before, too. */
export async function setAsideAll(
  retrying: Retrying,
  lease: Lease,
  reason: FailureReason,
): Promise<void> {
  const before = retryStateOf(lease.envelope).failed;
  const { text, code, recipients } = reason;
  const now = recipients.map((recipient) => ({ recipient, reply: { code, text } }));
  await setAside(retrying, lease, before.length === 0 ? reason : reasonOf([...before, ...now]));
  retrying.notes.forget(lease.id);
}

/** If it cannot be set aside it stays in the queue, but no more for those who have got it. */
async function setAside(retrying: Retrying, lease: Lease, reason: FailureReason): Promise<void> {
  const { envelope } = lease;
  const { recipients } = reason;
  const remaining = new Set(recipients);
  if (hasRetryState(envelope) || envelope.toRemote.some((one) => !remaining.has(one))) {
    await retrying.notes.write(lease, withRetryState(envelope, recipients, UNTRIED));
  }
  await lease.fail(reason);
}

function timedOut({ recipient, reply, step }: RecipientOutcome): RecipientOutcome {
  const text = `${EXPIRED}${reply.text}`;
  return { recipient, kind: "failed", reply: { code: reply.code, text }, step };
}

/** RFC 5321 4.2.1: a session that the smarthost ended, or lost. */
function troubleOf(receipt: Receipt): Trouble | null {
  if (receipt.kind === "lost") return receipt.trouble;
  if (receipt.kind !== "refused" || !receipt.ended) return null;
  const { reply } = receipt;
  return { kind: "connection", connected: true, why: reply.text, reply };
}

function reasonOf(failed: readonly FailedRecipient[]): FailureReason {
  const texts = new Set(failed.map(({ reply }) => reply.text));
  const text =
    texts.size === 1
      ? [...texts].join("")
      : failed.map(({ recipient, reply }) => `<${recipient}>: ${reply.text}`).join("\n");
  // One by one: so many arguments as a message may have recipients are more than a call takes.
  const code = failed.reduce((worst, { reply }) => Math.max(worst, reply.code), 0);
  return { text, code, recipients: failed.map(({ recipient }) => recipient) };
}

type Told =
  | { kind: "message.delivered" | "message.failed"; extra?: undefined }
  | { kind: "message.deferred"; extra: { retrySeconds: number; unknown: boolean } };

function tell(
  at: Stations,
  { lease, ended }: { lease: Lease; ended: Ended },
  kind: Told["kind"],
  fates: readonly RecipientOutcome[],
  extra?: { retrySeconds: number; unknown: boolean },
): void {
  const to = fates.map(({ recipient }) => recipient);
  const reply = fates[0]?.reply ?? { code: 0, text: "" };
  const delivery = deliveryTo(lease.envelope.from, to, ended.attempt, reply, at.clock.monotonic());
  const { id } = lease;
  if (kind === "message.deferred") {
    const { retrySeconds = 0, unknown = false } = extra ?? {};
    at.journal.tell({ kind, id, delivery, retrySeconds, unknown });
  } else {
    at.journal.tell({ kind, id, delivery });
  }
}
