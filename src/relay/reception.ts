/** The desk of one client session: receives its messages and, with --immediate, forwards each before the reply. */
import { RelayError } from "../core/errors.ts";
import type { Filter, OpenFilter } from "../core/filter.ts";
import type { OpenReception, Reception, Submission } from "../core/intake.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Outcome } from "../core/outcome.ts";
import { isRefusal, type Reply } from "../core/reply.ts";
import type { Lease } from "../core/store.ts";
import type { Transport } from "../core/transport.ts";
import { ClientHears } from "./client-hears.ts";
import {
  type Forwarded,
  forward,
  type Outbound,
  type Routed,
  receive,
  route,
  type Stations,
} from "./journey.ts";
import { isPutOff } from "./unrouted.ts";

export interface ReceptionOptions {
  readonly at: Stations;
  /** null: messages wait for a run. Otherwise each is sent on a connection that the session keeps. */
  readonly immediate: (() => Promise<Transport>) | null;
  /** Called when a session is over. */
  readonly onClosed: () => void;
}

/** The message is safe in the queue all the same. */
const NOT_FORWARDED: Reply = { code: 452, text: "forwarding failed" };
/** The code of what no smarthost has said. */
const OUR_WORDS = 554;
/** A smarthost that could not be used is asked again after this time, though another one takes its mail. */
const ASKED_AGAIN_MS = 60_000;

type OpenedFilter = Filter & AsyncDisposable;

/** What a session with --immediate keeps until it is over. */
interface Exit extends Outbound {
  readonly clientFilter: OpenedFilter | null;
  readonly routingFilter: OpenedFilter | null;
  /** Monotonic milliseconds: what is unusable was found out after this. */
  since: number;
}

export function receptionOpener(options: ReceptionOptions): OpenReception {
  return () => new SessionReception(options);
}

class SessionReception implements Reception {
  readonly #options: ReceptionOptions;
  #filter: OpenedFilter | null = null;
  #exit: Exit | null = null;

  constructor(options: ReceptionOptions) {
    this.#options = options;
  }

  async receive(submission: Submission, signal: AbortSignal): Promise<Reply> {
    const { at, immediate } = this.#options;
    this.#filter ??= open(at.openServerFilter);
    const { reply, id } = await receive(at, submission, this.#filter, signal);
    if (id === null || immediate === null) return reply;
    // Without a filter the stored envelope is the client's: local mail need not be locked to know it.
    if (this.#filter === null && submission.envelope.toRemote.length === 0) return reply;
    const openExit = async () => (this.#exit ??= await openedExit(at, immediate));
    return await forwardNow(at, { id, reply }, openExit, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.onClosed();
    if (this.#filter !== null) await this.#filter[Symbol.asyncDispose]();
    if (this.#exit !== null) await close(this.#exit);
  }
}

async function openedExit(at: Stations, immediate: () => Promise<Transport>): Promise<Exit> {
  return {
    transport: await immediate(),
    clientFilter: open(at.openClientFilter),
    routingFilter: open(at.openRoutingFilter),
    unusable: new Map(),
    soon: null,
    since: 0,
  };
}

async function close({ transport, clientFilter, routingFilter }: Exit): Promise<void> {
  await transport.quit();
  await transport[Symbol.asyncDispose]();
  await clientFilter?.[Symbol.asyncDispose]();
  await routingFilter?.[Symbol.asyncDispose]();
}

function open(openFilter: OpenFilter | null): OpenedFilter | null {
  return openFilter === null ? null : openFilter();
}

async function forwardNow(
  house: Stations,
  accepted: { id: MessageId; reply: Reply },
  openExit: () => Promise<Exit>,
  signal: AbortSignal,
): Promise<Reply> {
  const { id } = accepted;
  const hears = house.reporter === null ? null : new ClientHears(house.reporter);
  const at = hears === null ? house : { ...house, reporter: hears };
  try {
    await using lease = await at.store.lease(id);
    // Somebody else's run was faster: the message is safe and on its way.
    if (lease === null) return accepted.reply;
    // The server filter has the last word on who is local.
    if (lease.envelope.toRemote.length === 0) return accepted.reply;
    const exit = await openExit();
    const routed = await routedNow(at, lease, exit, signal);
    if (routed === null) return accepted.reply;
    const { outcome } =
      routed.kind === "over"
        ? routed
        : await forward(at, routed, hopeful(at, routed, exit), signal);
    if (outcome.kind === "later") {
      // A run waits for its turn; the client, who would give up, need not.
      at.journal.tell({ kind: "forward.skipped", id, why: "left for another run" });
      await lease[Symbol.asyncDispose]();
      at.requestRun("forward rate");
    }
    if (outcome.kind === "queued" && at.retrying !== null) return accepted.reply;
    return replyTo(outcome, accepted.reply, hears?.isReported === true);
  } catch (error) {
    at.retrying?.fault(id);
    if (!(error instanceof RelayError)) throw error;
    at.journal.tell({ kind: "forward.skipped", id, why: error.message });
    const text = `cannot forward ${id}: ${error.message}`;
    at.journal.tell({ kind: "note", level: "error", detail: false, text });
    // It is in the queue and will be tried again: a client that is told to come back sends it twice.
    return at.retrying === null ? NOT_FORWARDED : accepted.reply;
  }
}

/** null when it is in the queue for later. */
async function routedNow(
  at: Stations,
  lease: Lease,
  { routingFilter }: Exit,
  signal: AbortSignal,
): Promise<Routed | Forwarded | null> {
  if (routingFilter !== null && (await isPutOff(at, lease, false))) return null;
  const routed = await route(at, { lease, hasWaited: false }, routingFilter, signal);
  return routed.kind === "routed" && (await waits(at, routed)) ? null : routed;
}

/** A session may last for hours: no message is refused for what an earlier one has found. */
function hopeful(at: Stations, { smarthosts }: Routed, exit: Exit): Exit {
  const now = at.clock.monotonic();
  const isFresh = exit.unusable.size > 0 && now - exit.since < ASKED_AGAIN_MS;
  if (isFresh && smarthosts.some(({ address }) => !exit.unusable.has(address))) return exit;
  exit.unusable.clear();
  exit.since = now;
  return exit;
}

/** True when its smarthost is left alone at the moment: then it is in the queue for later. */
async function waits(at: Stations, routed: Routed): Promise<boolean> {
  const { retrying } = at;
  const pause = retrying?.pauseOf(routed.smarthosts) ?? null;
  if (retrying === null || pause === null) return false;
  await retrying.wait(at, routed, pause);
  return true;
}

/** `isReported`: others have it, or are to get it, and a refusal would speak for them too. */
function replyTo(
  outcome: Forwarded["outcome"] | Outcome,
  accepted: Reply,
  isReported: boolean,
): Reply {
  if (isReported) return accepted;
  switch (outcome.kind) {
    case "delivered":
    case "abandoned":
    case "deferred":
    case "later":
      return accepted;
    case "failed":
      return refusalOf(outcome.reply);
    case "queued":
      return NOT_FORWARDED;
  }
}

/** For a message that was set aside: whatever was said of it, nobody is to take it for delivered. */
function refusalOf({ code, text }: Reply): Reply {
  const refusal = { code: code === 0 ? OUR_WORDS : code, text: text.replaceAll("\n", " ") };
  return isRefusal(refusal) ? refusal : NOT_FORWARDED;
}
