"""Load with a record outside of the gateway: what was written in which order, what was acknowledged, what was flushed."""

import errno
import random
import threading
import time

import nbd
from gateway import PATIENCE

BLOCK = 4096
BLOCKS = 2000


class Writer(threading.Thread):
    """Writes one block after the other and remembers their order; ends at the first error."""

    def __init__(self, uri, seed, flushes=0.02):
        super().__init__()
        self.uri, self.rng, self.flushes = uri, random.Random(seed), flushes
        self.writes = []  # (block, stamp)
        self.acknowledged = self.flushed = 0
        self.stop = False
        self.error = None

    def run(self):
        h = nbd.NBD()
        try:
            h.connect_uri(self.uri)
            while not self.stop:
                block, stamp = self.rng.randrange(BLOCKS), self.rng.getrandbits(63) | 1
                self.writes.append((block, stamp))
                h.pwrite(stamp.to_bytes(8, "big") * (BLOCK // 8), block * BLOCK)
                self.acknowledged = len(self.writes)
                if self.rng.random() < self.flushes:
                    h.flush()
                    self.flushed = self.acknowledged
        except nbd.Error as e:
            self.error = str(e)

    def until(self, count, seconds):
        """Waits for a number of writes; whether they came in time."""
        end = time.monotonic() + seconds
        while self.acknowledged < count and self.is_alive() and time.monotonic() < end:
            time.sleep(0.05)
        return self.acknowledged >= count

    def finish(self):
        self.stop = True
        self.join()


def connect(uri):
    """Waits for the export, which comes a moment after its device is online."""
    end = time.monotonic() + PATIENCE
    while True:
        h = nbd.NBD()
        try:
            h.connect_uri(uri)
            return h
        except nbd.Error as e:
            if e.errnum != errno.ENOENT or time.monotonic() > end:
                raise
        time.sleep(0.05)


def stamps(uri):
    """What each block holds; -1: not one stamp."""
    h = connect(uri)
    found = []
    for first in range(0, BLOCKS, 250):
        many = h.pread(250 * BLOCK, first * BLOCK)
        for at in range(0, len(many), BLOCK):
            data = many[at:at + BLOCK]
            found.append(int.from_bytes(data[:8], "big") if data == data[:8] * (BLOCK // 8) else -1)
    h.shutdown()
    return found


def prefix(base, writes, found):
    """After how many of the writes at most the volume was as it was found; -1: never."""
    state = list(base)
    wrong = sum(a != b for a, b in zip(state, found))
    longest = 0 if wrong == 0 else -1
    for n, (block, stamp) in enumerate(writes, 1):
        wrong += (stamp != found[block]) - (state[block] != found[block])
        state[block] = stamp
        if wrong == 0:
            longest = n
    return longest
