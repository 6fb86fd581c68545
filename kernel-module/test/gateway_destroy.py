#!/usr/bin/python3
"""Kernel devices are destroyed in every state; there is always a way out, and the module can be unloaded afterwards."""

import os
import signal

from gateway import ROOT, Gateway, Load, attribute, check, exits_with, inserted, run, until

gateway = Gateway()
SAMPLE = "/run/sample_ramdisk"


def force(name):
    """Destroys a kernel device past its gateway, as a person in need would."""
    run(SAMPLE, "-D", name)
    return not os.path.exists(f"/dev/{name}")


def idle():
    gateway.create("idle", "ramdisk", "16M")
    gateway.command("remove", "idle")
    check("idle: removed", not os.path.exists("/dev/idle"))


def busy():
    gateway.create("busy", "file", "16M")
    load = Load("/dev/busy")
    load.progress()
    status, output = gateway.try_command("remove", "busy")
    check("busy: refused, and it is said who has it open", status != 0 and "/dev/busy" in output, output)
    gateway.command("remove", "busy", "--force")
    check("busy: removed by force", not os.path.exists("/dev/busy"))
    until("the load has failed", lambda: load.problems)
    load.stopping = True


def mounted():
    gateway.create("mounted", "file", "32M")
    os.makedirs("/mnt/mounted", exist_ok=True)
    run("mkfs.ext4", "-q", "-F", "/dev/mounted")
    run("mount", "/dev/mounted", "/mnt/mounted")
    with open("/mnt/mounted/dirty", "wb") as file:
        file.write(bytes(4 << 20))
    gateway.command("unexport", "mounted", "kernel", "--force")
    check("mounted, with dirty pages: the export ends by force", not os.path.exists("/dev/mounted"))
    run("umount", "/mnt/mounted", ok=False)
    gateway.command("export", "mounted", "kernel")
    until("it is back", lambda: os.path.exists("/dev/mounted"))
    status, output = run("e2fsck", "-f", "-y", "/dev/mounted", ok=False)
    check("mounted: what the journal holds is whole", status in (0, 1), output)
    gateway.command("remove", "mounted")


def parked():
    gateway.create("parked", "file", "16M")
    load = Load("/dev/parked")
    load.progress()
    gateway.command("park", "parked")
    check("parked, with requests that wait: destroyed", force("parked"))
    until("they have failed", lambda: load.problems)
    load.stopping = True
    gateway.command("resume", "parked")
    until("the gateway says that it was destroyed", lambda: "destroyed" in gateway.command("info", "parked"))
    gateway.command("unexport", "parked", "kernel")
    gateway.command("export", "parked", "kernel")
    until("it is back", lambda: os.path.exists("/dev/parked"))
    check("parked: the gateway says that it was destroyed, and serves it anew", True)
    gateway.command("remove", "parked")


def server_stopped():
    gateway.create("stopped", "file", "16M")
    load = Load("/dev/stopped")
    load.progress()
    gateway.kill(signal.SIGSTOP)
    check("server stopped: destroyed", force("stopped"))
    gateway.kill(signal.SIGCONT)
    until("the load has failed", lambda: load.problems)
    load.stopping = True
    gateway.command("remove", "stopped")
    check("server stopped: the gateway goes on after SIGCONT", gateway.try_command("list")[0] == 0)


def stopped_in_order_and_dead():
    gateway.create("left", "file", "16M")
    gateway.create("gone", "file", "16M")
    check("the gateway stops in order", gateway.stop() == 0)
    check("a stop leaves the device parked in the kernel", attribute("left", "dblock/state") == "parked")
    check("server gone: destroyed", force("gone"))
    load = Load("/dev/left", 64, 1)
    gateway.start()
    load.progress()
    problems = load.finish()
    check("what was written meanwhile waits for the next start", not problems, problems)
    gateway.kill()
    check("server dead: destroyed", force("left"))


def leaves_nothing_if_told_to():
    gateway.arguments.append("--remove-devices")
    gateway.start()
    until("the devices are back", lambda: os.path.exists("/dev/left") and os.path.exists("/dev/gone"))
    check("a stop in order", gateway.stop() == 0)
    check("with --remove-devices it leaves no device", not os.path.exists("/dev/left") and not os.path.exists("/dev/gone"))
    run("rmmod", "dblock")
    inserted()
    check("the module can be unloaded and loaded", os.path.exists("/dev/dblockctl"))


def body():
    run("cc", "-O1", "-o", SAMPLE, "-I", f"{ROOT}/kernel-module/include/uapi",
        f"{ROOT}/kernel-module/sample_ramdisk/sample_ramdisk.c", "-lpthread")
    gateway.start()
    for step in (idle, busy, mounted, parked, server_stopped, stopped_in_order_and_dead, leaves_nothing_if_told_to):
        step()


exits_with("gateway_destroy", body)
