/** What must be undone when the program ends, also when it is told to end in the middle. */

const tasks = new Set<() => void>();
const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** `undo` cannot wait for anything. Returns what takes it back. */
export function whateverHappens(undo: () => void): () => void {
  if (tasks.size === 0) listen();
  tasks.add(undo);
  return () => tasks.delete(undo);
}

function listen(): void {
  if (process.listeners("exit").includes(undoAll)) return;
  process.on("exit", undoAll);
  for (const [signal, number] of Object.entries(NUMBERS)) {
    // A test runner has handlers of its own, which exit as well.
    if (process.listenerCount(signal) === 0) process.on(signal, () => process.exit(128 + number));
  }
}

/** The last one first: what runs on a disk ends before the disk goes. */
function undoAll(): void {
  for (const undo of [...tasks].reverse()) undo();
  tasks.clear();
}
