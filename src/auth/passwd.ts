/** relayd-passwd: turns a password into what a secrets file holds instead of it. Source: R12.3, observed, E-MailRelay 2.6. */
import { parseArgs } from "node:util";
import { describeError } from "../core/errors.ts";
import { encodeXtext } from "../core/xtext.ts";
import { decodeBase64 } from "./base64.ts";
import { dottedMask, HASHES, makeMask } from "./hmac-mask.ts";

export interface PasswdRequest {
  /** The name we were called by. */
  readonly program: string;
  readonly args: readonly string[];
  /** The first line of standard input, only asked for when it is needed. */
  readonly readLine: () => Promise<Buffer>;
}

export interface PasswdAnswer {
  readonly exitCode: 0 | 1;
  readonly stdout: string;
  readonly stderr: string;
}

const OPTIONS = {
  hash: { type: "string", short: "H" },
  password: { type: "string", short: "p" },
  base64: { type: "boolean", short: "b" },
  dotted: { type: "boolean", short: "d" },
  help: { type: "boolean", short: "h" },
} as const;

/** Never throws for what the user typed. */
export async function passwd(request: PasswdRequest): Promise<PasswdAnswer> {
  const { program } = request;
  const usage = `usage: ${program} [--hash <function>] [--password <password>] [--base64] [--dotted]\n`;
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(request.args);
  } catch (error) {
    const [why = ""] = describeError(error).split(/[.\n]/);
    return failed(`${program}: ${why.charAt(0).toLowerCase()}${why.slice(1)}\n${usage}`);
  }
  const { values, positionals } = parsed;
  if (values.help === true) return { exitCode: 0, stdout: usage + hint(program), stderr: "" };
  if (positionals.length > 0) {
    const why = "too many command-line arguments (the password is read from the standard input)";
    return failed(`${program}: ${why}\n${usage}`);
  }
  const typed =
    values.password === undefined
      ? trimmed(await request.readLine())
      : Buffer.from(values.password, "utf8");
  const password = values.base64 === true ? decodeBase64(typed.toString("latin1").trim()) : typed;
  if (password === null || password.length === 0) return failed(`${program}: invalid password\n`);
  return answer(program, password, { hash: values.hash ?? "md5", dotted: values.dotted === true });
}

function parse(args: readonly string[]) {
  return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
}

function answer(
  program: string,
  password: Buffer,
  { hash, dotted }: { readonly hash: string; readonly dotted: boolean },
): PasswdAnswer {
  const name = HASHES.find((one) => one === hash.toLowerCase().replace("-", ""));
  const none = hash.toLowerCase() === "none";
  if (name === undefined && !none) {
    return failed(`${program}: exception: invalid hash function\n`);
  }
  if (dotted && name !== "md5") {
    return failed(`${program}: exception: --dotted only works for md5\n`);
  }
  if (name === undefined) return printed(encodeXtext(password));
  const mask = makeMask(name, password);
  return printed(dotted ? dottedMask(mask) : mask.toString("base64"));
}

/** Without blanks, tabs and carriage returns at either end; the bytes may be in any character set. */
function trimmed(line: Buffer): Buffer {
  const text = line.toString("latin1").replace(/^[ \t\r]+|[ \t\r]+$/g, "");
  return Buffer.from(text, "latin1");
}

function hint(program: string): string {
  return `Reads a password from standard input and prints what a secrets file holds instead of it:
  -H, --hash <function>  md5 (default), sha1, sha256, sha512, or none for xtext
  -p, --password <text>  the password; others can see it in the list of processes
  -b, --base64           the password is given in base64
  -d, --dotted           print an md5 mask in the old dotted form
Example: echo secret | ${program} --hash sha256
`;
}

function printed(text: string): PasswdAnswer {
  return { exitCode: 0, stdout: `${text}\n`, stderr: "" };
}

function failed(stderr: string): PasswdAnswer {
  return { exitCode: 1, stdout: "", stderr };
}
