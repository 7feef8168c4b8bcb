/** A DNS server on loopback that answers as it is told, well or badly. It has its own idea of the format. */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket as TcpSocket } from "node:net";

export type DnsType = "A" | "AAAA" | "CNAME" | "MX" | "TXT";
const NUMBERS: Readonly<Record<DnsType, number>> = { A: 1, CNAME: 5, MX: 15, TXT: 16, AAAA: 28 };

/** "a.test A 127.0.0.2", "a.test MX 10 mail.a.test", "a.test CNAME b.test". */
export type ZoneLine = string;

export interface ScriptedAnswer {
  readonly records?: readonly ZoneLine[];
  /** 0 when not given. */
  readonly code?: number;
  readonly authoritative?: boolean;
  /** Over UDP only the header and the question go out; over TCP everything does. */
  readonly truncated?: boolean;
  /** Sent first, from the server's own port. */
  readonly before?: (query: Buffer, answer: Buffer) => readonly Buffer[];
  /** The answer itself comes from another port. */
  readonly fromElsewhere?: boolean;
}

export type Asked = `${DnsType | "?"} ${string}`;
export type Said = ScriptedAnswer | Buffer | null;
/** What to say to "A a.test"; null for silence. */
export type Script = (asked: Asked, nth: number) => Said | Promise<Said>;

export const nxdomain: ScriptedAnswer = { code: 3 };
export const authoritativeNxdomain: ScriptedAnswer = { code: 3, authoritative: true };
export const servfail: ScriptedAnswer = { code: 2 };
export const noData: ScriptedAnswer = {};

/** Answers from a table of records; NXDOMAIN for names that are not in it, CNAMEs as a resolver would. */
export function zone(...lines: readonly ZoneLine[]): (asked: Asked) => ScriptedAnswer {
  const parsed = lines.map((line) => ({ line, words: line.split(" ") }));
  return (asked) => {
    const [type, first = ""] = asked.split(" ");
    const records: ZoneLine[] = [];
    let name: string | undefined = first;
    while (name !== undefined && records.length < 20) {
      const own: { line: string; words: string[] }[] = parsed.filter(
        ({ words }) => words[0]?.toLowerCase() === name?.toLowerCase(),
      );
      if (own.length === 0 && records.length === 0) return nxdomain;
      const alias = own.find(({ words }) => words[1] === "CNAME");
      const wanted = alias ? [alias] : own.filter(({ words }) => words[1] === type);
      records.push(...wanted.map(({ line }) => line));
      name = alias?.words[2];
    }
    return { records };
  };
}

export class DnsServer implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly #udp: Socket;
  readonly #elsewhere: Socket;
  readonly #tcp: Server;
  readonly #script: Script;
  readonly #waiting: { readonly count: number; readonly go: () => void }[] = [];
  overTcp = 0;
  #closed = false;

  private constructor(script: Script, udp: Socket, elsewhere: Socket) {
    this.#script = script;
    this.#udp = udp;
    this.#elsewhere = elsewhere;
    this.#tcp = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", (chunk) => {
        this.overTcp += 1;
        void this.#answer(chunk.subarray(2), true).then((answer) => {
          if (answer !== null) sendInPieces(socket, answer.bytes);
        });
      });
    });
    udp.on("message", (query, from) => void this.#receive(query, from));
  }

  static async start(script: Script, host = "127.0.0.1"): Promise<DnsServer> {
    const family = host.includes(":") ? "udp6" : "udp4";
    for (;;) {
      const [udp, elsewhere] = [createSocket(family), createSocket(family)];
      udp.bind(0, host);
      elsewhere.bind(0, host);
      await Promise.all([once(udp, "listening"), once(elsewhere, "listening")]);
      const server = new DnsServer(script, udp, elsewhere);
      if (await server.#listen(host)) return server;
      udp.close();
      elsewhere.close();
    }
  }

  /** False when the same port is taken for TCP. */
  async #listen(host: string): Promise<boolean> {
    this.#tcp.listen(this.port, host);
    try {
      await once(this.#tcp, "listening");
      return true;
    } catch {
      return false;
    }
  }

  get port(): number {
    return this.#udp.address().port;
  }

  /** "127.0.0.1:5353". */
  get address(): string {
    const { address, port } = this.#udp.address();
    return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** When so many questions have come. */
  async received(count: number): Promise<void> {
    if (this.asked.length >= count) return;
    await new Promise<void>((go) => {
      this.#waiting.push({ count, go });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#udp.close();
    this.#elsewhere.close();
    this.#tcp.close();
  }

  async #receive(query: Buffer, from: RemoteInfo): Promise<void> {
    const answer = await this.#answer(query, false);
    if (answer === null || this.#closed) return;
    const { before = [], elsewhere } = answer;
    for (const one of before) this.#udp.send(one, from.port, from.address);
    const socket = elsewhere ? this.#elsewhere : this.#udp;
    socket.send(answer.bytes, from.port, from.address);
  }

  async #answer(query: Buffer, tcp: boolean) {
    const question = readQuestion(query);
    this.asked.push(question.asked);
    for (const { count, go } of this.#waiting) if (count <= this.asked.length) go();
    const said = await this.#script(question.asked, this.asked.length);
    if (said === null) return null;
    if (Buffer.isBuffer(said)) return { bytes: said, before: [], elsewhere: false };
    const cut = said.truncated === true && !tcp;
    const bytes = encode(
      query.readUInt16BE(0),
      question.bytes,
      cut ? { ...said, records: [] } : said,
    );
    if (cut) bytes.writeUInt16BE(bytes.readUInt16BE(2) | 0x0200, 2);
    return { bytes, before: said.before?.(query, bytes), elsewhere: said.fromElsewhere === true };
  }
}

/** A port of loopback that nobody listens on. */
export async function deadServer(): Promise<string> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return `127.0.0.1:${port}`;
}

/** A length is no promise about segments. */
function sendInPieces(socket: TcpSocket, bytes: Buffer): void {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  socket.write(length.subarray(0, 1));
  setImmediate(() => {
    socket.write(length.subarray(1));
    socket.end(bytes);
  });
}

function readQuestion(query: Buffer): { asked: Asked; bytes: Buffer } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  const number = query.readUInt16BE(at + 1);
  const type = (Object.keys(NUMBERS) as DnsType[]).find((one) => NUMBERS[one] === number) ?? "?";
  return { asked: `${type} ${labels.join(".")}`, bytes: query.subarray(12, at + 5) };
}

/** An answer to the query as it would be sent. */
export function answerTo(query: Buffer, answer: ScriptedAnswer): Buffer {
  return encode(query.readUInt16BE(0), readQuestion(query).bytes, answer);
}

function encode(id: number, question: Buffer, answer: ScriptedAnswer): Buffer {
  const { records = [], code = 0, authoritative = false } = answer;
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x8180 | code | (authoritative ? 0x0400 : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, question, ...records.map((line) => encodeRecord(line, question))]);
}

function encodeRecord(line: ZoneLine, question: Buffer): Buffer {
  const [owner = "", type = "A", ...rest] = line.split(" ");
  const name = encodeName(owner);
  const data = encodeData(type as DnsType, rest);
  const middle = Buffer.alloc(10);
  middle.writeUInt16BE(NUMBERS[type as DnsType], 0);
  middle.writeUInt16BE(1, 2);
  middle.writeUInt32BE(60, 4);
  middle.writeUInt16BE(data.length, 8);
  // As real servers do: the name that was asked for is a pointer to the question.
  const same = question.subarray(0, -4).equals(name);
  return Buffer.concat([same ? Buffer.of(0xc0, 12) : name, middle, data]);
}

function encodeData(type: DnsType, words: readonly string[]): Buffer {
  const [first = "", second = ""] = words;
  switch (type) {
    case "A":
      return Buffer.from(first.split(".").map(Number));
    case "AAAA":
      return Buffer.from(groups(first), "hex");
    case "CNAME":
      return encodeName(first);
    case "MX": {
      const preference = Buffer.alloc(2);
      preference.writeUInt16BE(Number(first));
      return Buffer.concat([preference, encodeName(second)]);
    }
    case "TXT":
      return Buffer.concat([Buffer.of(first.length), Buffer.from(first, "latin1")]);
  }
}

/** "." is the root; no escapes: bytes as they are. */
function encodeName(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  const parts = labels.flatMap((label) => [Buffer.of(label.length), Buffer.from(label, "latin1")]);
  return Buffer.concat([...parts, Buffer.of(0)]);
}

/** The 32 hex digits of "2001:db8::1" (at most one "::", no dotted tail). */
function groups(address: string): string {
  const [head = "", tail] = address.split("::");
  const before = head.split(":").filter((part) => part !== "");
  const after = (tail ?? "").split(":").filter((part) => part !== "");
  const middle = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...middle, ...after].map((part) => part.padStart(4, "0")).join("");
}
