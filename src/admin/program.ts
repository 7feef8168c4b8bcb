/** relayd-admin: says one command to an admin server, for a shell. */
import { parseArgs } from "node:util";
import { describeError } from "../core/errors.ts";
import { runErrand } from "./errand.ts";
import { configuredPlace, type Place, parsePlace, type Setting } from "./where.ts";

export interface AdminProgram {
  /** The name we were called by. */
  readonly program: string;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  /** The options in a configuration file; null when there is no such file. Throws when it cannot be read. */
  readonly readSettings: (path: string) => Promise<readonly Setting[] | null>;
}

const DEFAULT_FILE = "/etc/relayd.conf";
const DEFAULT_PLACE: Place = { host: "127.0.0.1", port: 10026 };

const OPTIONS = {
  connect: { type: "string", short: "c" },
  config: { type: "string", short: "C" },
  help: { type: "boolean", short: "h" },
} as const;

/** Resolves to the exit code. Never throws for what the user typed. */
export async function runAdmin(args: readonly string[], world: AdminProgram): Promise<number> {
  const { program, print } = world;
  const complain = (text: string) => world.complain(`${program}: ${text}\n`);
  try {
    const { values, positionals } = parse(args, program);
    if (values.help === true) {
      print(help(program));
      return 0;
    }
    const command = positionals.join(" ").trim();
    if (command === "") throw new Error(`what to do?\n${usage(program)}`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a line end would begin another command
    if (/[\x00-\x1f\x7f]/.test(command)) throw new Error("control character in the command");
    const place = await placeOf(values, world);
    return await runErrand({ place, command, print, complain });
  } catch (error) {
    complain(describeError(error));
    return 1;
  }
}

function parse(args: readonly string[], program: string) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    const [why = ""] = describeError(error).split(/[.\n]/);
    const text = `${why.charAt(0).toLowerCase()}${why.slice(1)}\n${usage(program)}`;
    throw new Error(text, { cause: error });
  }
}

async function placeOf(
  given: { readonly connect?: string | undefined; readonly config?: string | undefined },
  { readSettings }: AdminProgram,
): Promise<Place> {
  const { connect, config } = given;
  if (connect !== undefined) {
    const place = parsePlace(connect);
    if (place !== null) return place;
    throw new Error(`cannot connect to "${connect}": expected host:port, a port, or a path`);
  }
  if (config === undefined) return (await usualPlace(readSettings)) ?? DEFAULT_PLACE;
  const settings = await readSettings(config);
  if (settings === null) throw new Error(`no such file: ${config}`);
  const place = configuredPlace(settings);
  if (place === null) throw new Error(`no admin option in ${config}`);
  return place;
}

/** Not everybody may read the daemon's configuration, and not everybody has one. */
async function usualPlace(readSettings: AdminProgram["readSettings"]): Promise<Place | null> {
  try {
    return configuredPlace((await readSettings(DEFAULT_FILE)) ?? []);
  } catch {
    return null;
  }
}

const usage = (program: string): string =>
  `usage: ${program} [--connect <address>] [--config <file>] <command> [<word> ...]`;

const help = (program: string): string => `${usage(program)}
Says a command to the admin server of a running relayd and prints the reply.
  -c, --connect <address>  host:port, a port of this machine, or the path of a unix socket
  -C, --config <file>      find the address in this configuration (${DEFAULT_FILE}, else
                           ${DEFAULT_PLACE.host}:${DEFAULT_PLACE.port})
  -h, --help               print this

  help               the commands that the server knows
  list               messages that wait
  failures           messages that were set aside
  unfail-all         put those back into the queue
  flush              forward now, and wait for the end
  forward            forward now
  status             listening addresses and connections
  notify             print what happens, until interrupted
  smtp disable       refuse mail for now; smtp enable: take it again
  dnsbl stop <s>     do not ask the block lists for so long; dnsbl start: ask them again
  pid, info version  what it is that runs
  terminate          end it (only with --admin-terminate)
Exit code: 0; 1 when the server is not there or answers with an error.
`;
