/** The "spam:" and "spam-edit:" filters: SpamAssassin's spamd judges the message, or puts its own edition in its place. Source: R9.2. */
import { constants } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import type { Endpoint } from "../core/endpoint.ts";
import { describeError } from "../core/errors.ts";
import { connect } from "../io/connect.ts";
import { serviceEndpoint, serviceId, shownPeer } from "../io/service-address.ts";
import { noResponse, TimeLimit } from "../io/time-limit.ts";
import { CrlfLines } from "./crlf.ts";
import { type FilterItem, type FilterResult, type FilterTerms, failure, OK } from "./item.ts";
import { exchange, type Sink } from "./spamd-exchange.ts";
import { SpamdFault, type SpamdHead } from "./spamd-reply.ts";

/**
 * Throws CONFIG_INVALID. spamd closes after every answer, so each message gets a connection of its
 * own. With `edit` the content is replaced and no message is refused for being spam.
 */
export function spamFilter(address: string, edit: boolean, terms: FilterTerms): FilterItem {
  const endpoint = serviceEndpoint(address);
  return {
    id: serviceId(endpoint),
    run: async ({ files }, signal) => {
      try {
        const head = await consult(endpoint, { content: files.content, edit }, terms, signal);
        if (head.isSpam && !edit) return failure("rejected", `spam: ${head.spam}`);
        return OK;
      } catch (error) {
        signal.throwIfAborted();
        return failed(error);
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

const failed = (error: unknown): FilterResult => failure("failed", describeError(error));

/** Throws whatever went wrong, in words for the operator. */
async function consult(
  endpoint: Endpoint,
  { content, edit }: { readonly content: string; readonly edit: boolean },
  terms: FilterTerms,
  signal: AbortSignal,
): Promise<SpamdHead> {
  const limit = new TimeLimit(terms.timeoutMs, terms.clock);
  await using file = await open(content, READ);
  const facts = await file.stat();
  if (!facts.isFile()) throw new SpamdFault("the content is not a regular file");
  const outgoing = { file, size: facts.size };

  const made = await connect(endpoint, {
    interface: null,
    timeoutMs: limit.left(),
    clock: terms.clock,
    signal,
  });
  if (made.kind === "failed") throw new SpamdFault(made.why);
  const { socket } = made;
  let late = false;
  using _watch = limit.watch(signal, (why) => {
    late = why === "timeout";
    socket.destroy();
  });
  try {
    if (!edit) return await exchange(socket, outgoing, { sink: nowhere, strict: false });
    return await replace(content, facts.mode, async (sink) => {
      const head = await exchange(socket, outgoing, { sink, strict: true });
      if (head.contentLength === 0 && facts.size > 0) {
        throw new SpamdFault("spamd sent an empty message");
      }
      return head;
    });
  } catch (error) {
    if (!late) throw error;
    throw new SpamdFault(noResponse(limit, shownPeer(endpoint, made.peer)));
  } finally {
    socket.destroy();
  }
}

/** A symbolic link is not followed, and a fifo not waited for. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

const nowhere: Sink = async () => undefined;

/**
 * Puts what `write` writes in the place of the content, all of it or nothing, whenever the power is
 * cut: the rename is the only step that changes the content.
 */
async function replace<T>(
  content: string,
  mode: number,
  write: (sink: Sink) => Promise<T>,
): Promise<T> {
  const path = `${content}.spamd`;
  await rm(path, { force: true });
  const file = await open(path, "wx", 0o600);
  try {
    await file.chmod(mode & 0o7777);
    const lines = new CrlfLines();
    const result = await write(async (bytes) => await file.appendFile(lines.push(bytes)));
    await file.appendFile(lines.end());
    // Before the rename: a client filter is followed by no commit, and the message is in the queue already.
    await file.sync();
    await file.close();
    await rename(path, content);
    return result;
  } catch (error) {
    await file.close();
    await rm(path, { force: true });
    throw error;
  }
}
