/** A throw-away certificate authority in a temporary directory, made with openssl. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Issued {
  readonly key: string;
  readonly certificate: string;
  /** Key and certificate (and whatever chain was asked for) in one file. */
  readonly combined: string;
}

export interface IssueOptions {
  /** Subject alternative names; without them the certificate has its common name only. */
  readonly names?: readonly string[];
  /** X.509 version 1: no extensions at all. */
  readonly version1?: boolean;
  /** Already over. */
  readonly expired?: boolean;
}

export interface TestCa extends Disposable {
  readonly directory: string;
  /** The CA's own certificate. */
  readonly certificate: string;
  issue(commonName: string, options?: IssueOptions): Issued;
  /** Another CA below this one; its `certificate` is not self-signed. */
  intermediate(commonName: string): TestCa;
}

/** Throws if openssl is not installed. The directory goes away when the CA is disposed. */
export function makeTestCa(commonName = "relayd test CA"): TestCa {
  const directory = mkdtempSync(join(tmpdir(), "relayd-ca-"));
  const own = files(directory, "ca");
  makeKey(own.key);
  const subject = ["-subj", `/CN=${commonName}`, "-days", "30"];
  openssl("req", "-x509", "-new", "-key", own.key, "-out", own.certificate, ...subject);
  return authority(directory, "ca", own);
}

function authority(directory: string, prefix: string, own: Issued): TestCa {
  let count = 0;
  const next = (): Issued => {
    count += 1;
    return files(directory, `${prefix}-${count}`);
  };
  const sign = (made: Issued, commonName: string, how: IssueOptions, extensions: string): void => {
    makeKey(made.key);
    const request = `${made.certificate}.csr`;
    openssl("req", "-new", "-key", made.key, "-out", request, "-subj", `/CN=${commonName}`);
    const terms = ["-CA", own.certificate, "-CAkey", own.key, "-CAcreateserial"];
    const extra = join(directory, "extensions");
    writeFileSync(extra, extensions);
    openssl(
      "x509",
      "-req",
      ...["-in", request, "-out", made.certificate, ...terms],
      ...["-days", how.expired === true ? "-1" : "30"],
      ...(how.version1 === true ? [] : ["-extfile", extra]),
    );
    const both = readFileSync(made.key, "latin1") + readFileSync(made.certificate, "latin1");
    writeFileSync(made.combined, both, { mode: 0o600 });
  };
  return {
    directory,
    certificate: own.certificate,
    issue: (commonName, how = {}) => {
      const made = next();
      const names = how.names ?? [];
      const list = names.map((name) => `${/^[\d.]+$|:/.test(name) ? "IP" : "DNS"}:${name}`);
      const san = list.length > 0 ? `subjectAltName=${list.join(",")}\n` : "";
      sign(made, commonName, how, `basicConstraints=CA:FALSE\n${san}`);
      return made;
    },
    intermediate: (commonName) => {
      const made = next();
      sign(made, commonName, {}, "basicConstraints=critical,CA:TRUE\n");
      return authority(directory, `${prefix}-${count}`, made);
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

const files = (directory: string, name: string): Issued => ({
  key: join(directory, `${name}.key`),
  certificate: join(directory, `${name}.crt`),
  combined: join(directory, `${name}.pem`),
});

function makeKey(path: string): void {
  openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path);
}

function openssl(...words: readonly string[]): void {
  execFileSync("openssl", words, { stdio: ["ignore", "ignore", "pipe"], timeout: 20_000 });
}
