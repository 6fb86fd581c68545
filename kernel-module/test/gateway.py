"""What the gateway_* suites share: a gateway in the guest, its commands, and checks that are counted.

Runs inside a virtual machine that test/gateway has booted. Everything is about ten times slower there than outside, so
nothing has a time limit that is not far beyond what it takes.
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
DIST = os.path.join(ROOT, "cnf/generated/dist/dblock")
FULL = "full" in sys.argv[1:]
LIMIT = 900
passed = failed = 0


def check(what, condition, detail=""):
    """Counts and prints a result; goes on after a failure."""
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
    print(f"{'ok' if condition else 'FAILED'}: {what}{'' if condition else ': ' + str(detail)}", flush=True)
    return condition


def finish(name):
    """Prints the totals, as every suite here does; returns the exit status."""
    print(f"== {name}\n{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def run(*words, ok=True, limit=LIMIT, **more):
    """Runs a program; its output. Unless told otherwise a failure ends the suite."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, **more)
    if ok and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout if ok else (done.returncode, done.stdout)


def until(what, condition, limit=LIMIT):
    """Polls; the condition's value once it is true."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise RuntimeError(f"not within {limit} s: {what}")
        time.sleep(0.1)


def kernel_log():
    """The kernel's messages so far."""
    return run("dmesg")


def drop_caches():
    run("sync")
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3\n")


def attribute(disk, name):
    with open(f"/sys/block/{disk}/{name}") as file:
        return file.read().strip()


def inserted():
    """Loads the module if it isn't."""
    if not os.path.exists("/dev/dblockctl"):
        run("insmod", os.environ["DBLOCK_MODULE"])


class Gateway:
    """A gateway with a home of its own in the guest's memory."""

    def __init__(self, home="/run/gateway"):
        self.home = home
        self.arguments = []
        self.log = home + ".log"
        self.process = None
        os.makedirs(home + "/etc", exist_ok=True)

    def start(self, wait=True):
        """Starts it, and waits until it answers."""
        begin = time.monotonic()
        environment = dict(os.environ, DBLOCK_HOME=self.home)
        environment["DBLOCK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -Xmx400m"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [DIST + "/dblock", "run"] + self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        if wait:
            until("the gateway answers", lambda: self.alive() and self.try_command("list")[0] == 0)
            print(f"gateway: up after {time.monotonic() - begin:.1f} s", flush=True)

    def alive(self):
        if self.process.poll() is not None:
            self.show_log()
            raise RuntimeError(f"the gateway ended with {self.process.returncode}")
        return True

    def show_log(self):
        with open(self.log) as file:
            print("--- the gateway's log\n" + file.read()[-6000:] + "---", flush=True)

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(LIMIT)

    def stop(self):
        """Ends it in order; its status."""
        self.process.terminate()
        return self.process.wait(LIMIT)

    def try_command(self, *words):
        """Sends a command as the client does; status and output."""
        payload = b"".join(word.encode() + b"\0" for word in words)
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(LIMIT)
                s.connect(self.home + "/sockets/shell.sock")
                s.sendall(b"A" + struct.pack(">I", len(payload)) + payload)
                stream, output = s.makefile("rb"), b""
                while True:
                    header = stream.read(5)
                    if len(header) < 5:
                        return 3, output.decode()
                    body = stream.read(struct.unpack(">I", header[1:])[0])
                    if header[:1] == b"X":
                        return body[0], output.decode()
                    output += body
        except OSError as e:
            return 3, str(e)

    def command(self, *words):
        status, output = self.try_command(*words)
        if status:
            self.show_log()
            raise RuntimeError(f"dblock {' '.join(words)}: status {status}: {output}")
        return output

    def create(self, name, backend, size, *more, export="kernel"):
        """Creates a device and waits for its disk."""
        self.command("create", name, backend, size, "--export", export, *more)
        until(f"/dev/{name}", lambda: os.path.exists(f"/dev/{name}"))

    def stats(self, name):
        return json.loads(self.command("stats", name, "--json"))


class Load:
    """Direct writes and reads of stamped blocks by some threads, which know what was acknowledged.

    Each thread has blocks of its own and writes each with its number and a version. A block has to hold the version
    that was acknowledged last; while a write fails, or is under way, either.
    """

    BLOCK = 4096

    def __init__(self, path, blocks=512, threads=4, seed=None):
        self.seed = seed if seed is not None else int(os.environ.get("DBLOCK_SEED", time.time_ns() % 1000000))
        print(f"load on {path}: DBLOCK_SEED={self.seed}", flush=True)
        self.path, self.share = path, blocks // threads
        self.versions = [0] * blocks
        self.problems, self.operations, self.stopping = [], 0, False
        self.threads = [threading.Thread(target=self.work, args=(i,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def stamp(self, block, version):
        return struct.pack("<QQ", block, version) * (self.BLOCK // 16)

    def work(self, number):
        import mmap
        import random
        dice = random.Random(self.seed * 100 + number)
        flags = os.O_RDWR if os.path.isfile(self.path) else os.O_RDWR | os.O_DIRECT
        fd, buffer = os.open(self.path, flags), mmap.mmap(-1, self.BLOCK)
        try:
            while not self.stopping and not self.problems:
                block = number * self.share + dice.randrange(self.share)
                if dice.random() < 0.6:
                    buffer[:] = self.stamp(block, self.versions[block] + 1)
                    os.pwritev(fd, [buffer], block * self.BLOCK)
                    self.versions[block] += 1
                    if dice.random() < 0.05:
                        os.fsync(fd)
                elif self.versions[block]:
                    self.compare(fd, buffer, block)
                self.operations += 1
        except OSError as e:
            self.problems.append(f"block {block}: {e}")
        finally:
            os.close(fd)

    def compare(self, fd, buffer, block):
        os.preadv(fd, [buffer], block * self.BLOCK)
        if buffer[:] != self.stamp(block, self.versions[block]):
            self.problems.append(f"block {block}: version {self.versions[block]} expected, found {buffer[:16].hex()}")

    def progress(self, operations=40):
        """Waits until that much more is done, or something is wrong."""
        target = self.operations + operations
        until("the load goes on", lambda: self.operations >= target or self.problems)

    def finish(self):
        """Stops, and compares all blocks; what went wrong."""
        import mmap
        self.stopping = True
        for thread in self.threads:
            thread.join(LIMIT)
        if not self.problems:
            drop_caches()
            fd, buffer = os.open(self.path, os.O_RDONLY), mmap.mmap(-1, self.BLOCK)
            for block, version in enumerate(self.versions):
                if version:
                    self.compare(fd, buffer, block)
            os.close(fd)
        return self.problems[:5]


def exits_with(name, body):
    """Runs a suite's body and exits with its result."""
    begin = time.monotonic()
    threading.excepthook = lambda args: check("no thread of the suite fails", False, args.exc_value)
    try:
        inserted()
        body()
    except Exception as e:  # whatever it is, the totals are printed
        check("the suite runs to its end", False, f"{type(e).__name__}: {e}")
    print(f"{name}: took {time.monotonic() - begin:.0f} s in the guest", flush=True)
    code = finish(name)
    os._exit(code)  # threads of a load may still wait for a device


def copied_tree(target):
    """Copies a tree of some hundred files into a folder; a function that compares it with the original."""
    source = os.path.join(ROOT, "kernel-module")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.ko", "*.deb", "*.o"))
    return lambda: run("diff", "-r", "--exclude=*.ko", "--exclude=*.deb", "--exclude=*.o", source, target)
