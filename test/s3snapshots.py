"""Snapshots and clones by the commands of two gateways that share a bucket, for the suites of several stores."""

import time

import nbd

from gateway import PATIENCE, wait_for
from s3load import BLOCK, BLOCKS, Writer, prefix, stamps

EMPTY = [0] * BLOCKS


def online(gateway, name):
    return wait_for(lambda: gateway.state(name) == "online", 2 * PATIENCE)


def under_load(suite, store, one, two, seed):
    """Under load, through a kill -9, and until all is deleted."""
    options = store.options("kept")
    one.must("create", "vault", "s3", "1G", *options)
    writer = Writer(one.uri("vault"), seed)
    writer.start()
    writer.until(2000, PATIENCE)
    before = writer.acknowledged
    one.must("snapshot", "vault", "monday")
    after = len(writer.writes)
    writer.until(after + 2000, PATIENCE)
    one.must("clone", "vault", "monday", "look", "--read-only")
    one.must("clone", "vault", "monday", "copy")
    held = stamps(one.uri("look"))
    shown = prefix(EMPTY, writer.writes, held)
    suite.check(f"a snapshot under load shows {shown} writes: of {before} before the command to {after} after it", before <= shown <= after)
    suite.equal("a clone begins with it", stamps(one.uri("copy")), held)
    two.must("create", "far", "s3", "--snapshot=vault@monday", *options)
    suite.equal("and so does one on another gateway", stamps(two.uri("far")), held)
    suite.contains("it is listed with those who use it", one.must("snapshots", "vault"), "monday", "volume 'copy'", "volume 'far'", "reader")

    copier = Writer(one.uri("copy"), seed + 1)
    copier.start()
    copier.until(1000, PATIENCE)
    one.kill()
    writer.finish()
    copier.finish()
    one.start()
    for name in ("vault", "copy", "look"):
        suite.check(f"after a kill -9, {name} is online again", online(one, name), one.must("list"))
    suite.equal("the snapshot shows what it did", stamps(one.uri("look")), held)
    found = stamps(one.uri("copy"))
    suite.check("the clone holds what was acknowledged, on top of it", prefix(held, copier.writes, found) >= copier.acknowledged)
    suite.check("the volume holds what was acknowledged", prefix(EMPTY, writer.writes, stamps(one.uri("vault"))) >= writer.acknowledged)

    refused = one.command("delete-snapshot", "vault", "monday")
    suite.check("a snapshot that is read is not deleted, and it is said who reads it",
                refused.returncode == 1 and "is read by" in refused.stderr, refused.stderr)
    one.must("remove", "look")
    one.must("delete-snapshot", "vault", "monday")
    suite.contains("a snapshot that only clones use is", one.must("snapshots", "vault"), "has no snapshots")
    one.must("remove", "vault", "--delete-volume")
    suite.equal("a clone survives its snapshot and its parent", stamps(one.uri("copy")), found)
    suite.equal("on another gateway too", stamps(two.uri("far")), held)
    one.must("remove", "copy", "--delete-volume")
    suite.check("what the last clone shares is still there", len(store.objects("kept/")) > 0)
    two.must("remove", "far", "--delete-volume")
    suite.equal("with the last clone everything goes", store.objects("kept/"), {})


def fill(uri, value, megabytes):
    """Writes pieces of the size of an object, over the same megabyte again and again, and flushes."""
    h = nbd.NBD()
    h.connect_uri(uri)
    for piece in range(megabytes * 16):
        h.pwrite(bytes([value]) * (16 * BLOCK), piece % 16 * 16 * BLOCK)
    h.flush()
    h.shutdown()


def block(uri):
    """The value of the first byte."""
    h = nbd.NBD()
    h.connect_uri(uri)
    value = h.pread(BLOCK, 0)[0]
    h.shutdown()
    return value


def in_any_order(suite, store, one, two):
    """The volume, its snapshot and a clone are deleted in different orders: each goes on without the others, and nothing stays."""
    for order in ("volume, clone", "clone, snapshot, volume", "snapshot, volume, clone"):
        options = store.options("ordered")
        one.must("create", "vault", "s3", "64M", *options)
        fill(one.uri("vault"), 1, 1)
        one.must("snapshot", "vault", "monday")
        fill(one.uri("vault"), 2, 1)
        one.must("clone", "vault", "monday", "look", "--read-only")
        suite.equal("a snapshot shows what was written before it", block(one.uri("look")), 1)
        one.must("remove", "look")
        two.must("create", "copy", "s3", "--snapshot=vault@monday", *options)
        left = ["volume", "clone"]
        for what in order.split(", "):
            if what == "snapshot":
                one.must("delete-snapshot", "vault", "monday")
            else:
                gateway, name = (one, "vault") if what == "volume" else (two, "copy")
                gateway.must("remove", name, "--delete-volume")
                left.remove(what)
            if "clone" in left:
                suite.equal(f"after the {what} is deleted the clone reads as before", block(two.uri("copy")), 1)
            if "volume" in left:
                suite.equal(f"after the {what} is deleted the volume reads as before", block(one.uri("vault")), 2)
        suite.equal(f"deleted in the order {order}, nothing stays", store.objects("ordered/"), {})


def collected(suite, store, one):
    """What only a snapshot shows is kept while space is collected, and given back after it is deleted."""
    one.must("create", "vault", "s3", "64M", *store.options("collected", objectSize="64K", collectBelow=95, collectRate="1G"))
    fill(one.uri("vault"), 1, 1)
    one.must("snapshot", "vault", "monday")

    def log():
        return {key for key, size in store.objects("collected/").items() if "/log/" in key and size > BLOCK}

    def drained():
        return wait_for(lambda: one.info("vault")["details"]["not yet in bucket"] == "0", 5 * PATIENCE)

    def overwrites(done):
        """Writes over it all until that is done, which takes two checkpoints; whether it is."""
        end = time.monotonic() + 5 * PATIENCE
        while not done() and time.monotonic() < end:
            fill(one.uri("vault"), 2, 8)
            drained()
        return done()

    drained()
    shown = log()
    fill(one.uri("vault"), 2, 8)
    drained()
    others = log() - shown
    suite.check("what only the volume showed is deleted once it is overwritten", overwrites(lambda: len(others - log()) > len(others) / 2),
                len(others - log()))
    suite.check("what the snapshot shows stays", len(shown) > 4 and shown <= log(), (len(shown), shown - log()))
    one.must("clone", "vault", "monday", "look", "--read-only")
    suite.equal("and can be read", block(one.uri("look")), 1)
    one.must("remove", "look")
    one.must("delete-snapshot", "vault", "monday")
    suite.check("after its deletion it goes", overwrites(lambda: len(shown - log()) > len(shown) / 2), shown & log())
    one.must("remove", "vault", "--delete-volume")
    suite.equal("and with the volume everything", store.objects("collected/"), {})
