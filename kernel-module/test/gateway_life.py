#!/usr/bin/python3
"""Kernel devices that a gateway serves, in ordinary use: file systems, verified load, partitions, resizing, durability."""

import json
import os
import hashlib

from gateway import (FULL, Gateway, attribute, check, copied_tree, drop_caches, exits_with, run, until)

gateway = Gateway()
MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
FSCK = {
    "ext4": ["e2fsck", "-f", "-n"],
    "xfs": ["xfs_repair", "-n"],
    "btrfs": ["btrfs", "check"],
}


def file_system(fs, backend, block):
    """From the command that creates a device to the one that removes it."""
    name, disk, folder = f"{fs}{block}", f"/dev/{fs}{block}", f"/mnt/{fs}"
    what = f"{fs} on {backend}, blocks of {block}"
    os.makedirs(folder, exist_ok=True)
    gateway.create(name, backend, "320M", "--block-size", str(block))
    check(f"{what}: the disk has these blocks", attribute(name, "queue/logical_block_size") == str(block))
    run(*MKFS[fs], disk)
    run("mount", "-t", fs, disk, folder)
    compare = copied_tree(folder + "/tree")
    drop_caches()
    check(f"{what}: a tree reads back as it was copied", compare() == "")
    status, output = gateway.try_command("remove", name)
    check(f"{what}: a mounted device is not removed, and why is said", status != 0 and disk in output, output)
    os.unlink(folder + "/tree/compat.h")
    trimmed = run("fstrim", "-v", folder)
    check(f"{what}: fstrim discards", gateway_count(name, "discard") > 0 and "bytes" in trimmed, trimmed)
    run("umount", folder)
    status, output = run(*FSCK[fs], disk, ok=False)
    check(f"{what}: fsck finds nothing", status == 0, output)
    gateway.command("remove", name)
    check(f"{what}: a removal leaves no disk", not os.path.exists(disk))


def gateway_count(name, op):
    return gateway.stats(name)["operations"][op]["count"]


def fio_verifies(backend):
    name = f"fio{backend}"
    gateway.create(name, backend, "96M")
    job = ["fio", "--name=v", f"--filename=/dev/{name}", "--direct=1", "--ioengine=libaio", "--rw=randwrite",
           "--verify=crc32c", "--verify_fatal=1", "--numjobs=4", "--size=24M", "--offset_increment=24M",
           "--bsrange=4k-1m", "--iodepth=8", "--randseed=7", "--io_size=" + ("24M" if FULL else "8M"), "--group_reporting",
           "--output-format=json"]
    status, output = run(*job, ok=False, limit=1800)
    check(f"{backend}: fio verifies with 4 jobs", status == 0, output[-1500:])
    gateway.command("remove", name)


def large_requests(backend):
    name = f"large{backend}"
    gateway.create(name, backend, "32M", "--block-size", "4096")
    check(f"{backend}: requests of 1 MiB are possible", attribute(name, "queue/max_hw_sectors_kb") == "1024")
    with open(f"/sys/block/{name}/queue/max_sectors_kb", "w") as file:
        file.write("1024")
    data = os.urandom(8 << 20)
    with open("/run/data", "wb") as file:
        file.write(data)
    before = gateway_count(name, "write")
    run("dd", "if=/run/data", f"of=/dev/{name}", "bs=4M", "oflag=direct", "status=none")
    writes = gateway_count(name, "write") - before
    # where pages lie together by chance, newer kernels begin with bios of more than 1 MiB, and send what is left over on its own
    check(f"{backend}: 8 MiB are written by 8 requests or a few more", 8 <= writes <= 12, writes)
    run("dd", f"if=/dev/{name}", "of=/run/back", "bs=4M", "count=2", "iflag=direct", "status=none")
    with open("/run/back", "rb") as file:
        same = hashlib.sha256(file.read()).digest() == hashlib.sha256(data).digest()
    check(f"{backend}: and read back the same", same)
    gateway.command("remove", name)


def partitions():
    gateway.create("parts", "ramdisk", "64M", export="kernel,partitions=true")
    run("sfdisk", "-q", "/dev/parts", input="label: gpt\nsize=16MiB\nsize=16MiB\n")
    until("partitions", lambda: os.path.exists("/dev/parts2"))
    os.makedirs("/mnt/parts", exist_ok=True)
    run("mkfs.ext4", "-q", "-F", "/dev/parts2")
    run("mount", "/dev/parts2", "/mnt/parts")
    compare = copied_tree("/mnt/parts/tree")
    drop_caches()
    check("a file system on a partition reads back", compare() == "")
    run("umount", "/mnt/parts")
    # what a restart does: the table is found, since it is asked for
    gateway.command("unexport", "parts", "kernel")
    check("the end of an export takes the partitions with it", not os.path.exists("/dev/parts2"))
    gateway.command("export", "parts", "kernel,partitions=true")
    # the kernel reads the table when somebody opens the disk, as udev does at once where it runs
    until("the partitions are found", lambda: run("blockdev", "--getsz", "/dev/parts") and os.path.exists("/dev/parts2"))
    check("a new export finds the partition table", os.path.exists("/dev/parts1"))
    gateway.command("remove", "parts")


def resize_while_mounted():
    gateway.create("grow", "file", "64M")
    os.makedirs("/mnt/grow", exist_ok=True)
    run("mkfs.ext4", "-q", "-F", "/dev/grow")
    run("mount", "/dev/grow", "/mnt/grow")
    compare = copied_tree("/mnt/grow/tree")
    gateway.command("resize", "grow", "160M")
    until("the kernel knows", lambda: attribute("grow", "size") == str((160 << 20) // 512))
    run("resize2fs", "/dev/grow")
    space = os.statvfs("/mnt/grow")
    check("a file system grows while it is mounted", space.f_blocks * space.f_frsize > 130 << 20)
    with open("/mnt/grow/more", "wb") as file:
        file.write(bytes(100 << 20))
    drop_caches()
    check("and is written beyond its old end", os.path.getsize("/mnt/grow/more") == 100 << 20 and compare() == "")
    run("umount", "/mnt/grow")
    status, output = run("e2fsck", "-f", "-n", "/dev/grow", ok=False)
    check("fsck finds nothing after the resize", status == 0, output)
    gateway.command("remove", "grow")


def durability():
    """Flushes and FUA writes arrive at the volume, each where the block layer asks for it."""
    gateway.create("durable", "file", "32M")
    check("the disk has a write cache", attribute("durable", "queue/write_cache") == "write back")
    check("the disk knows FUA", attribute("durable", "queue/fua") == "1")
    before = gateway.stats("durable")
    run("dd", "if=/dev/zero", "of=/dev/durable", "bs=4k", "count=1", "oflag=direct", "status=none")
    middle = gateway.stats("durable")
    check("a plain write is neither", before["fua"] == middle["fua"]
          and before["operations"]["flush"]["count"] == middle["operations"]["flush"]["count"])
    run("dd", "if=/dev/zero", "of=/dev/durable", "bs=4k", "count=5", "oflag=direct,dsync", "status=none")
    after = gateway.stats("durable")
    check("five writes with O_DSYNC are five FUA writes", after["fua"] - middle["fua"] == 5, json.dumps(after))
    run("sync", "/dev/durable")
    flushes = gateway_count("durable", "flush") - after["operations"]["flush"]["count"]
    check("fsync of the disk is one flush", flushes == 1, flushes)
    gateway.command("remove", "durable")


def every_thread_is_an_io_flusher():
    """PF_MEMALLOC_NOIO in the flags of each thread."""
    flags = []
    for thread in os.listdir(f"/proc/{gateway.process.pid}/task"):
        try:
            with open(f"/proc/{gateway.process.pid}/task/{thread}/stat") as file:
                flags.append(int(file.read().rpartition(")")[2].split()[6]) & 0x80000)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    return len(flags) > 5 and all(flags)


def body():
    gateway.start()
    check("every thread of the gateway is an IO_FLUSHER", every_thread_is_an_io_flusher())
    combinations = [("ext4", "file", 512), ("xfs", "ramdisk", 4096), ("btrfs", "file", 4096)]
    if FULL:
        combinations = [(fs, backend, block)
                        for fs in MKFS for backend in ("ramdisk", "file") for block in (512, 4096)]
    for combination in combinations:
        file_system(*combination)
    for backend in ("ramdisk", "file"):
        fio_verifies(backend)
        large_requests(backend)
    partitions()
    resize_while_mounted()
    durability()
    check("the gateway stops in order", gateway.stop() == 0)
    run("rmmod", "dblock")


exits_with("gateway_life", body)
