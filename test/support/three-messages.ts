/** A POP server with three messages. */
import { type TestPop, testPop } from "./pop-server.ts";

export const MESSAGE = "Subject: s1\r\nX: y\r\n\r\nline1\r\n.dot\r\nline3\r\n";
export const IDS = [1, 2, 3].map((n) => `emailrelay.2090${n}.1795226576.1`);

export async function threeMessages(changes: Parameters<typeof testPop>[0] = {}): Promise<TestPop> {
  const pop = await testPop(changes);
  for (const id of IDS) pop.put(id, MESSAGE);
  return pop;
}
