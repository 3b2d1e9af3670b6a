"""The file system that a folder lies on, and whether other machines may see it."""

from __future__ import annotations

import os
from pathlib import Path

LOCAL = frozenset(
    "ext2 ext3 ext4 xfs btrfs zfs f2fs jfs bcachefs reiserfs apfs hfs ntfs ntfs3 fuseblk".split()  # noqa: SIM905
    + "tmpfs ramfs overlay aufs squashfs erofs iso9660 vfat exfat".split()  # noqa: SIM905
)
"""File systems of one machine. All others, NFS, Lustre, GPFS, BeeGFS, Ceph and FUSE among them, count as shared."""

_MOUNTS = Path("/proc/self/mountinfo")


def kind_of(folder: Path) -> str:
    """The type of the file system that a folder lies on, or will once it is made; "" where the system does not say.

    >>> kind_of(Path("/proc"))
    'proc'
    """
    place = os.path.realpath(folder)
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    longest, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode(errors="surrogateescape").decode("unicode_escape")
        # of two mounts on one point the later hides the earlier
        if len(point) >= len(longest) and (place == point or place.startswith(point.rstrip("/") + "/")):
            longest, kind = point, after.split()[0]
    return kind


def lives_here_alone(folder: Path) -> bool:
    """Whether no other machine sees the folder: its file system is a known local one, or the system does not say."""
    return kind_of(folder) in LOCAL | {""}
