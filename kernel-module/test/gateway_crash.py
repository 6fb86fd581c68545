#!/usr/bin/python3
"""The gateway dies, or is stopped: what its kernel devices do meanwhile and afterwards."""

import errno
import mmap
import os
import signal
import threading
import time

from gateway import FULL, Gateway, Load, attribute, check, exits_with, kernel_log, until

gateway = Gateway()
KILLS = 5 if FULL else 2


def direct_io(path, write):
    """One block, directly; 0 or an errno."""
    buffer = mmap.mmap(-1, 4096)
    try:
        fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        try:
            (os.pwritev if write else os.preadv)(fd, [buffer], 0)
        finally:
            os.close(fd)
        return 0
    except OSError as e:
        return e.errno


def stopped(name):
    """Stops the gateway, and writes to a device meanwhile: a list that gets the result."""
    result = []
    gateway.kill(signal.SIGSTOP)
    thread = threading.Thread(target=lambda: result.append(direct_io(f"/dev/{name}", True)), daemon=True)
    thread.start()
    return result


def a_stopped_gateway():
    gateway.create("patient", "file", "8M")
    gateway.create("limited", "file", "8M", export="kernel,ioTimeoutSeconds=3")
    result = stopped("patient")
    time.sleep(5)
    check("SIGSTOP without a timeout: the write waits", not result, result)
    gateway.kill(signal.SIGCONT)
    until("an answer", lambda: result)
    check("SIGSTOP without a timeout: no error after SIGCONT", result == [0], result)
    check("nothing was stale", attribute("patient", "dblock/stale") == "0")

    load = Load("/dev/limited", 64, 2)
    load.progress()
    result = stopped("limited")
    until("an answer while the gateway is stopped", lambda: result)
    check("SIGSTOP with a timeout: EIO", result == [errno.EIO], result)
    until("the load's requests fail too", lambda: load.problems)
    gateway.kill(signal.SIGCONT)
    load.finish()
    check("SIGSTOP with a timeout: the device serves again after SIGCONT", direct_io("/dev/limited", True) == 0)
    check("timeouts are counted", int(attribute("limited", "dblock/timeouts")) > 0)
    gateway.command("remove", "patient")
    gateway.command("remove", "limited")


def killed_again_and_again():
    gateway.create("durable", "file", "16M")
    gateway.create("memory", "ramdisk", "16M")
    check("a write to the ramdisk", direct_io("/dev/memory", True) == 0)
    held = os.open("/dev/memory", os.O_RDWR | os.O_DIRECT)
    load = Load("/dev/durable")
    load.progress()
    for i in range(KILLS):
        gateway.kill()
        if i == 0:
            check("a ramdisk fails with EIO when the gateway is gone", direct_io("/dev/memory", False) == errno.EIO)
        time.sleep(0.5)
        done = load.operations
        begin = time.monotonic()
        gateway.start(wait=False)
        until("I/O", lambda: load.operations > done + 4 or load.problems)
        print(f"kill {i + 1}: first I/O {time.monotonic() - begin:.1f} s after the new start", flush=True)
        until("commands", lambda: gateway.alive() and gateway.try_command("list")[0] == 0)
        if i == 0:
            buffer = mmap.mmap(-1, 4096)
            try:
                os.preadv(held, [buffer], 0)
                code = 0
            except OSError as e:
                code = e.errno
            check("the new gateway serves nothing in place of what the ramdisk held", code == errno.EIO, code)
            os.close(held)
            until("a new ramdisk takes its place", lambda: direct_io("/dev/memory", False) == 0)
            check("a new ramdisk takes the place of the old one when that is closed", True)
        load.progress()
    problems = load.finish()
    check(f"{KILLS} kills: no error, and every acknowledged write is there", not problems, problems)
    check("requests were delivered anew", int(attribute("durable", "dblock/redelivered")) > 0)
    gateway.command("remove", "durable")
    gateway.command("remove", "memory")


def body():
    gateway.start()
    a_stopped_gateway()
    killed_again_and_again()
    log = kernel_log()
    check("the kernel reports errors of none but those that were to fail",
          "I/O error, dev durable" not in log and "I/O error, dev patient" not in log, log[-2000:])
    check("the gateway stops in order", gateway.stop() == 0)


exits_with("gateway_crash", body)
