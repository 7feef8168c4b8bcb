/** TLS for the server: keys, certificates and CAs from PEM files, and the handshake on an open connection. */
import { constants } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import {
  createSecureContext,
  rootCertificates,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from "node:tls";
import type { ServerTls, TlsVersions } from "../core/config.ts";
import { describeError, isErrno, RelayError } from "../core/errors.ts";

/** What the session knows of its encryption. */
export interface Encryption {
  /** "TLSv1.3" */
  readonly protocol: string;
  /** As OpenSSL calls it. */
  readonly cipher: string;
  /** PEM of the client's certificate; "" when it showed none. */
  readonly certificate: string;
}

const CERTIFICATE = "--server-tls-certificate";
const VERIFY = "--server-tls-verify";

/** What a handshake needs. Replaced as a whole on reload. */
export interface ServerKeys {
  readonly context: SecureContext;
  /** Clients are asked for a certificate. */
  readonly ask: boolean;
  /** Clients without a good certificate are turned away. */
  readonly verify: boolean;
}

/** Reads all files anew. Throws TLS_SETUP that names file and option. */
export function loadServerKeys(tls: ServerTls): ServerKeys {
  const verify = tls.verify !== null && tls.verify !== "<none>";
  const options: SecureContextOptions = {
    ...keyAndCertificate(tls.certificate),
    ...versionOptions(tls.versions),
    honorCipherOrder: true,
    // Without it OpenSSL refuses every client that resumes a session, as soon as certificates are asked for. Which
    // sessions are good is another matter: each load of the keys makes new ticket keys, so that none outlives it.
    sessionIdContext: "relayd",
  };
  if (verify && tls.verify !== null) options.ca = authorities(tls.verify);
  try {
    return { context: createSecureContext(options), ask: tls.verify !== "<none>", verify };
  } catch (error) {
    const where = tls.certificate.join(" and ");
    throw setupError(CERTIFICATE, `cannot use ${where}: ${describeError(error)}`, error);
  }
}

function keyAndCertificate(files: readonly string[]): { key: string; cert: string } {
  const [keyFile, certificateFile = keyFile] = files;
  if (keyFile === undefined || certificateFile === undefined) {
    throw setupError(CERTIFICATE, "no certificate file given", undefined);
  }
  const key = readPem(keyFile, CERTIFICATE, "PRIVATE KEY");
  const cert = readPem(certificateFile, CERTIFICATE, "CERTIFICATE");
  return { key, cert };
}

/** The lowest version is TLS 1.2 unless something older is asked for (RFC 8996). */
function versionOptions({ min, max }: TlsVersions): SecureContextOptions {
  const oldMax = max === "TLSv1" || max === "TLSv1.1";
  const minVersion = min ?? (oldMax ? "TLSv1" : "TLSv1.2");
  const old = minVersion === "TLSv1" || minVersion === "TLSv1.1";
  return {
    // A handshake costs us more than the client: one is enough. Node lets clients have as many as they like.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    minVersion,
    maxVersion: max ?? "TLSv1.3",
    // OpenSSL 3 has no cipher for the old versions at its default security level.
    ...(old ? { ciphers: "DEFAULT@SECLEVEL=0" } : {}),
  };
}

/** Every certificate of the file or directory is there for building chains, intermediates included. */
function authorities(verify: string): string | string[] {
  if (verify === "<default>") return defaultAuthorities();
  if (!isDirectory(verify)) return readPem(verify, VERIFY, "CERTIFICATE");
  const found = readdirSync(verify)
    .map((name) => join(verify, name))
    .filter((path) => !isDirectory(path))
    .map((path) => readFile(path, VERIFY))
    .filter((text) => text.includes("-----BEGIN CERTIFICATE-----"));
  if (found.length === 0) throw setupError(VERIFY, `no certificates in ${verify}`, undefined);
  return found;
}

function defaultAuthorities(): string | string[] {
  try {
    return readFileSync("/etc/ssl/certs/ca-certificates.crt", "latin1");
  } catch (error) {
    if (!isErrno(error, "ENOENT", "EACCES", "ENOTDIR")) throw error;
    return [...rootCertificates];
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function readPem(path: string, option: string, label: string): string {
  const text = readFile(path, option);
  if (!new RegExp(`-----BEGIN [A-Z0-9 ]*${label}-----`).test(text)) {
    throw setupError(option, `no ${label.toLowerCase()} in ${path}`, undefined);
  }
  return text;
}

function readFile(path: string, option: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    throw setupError(option, `cannot open ssl certificate file: ${path}`, error);
  }
}

function setupError(option: string, what: string, cause: unknown): RelayError {
  return new RelayError("TLS_SETUP", option, what, { cause });
}

/** An encrypted connection and what is known of it. */
export interface Secured {
  readonly socket: TLSSocket;
  readonly encryption: Encryption;
}

/**
 * Shakes hands on a connection to which nobody listens; input that has not been read yet belongs to the handshake.
 * Rejects with what went wrong, a client certificate that cannot be trusted included; the connection is of no use then.
 */
export function secure(socket: Socket, keys: ServerKeys): Promise<Secured> {
  const encrypted = new TLSSocket(socket, {
    isServer: true,
    secureContext: keys.context,
    requestCert: keys.ask,
    rejectUnauthorized: keys.verify,
  });
  return new Promise((resolve, reject) => {
    encrypted.once("secure", () => {
      const problem = keys.verify ? chainProblem(encrypted) : null;
      if (problem === null) resolve({ socket: encrypted, encryption: describe(encrypted) });
      else reject(new Error(problem));
    });
    encrypted.once("_tlsError", (error: Error) => reject(new Error(detail(error))));
    encrypted.once("error", (error: Error) => reject(new Error(detail(error))));
    // The socket may stay half open: a client that goes away in the middle is an end and no close.
    for (const event of ["end", "close"]) {
      encrypted.once(event, () => reject(new Error("connection closed")));
    }
  });
}

function describe(socket: TLSSocket): Encryption {
  return {
    protocol: socket.getProtocol() ?? "",
    cipher: socket.getCipher().name,
    certificate: socket.getPeerX509Certificate()?.toString().trimEnd() ?? "",
  };
}

/** OpenSSL's verdict on the client's chain; Node keeps it on the handle. Without a verdict there is no trust. */
function chainProblem(socket: TLSSocket): string | null {
  if (socket.getPeerX509Certificate() === undefined) return "no client certificate";
  const handle: unknown = Reflect.get(socket, "ssl");
  if (typeof handle !== "object" || handle === null) return "no verdict on the certificate";
  const verify: unknown = Reflect.get(handle, "verifyError");
  if (typeof verify !== "function") return "no verdict on the certificate";
  const verdict: unknown = Reflect.apply(verify, handle, []);
  if (verdict === null) return null;
  return `certificate verify failed: ${describeError(verdict)}`;
}

function detail(error: Error): string {
  const reason: unknown = Reflect.get(error, "reason");
  return typeof reason === "string" ? reason : error.message;
}
