/** Small things that spool tests need: an envelope, a stored message, all bytes of a content. */
import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import type { Content, Store } from "../../src/core/store.ts";

export const anEnvelope: Envelope = {
  ...emptyEnvelope,
  from: "alice@example.com",
  toRemote: ["bob@example.net", '"carol x"@example.net'],
};

export async function storeMessage(
  store: Store,
  content: string | Uint8Array,
  envelope: Envelope = anEnvelope,
): Promise<MessageId> {
  await using draft = await store.create();
  await draft.write(Buffer.from(content));
  await draft.seal(envelope);
  await draft.commit();
  return draft.id;
}

export async function allBytes(content: Content): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content.bytes()) chunks.push(chunk);
  return Buffer.concat(chunks);
}
