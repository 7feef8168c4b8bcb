/** What an administrator can do to one instance. */
import type { Control } from "../core/control.ts";
import type { FileStore } from "../spool/file-store.ts";

export type ControlOptions = Omit<Control, "list" | "failures" | "unfailAll"> & {
  readonly store: FileStore;
};

export function controlOf({ store, ...rest }: ControlOptions): Control {
  return {
    ...rest,
    list: async () => {
      await store.rescan();
      return await store.ready();
    },
    failures: async () => store.failures(),
    unfailAll: async () => {
      for (const id of store.failures()) store.unfail(id);
    },
  };
}
