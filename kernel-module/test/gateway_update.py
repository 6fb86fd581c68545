#!/usr/bin/python3
"""Bundles are updated under load on mounted file systems: that costs a pause."""

import glob
import os
import time

from gateway import DIST, Gateway, Load, check, exits_with, kernel_log, run, until

gateway = Gateway()


def on_a_file_system(name, backend):
    """A load on a file of a mounted file system."""
    gateway.create(name, backend, "64M")
    folder = f"/mnt/{name}"
    os.makedirs(folder, exist_ok=True)
    run("mkfs.ext4", "-q", "-F", f"/dev/{name}")
    run("mount", f"/dev/{name}", folder)
    with open(folder + "/load", "wb") as file:
        file.write(bytes(256 * Load.BLOCK))
    return Load(folder + "/load", 256, 2)


def jar(bundle):
    return glob.glob(f"{DIST}/bundle/{bundle}*.jar")[0]


def swaps(name):
    return gateway.stats(name)["swaps"]


def goes_on(what, loads):
    begin = time.monotonic()
    for load in loads.values():
        load.progress()
        # through the page cache and back to the volume
    run("sync", limit=1200)
    print(f"{what}: all goes on, and is synced, after {time.monotonic() - begin:.1f} s", flush=True)
    for name, load in loads.items():
        check(f"{what}: no error on {name}", not load.problems, load.problems)


def body():
    gateway.start()
    loads = {"disk": on_a_file_system("disk", "file"), "memory": on_a_file_system("memory", "ramdisk")}
    goes_on("before", loads)
    for name, backend in (("disk", "org.dblock.backend.file"), ("memory", "org.dblock.backend.ramdisk")):
        before = swaps(name)
        gateway.command("update-backend", jar(backend))
        until(f"the volume of {name} is replaced", lambda: swaps(name) > before)
        goes_on(f"an update of {backend}", loads)
    before = {name: attribute_of(name) for name in loads}
    update_core()
    goes_on("an update of core", loads)
    check("after the update of core a file device has a new server", attribute_of("disk") > before["disk"])
    check("and a ramdisk the same channel as before", attribute_of("memory") == before["memory"])
    for name, load in loads.items():
        problems = load.finish()
        check(f"{name}: every write is there", not problems, problems)
        run("umount", f"/mnt/{name}")
        status, output = run("e2fsck", "-f", "-n", f"/dev/{name}", ok=False)
        check(f"{name}: fsck finds nothing", status == 0, output)
        gateway.command("remove", name)
    check("the kernel reports no I/O error", "I/O error" not in kernel_log(), kernel_log()[-2000:])
    check("the gateway stops in order", gateway.stop() == 0)


def attribute_of(name):
    with open(f"/sys/block/{name}/dblock/generation") as file:
        return int(file.read())


def update_core():
    """The command is meant for backends, but replaces any bundle of the distribution."""
    gateway.try_command("update-backend", jar("org.dblock.core"))
    until("core is back", lambda: gateway.try_command("info", "memory")[0] == 0)


exits_with("gateway_update", body)
