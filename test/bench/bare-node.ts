/**
 * The least that Node needs to take a message and pass it on: `node bare-node.js FOLDER PORT` prints
 * a port of its own, and does for what smtp-source sends there the calls that relayd does (a reply to
 * each command, two files, a journal whose sync is shared, one write for three commands to the smarthost
 * on PORT), and nothing else: no rules, no log, no time limits, no mail that waits. A measure, not a
 * mail program: what goes wrong ends it.
 */
import { closeSync, fdatasync, openSync, unlinkSync, writeSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { argv, stdout } from "node:process";

const [, , folder = "", smarthost] = argv;
/** To the smarthost, at most. */
const CONNECTIONS = 4;
/** As long as relayd's. */
const ENVELOPE = Buffer.alloc(456, "X-MailRelay-Bench: 1\r\n");
const COMMANDS = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
const JOURNAL_BYTES = 4 * 1024 ** 2;

interface Message {
  readonly path: string;
  /** As it came, with the dot that ends it. */
  readonly content: Buffer;
  /** Called when the journal has it on disk. */
  readonly onSynced: () => void;
}

const journal = openSync(`${folder}.journal`, "w");
writeSync(journal, Buffer.alloc(JOURNAL_BYTES));
let position = 0;
let unsynced: Message[] = [];
let isSyncing = false;
let made = 0;
const waiting: Message[] = [];
const ways: Way[] = [];

function accept(content: Buffer, socket: Socket): void {
  made += 1;
  const path = join(folder, String(made));
  writeFile(`${path}.content`, content.subarray(0, -3));
  const message: Message = {
    path,
    content,
    onSynced() {
      writeFile(`${path}.envelope`, ENVELOPE);
      socket.write("250 ok\r\n", "latin1");
      forward(message);
    },
  };
  unsynced.push(message);
  if (!isSyncing) sync();
}

function writeFile(path: string, bytes: Buffer): void {
  const fd = openSync(path, "wx");
  writeSync(fd, bytes);
  closeSync(fd);
}

/** Those who come meanwhile share the next one. */
function sync(): void {
  isSyncing = true;
  const batch = unsynced;
  unsynced = [];
  const bytes = Buffer.concat(batch.map(({ content }) => content));
  if (position + bytes.length > JOURNAL_BYTES) position = 0;
  writeSync(journal, bytes, 0, bytes.length, position);
  position += bytes.length;
  fdatasync(journal, (error) => {
    if (error !== null) throw error;
    for (const { onSynced } of batch) onSynced();
    isSyncing = false;
    if (unsynced.length > 0) sync();
  });
}

function forward(message: Message): void {
  waiting.push(message);
  const idle = ways.find((way) => way.isIdle);
  if (idle !== undefined) idle.next();
  else if (ways.length < CONNECTIONS) ways.push(new Way());
}

/** A connection to the smarthost, used again and again. */
class Way {
  readonly #socket = connect({ port: Number(smarthost), host: "127.0.0.1", noDelay: true });
  #heard = "";
  #awaits: RegExp = /^220/;
  #then = (): void => this.#say("HELO bench.test\r\n", /^250/, () => this.next());
  isIdle = false;

  constructor() {
    this.#socket.on("data", (bytes: Buffer) => {
      this.#heard += bytes.toString("latin1");
      if (this.#awaits.test(this.#heard)) this.#then();
    });
  }

  next(): void {
    const message = waiting.shift();
    this.isIdle = message === undefined;
    if (message === undefined) return;
    const { path, content } = message;
    this.#say(COMMANDS, /^354/m, () => {
      this.#say(content, /^250/, () => {
        unlinkSync(`${path}.envelope`);
        unlinkSync(`${path}.content`);
        this.next();
      });
    });
  }

  #say(what: string | Buffer, awaits: RegExp, then: () => void): void {
    this.#heard = "";
    this.#awaits = awaits;
    this.#then = then;
    this.#socket.write(what, "latin1");
  }
}

/** smtp-source sends a command when it has the reply to the one before, and content in one piece or a few. */
function serve(socket: Socket): void {
  let content: Buffer | null = null;
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes: Buffer) => {
    if (content !== null) {
      content = content.length === 0 ? bytes : Buffer.concat([content, bytes]);
      if (!content.subarray(-5).equals(DOT)) return;
      const whole = content;
      content = null;
      accept(whole, socket);
      return;
    }
    const command = bytes.toString("latin1", 0, 4);
    if (command === "DATA") content = NOTHING;
    if (command === "QUIT") socket.end("221 bye\r\n");
    else socket.write(command === "DATA" ? "354 go on\r\n" : "250 ok\r\n", "latin1");
  });
  socket.write("220 bench.test\r\n", "latin1");
}

const NOTHING = Buffer.alloc(0);
const DOT = Buffer.from("\r\n.\r\n");

const server = createServer({ noDelay: true }, serve);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address === "object") stdout.write(`${address.port}\n`);
});
