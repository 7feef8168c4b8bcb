/** Transport over SMTP: one connection to one smarthost, kept from message to message. */
import type { Envelope } from "../core/envelope.ts";
import type { Content } from "../core/store.ts";
import type {
  Receipt,
  Smarthost,
  Transport,
  TransportSession,
  Trouble,
} from "../core/transport.ts";
import { Approach, type Live, overdueText, type TransportTerms } from "./client-approach.ts";
import {
  framing,
  type MailTerms,
  mailCommand,
  objections,
  rcptCommands,
  unsendable,
} from "./client-mail.ts";
import { namable, unnamable } from "./client-path.ts";
import { connectionTrouble, isGone } from "./client-protocol.ts";
import { HostSkills } from "./client-skills.ts";
import { type ClientTlsFiles, openClientTls } from "./client-tls.ts";
import { NO_ANSWER, Transaction } from "./client-transaction.ts";
import type { Held } from "./client-turns.ts";

/** Throws TLS_SETUP when the certificates of the config cannot be used. */
export function openTransport(terms: TransportTerms): Transport {
  const { tls } = terms.config;
  const files = terms.tls === undefined ? (tls === null ? null : openClientTls(tls)) : terms.tls;
  return new SmtpTransport(terms, files);
}

/** Addresses in one line of the log. */
const MANY_NAMED = 5;

class SmtpTransport implements Transport {
  readonly #terms: TransportTerms;
  readonly #tls: ClientTlsFiles | null;
  readonly #skills: HostSkills;
  readonly #warned = new Set<string>();
  /** The session that prepare() made; it may have ended since. */
  #live: Live | null = null;
  /** While it is being made. */
  #approach: Promise<unknown> | null = null;
  /** What prepare() took of the time that the next message may take. */
  #spentMs = 0;

  constructor(terms: TransportTerms, tls: ClientTlsFiles | null) {
    this.#terms = terms;
    this.#tls = tls;
    this.#skills = terms.skills ?? new HostSkills();
  }

  get session(): TransportSession | null {
    return this.#live;
  }

  get overlaps(): boolean {
    const live = this.#live;
    if (live === null || !live.dialogue.lasts || !this.#pipelines(live)) return false;
    const skills = this.#skills.of(live.to.address);
    return skills.has("group") && skills.mayHave("overlap");
  }

  withdraw(): void {
    this.#live?.dialogue.withdraw();
  }

  async prepare(to: Smarthost, signal: AbortSignal): Promise<Trouble | null> {
    // The message before may be about to make one of its own.
    while (this.#approach !== null) await this.#approach.catch(() => undefined);
    const live = this.#live;
    if (live !== null && sameSmarthost(live.to, to) && live.dialogue.alive) return null;
    const approach = this.#prepare(to, signal);
    this.#approach = approach;
    try {
      return await approach;
    } finally {
      this.#approach = null;
    }
  }

  async #prepare(to: Smarthost, signal: AbortSignal): Promise<Trouble | null> {
    await this.quit();
    const started = this.#terms.clock.monotonic();
    try {
      return await new Approach(this.#terms, this.#tls, to, signal).make((made) => {
        this.#live = made;
      });
    } finally {
      this.#spentMs = this.#terms.clock.monotonic() - started;
    }
  }

  async send(envelope: Envelope, content: Content, signal: AbortSignal): Promise<Receipt | null> {
    const receipt = await this.#send(envelope, content, signal);
    if (receipt === null || receipt.kind === "unsendable") return receipt;
    const refused = unnamable(envelope.toRemote);
    if (refused.length === 0) return receipt;
    const named = refused.slice(0, MANY_NAMED).map(({ recipient }) => `<${recipient}>`);
    const more = refused.length > named.length ? ` and ${refused.length - named.length} more` : "";
    this.#warn(`cannot send to invalid address ${named.join(", ")}${more}`);
    return { ...receipt, rejected: [...(receipt.rejected ?? []), ...refused] };
  }

  async #send(envelope: Envelope, content: Content, signal: AbortSignal): Promise<Receipt | null> {
    const live = this.#live;
    if (live === null) {
      return { kind: "lost", trouble: connectionTrouble("peer disconnected"), unknown: false };
    }
    const reused = live.sent > 0;
    if (reused) this.#told(live);
    const transaction = this.#transaction(live, envelope);
    if (typeof transaction === "string") return { kind: "unsendable", why: transaction };
    if ((await this.#hold(live, transaction, content, signal)) === "withdrawn") return null;
    const { receipt } = transaction;
    const gaveUp = this.#learn(live.to.address, transaction) === "cannot";
    if (receipt.kind !== "lost") return receipt;
    // An idle connection is closed by the other side at any time, perhaps just when we speak again.
    // It has not taken notice of the message then, so that is no reason to put it off.
    const wasIdle = reused && !transaction.begun && isGone(receipt.trouble);
    if (!wasIdle && !gaveUp) return transaction.refusal ?? receipt;
    const trouble = await this.prepare(live.to, signal);
    if (trouble !== null) return { kind: "lost", trouble, unknown: false };
    return await this.#send(envelope, content, signal);
  }

  async quit(): Promise<void> {
    const live = this.#live;
    this.#live = null;
    await live?.dialogue.quit(this.#terms.config.smtp.linger);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.quit();
  }

  async #hold(
    live: Live,
    transaction: Transaction,
    content: Content,
    signal: AbortSignal,
  ): Promise<Held> {
    live.sent += 1;
    const { messageTimeoutMs } = this.#terms.config;
    const budgetMs = messageTimeoutMs > 0 ? Math.max(1, messageTimeoutMs - this.#spentMs) : 0;
    this.#spentMs = 0;
    const overdue = overdueText(messageTimeoutMs);
    return await live.dialogue.hold(transaction, { content, budgetMs, overdue, signal });
  }

  #transaction(live: Live, whole: Envelope): Transaction | string {
    const { config, recipients } = this.#terms;
    // Who is named twice is asked for once: two answers for one address could differ.
    const envelope = { ...whole, toRemote: namable(whole.toRemote) };
    const terms: MailTerms = {
      extensions: live.extensions,
      account: live.account,
      anonymous: config.anonymous,
      words: config.smtp,
    };
    const found = objections(envelope, terms);
    const why = unsendable(whole, recipients) ?? found.find(({ strict }) => strict)?.why ?? null;
    if (why !== null) return why;
    for (const objection of found) this.#warnOnce(objection.why);
    const host = this.#skills.of(live.to.address);
    return new Transaction({
      mail: mailCommand(envelope, terms),
      recipients: envelope.toRemote,
      rcpt: rcptCommands(envelope, live.extensions),
      forwardTo: recipients,
      framing: framing(envelope, live.extensions),
      pipelining: this.#pipelines(live),
      // Where something was refused lately, the recipients' answers are waited for.
      eager: () => host.isWilling && host.mayHave("eager"),
      overlaps: () => host.mayHave("overlap"),
      stallMs: (used) => host.stallMs(used, config.responseTimeoutMs),
    });
  }

  #pipelines({ to, extensions }: Live): boolean {
    const wanted = this.#terms.config.smtp.pipelining && extensions.words.has("PIPELINING");
    return wanted && this.#skills.of(to.address).mayHave("group");
  }

  /** "cannot" when it turns out just now that the host does not take what it has announced. */
  #learn(address: string, { skills, wasAnswered, receipt }: Transaction): "cannot" | null {
    const host = this.#skills.of(address);
    host.isWilling = receipt.kind === "accepted" && receipt.rejected.length === 0;
    const unproven = skills.filter((skill) => !host.has(skill));
    if (unproven.length === 0) return null;
    const isSilent = receipt.kind === "lost" && isSilence(receipt.trouble);
    if (wasAnswered || isSilent) for (const skill of unproven) host.note(skill, wasAnswered);
    return isSilent && !wasAnswered ? "cannot" : null;
  }

  /** E-MailRelay names the connection with every message, not only with its first. */
  #told({ peer }: Live): void {
    const text = `smtp connection to ${peer}`;
    this.#terms.journal.tell({ kind: "note", level: "info", detail: false, text });
  }

  #warnOnce(text: string): void {
    if (this.#warned.has(text)) return;
    this.#warned.add(text);
    this.#warn(text);
  }

  #warn(text: string): void {
    this.#terms.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }
}

const sameSmarthost = (one: Smarthost, other: Smarthost): boolean =>
  one.address === other.address && one.account === other.account;

/** It has said nothing, and perhaps closed. */
const isSilence = ({ why, reply }: Trouble): boolean =>
  reply === null && (why === "peer disconnected" || why === NO_ANSWER);
