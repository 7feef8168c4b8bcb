/** Asks block lists about clients before they are greeted. Source: R7.8. */
import { setMaxListeners } from "node:events";
import type { Clock } from "../core/clock.ts";
import { displayAddress, type HostPort } from "../core/endpoint.ts";
import { describeError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import { askDns, systemDnsServers } from "../io/dns.ts";
import { codeName, type DnsAnswer, type DnsQuestion, NO_SUCH_NAME } from "../io/dns-message.ts";
import { remoteReason } from "../io/local-peer.ts";
import { clientAddress, meaningOf, questionTypes, reversedAddress } from "./dnsbl-name.ts";
import { type DnsblSpec, parseDnsbl } from "./dnsbl-spec.ts";

/** One complaint about one list so often at most. */
const COMPLAIN_MS = 3_600_000;

export type Decision = { readonly denied: false } | { readonly denied: true; readonly why: string };

export interface Dnsbl {
  /** For the peer's address, "/" for a unix socket. Rejects only when the signal is aborted. */
  check(address: string, signal: AbortSignal): Promise<Decision>;
  /** Lets everybody in for so many seconds, Infinity for good; 0 asks the lists from now on. */
  suspend(seconds: number): void;
  /** Forgets what is being asked: those clients are let in. */
  close(): void;
}

export interface DnsblOptions {
  /** Text of --dnsbl. */
  readonly spec: string;
  readonly journal: Journal;
  readonly clock: Clock;
}

const ALLOWED: Decision = { denied: false };

/** What a list says of a client; "unknown" when nothing was heard from the server. */
type Vote =
  | { readonly kind: "listed"; readonly list: string; readonly address: string }
  | { readonly kind: "clear" }
  | { readonly kind: "unknown" };

/** Throws CONFIG_INVALID. */
export function openDnsbl({ spec, journal, clock }: DnsblOptions): Dnsbl {
  return new BlockLists(parseDnsbl(spec), journal, clock);
}

class BlockLists implements Dnsbl {
  readonly #spec: DnsblSpec;
  readonly #journal: Journal;
  readonly #clock: Clock;
  /** To stop those that are going on; null once closed. */
  #polls: Set<AbortController> | null = new Set();
  readonly #complaints = new Map<string, number>();
  #suspendedUntil = Number.NEGATIVE_INFINITY;

  constructor(spec: DnsblSpec, journal: Journal, clock: Clock) {
    this.#spec = spec;
    this.#journal = journal;
    this.#clock = clock;
  }

  async check(address: string, signal: AbortSignal): Promise<Decision> {
    signal.throwIfAborted();
    const client = clientAddress(address);
    if (client === null || remoteReason(client, "smtp") === null || this.#isIdle()) return ALLOWED;
    const decision = decide([], this.#spec) ?? (await this.#poll(client, signal));
    signal.throwIfAborted();
    if (decision.denied) this.#warn(`connection from [${client}] denied: ${decision.why}`);
    return decision;
  }

  suspend(seconds: number): void {
    this.#suspendedUntil = this.#clock.monotonic() + seconds * 1000;
  }

  close(): void {
    for (const poll of this.#polls ?? []) poll.abort();
    this.#polls = null;
  }

  #isIdle(): boolean {
    return this.#polls === null || this.#clock.monotonic() < this.#suspendedUntil;
  }

  /** Asks all lists at once and waits no longer than it takes to be sure. */
  async #poll(client: string, signal: AbortSignal): Promise<Decision> {
    const { lists, timeoutMs } = this.#spec;
    const server = this.#spec.server ?? systemDnsServers()[0];
    const votes: Vote[] = [];
    const end = new AbortController();
    // Every list listens to it: many of them are no leak.
    setMaxListeners(0, end.signal);
    const stop = (): void => end.abort();
    signal.addEventListener("abort", stop, { once: true });
    this.#polls?.add(end);
    try {
      return await new Promise((resolve) => {
        for (const list of lists) {
          void this.#ask(list, { client, server }, end.signal).then((vote) => {
            // What is left unsaid when it was stopped is no vote.
            if (end.signal.aborted) return;
            votes.push(vote);
            const decision = decide(votes, this.#spec);
            if (decision !== null) resolve(decision);
          });
        }
        this.#clock.sleep(timeoutMs, end.signal).then(
          () => resolve(this.#late()),
          () => resolve(ALLOWED),
        );
      });
    } finally {
      signal.removeEventListener("abort", stop);
      this.#polls?.delete(end);
      end.abort();
    }
  }

  #late(): Decision {
    const why = `no answer from the block lists after ${this.#spec.timeoutMs / 1000}s`;
    if (this.#spec.afterTimeout === "deny") return { denied: true, why };
    this.#complain("time", why);
    return ALLOWED;
  }

  /** Never rejects. One answer that names the client is enough, the other kind need not come. */
  async #ask(list: string, to: Inquiry, signal: AbortSignal): Promise<Vote> {
    const votes = questionTypes(to.client).map(
      async (type) => await this.#askFor(type, list, to, signal),
    );
    const listed = votes.map(async (one) => {
      const vote = await one;
      if (vote.kind !== "listed") throw new Error("Not listed");
      return vote;
    });
    try {
      return await Promise.any(listed);
    } catch {
      const all = await Promise.all(votes);
      return all.find(({ kind }) => kind === "unknown") ?? { kind: "clear" };
    }
  }

  async #askFor(
    type: DnsQuestion["type"],
    list: string,
    { client, server }: Inquiry,
    signal: AbortSignal,
  ): Promise<Vote> {
    const name = `${reversedAddress(client)}.${list}`;
    const resendMs = Math.floor(this.#spec.timeoutMs / 2);
    this.#detail(`asking ${displayAddress(server.host, server.port)} for [${type} ${name}]`);
    try {
      return this.#judge(await askDns({ name, type }, server, { resendMs, signal }), list, client);
    } catch (error) {
      if (!signal.aborted) this.#complain("server", describeError(error));
      return { kind: "unknown" };
    }
  }

  #judge({ code, records }: DnsAnswer, list: string, client: string): Vote {
    if (code !== 0 && code !== NO_SUCH_NAME) {
      this.#complain(list, `the dns server cannot look up [${list}]: ${codeName(code)}`);
    }
    const addresses = records.flatMap((one) =>
      one.type === "A" || one.type === "AAAA" ? [one.address] : [],
    );
    const address = addresses.find((one) => meaningOf(one) === "listed");
    if (address !== undefined) {
      this.#detail(`[${client}] is listed by [${list}]: ${address}`);
      return { kind: "listed", list, address };
    }
    const odd = addresses[0];
    if (odd === undefined) this.#detail(`[${client}] is not listed by [${list}]`);
    else this.#complain(list, `the answer of [${list}] blocks nobody: ${odd}: ${oddness(odd)}`);
    return { kind: "clear" };
  }

  #detail(text: string): void {
    this.#journal.tell({ kind: "note", level: "info", detail: true, text: `dnsbl: ${text}` });
  }

  #warn(text: string): void {
    this.#journal.tell({ kind: "note", level: "warning", detail: false, text: `dnsbl: ${text}` });
  }

  /** A list or server that has gone wrong does so for every client: once an hour is enough. */
  #complain(about: string, text: string): void {
    const now = this.#clock.monotonic();
    const last = this.#complaints.get(about) ?? Number.NEGATIVE_INFINITY;
    if (now - last < COMPLAIN_MS) return;
    this.#complaints.set(about, now);
    this.#warn(text);
  }
}

interface Inquiry {
  readonly client: string;
  readonly server: HostPort;
}

/** null while it depends on what has not been heard yet. */
function decide(votes: readonly Vote[], spec: DnsblSpec): Decision | null {
  const listed = votes.filter((vote) => vote.kind === "listed");
  if (spec.threshold > 0 && listed.length >= spec.threshold) {
    const by = listed.map(({ list, address }) => `${list} (${address})`);
    return { denied: true, why: `listed by ${by.join(", ")}` };
  }
  const missing = spec.lists.length - votes.length;
  const unknown = votes.filter(({ kind }) => kind === "unknown").length;
  const feared = spec.afterTimeout === "deny" ? unknown : 0;
  const possible = listed.length + missing + feared;
  if (spec.threshold === 0 || possible < spec.threshold) return ALLOWED;
  // As it would be when the time is over; there is nothing left to wait for.
  return missing > 0 ? null : { denied: true, why: "no answer from the block lists" };
}

function oddness(address: string): string {
  return meaningOf(address) === "error"
    ? "the list refuses to serve this dns server"
    : "not an address that a block list gives";
}
