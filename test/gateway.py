"""A running gateway for the suites: starts the distribution in a home of its own, talks to it, ends it."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ["PATH"] = "/usr/bin:" + os.environ["PATH"]  # nbdsh wants the Python that libnbd belongs to
# upper limits only say "never": a busy machine is slow, not wrong
PATIENCE = float(os.environ.get("DBLOCK_PATIENCE", "60"))


class Suite:
    """Counts checks, prints each one, and ends the process with their sum."""

    def __init__(self, name):
        self.name, self.passed, self.failed, self.skipped = name, 0, 0, 0

    def check(self, what, ok, why=""):
        if ok:
            self.passed += 1
            print(f"ok   {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {what}{': ' + str(why) if why != '' else ''}", flush=True)
        return bool(ok)

    def equal(self, what, seen, wanted):
        return self.check(what, seen == wanted, f"{seen!r} instead of {wanted!r}")

    def contains(self, what, text, *parts):
        missing = [p for p in parts if p not in text]
        return self.check(what, not missing, f"{missing} not in: {text.strip()}")

    def skip(self, what, why):
        self.skipped += 1
        print(f"skip {what}: {why}", flush=True)

    def run(self, what, *command, **more):
        """Runs a program that has to end with status 0; returns what it printed."""
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
        self.check(what, done.returncode == 0, f"status {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout

    def end(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def wait_for(what, seconds=PATIENCE, every=0.05):
    """Polls until what() is true; its last value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(every)


def frame(kind, *words):
    """A frame of words for the gateway's shell."""
    content = b"".join(str(word).encode() + b"\0" for word in words)
    return kind + len(content).to_bytes(4, "big") + content


class Gateway:
    """One gateway with a home of its own; a context manager that ends it and shows its log after a failure."""

    def __init__(self, home=None, demo=False, options=()):
        self.kept = home is not None
        self.home = pathlib.Path(home or tempfile.mkdtemp(prefix="dblock-"))
        self.options = options
        self.process = None
        if not demo:  # a home with an etc folder isn't given the demonstration device
            (self.home / "etc").mkdir(parents=True, exist_ok=True)
        self.log = self.home / "gateway.log"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if self.process:
            self.stop()
        if kind:
            print(self.log.read_text()[-4000:], file=sys.stderr)
        if not self.kept:
            shutil.rmtree(self.home, ignore_errors=True)

    def start(self):
        """Starts it and waits until its shell answers; the seconds that took."""
        began = time.monotonic()
        known = self.configured()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [ROOT / "dblock", "run", "--home", self.home, *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        def served():
            if self.process.poll() is not None:
                raise RuntimeError(f"the gateway ended with {self.process.returncode}: {self.log.read_text()[-4000:]}")
            shell = self.command("list", "--json")
            return shell.returncode == 0 and known <= {d["name"] for d in json.loads(shell.stdout)}
        if not wait_for(served, 2 * PATIENCE):
            raise RuntimeError(f"the gateway doesn't answer: {self.log.read_text()[-4000:]}")
        return time.monotonic() - began

    def configured(self):
        """The names of the devices that a restarted gateway has to find again."""
        names = set()
        for file in list(self.home.glob("state/config/**/*.config")) + list(self.home.glob("etc/org.dblock.device-*.config")):
            text = file.read_text()
            if "org.dblock.device" in text or file.parent.name == "etc":
                for line in text.splitlines():
                    if line.startswith("name="):
                        names.add(line.split("=", 1)[1].strip().strip('"'))
        return names

    def stop(self):
        """Ends it as an operator does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            status = "did not end"
        self.process = None
        return status

    def kill(self):
        """kill -9 of the gateway, and of all that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def command(self, *words):
        """
        Sends one shell command; its status and what it printed. Speaks to the gateway's socket itself (the frames are those of
        ShellConnection), for starting a JVM for each command would take most of a suite's time.
        """
        printed = {b"O": b"", b"E": b""}
        status = 3
        with socket.socket(socket.AF_UNIX) as shell:
            try:
                shell.connect(str(self.home / "sockets" / "shell.sock"))
                shell.sendall(frame(b"C", os.getcwd(), "") + frame(b"A", *words))
                stream = shell.makefile("rb")
                while header := stream.read(5):
                    kind, content = header[:1], stream.read(int.from_bytes(header[1:], "big"))
                    if kind == b"X":
                        status = content[0]
                        break
                    printed[kind] += content
            except OSError as e:
                printed[b"E"] += str(e).encode()
        return subprocess.CompletedProcess(words, status, printed[b"O"].decode(), printed[b"E"].decode())

    def must(self, *words):
        """Sends one shell command that has to succeed; what it printed. A client that has left may be noticed a moment later."""
        end = time.monotonic() + PATIENCE
        done = self.command(*words)
        while words[0] == "remove" and "is in use by" in done.stderr and time.monotonic() < end:
            time.sleep(0.05)
            done = self.command(*words)
        if done.returncode != 0:
            raise RuntimeError(f"dblock {' '.join(map(str, words))}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def info(self, name):
        return json.loads(self.must("info", name, "--json"))

    def state(self, name):
        done = self.command("info", name, "--json")
        return json.loads(done.stdout)["state"] if done.returncode == 0 else None

    def stats(self, name):
        return json.loads(self.must("stats", name, "--json"))

    @property
    def socket(self):
        return self.home / "sockets" / "nbd.sock"

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.socket}"
