/**
 * A smarthost that may be killed at any moment, as a program of its own: `<port> <record>`. Before it
 * answers 250 it appends "<connection> <ms since 1970> accepted <key> <hash>" to the record, and
 * "<connection> <ms> next" when the peer goes on after that: then the peer knows, and has removed the message.
 */
import { createHash } from "node:crypto";
import { openSync, writeSync } from "node:fs";
import { createServer, type Socket } from "node:net";

const END = Buffer.from("\r\n.\r\n");

/** From the key on: what stands before it was added on the way. */
export function fingerprint(content: Buffer): { key: string; hash: string } {
  const own = content.subarray(content.indexOf("X-Key: "));
  const key = /^X-Key: (\S+)/.exec(own.toString("latin1", 0, 200))?.[1] ?? "?";
  return { key, hash: createHash("sha256").update(own).digest("hex") };
}

class Talk {
  readonly #socket: Socket;
  readonly #record: (line: string) => void;
  #buffer: Buffer = Buffer.alloc(0);
  #inData = false;
  #accepted = false;

  constructor(socket: Socket, record: (line: string) => void) {
    this.#socket = socket;
    this.#record = record;
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => this.#hear(chunk));
    socket.write("220 recording\r\n");
  }

  #hear(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    while (this.#inData ? this.#content() : this.#command());
  }

  #content(): boolean {
    const end = this.#buffer.indexOf(END);
    if (end < 0) return false;
    const text = this.#buffer.subarray(0, end + 2).toString("latin1");
    this.#buffer = this.#buffer.subarray(end + END.length);
    this.#inData = false;
    const { key, hash } = fingerprint(Buffer.from(text.replace(/^\.\./gm, "."), "latin1"));
    this.#record(`accepted ${key} ${hash}`);
    this.#accepted = true;
    this.#socket.write("250 recorded\r\n");
    return true;
  }

  #command(): boolean {
    const end = this.#buffer.indexOf("\r\n");
    if (end < 0) return false;
    const verb = this.#buffer.toString("latin1", 0, end).slice(0, 4).toUpperCase();
    this.#buffer = this.#buffer.subarray(end + 2);
    if (this.#accepted) this.#record("next");
    this.#accepted = false;
    this.#inData = verb === "DATA";
    if (verb === "QUIT") this.#socket.end("221 bye\r\n");
    else this.#socket.write(verb === "DATA" ? "354 go\r\n" : "250 ok\r\n");
    return true;
  }
}

function serve(port: number, path: string): void {
  const record = openSync(path, "a");
  let connections = 0;
  createServer((socket) => {
    connections += 1;
    const name = `${process.pid}.${connections}`;
    // One call, so that a kill leaves whole lines.
    new Talk(socket, (line) => writeSync(record, `${name} ${Date.now()} ${line}\n`));
  }).listen(port, "127.0.0.1");
}

const [, script = "", port, path] = process.argv;
if (script.endsWith("recording-smarthost.js") && port !== undefined && path !== undefined) {
  serve(Number(port), path);
}
