import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import { after } from "node:test";

/** One message as a smarthost got it; `content` is what stood between DATA and the final dot, unstuffed. */
export interface Caught {
  readonly from: string;
  readonly to: readonly string[];
  readonly content: string;
}

/** What to answer instead of 250 / 354; the text of a whole reply line, "close", or "" for silence. */
export interface CatcherReplies {
  readonly greeting?: string;
  readonly mail?: (line: string) => string | undefined;
  readonly rcpt?: (line: string) => string | undefined;
  readonly data?: string;
  /** Offered besides 8BITMIME. */
  readonly extension?: string;
  readonly dot?: (caught: Caught) => string | undefined;
  /** The answer to the end of the data comes after this. */
  readonly waits?: (caught: Caught) => Promise<void>;
}

/** A smarthost for tests: keeps messages byte for byte (latin1) and answers as told. */
export interface Catcher {
  readonly address: string;
  readonly port: number;
  readonly messages: Caught[];
  readonly commands: string[];
  /** Resolves when so many messages were caught in all. */
  caught(count: number): Promise<readonly Caught[]>;
  close(): Promise<void>;
}

export async function openCatcher(replies: CatcherReplies = {}, wanted = 0): Promise<Catcher> {
  const messages: Caught[] = [];
  const commands: string[] = [];
  const waiting = new Set<() => void>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    talk(socket, replies, commands, (caught) => {
      messages.push(caught);
      for (const look of waiting) look();
    });
  });
  const port = await listen(server, wanted);
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  after(close);
  return {
    address: `127.0.0.1:${port}`,
    port,
    messages,
    commands,
    close,
    caught: async (count) =>
      await new Promise((resolve) => {
        const look = () => {
          if (messages.length < count) return;
          waiting.delete(look);
          resolve(messages);
        };
        waiting.add(look);
        look();
      }),
  };
}

async function listen(server: Server, wanted = 0): Promise<number> {
  for (let tries = 0; !(await tryListen(server, wanted)); tries++) {
    // A wanted port may be in somebody's hands for a moment: as the near end of a connection.
    assert.ok(tries < 100, `port ${wanted} stays in use`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function tryListen(server: Server, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const refused = () => resolve(false);
    server.once("error", refused);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", refused);
      resolve(true);
    });
  });
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

function talk(
  socket: Socket,
  replies: CatcherReplies,
  commands: string[],
  keep: (caught: Caught) => void,
): void {
  let buffer = "";
  let from = "";
  let to: string[] = [];
  let inData = false;
  const say = (line: string) => {
    if (line === "close") socket.destroy();
    else if (line !== "") socket.write(`${line}\r\n`);
  };
  const endOfData = (content: string) => {
    inData = false;
    const caught = { from, to, content: content.replace(/^\.\./gm, ".") };
    const answer = replies.dot?.(caught) ?? "250 caught";
    if (answer.startsWith("2")) keep(caught);
    to = [];
    if (replies.waits === undefined) say(answer);
    else void replies.waits(caught).then(() => say(answer));
  };
  const command = (line: string) => {
    commands.push(line);
    const address = /<(.*)>/.exec(line)?.[1] ?? "";
    const verb = line.slice(0, 4).toUpperCase();
    if (verb === "EHLO") {
      return say(
        ["250-catcher", `250-${replies.extension ?? "HELP"}`, "250 8BITMIME"].join("\r\n"),
      );
    }
    if (verb === "QUIT") return void socket.end("221 bye\r\n");
    if (verb === "RSET") to = [];
    if (verb === "MAIL") {
      from = address;
      to = [];
      return say(replies.mail?.(line) ?? "250 ok");
    }
    if (verb === "RCPT") {
      const answer = replies.rcpt?.(line) ?? "250 ok";
      if (answer.startsWith("2")) to.push(address);
      return say(answer);
    }
    if (verb === "DATA") {
      inData = (replies.data ?? "354 go").startsWith("354");
      return say(replies.data ?? "354 go");
    }
    return say("250 ok");
  };
  say(replies.greeting ?? "220 catcher");
  socket.on("data", (chunk) => {
    buffer += chunk.toString("latin1");
    for (;;) {
      const mark = inData ? "\r\n.\r\n" : "\r\n";
      const empty = inData && buffer.startsWith(".\r\n");
      const end = empty ? 0 : buffer.indexOf(mark);
      if (end < 0) return;
      const text = buffer.slice(0, inData && !empty ? end + 2 : end);
      buffer = buffer.slice(end + (empty ? 3 : mark.length));
      if (inData) endOfData(text);
      else command(text);
    }
  });
}
