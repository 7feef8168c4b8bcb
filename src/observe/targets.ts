/** The log: every event becomes lines, every line goes to all targets: standard error or the log file, and syslog. */
import type { Clock } from "../core/clock.ts";
import type { LogConfig, LogField } from "../core/config.ts";
import { type Journal, type Level, type RelayEvent, silentJournal } from "../core/events.ts";
import { ForwardingContext } from "./forwarding-context.ts";
import { formatLine } from "./line-format.ts";
import { LineWriter } from "./line-writer.ts";
import { openJsonLines } from "./log.ts";
import { LogFile } from "./log-file.ts";
import { recordOf } from "./record.ts";
import { Syslog, type SyslogPlace, usualSyslog } from "./syslog.ts";
import { linesOf } from "./text.ts";

export interface LogOptions {
  readonly config: LogConfig;
  readonly program: string;
  readonly pid: number;
  readonly clock: Clock;
  /** Group of a log file that root makes; null to leave it. */
  readonly group: number | null;
  /** Default 2. */
  readonly stderr?: number;
  readonly syslog?: SyslogPlace;
}

/** One per process. */
export interface Log {
  /** Where one instance tells its events; "" has no name in the lines. Never throws. */
  journal(unit: string): Journal;
  /** Opens the log file anew (SIGHUP, after it was renamed). */
  reopen(): void;
  /** From now on nothing is written to standard error. */
  closeStderr(): void;
  /** Waits until the last lines have left the process. */
  close(): Promise<void>;
}

/** Throws LOG_OPEN. */
export function openLog(options: LogOptions): Log {
  if (!options.config.enabled) {
    return {
      journal: () => silentJournal,
      reopen: () => undefined,
      closeStderr: () => undefined,
      close: async () => await Promise.resolve(),
    };
  }
  return new OpenLog(options);
}

/**
 * What happens again and again, and what nobody has been promised yet: such lines may wait a moment for
 * others, so that under load one call writes the lines of several messages. All others are written at once,
 * and with them what waited: whoever was told 250 finds "accepted" in the log.
 */
const MAY_WAIT: ReadonlySet<RelayEvent["kind"]> = new Set([
  "note",
  "session.opened",
  "session.closed",
  "traffic",
  "content.created",
  "envelope.created",
  "forward.requested",
  "forward.busy",
  "forward.message",
  "forward.skipped",
  "forward.idle",
  "smarthost.resolving",
  "smarthost.connecting",
  "smarthost.connected",
  "smarthost.disconnected",
  "message.delivered",
]);

/** The longest that they wait. */
const MOMENT_MS = 5;

interface RenderedLine {
  readonly level: Level;
  readonly text: string;
}

/** Who tells, and what is known about its place. */
interface Speaker {
  readonly unit: string;
  readonly forwarding: ForwardingContext;
}

const NOTHING: readonly RenderedLine[] = [];

type Render = (event: RelayEvent, speaker: Speaker) => readonly RenderedLine[];

class OpenLog implements Log {
  readonly #options: LogOptions;
  readonly #render: Render;
  readonly #file: LogFile | null;
  readonly #syslog: Syslog | null;
  readonly #stderr: LineWriter;
  #stderrOpen: boolean;
  /** Runs while lines may wait. What is written meanwhile leaves it running: the next lines wait the shorter. */
  #moment: NodeJS.Timeout | null = null;

  constructor(options: LogOptions) {
    const { config, clock, group } = options;
    this.#options = options;
    this.#render = config.format === "json" ? jsonRender(options) : textRender(options);
    const writer = () => new LineWriter((lost) => this.#line("warning", `${lost} log lines lost`));
    this.#stderr = writer();
    this.#stderrOpen = config.stderr && config.file === null;
    const line = (level: Level, text: string) => this.#line(level, text);
    this.#file =
      config.file === null
        ? null
        : new LogFile({ path: config.file, group, clock, writer: writer(), line });
    this.#syslog = config.syslog === null ? null : this.#openSyslog(config.syslog);
    process.on("exit", this.#flush);
  }

  journal(unit: string): Journal {
    const speaker = { unit, forwarding: new ForwardingContext() };
    return {
      detail: this.#options.config.verbosity >= 1,
      tell: (event) => this.#tell(event, speaker),
    };
  }

  reopen(): void {
    this.#file?.reopen();
  }

  closeStderr(): void {
    this.#stderrOpen = false;
  }

  async close(): Promise<void> {
    process.off("exit", this.#flush);
    if (this.#moment !== null) clearTimeout(this.#moment);
    this.#flush();
    await this.#syslog?.close();
    this.#file?.close();
  }

  #tell(event: RelayEvent, speaker: Speaker): void {
    try {
      let urgent = !MAY_WAIT.has(event.kind);
      const lines = this.#render(event, speaker);
      for (const { level, text } of lines) {
        urgent ||= level !== "info";
        this.#write(level, text);
        this.#syslog?.write(level, text);
      }
      if (urgent) this.#flush();
      else if (lines.length > 0) this.#moment ??= setTimeout(this.#momentOver, MOMENT_MS);
    } catch {
      // No trouble with the log is worth a message: there is nobody left to tell.
    }
  }

  readonly #momentOver = (): void => {
    this.#moment = null;
    this.#flush();
  };

  readonly #flush = (): void => {
    this.#file?.flush();
    this.#syslog?.flush();
  };

  /** To the file, or else to standard error, which a person may be looking at: there nothing waits. */
  #write(level: Level, text: string): void {
    if (this.#file !== null) this.#file.write(text);
    else if (this.#stderrOpen && this.#wanted(level)) {
      this.#stderr.write(this.#options.stderr ?? 2, text);
    }
  }

  #wanted(level: Level): boolean {
    return level !== "info" || this.#options.config.stderrLevel !== "warnings";
  }

  /** A line about the log itself. */
  #line(level: Level, text: string): string {
    const note: RelayEvent = { kind: "note", level, detail: false, text };
    const speaker = { unit: "", forwarding: new ForwardingContext() };
    return this.#render(note, speaker)[0]?.text ?? text;
  }

  #openSyslog(facility: NonNullable<LogConfig["syslog"]>): Syslog {
    const { program, pid, clock, syslog } = this.#options;
    return new Syslog({
      facility,
      program,
      pid,
      clock,
      where: syslog ?? usualSyslog,
      complain: (text) => this.#write("warning", this.#line("warning", text)),
    });
  }
}

function textRender({ config, program, clock }: LogOptions): Render {
  const { fields, verbosity } = config;
  const named = fields.includes("msgid");
  const timed = fields.includes("time");
  return (event, { unit, forwarding }) => {
    const lines = linesOf(event, verbosity);
    // It must hear of everything to know which message is under way.
    const id = named ? forwarding.of(event) : "";
    if (lines.length === 0) return NOTHING;
    const peer = "peer" in event ? event.peer : null;
    const now = timed ? clock.now() : 0;
    const context = { program, now, fields: fieldsOf(event, fields), unit, peer, id };
    return lines.map(({ level, text }) => ({ level, text: formatLine(level, text, context) }));
  };
}

const STARTING: ReadonlySet<RelayEvent["kind"]> = new Set([
  "listener.opened",
  "secrets.configured",
  "forward.configured",
]);

/** What an instance starts with is marked as its own in any case (R1). */
function fieldsOf({ kind }: RelayEvent, fields: readonly LogField[]): readonly LogField[] {
  return STARTING.has(kind) ? [...fields, "unit"] : fields;
}

function jsonRender({ config, program, pid, clock }: LogOptions): Render {
  const jsonLine = openJsonLines(program, pid);
  return (event, { unit }) => {
    const [first] = linesOf(event, config.verbosity);
    if (first === undefined) return NOTHING;
    const record = unit === "" ? recordOf(event) : { unit, ...recordOf(event) };
    const { level, text } = first;
    return [{ level, text: jsonLine(level, { now: clock.now(), record, text }) }];
  };
}
