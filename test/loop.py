"""An NBD export as a loop device, without a kernel module: nbdfuse shows it as a file."""

import pathlib
import subprocess

from gateway import wait_for

MKFS = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}
FSCK = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check"]}


class Loop:
    """The export as a loop device while the block runs."""

    def __init__(self, uri, folder, sector=512):
        self.uri, self.file, self.sector = uri, pathlib.Path(folder) / "export", sector

    def __enter__(self):
        self.file.touch()
        self.fuse = subprocess.Popen(["nbdfuse", self.file, self.uri])
        if not wait_for(lambda: self.file.stat().st_size > 0):
            raise RuntimeError("nbdfuse shows nothing")
        self.device = subprocess.run(["losetup", "-f", "--show", "-b", str(self.sector), self.file], check=True,
                                     capture_output=True, text=True).stdout.strip()
        return self.device

    def __exit__(self, *_):
        subprocess.run(["losetup", "-d", self.device])
        wait_for(lambda: not subprocess.run(["losetup", "-j", self.file], capture_output=True).stdout)
        wait_for(lambda: subprocess.run(["fusermount3", "-u", self.file], capture_output=True).returncode == 0)
        self.fuse.wait()
