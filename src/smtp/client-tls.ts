/** TLS towards a smarthost: keys and CA certificates from files, re-read when they change, and the handshake. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { isIP, type Socket } from "node:net";
import { join } from "node:path";
import * as tls from "node:tls";
import type { ClientTls, TlsVersions } from "../core/config.ts";
import { describeError, RelayError } from "../core/errors.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { Trouble } from "../core/transport.ts";
import { asRoot } from "../io/identity.ts";
import { connectionTrouble } from "./client-protocol.ts";

/** Where distributions keep the certificates that the machine's administrator trusts. */
const SYSTEM_BUNDLES: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** The files of --client-tls-certificate and --client-tls-verify, ready for use. */
export interface ClientTlsFiles {
  readonly settings: ClientTls;
  /** Re-reads files that have changed; keeps what it has, and says so, if they cannot be used. */
  context(warn: (text: string) => void): tls.SecureContext;
}

/** Throws TLS_SETUP with the option and the file when something cannot be read or used. */
export function openClientTls(settings: ClientTls): ClientTlsFiles {
  let seen = fingerprint(settings);
  let context = load(settings);
  return {
    settings,
    context: (warn) => {
      const now = asRoot(() => fingerprint(settings));
      if (now === seen) return context;
      seen = now;
      try {
        context = asRoot(() => load(settings));
      } catch (error) {
        warn(`keeping the tls certificates in use: ${describeError(error)}`);
      }
      return context;
    },
  };
}

export type Secured =
  | { readonly kind: "secured"; readonly socket: tls.TLSSocket }
  /** `refused`: TLS itself failed; otherwise the connection ended or took too long. */
  | {
      readonly kind: "failed";
      readonly refused: boolean;
      readonly detail: string;
      readonly why: string;
    };

/** The handshake. The chain is verified only with `verify`, the name only with `verifyName`. */
export async function secure(
  socket: Socket,
  { settings, context }: { settings: ClientTls; context: tls.SecureContext },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Secured> {
  const { serverName, verify, verifyName } = settings;
  const secured = tls.connect({
    socket,
    secureContext: context,
    rejectUnauthorized: verify !== null,
    checkServerIdentity: (_host, certificate) =>
      verifyName === null ? undefined : tls.checkServerIdentity(verifyName, certificate),
    ...(serverName === null || isIP(serverName) ? {} : { servername: serverName }),
  });
  return await new Promise<Secured>((resolve, reject) => {
    const settle = (result: Secured): void => {
      if (timer !== null) clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      if (result.kind === "failed") secured.destroy();
      resolve(result);
    };
    const fail = (refused: boolean, detail: string, why: string): void =>
      settle({ kind: "failed", refused, detail, why });
    const abort = (): void => {
      fail(false, "", "");
      reject(signal.reason);
    };
    const late = (): void => fail(false, "", "secure connection timeout");
    const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : null;
    const lost = (): void => fail(false, "", "peer disconnected: ssl connect");
    signal.addEventListener("abort", abort, { once: true });
    secured.once("secureConnect", () => {
      secured.off("close", lost);
      settle({ kind: "secured", socket: secured });
    });
    secured.once("close", lost);
    // The listener stays: no later error may be without one.
    secured.on("error", (error: Error) => {
      const detail = describeTlsError(error);
      fail(detail !== null, detail ?? "", "peer disconnected: ssl connect");
    });
  });
}

/** What went wrong in TLS itself; null for an error of the connection below it. */
function describeTlsError(error: Error): string | null {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (/^(?:ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ERR_STREAM|ERR_SOCKET)/.test(code)) return null;
  if ("reason" in error && typeof error.reason === "string" && error.reason !== "") {
    return error.reason;
  }
  return code === ""
    ? error.message
    : `${code.toLowerCase().replaceAll("_", " ")}: ${error.message}`;
}

/** What an error of a connection means for the conversation on it; `heard`: the peer has spoken before. Tells what TLS says. */
export function lostBy(
  error: Error,
  heard: boolean,
  { journal, peer }: { readonly journal: Journal; readonly peer: Peer },
): Trouble {
  const why = describeTlsError(error);
  if (why === null || heard) return connectionTrouble("peer disconnected");
  // With TLS 1.3 a server that refuses our certificate says so only after our handshake is over.
  journal.tell({ kind: "tls.failed", peer, why: `SSL_read(): [${why}]` });
  return { kind: "tls", connected: true, why: "peer disconnected", reply: null };
}

/** A change of any file shows as a change of this text. */
function fingerprint({ certificate, verify }: ClientTls): string {
  const files = verify === null || verify === "<default>" ? certificate : [...certificate, verify];
  return files.map(stateOf).join(" ");
}

function stateOf(file: string): string {
  try {
    const { ino, mtimeNs, size } = statSync(file, { bigint: true });
    return `${ino}.${mtimeNs}.${size}`;
  } catch {
    // Reading it will say why.
    return "-";
  }
}

function load(settings: ClientTls): tls.SecureContext {
  const key = settings.certificate[0];
  const chain = settings.certificate[1] ?? key;
  try {
    return tls.createSecureContext({
      ...(key === undefined || chain === undefined
        ? {}
        : { key: readPem(key), cert: readPem(chain) }),
      // Every certificate given is there for building the chain, intermediate ones too.
      ...(settings.verify === null ? {} : { ca: trusted(settings.verify) }),
      ...protocols(settings.versions),
    });
  } catch (error) {
    if (error instanceof RelayError) throw error;
    const files = [...settings.certificate, settings.verify ?? ""].filter(Boolean).join('", "');
    const message = `Cannot use TLS certificate or key "${files}": ${describeError(error)}`;
    throw new RelayError("TLS_SETUP", "--client-tls-certificate", message, { cause: error });
  }
}

function readPem(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    const message = `cannot open ssl certificate file: ${path}`;
    throw new RelayError("TLS_SETUP", "--client-tls-certificate", message, { cause: error });
  }
}

function trusted(verify: string): string[] {
  if (verify === "<default>") return systemCertificates();
  try {
    if (!statSync(verify).isDirectory()) return certificatesOf([verify]);
    return certificatesOf(readdirSync(verify).map((name) => join(verify, name)));
  } catch (error) {
    const system = error instanceof Error && "syscall" in error;
    const file = system && "path" in error ? String(error.path) : verify;
    const message = system
      ? `cannot open ssl certificate file: ${file}`
      : `no certificate in ${verify}`;
    throw new RelayError("TLS_SETUP", "--client-tls-verify", message, { cause: error });
  }
}

/** One text a certificate: OpenSSL would stop at the first thing in a file that is not one. */
function certificatesOf(files: readonly string[]): string[] {
  const found = files
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)
    .flatMap((file) => readFileSync(file, "latin1").match(PEM_CERTIFICATE) ?? []);
  if (found.length === 0) throw new Error("no certificate found");
  return [...new Set(found)];
}

const PEM_CERTIFICATE =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

function systemCertificates(): string[] {
  for (const file of SYSTEM_BUNDLES) {
    if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) return certificatesOf([file]);
  }
  return [...tls.rootCertificates];
}

/** TLS 1.2 or better (RFC 8996) unless the operator asks for older ones, which also need older ciphers. */
function protocols({ min, max }: TlsVersions): tls.SecureContextOptions {
  const old = (version: string | null): boolean => version === "TLSv1" || version === "TLSv1.1";
  const minVersion = min ?? (old(max) && max !== null ? max : "TLSv1.2");
  return {
    minVersion,
    ...(max === null ? {} : { maxVersion: max }),
    ...(old(minVersion) ? { ciphers: "DEFAULT@SECLEVEL=0" } : {}),
  };
}
