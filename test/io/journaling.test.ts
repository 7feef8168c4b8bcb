/** What is known of the file systems that a spool may be on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { extIn, nodeJournaling } from "../../src/io/journaling.ts";
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

const noExt2 = present("mkfs.ext2") || cannotMountImage("ext2");
test("ext2 may leave old bytes in a new file: nothing is known of it", { skip: noExt2 }, () => {
  using image = mountedImage({ megabytes: 8, kind: "ext2" });
  const { known, syncsNames } = nodeJournaling(image.spool).fileSystem();
  assert.deepEqual({ known, syncsNames }, { known: false, syncsNames: false });
});

const MOUNTS = `22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
29 28 8:2 / /three rw,relatime - ext3 /dev/sda2 rw,data=ordered
30 28 8:3 / /two rw,relatime master:2 - ext2 /dev/sda3 rw
31 28 8:4 / /fast rw,relatime - ext4 /dev/sda4 rw,discard,data=writeback
32 28 8:5 / /three/fast rw,relatime - ext3 /dev/sda5 rw,data=writeback,barrier=1
`;

test("extIn() knows ext3 and ext4 unless bytes may reach the disk after what says that they are there", () => {
  const known = (device: string) => extIn(MOUNTS, device).known;
  assert.deepEqual(extIn(MOUNTS, "8:1"), { known: true, syncsNames: true });
  assert.deepEqual(extIn(MOUNTS, "8:2"), { known: true, syncsNames: false });
  assert.deepEqual(["8:3", "8:4", "8:5"].map(known), [false, false, false]);
  assert.equal(known("8:6"), false, "not mounted, as far as the system tells");
  assert.equal(extIn("", "8:1").known, false);
});

test("memory is no disk", { skip: cannotMount() }, () => {
  using place = mounted("size=64k");
  const { known, syncsNames } = nodeJournaling(place.spool).fileSystem();
  assert.deepEqual({ known, syncsNames }, { known: false, syncsNames: false });
});
