/** The spool as a submission needs it: a place for new messages. Lists nothing, leases nothing, recovers nothing. */
import type { Clock } from "../core/clock.ts";
import { isErrno } from "../core/errors.ts";
import type { Store } from "../core/store.ts";
import { nodeDisk } from "../io/node-disk.ts";
import { SharedSync } from "../spool/commit.ts";
import { FileDraft } from "../spool/draft.ts";
import { contentName, NameMaker } from "../spool/names.ts";
import { storageError } from "../spool/storage-errors.ts";

/** Ids of an earlier process with our number that may be in the way. */
const MOST_TRIES = 1000;

/** The directory must exist. A daemon that watches it sees each message when it is committed. */
export function submissionStore(
  directory: string,
  clock: Pick<Clock, "now">,
  pid: number,
): Pick<Store, "create"> {
  const disk = nodeDisk(directory);
  const directorySync = new SharedSync(disk);
  const names = new NameMaker(pid);
  const house = { disk, directory: directorySync, onEnd: () => undefined };
  return {
    create: async () => {
      for (let tries = 1; ; tries += 1) {
        const id = names.next(clock.now());
        try {
          return new FileDraft(house, id, disk.create(contentName(id)));
        } catch (error) {
          if (isErrno(error, "EEXIST") && tries < MOST_TRIES) continue;
          throw storageError(error, "create", `${directory}/${contentName(id)}`);
        }
      }
    },
  };
}
