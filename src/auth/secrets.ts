/** The secrets file: who may log in here, whom we trust unasked, and our own accounts on smarthosts. */
import type { Trust } from "../core/auth.ts";
import { decodeXtextBytes } from "../core/xtext.ts";
import { decodeBase64 } from "./base64.ts";
import type { HashName } from "./hash-state.ts";
import { HASHES, maskBytes, parseDottedMask } from "./hmac-mask.ts";

export type SecretKind = "plain" | "oauth" | HashName;

export interface Secret {
  readonly kind: SecretKind;
  /** As bytes on the wire. */
  readonly id: Buffer;
  /** The password, the token, or the mask. */
  readonly secret: Buffer;
  /** null when it did not come from a file. */
  readonly line: number | null;
}

export interface Secrets {
  /** By kind, then by `idKey`. */
  readonly server: ReadonlyMap<SecretKind, ReadonlyMap<string, Secret>>;
  /** By pattern. */
  readonly trust: ReadonlyMap<string, Trust>;
  /** By selector; an empty inner map means "do not authenticate". */
  readonly client: ReadonlyMap<string, ReadonlyMap<SecretKind, Secret>>;
}

export interface SecretProblem {
  readonly level: "warning" | "error";
  readonly line: number;
  readonly text: string;
  /** True if a value cannot be decoded: told by its own text, `invalid authorisation secret`. */
  readonly encoding: boolean;
}

export interface ParsedSecrets {
  readonly secrets: Secrets;
  /** In the order of the lines. */
  readonly problems: readonly SecretProblem[];
}

/** What is being read. */
interface Reading {
  readonly server: Map<SecretKind, Map<string, Secret>>;
  readonly trust: Map<string, Trust>;
  readonly client: Map<string, Map<SecretKind, Secret>>;
  /** Type and selector of the client lines so far. */
  readonly clientLines: Set<string>;
}

/** A problem with one line, found by the helpers below. */
class LineProblem extends Error {
  readonly level: "warning" | "error";
  readonly encoding: boolean;
  constructor(level: "warning" | "error", text: string, encoding: boolean) {
    super(text);
    this.level = level;
    this.encoding = encoding;
  }
}

const ALIASES: ReadonlyMap<string, string> = new Map([
  ["login", "plain"],
  ["apop", "md5"],
  ["cram-md5", "md5"],
  ["cram-sha1", "sha1"],
  ["cram-sha256", "sha256"],
  ["cram-sha512", "sha512"],
]);

/** Never throws: what cannot be used is a problem, the other lines are read. Source: R12.1, observed, E-MailRelay 2.6. */
export function parseSecrets(text: string): ParsedSecrets {
  const reading: Reading = {
    server: new Map(),
    trust: new Map(),
    client: new Map(),
    clientLines: new Set(),
  };
  const problems: SecretProblem[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    try {
      readLine(reading, raw.trim(), line);
    } catch (error) {
      if (!(error instanceof LineProblem)) throw error;
      const { level, encoding, message } = error;
      problems.push({ level, line, encoding, text: message });
    }
  }
  return { secrets: reading, problems };
}

/** The key of an id: one character per byte, so that no two ids meet. */
export function idKey(id: Buffer): string {
  return id.toString("latin1");
}

function readLine(reading: Reading, text: string, line: number): void {
  if (text === "" || text.startsWith("#")) return;
  const fields = withoutComment(text.split(/[ \t]+/));
  const side = sideOf(fields);
  const [, type = "", name = "", value, selector = ""] = side.fields;
  if (value === undefined) throw new LineProblem("error", "too few fields", false);
  if (side.name === "client") readClient(reading, { type, name, value, selector, line });
  else readServer(reading, { type, name, value, line });
  if (fields.length > (side.name === "client" ? 5 : 4)) {
    throw new LineProblem("warning", "too many fields", false);
  }
}

function withoutComment(fields: readonly string[]): readonly string[] {
  const at = fields.findIndex((field, index) => index >= 4 && field.startsWith("#"));
  return at < 0 ? fields : fields.slice(0, at);
}

/** The first field says the side; files of the first versions have the type before it. */
function sideOf(fields: readonly string[]) {
  const [first = "", second = "", ...rest] = fields;
  for (const [side, type] of [
    [first, second],
    [second, first],
  ] as const) {
    const name = side.toLowerCase();
    if (name === "client" || name === "server") {
      const lower = type.toLowerCase();
      return { name, fields: [side, ALIASES.get(lower) ?? lower, ...rest] };
    }
  }
  throw new LineProblem("error", `invalid value in first field: [${first}]`, false);
}

interface ServerLine {
  readonly type: string;
  readonly name: string;
  readonly value: string;
  readonly line: number;
}

function readServer(reading: Reading, given: ServerLine): void {
  const { type, name, value, line } = given;
  if (type === "none") {
    if (reading.trust.has(name)) {
      throw new LineProblem("error", "duplicate server trust address", false);
    }
    reading.trust.set(name, { pattern: name, keyword: value, line });
    return;
  }
  const secret = readSecret(given);
  if (secret.kind === "oauth") throw unknownType(type);
  const ids = reading.server.get(secret.kind) ?? new Map<string, Secret>();
  reading.server.set(secret.kind, ids);
  const key = idKey(secret.id);
  if (ids.has(key)) throw new LineProblem("error", "duplicate server secret", false);
  ids.set(key, secret);
}

function readClient(reading: Reading, given: ServerLine & { readonly selector: string }): void {
  const { type, name, value, selector } = given;
  const isPlain = type === "plain" || type === "plain:b";
  const never = isPlain && name === "=" && value === "=";
  const secret = never ? null : readSecret(given);
  const key = `${secret?.kind ?? "plain"} ${selector}`;
  if (reading.clientLines.has(key)) {
    throw new LineProblem("error", "duplicate client secret", false);
  }
  reading.clientLines.add(key);
  const kinds = reading.client.get(selector) ?? new Map<SecretKind, Secret>();
  reading.client.set(selector, kinds);
  if (secret !== null) kinds.set(secret.kind, secret);
}

function readSecret({ type, name, value, line }: ServerLine): Secret {
  const made = (kind: SecretKind, id: Buffer | null, secret: Buffer | null, encoding: string) => {
    const idEncoding = type === "plain:b" ? "base64" : "xtext";
    if (id === null) throw notDecodable(line, `invalid ${idEncoding} encoding of id`);
    if (id.length === 0) throw notDecodable(line, "empty id");
    if (secret === null) throw notDecodable(line, `invalid ${encoding} encoding of secret`);
    if (secret.length === 0) throw notDecodable(line, "empty secret");
    return { kind, id, secret, line };
  };
  if (type === "plain:b") return made("plain", decodeBase64(name), decodeBase64(value), "base64");
  const id = decodeXtextBytes(name);
  if (type === "plain") return made("plain", id, decodeXtextBytes(value), "xtext");
  if (type === "oauth") return made("oauth", id, decodeBase64(value), "base64");
  const hash = HASHES.find((one) => one === type);
  if (hash === undefined) throw unknownType(type);
  const mask = (hash === "md5" ? parseDottedMask(value) : null) ?? decodeBase64(value);
  const secret = made(hash, id, mask, "base64");
  if (secret.secret.length !== maskBytes(hash)) {
    throw notDecodable(line, `invalid length of ${hash} secret`);
  }
  return secret;
}

function notDecodable(line: number, what: string): LineProblem {
  return new LineProblem("error", `invalid authorisation secret: line ${line}: ${what}`, true);
}

function unknownType(type: string): LineProblem {
  return new LineProblem("warning", `unknown secret type: [${type}]`, false);
}
