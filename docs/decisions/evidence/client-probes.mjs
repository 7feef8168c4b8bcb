// What nodemailer's SMTP client does with replies that are not as they should be: one probe for each
// finding of decision 001.
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import SMTPConnection from "nodemailer/lib/smtp-connection";

const DRIP_MS = 4000;

/** A probe resolves to { so: boolean, seen: string }. */
export const clientFindings = [
  {
    id: "client-early-reply",
    library: "nodemailer",
    claim: "counts a reply that came before the content as delivery",
    probe: () => deliveryWith({ data: "354 go\r\n250 queued\r\n", deaf: true }),
  },
  {
    id: "client-garbled-reply",
    library: "nodemailer",
    claim: "counts a garbled reply as delivery",
    probe: () => deliveryWith({ data: "354 go\r\n", end: "2garbage\r\n" }),
  },
  {
    id: "client-mixed-reply",
    library: "nodemailer",
    claim: "counts a reply of mixed codes as delivery",
    probe: () => deliveryWith({ data: "354 go\r\n", end: "250-ok\r\n550 5.7.1 rejected\r\n" }),
  },
  {
    id: "client-content-as-commands",
    library: "nodemailer",
    claim: "sends the content as commands after a wrong reply to DATA",
    probe: probeContentAsCommands,
  },
  {
    id: "client-drip-never-ended",
    library: "nodemailer",
    claim: "waits without end for a reply that drips, whatever its timeouts",
    probe: probeClientDrip,
  },
];

/** A smarthost that follows a script: `data` answers DATA, `end` answers the final dot. */
async function withHop(script, use) {
  const heard = [];
  const sockets = new Set();
  const hop = createServer((socket) => {
    sockets.add(socket);
    follow(script, socket, heard);
  });
  hop.listen(0, "127.0.0.1");
  await once(hop, "listening");
  try {
    return await use(hop.address().port, heard);
  } finally {
    for (const socket of sockets) socket.destroy();
    hop.close();
  }
}

/** Answers one client by the script, and notes the commands it gave. */
function follow(script, socket, heard) {
  let content = false;
  let pending = "";
  const command = (line) => {
    heard.push(line);
    if (line.startsWith("EHLO") && script.ehlo !== undefined) return script.ehlo(socket);
    if (line !== "DATA") return socket.write("250 ok\r\n");
    content = script.data.startsWith("354");
    socket.write(script.data);
    // A hop that reads no further cannot have had a message larger than every buffer between.
    return script.deaf === true ? socket.pause() : undefined;
  };
  const contentLine = (line) => {
    if (line !== ".") return;
    content = false;
    socket.write(script.end);
  };
  socket.setEncoding("latin1");
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => {
    const lines = (pending + chunk).split("\r\n");
    pending = lines.pop();
    for (const line of lines) {
      if (content) contentLine(line);
      else command(line);
    }
  });
  socket.write("220 hop\r\n");
}

/** Sends one message with the library; resolves to "delivered" or to why not. */
async function sendThrough(port, content, limitMs) {
  const connection = new SMTPConnection({
    host: "127.0.0.1",
    port,
    name: "probe",
    ignoreTLS: true,
    connectionTimeout: 1000,
    greetingTimeout: 1000,
    socketTimeout: 1000,
  });
  const sent = new Promise((resolve) => {
    connection.on("error", (error) => resolve(error.message));
    connection.on("end", () => resolve("connection ended"));
    connection.connect(() => {
      const envelope = { from: "a@x.test", to: ["b@x.test"] };
      connection.send(envelope, content, (error) => resolve(error ? error.message : "delivered"));
    });
  });
  const result = await Promise.race([sent, delay(limitMs, "still waiting")]);
  connection.close();
  return result;
}

async function deliveryWith(script) {
  const content = Buffer.from(`Subject: x\r\n\r\n${"x".repeat(78).concat("\r\n").repeat(200_000)}`);
  const sane = { data: "354 go\r\n", end: "250 queued\r\n" };
  const control = await withHop(sane, async (port) => await sendThrough(port, content, 5000));
  if (control !== "delivered") throw new Error(`a well-behaved hop gets: ${control}`);
  return await withHop(script, async (port) => {
    const result = await sendThrough(port, content, 5000);
    const replies = `${script.data}${script.end ?? ""}`.replaceAll("\r\n", " | ");
    return { so: result === "delivered", seen: `hop says ${replies}: ${result}` };
  });
}

async function probeContentAsCommands() {
  return await withHop({ data: "250 what\r\n" }, async (port, heard) => {
    const content = Buffer.from("MAIL FROM:<evil@x.test>\r\nNOOP\r\n");
    const result = await sendThrough(port, content, 5000);
    const executed = heard.includes("MAIL FROM:<evil@x.test>");
    return {
      so: executed,
      seen: `DATA answered 250: content ${executed ? "was" : "was not"} sent; ${result}`,
    };
  });
}

async function probeClientDrip() {
  let timer;
  const ehlo = (socket) => {
    timer = setInterval(() => socket.write("250-x\r\n"), 250);
  };
  try {
    return await withHop({ ehlo, data: "354 go\r\n" }, async (port) => {
      const result = await sendThrough(port, Buffer.from("x\r\n"), DRIP_MS);
      return {
        so: result === "still waiting",
        seen: `timeouts 1 s; after ${DRIP_MS / 1000} s: ${result}`,
      };
    });
  } finally {
    clearInterval(timer);
  }
}
