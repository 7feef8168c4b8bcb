/** What is known of the file systems that a spool may be on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeJournaling } from "../../src/io/journaling.ts";
import { cannotMount, cannotMountImage, mounted, mountedImage } from "../support/mounted.ts";
import { present } from "../support/peer.ts";

for (const kind of ["ext4", "xfs"] as const) {
  const skip = present(`mkfs.${kind}`) || cannotMountImage(kind);
  test(`a new file's name is synced with it on ${kind}`, { skip }, () => {
    using image = mountedImage({ megabytes: 320, kind });
    const { known, syncsNames, freeBytes } = nodeJournaling(image.spool).fileSystem();
    assert.deepEqual({ known, syncsNames }, { known: true, syncsNames: true });
    assert.ok(freeBytes > 0);
  });
}

test("memory is no disk", { skip: cannotMount() }, () => {
  using place = mounted("size=64k");
  const { known, syncsNames } = nodeJournaling(place.spool).fileSystem();
  assert.deepEqual({ known, syncsNames }, { known: false, syncsNames: false });
});
