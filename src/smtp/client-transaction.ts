/** One message: MAIL, RCPT, DATA or BDAT, and what the smarthost's answers make of it. Pure. */
import { assertNever } from "../core/assert-never.ts";
import { isRefusal, type Reply } from "../core/reply.ts";
import type { Receipt, RejectedRecipient, Trouble } from "../core/transport.ts";
import {
  type Conversation,
  connectionTrouble,
  isCompletion,
  type Line,
  listen,
  type Step,
  say,
  unexpected,
} from "./client-protocol.ts";
import type { Skill } from "./client-skills.ts";

export interface TransactionTerms {
  /** The whole command with its parameters, see `client-mail.ts`. */
  readonly mail: string;
  readonly recipients: readonly string[];
  /** The whole command of each recipient, in the same order. */
  readonly rcpt: readonly string[];
  readonly forwardTo: "all" | "some";
  readonly framing: "dot" | "chunk";
  /** MAIL and every RCPT in one write. */
  readonly pipelining: boolean;
  /** And DATA with them, where there is but one recipient: then a refusal leaves nothing to be sent. Asked when it begins. */
  readonly eager?: () => boolean;
  /** False where the host has turned out not to take them with the content before. Asked when it would begin so. */
  readonly overlaps?: () => boolean;
  /** Milliseconds that a peer may let pass between two answers to what needs these; 0 for as many as to any command. */
  readonly stallMs?: (used: readonly Skill[]) => number;
}

/** What a host is told by that takes but one command at a time, whatever it announces. */
export const NO_ANSWER = "smtp error: no response to pipelined commands";

type Refused = Extract<Receipt, { kind: "refused" }>;

export class Transaction implements Conversation {
  readonly #terms: TransactionTerms;
  #awaits: "mail" | "rcpt" | "data" | "content" | "rset" = "mail";
  /** Recipients that have been answered. */
  #answered = 0;
  #dataAnswered = false;
  /** DATA was said with the recipient. */
  #isEager = false;
  /** Its first commands were said before its turn. */
  #early = false;
  #accepted = 0;
  #rejected: RejectedRecipient[] = [];
  /** Known before the RSET that follows it. */
  #refusal: Refused | null = null;
  #receipt: Receipt | null = null;
  /** True once the smarthost has answered MAIL with anything but 421: trying again elsewhere would not be the same. */
  begun = false;

  constructor(terms: TransactionTerms) {
    this.#terms = terms;
  }

  /** What became of the message; only after the conversation is done or lost. */
  get receipt(): Receipt {
    const trouble = connectionTrouble("peer disconnected");
    return this.#receipt ?? { kind: "lost", trouble, unknown: true };
  }

  /** What the smarthost had refused before it fell silent; null when nothing. */
  get refusal(): Receipt | null {
    return this.#refusal === null ? null : { ...this.#refusal, ended: true };
  }

  /** True when all was answered that was said in one go. */
  get wasAnswered(): boolean {
    if (this.#isEager && !this.#dataAnswered) return false;
    return this.#answered === this.#terms.recipients.length;
  }

  start(): Step {
    const { mail, pipelining } = this.#terms;
    return pipelining ? say(...this.#group()) : say(mail);
  }

  opening(): readonly Line[] {
    const { pipelining, overlaps } = this.#terms;
    if (!pipelining || overlaps?.() === false) return [];
    return this.#group().map((text) => ({ text, shown: text }));
  }

  #group(): readonly string[] {
    const { mail, rcpt, recipients, framing, eager } = this.#terms;
    this.#isEager = recipients.length === 1 && framing === "dot" && eager?.() === true;
    return this.#isEager ? [mail, ...rcpt, "DATA"] : [mail, ...rcpt];
  }

  opened(): Step {
    this.#early = true;
    return this.#listen();
  }

  /** What a host needs to understand the way in which it begins. */
  get skills(): readonly Skill[] {
    if (!this.#terms.pipelining) return [];
    const skills: Skill[] = [this.#early ? "overlap" : "group"];
    if (this.#isEager) skills.push("eager");
    return skills;
  }

  reply(reply: Reply, ended: boolean): Step {
    if (this.#awaits === "rset") return this.#afterReset(reply);
    if (reply.code === 421) return this.#fatal(reply, false);
    switch (this.#awaits) {
      case "mail":
        return this.#afterMail(reply);
      case "rcpt":
        return this.#afterRecipient(reply);
      case "data":
        return this.#afterData(reply);
      case "content":
        return this.#afterContent(reply, ended);
      default:
        return assertNever(this.#awaits);
    }
  }

  forgo(): void {
    this.#receipt = this.#refusal;
  }

  lost(trouble: Trouble, ended: boolean): void {
    const { reply } = trouble;
    if (this.#refusal !== null) {
      this.#receipt = this.refusal;
    } else if (this.#awaits === "content" && !ended && reply !== null && reply.code >= 500) {
      // Some hosts refuse for good in the middle of a message (too big, virus) and hang up. To
      // try again would meet the same refusal and hold up all that waits behind this message.
      this.#receipt = this.#refused("content", reply, true);
    } else {
      this.#receipt = this.#lost(trouble, ended);
    }
  }

  #afterMail(reply: Reply): Step {
    this.begun = true;
    if (isCompletion(reply)) {
      this.#awaits = "rcpt";
      return this.#terms.pipelining ? this.#listen() : this.#nextRecipient();
    }
    if (!isRefusal(reply)) return this.#fatal(reply, false);
    this.#refusal = this.#refused("mail", reply, false);
    if (!this.#terms.pipelining) return this.#finish(this.#refusal, false);
    // The recipients are on their way already; each is answered too.
    this.#awaits = "rcpt";
    return this.#listen();
  }

  /** For the next answer to what was said in one go. */
  #listen(): Step {
    const forMs = this.#stallMs();
    return forMs === 0 ? listen : { kind: "listen", forMs, instead: this.#stalled };
  }

  /** A host that has shown before that it can is only slow: an answer may take minutes (RFC 5321 4.5.3.2). */
  #stallMs(): number {
    return this.#terms.stallMs?.(this.skills) ?? 0;
  }

  readonly #stalled = (): Step => {
    // It may have shown so meanwhile, with the message before or on another connection.
    if (this.#stallMs() === 0) return listen;
    const trouble = connectionTrouble(NO_ANSWER);
    return this.#finish(this.#lost(trouble, false), true);
  };

  #nextRecipient(): Step {
    return say(this.#terms.rcpt[this.#answered] ?? "");
  }

  #afterRecipient(reply: Reply): Step {
    const recipient = this.#terms.recipients[this.#answered] ?? "";
    if (isRefusal(reply)) this.#rejected.push({ recipient, reply });
    else if (isCompletion(reply)) this.#accepted += 1;
    else return this.#fatal(reply, false);
    this.#answered += 1;
    if (this.#answered < this.#terms.recipients.length) {
      return this.#terms.pipelining ? this.#listen() : this.#nextRecipient();
    }
    return this.#afterRecipients();
  }

  #afterRecipients(): Step {
    if (this.#isEager) return this.#awaitData();
    if (this.#refusal !== null) {
      return this.#accepted > 0 ? this.#reset() : this.#finish(this.#refusal, false);
    }
    const unwanted = this.#terms.forwardTo === "all" && this.#rejected.length > 0;
    if (unwanted || this.#accepted === 0) {
      this.#refusal = this.#refused("rcpt", worst(this.#rejected), false);
      return this.#reset();
    }
    if (this.#terms.framing === "chunk") return this.#content();
    this.#awaits = "data";
    return say("DATA");
  }

  /** It is on its way already. */
  #awaitData(): Step {
    if (this.#accepted === 0) {
      this.#refusal ??= this.#refused("rcpt", worst(this.#rejected), false);
    }
    this.#awaits = "data";
    return this.#listen();
  }

  #afterData(reply: Reply): Step {
    this.#dataAnswered = true;
    if (this.#refusal !== null) return this.#afterVainData(this.#refusal, reply);
    if (reply.code === 354) return this.#content();
    // Any other 2yz or 3yz: the two sides no longer agree where they are. To go on would send the
    // content as commands.
    if (!isRefusal(reply)) return this.#fatal(reply, false);
    this.#refusal = this.#refused("data", reply, false);
    return this.#reset();
  }

  /**
   * A host may ask for content without recipients (RFC 2920 3.1). It is not sent, not even the dot at its end:
   * somebody might take it for a message. It is our end of the connection then, and none of the host's.
   */
  #afterVainData(refusal: Refused, reply: Reply): Step {
    if (reply.code === 354) return this.#finish(refusal, true);
    if (!isRefusal(reply)) return this.#finish({ ...refusal, ended: true }, true);
    return refusal.step === "mail" && this.#accepted === 0
      ? this.#finish(refusal, false)
      : this.#reset();
  }

  #content(): Step {
    this.#awaits = "content";
    return { kind: "content", framing: this.#terms.framing };
  }

  #afterContent(reply: Reply, ended: boolean): Step {
    if (isRefusal(reply)) {
      // RSET after the final dot as well: some hosts (Postfix's end-of-data restrictions) refuse the
      // content but keep the transaction, and would refuse the next message as a nested MAIL.
      this.#refusal = this.#refused("content", reply, false);
      return this.#reset();
    }
    if (!isCompletion(reply)) return this.#fatal(reply, ended);
    if (!ended) return this.#content();
    return this.#finish({ kind: "accepted", reply, rejected: this.#rejected }, false);
  }

  #reset(): Step {
    this.#awaits = "rset";
    return say("RSET");
  }

  /** A host that cannot even reset is not used again, but its refusal stands. */
  #afterReset(reply: Reply): Step {
    const ended = !isCompletion(reply);
    const refusal = this.#refusal ?? this.#refused("rcpt", reply, ended);
    return this.#finish({ ...refusal, ended }, ended);
  }

  #refused(step: Refused["step"], reply: Reply, ended: boolean): Refused {
    return { kind: "refused", step, reply, rejected: this.#rejected, ended };
  }

  #fatal(reply: Reply, unknown: boolean): Step {
    // What has been refused stays refused: the message would meet the same again.
    return this.#finish(this.refusal ?? this.#lost(unexpected(reply), unknown), true);
  }

  #lost(trouble: Trouble, unknown: boolean): Receipt {
    const rejected = this.#rejected;
    return { kind: "lost", trouble, unknown, ...(rejected.length === 0 ? {} : { rejected }) };
  }

  #finish(receipt: Receipt, close: boolean): Step {
    this.#receipt = receipt;
    return { kind: "done", close };
  }
}

/** A permanent refusal outranks a temporary one. */
function worst(rejected: readonly RejectedRecipient[]): Reply {
  const one = rejected.find(({ reply }) => reply.code >= 500) ?? rejected[0];
  return one?.reply ?? { code: 550, text: "" };
}
