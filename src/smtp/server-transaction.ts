/** MAIL, RCPT and VRFY: the addresses, their parameters, the verifier's answers, and the envelope they make. Pure. */
import type { ServerAccounts, Trust } from "../core/auth.ts";
import type { ListenerConfig } from "../core/config.ts";
import { dsnLines, type RecipientDsn } from "../core/dsn.ts";
import { displayAddress } from "../core/endpoint.ts";
import { type Envelope, emptyEnvelope } from "../core/envelope.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { RecipientQuery, Verification } from "../core/verifier.ts";
import { encodeXtext } from "../core/xtext.ts";
import { fitsPath, isNamable } from "./client-path.ts";
import {
  afterWord,
  type MailParameters,
  parseMailParameters,
  parseRcptParameters,
} from "./command.ts";
import { BAD_CHARACTER, hasControls, isInternational, type Path, parsePath } from "./mailbox.ts";
import { RecipientList } from "./recipient-list.ts";
import type { ServerAuth } from "./server-auth.ts";
import { NO_ROOM, reply, replyText, type ServerStep, TOO_BIG } from "./server-reply.ts";

export interface TransactionRules {
  readonly config: ListenerConfig;
  readonly domain: string;
  readonly accounts: ServerAccounts;
  readonly journal: Journal;
  /** Whether a message of this size may be stored now; absent: always. */
  readonly hasRoom?: ((bytes: number) => boolean) | undefined;
}

/** What the verifier was asked about. */
interface Question {
  readonly command: "RCPT" | "VRFY";
  /** As the client wrote it. */
  readonly raw: string;
  readonly recipient: string;
  /** null for VRFY. */
  readonly dsn: RecipientDsn | null;
}

export class ServerTransaction {
  readonly #rules: TransactionRules;
  readonly #peer: Peer;
  readonly #auth: ServerAuth;
  /** undefined: not looked up yet. */
  #trust: Trust | null | undefined;
  /** null: no transaction. */
  #from: string | null = null;
  #parameters: MailParameters | null = null;
  readonly #recipients: RecipientList;
  #international = false;
  #question: Question | null = null;

  constructor(rules: TransactionRules, peer: Peer, auth: ServerAuth) {
    this.#rules = rules;
    this.#peer = peer;
    this.#auth = auth;
    this.#recipients = new RecipientList(rules.config.maxRecipients);
  }

  /** True after a good MAIL. */
  get open(): boolean {
    return this.#from !== null;
  }

  get hasRecipients(): boolean {
    return this.#recipients.count > 0;
  }

  get body(): Envelope["body"] {
    return this.#parameters?.body ?? "unknown";
  }

  /** True if a `none` line of the secrets matches the client's address. */
  get trusted(): boolean {
    if (this.#trust === undefined) this.#trust = this.#lookUpTrust();
    return this.#trust !== null;
  }

  account(): string {
    if (this.#auth.authenticated) return this.#auth.id;
    return this.trusted ? (this.#trust?.keyword ?? "") : "";
  }

  clear(): void {
    if (this.#from === null) return;
    this.#from = null;
    this.#parameters = null;
    this.#recipients.clear();
    this.#international = false;
  }

  /** The argument of MAIL. Returns the reply. */
  mail(argument: string): string {
    const { config, journal, hasRoom } = this.#rules;
    const path = this.#path(argument, "FROM");
    if (path.kind === "bad") return `553 mailbox name not allowed: ${path.why}`;
    if (!fitsPath(path.address)) return `553 mailbox name not allowed: ${BAD_CHARACTER}`;
    const parameters = parseMailParameters(path.rest, config);
    if (typeof parameters === "string") return parameters;
    const { size, smtputf8 } = parameters;
    if (config.maxSizeBytes > 0 && size !== null && size > config.maxSizeBytes) return TOO_BIG;
    if (config.smtp.smtputf8strict && !smtputf8 && isInternational(path.raw)) {
      return `553 mailbox name not allowed: ${BAD_CHARACTER}`;
    }
    if (path.raw === "") {
      const text = "empty MAIL-FROM return path";
      journal.tell({ kind: "note", level: "warning", detail: false, text });
    }
    if (hasRoom?.(size ?? 0) === false) return NO_ROOM;
    this.#from = path.address;
    this.#parameters = parameters;
    this.#international = isInternational(path.address);
    return `250 sender <${path.raw}> OK`;
  }

  /** The argument of RCPT. */
  rcpt(argument: string): ServerStep {
    const { config } = this.#rules;
    const path = this.#path(argument, "TO");
    if (path.kind === "bad") return reply(`550 ${path.why}`);
    if (path.raw === "") return reply("550 invalid empty mailbox");
    const dsn = parseRcptParameters(path.rest, config);
    if (typeof dsn === "string") return reply(dsn);
    const smtputf8 = this.#parameters?.smtputf8 === true;
    if (config.smtp.smtputf8strict && !smtputf8 && isInternational(path.raw)) {
      return reply(`550 ${BAD_CHARACTER}`);
    }
    if (!this.#recipients.hasRoom(path.address, dsn)) {
      return reply("452 4.5.3 too many recipients");
    }
    return this.#ask({ command: "RCPT", raw: path.raw, recipient: path.address, dsn });
  }

  /** The argument of VRFY. */
  vrfy(argument: string): ServerStep {
    const raw = argument.replace(/ SMTPUTF8$/i, "");
    if (raw === "" || hasControls(raw)) return reply("550 invalid mailbox");
    const path = raw.startsWith("<") ? this.#parse(raw) : null;
    const recipient = path?.kind === "path" && path.rest === "" ? path.address : raw;
    return this.#ask({ command: "VRFY", raw, recipient, dsn: null });
  }

  /** The verifier's answer to the last question. */
  verified(answer: Verification): ServerStep {
    const question = this.#question;
    this.#question = null;
    if (question === null || answer.kind === "abort") {
      return { kind: "close", reply: "", why: "smtp protocol done: address verifier abort" };
    }
    if (question.command === "VRFY") return reply(vrfyReply(question.raw, answer));
    if (answer.kind === "refuse") return reply(this.#refused(question, answer));
    // What we could not name to a smarthost ourselves is not accepted: nobody would get it, and with --forward-to-all
    // nobody else.
    if (answer.kind === "remote" && !isNamable(answer.address)) {
      return reply(this.#refused(question, UNNAMABLE));
    }
    return reply(this.#accepted(question, answer));
  }

  /** What the dialogue said. `certificate` is the client's, in PEM. */
  envelope(certificate: string): Envelope {
    return {
      ...emptyEnvelope,
      body: this.body,
      from: this.#from ?? "",
      toLocal: this.#recipients.local,
      toRemote: this.#recipients.remote,
      authentication: encodeXtext(this.account()),
      client: this.#peer.address,
      clientCertificate: certificate,
      mailFromAuthIn: this.#parameters?.auth ?? "",
      utf8Mailboxes: this.#international,
      trailer: dsnLines({
        ret: this.#parameters?.ret ?? null,
        envid: this.#parameters?.envid ?? null,
        recipients: this.#recipients.reports,
      }),
    };
  }

  #lookUpTrust(): Trust | null {
    const { accounts, journal } = this.#rules;
    if (!accounts.enabled) return null;
    const trust = accounts.trusted(this.#peer.address);
    if (trust !== null) {
      const { pattern, line } = trust;
      journal.tell({ kind: "client.trusted", peer: this.#peer, pattern, line });
    }
    return trust;
  }

  #path(argument: string, word: "FROM" | "TO"): Path {
    const after = afterWord(argument, word);
    return "why" in after ? { kind: "bad", why: after.why } : this.#parse(after.text);
  }

  #parse(text: string): Path {
    const { strictparsing, alabels } = this.#rules.config.smtp;
    return parsePath(text, { strict: strictparsing, alabels });
  }

  #ask(question: Question): ServerStep {
    this.#question = question;
    const query: RecipientQuery = {
      recipient: question.recipient,
      sender: question.command === "RCPT" ? (this.#from ?? "") : "",
      client: this.#client(),
      domain: this.#rules.domain,
      mechanism: this.#auth.mechanism,
      account: this.account(),
    };
    return { kind: "verify", query };
  }

  #client(): string {
    const { address, port } = this.#peer;
    return displayAddress(address, port);
  }

  #refused(
    { raw, recipient }: Question,
    answer: Extract<Verification, { kind: "refuse" }>,
  ): string {
    const { journal } = this.#rules;
    const { reply: refusal, reason: why } = answer;
    journal.tell({ kind: "recipient.refused", peer: this.#peer, recipient, reply: refusal, why });
    const text = isInternational(raw) ? `recipient <${raw}> ${refusal.text}` : refusal.text;
    return replyText({ code: refusal.code, text });
  }

  #accepted(
    { raw, dsn }: Question,
    answer: Extract<Verification, { kind: "local" | "remote" }>,
  ): string {
    this.#international ||= isInternational(raw.slice(0, raw.lastIndexOf("@") + 1));
    if (answer.kind === "local") {
      this.#recipients.addLocal(answer.mailbox);
      return `250 recipient <${raw}>  OK`;
    }
    this.#international ||= isInternational(answer.address);
    this.#recipients.addRemote(answer.address, dsn);
    return `250 recipient <${raw}> OK`;
  }
}

const UNNAMABLE = {
  kind: "refuse",
  reply: { code: 550, text: BAD_CHARACTER },
  reason: "it could not be named to a smarthost",
} as const;

function vrfyReply(raw: string, answer: Exclude<Verification, { kind: "abort" }>): string {
  switch (answer.kind) {
    case "local":
      return replyText({ code: 250, text: answer.description });
    case "remote":
      return `252 cannot verify but will accept: ${raw}`;
    case "refuse":
      return replyText(answer.reply);
  }
}
