/**
 * A smarthost that is far away: `node distance.js PORT MS` prints a port of its own, and hands on
 * what comes there to PORT, and back, after so many milliseconds each way. A process of its own,
 * so that its work is not counted as the mail program's.
 */
import { connect, createServer, type Socket } from "node:net";
import { argv, stdout } from "node:process";

const [, , port, eachWayMs] = argv.map(Number);
const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  near.pause();
  near.on("error", () => near.destroy());
  // The three packets that open a connection travel as well.
  setTimeout(() => join(near), 3 * (eachWayMs ?? 0));
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address === "object") stdout.write(`${address.port}\n`);
});

function join(near: Socket): void {
  const far = connect({ port: port ?? 0, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  far.on("error", () => far.destroy());
  carry(near, far);
  carry(far, near);
}

/** Timers of the same length end in the order in which they began: nothing overtakes. */
function carry(from: Socket, to: Socket): void {
  from.on("data", (bytes) => later(() => to.write(bytes)));
  from.on("end", () => later(() => to.end()));
  from.on("close", () => later(() => to.destroySoon()));
  from.resume();
}

function later(act: () => void): void {
  setTimeout(act, eachWayMs);
}
