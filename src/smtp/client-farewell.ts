/** The end of a connection that is still good: QUIT, and the peer's answer to it if that comes soon. */
import type { Socket } from "node:net";
import { ReplyParser } from "./reply-parser.ts";
import type { Transcript } from "./transcript.ts";

const QUIT_MS = 1000;

export interface Farewell {
  readonly transcript: Transcript;
  /** Our side is shut down with it and the peer closes first; otherwise we close when it has answered. */
  readonly linger: boolean;
}

/** Says QUIT on a socket that nobody else listens to, and destroys it within a second. Never fails. */
export async function sayQuit(socket: Socket, { transcript, linger }: Farewell): Promise<void> {
  const parser = new ReplyParser();
  transcript.line("tx", "QUIT");
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, QUIT_MS);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    socket.on("data", (chunk: Buffer) => {
      parser.push(chunk);
      const heard = parser.next();
      if (heard?.kind === "reply") transcript.reply(heard.reply);
      if (heard !== null && !linger) done();
    });
    socket.once("close", done);
    if (linger) socket.end("QUIT\r\n");
    else socket.write("QUIT\r\n");
    socket.resume();
  });
  socket.destroy();
}
