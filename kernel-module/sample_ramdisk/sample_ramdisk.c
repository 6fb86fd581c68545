// SPDX-License-Identifier: GPL-2.0
/*
 * sample_ramdisk: the smallest useful server of dblock devices: a disk in
 * memory, or in a file.
 *
 *	sample_ramdisk NAME SIZE	serves /dev/NAME until it is destroyed
 *	sample_ramdisk -d NAME		destroys it; -D by force
 *	sample_ramdisk -s SIZE NAME	gives it another size
 *
 * A device that exists already is taken over, as after the death of an earlier
 * server. With -f, that loses nothing: a write that has been answered is in
 * the page cache. Memory, however, is gone with its process, so there the
 * device is made to fail at once when its server dies.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dblock.h"

#define MAX_BATCH	64
#define MAX_THREADS	64

static struct {
	int channel;
	uint8_t *slots;		/* depth * max_io bytes */
	uint32_t max_io;
	uint32_t depth;
	uint64_t capacity;
	uint8_t *memory;	/* the disk, unless file >= 0 */
	int file;
} server = { .channel = -1, .file = -1 };

static void die(const char *what)
{
	fprintf(stderr, "sample_ramdisk: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* -> 0 or the errno to answer with. */
static int transfer_file(bool write, uint8_t *data, uint64_t length, uint64_t offset)
{
	while (length) {
		ssize_t n = write ? pwrite(server.file, data, length, offset) :
				    pread(server.file, data, length, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC ? ENOSPC : EIO;
		if (n == 0) {
			/* The file is shorter than the disk: a hole. */
			memset(data, 0, length);
			return 0;
		}
		data += n;
		length -= n;
		offset += n;
	}
	return 0;
}

static int serve_file(const struct dblock_request *r, uint8_t *slot)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	int error = 0;

	switch (r->op) {
	case DBLOCK_OP_READ:
		return transfer_file(false, slot, r->length, r->offset);
	case DBLOCK_OP_WRITE:
		error = transfer_file(true, slot, r->length, r->offset);
		break;
	case DBLOCK_OP_FLUSH:
		return fdatasync(server.file) ? EIO : 0;
	case DBLOCK_OP_WRITE_ZEROES:
		if (r->flags & DBLOCK_RQ_NOUNMAP)
			mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
		/* fall through */
	case DBLOCK_OP_DISCARD:
		if (fallocate(server.file, mode, r->offset, r->length))
			error = errno == EOPNOTSUPP ? EOPNOTSUPP : EIO;
		break;
	default:
		return EOPNOTSUPP;
	}
	if (!error && (r->flags & DBLOCK_RQ_FUA) && fdatasync(server.file))
		error = EIO;
	return error;
}

static int serve_memory(const struct dblock_request *r, uint8_t *slot)
{
	uint8_t *p = server.memory + r->offset;
	uint64_t page = sysconf(_SC_PAGESIZE);

	switch (r->op) {
	case DBLOCK_OP_READ:
		memcpy(slot, p, r->length);
		return 0;
	case DBLOCK_OP_WRITE:
		memcpy(p, slot, r->length);
		return 0;
	case DBLOCK_OP_FLUSH:
		return 0;
	case DBLOCK_OP_DISCARD:
	case DBLOCK_OP_WRITE_ZEROES:
		if ((r->offset | r->length) % page ||
		    madvise(p, r->length, MADV_DONTNEED))
			memset(p, 0, r->length);
		return 0;
	default:
		return EOPNOTSUPP;
	}
}

static int serve(const struct dblock_request *r)
{
	uint8_t *slot = server.slots + (uint64_t)r->tag * server.max_io;

	if (server.file >= 0)
		return serve_file(r, slot);
	/* A file grows with its disk, memory doesn't. */
	if (r->offset > server.capacity || r->length > server.capacity - r->offset)
		return EIO;
	return serve_memory(r, slot);
}

/*
 * A thread that is woken runs at once, in place of the one that submitted a
 * request and would have submitted more: where processors are few, every
 * exchange brings one. Under SCHED_BATCH it waits for its turn, and finds all
 * that came meanwhile. Where requests come one by one that only costs; so it
 * is tried now and then, and kept up while batches come.
 */
static void adapt(int n)
{
	static __thread unsigned int exchanges, requests;
	static __thread int policy = SCHED_OTHER;
	bool batches;

	requests += n;
	if (++exchanges < (policy == SCHED_BATCH ? 32 : 1024))
		return;
	batches = requests > 2 * exchanges;
	exchanges = 0;
	requests = 0;
	if (!batches && sched_getscheduler(0) == policy) {
		policy = policy == SCHED_BATCH ? SCHED_OTHER : SCHED_BATCH;
		sched_setscheduler(0, policy, &(struct sched_param) { 0 });
	}
}

/* One of the threads that serve: answers in, requests out. */
static void *serve_loop(void *unused)
{
	struct dblock_request requests[MAX_BATCH];
	struct dblock_commit commits[MAX_BATCH];
	struct dblock_exchange x = {
		.commits = (uintptr_t)commits,
		.fetched = (uintptr_t)requests,
		.base = (uintptr_t)server.slots,
		.slot_size = server.max_io,
		.max_fetch = server.depth < MAX_BATCH ? server.depth : MAX_BATCH,
		.timeout_ms = DBLOCK_FOREVER,
	};

	(void)unused;
	for (;;) {
		int n = ioctl(server.channel, DBLOCK_EXCHANGE, &x);
		int i;

		if (n < 0 && errno != EINTR)
			break;
		/* What was refused was answered too late: nothing to do. */
		for (i = 0; i < n; i++) {
			commits[i] = (struct dblock_commit) {
				.cookie = requests[i].cookie,
				.tag = requests[i].tag,
				.result = -serve(&requests[i]),
			};
		}
		x.n_commit = n > 0 ? n : 0;
		adapt(x.n_commit);
	}
	if (errno != ESHUTDOWN)
		die("exchange");
	return NULL;
}

static struct dblock_target target(const char *name, uint64_t arg)
{
	struct dblock_target t = {
		.size = sizeof(t),
		.version = DBLOCK_ABI_VERSION,
		.arg = arg,
	};

	memccpy(t.name, name, 0, sizeof(t.name) - 1);
	return t;
}

/* udev opens every disk that is new or was written to: try for two seconds. */
static void destroy(const char *name, bool force)
{
	struct dblock_target t = target(name, DBLOCK_DESTROY_GRACEFUL);
	int tries = 0;

	if (force)
		t.arg = DBLOCK_DESTROY_FORCE;
	while (ioctl(server.channel, DBLOCK_DESTROY, &t)) {
		if (errno != EBUSY || ++tries > 100)
			die(name);
		nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
	}
}

/* An identity that depends on the name alone, so that the next server has it. */
static void make_uuid(const char *name, uint8_t *uuid)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
	memcpy(uuid, "sample01", 8);
	memcpy(uuid + 8, &hash, 8);
}

static uint64_t parse_size(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 0);

	switch (*end) {
	case 'T':
		n <<= 10;
		/* fall through */
	case 'G':
		n <<= 10;
		/* fall through */
	case 'M':
		n <<= 10;
		/* fall through */
	case 'K':
		n <<= 10;
		end++;
	}
	if (*end || !n) {
		fprintf(stderr, "sample_ramdisk: \"%s\" is no size: write 512M or 10G\n", s);
		exit(2);
	}
	return n;
}

static void usage(void)
{
	fputs("usage: sample_ramdisk [options] NAME SIZE    serve /dev/NAME\n"
	      "       sample_ramdisk -d NAME                destroy it (-D: by force)\n"
	      "       sample_ramdisk -s SIZE NAME           give it another size (only with -f)\n"
	      "  -b BYTES  logical block, 512 (default) to 4096\n"
	      "  -f FILE   keep the contents in FILE\n"
	      "  -j N      threads (1)\n"
	      "  -m BYTES  longest request (1M)\n"
	      "  -p        with partitions\n"
	      "  -q N      requests in flight (128)\n"
	      "  -r MS     how long requests wait for a new server (-f: for ever; memory: always 0)\n"
	      "  -t MS     how long a request may take (0: for ever)\n"
	      "  -w        no volatile cache: every write is durable when answered (for -f: not true)\n"
	      "  -R        read-only\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	struct dblock_create c = {
		.size = sizeof(c),
		.version = DBLOCK_ABI_VERSION,
		.flags = DBLOCK_F_WRITE_CACHE | DBLOCK_F_FUA |
			 DBLOCK_F_DISCARD | DBLOCK_F_WRITE_ZEROES,
		.logical_block = 512,
		.max_io = 1 << 20,
		.depth = 128,
		.queues = 1,
		.recover_ms = DBLOCK_FOREVER,
	};
	struct dblock_status s = { .size = sizeof(s), .version = DBLOCK_ABI_VERSION };
	pthread_t threads[MAX_THREADS];
	struct dblock_target t;
	uint64_t new_size = 0;
	int destroying = 0;
	int n_threads = 1;
	bool created;
	int i, opt;

	while ((opt = getopt(argc, argv, "b:dDf:j:m:pq:r:s:t:wR")) != -1) {
		switch (opt) {
		case 'b':
			c.logical_block = parse_size(optarg);
			break;
		case 'd':
		case 'D':
			destroying = opt;
			break;
		case 'f':
			server.file = open(optarg, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
			if (server.file < 0)
				die(optarg);
			break;
		case 'j':
			n_threads = atoi(optarg);
			break;
		case 'm':
			c.max_io = parse_size(optarg);
			break;
		case 'p':
			c.flags |= DBLOCK_F_PARTITIONS;
			break;
		case 'q':
			c.depth = atoi(optarg);
			break;
		case 'r':
			c.recover_ms = strtoul(optarg, NULL, 0);
			break;
		case 's':
			new_size = parse_size(optarg);
			break;
		case 't':
			c.io_timeout_ms = strtoul(optarg, NULL, 0);
			break;
		case 'w':
			c.flags &= ~(DBLOCK_F_WRITE_CACHE | DBLOCK_F_FUA);
			break;
		case 'R':
			c.flags |= DBLOCK_F_READ_ONLY;
			break;
		default:
			usage();
		}
	}
	if (optind + (destroying || new_size ? 1 : 2) != argc || n_threads < 1 || n_threads > MAX_THREADS)
		usage();

	server.channel = open(DBLOCK_CTL_PATH, O_RDWR | O_CLOEXEC);
	if (server.channel < 0)
		die(DBLOCK_CTL_PATH);
	t = target(argv[optind], new_size);
	if (new_size) {
		if (ioctl(server.channel, DBLOCK_RESIZE, &t))
			die(argv[optind]);
		return 0;
	}
	if (destroying) {
		destroy(argv[optind], destroying == 'D');
		return 0;
	}

	memcpy(c.name, t.name, sizeof(c.name));
	make_uuid(t.name, c.uuid);
	c.capacity = parse_size(argv[optind + 1]);
	if (server.file < 0)
		c.recover_ms = 0;
	else if (ftruncate(server.file, c.capacity))
		die("can't give the file its size");

	created = !ioctl(server.channel, DBLOCK_CREATE, &c);
	if (!created && errno != EEXIST)
		die("create");
	memcpy(t.uuid, c.uuid, sizeof(t.uuid));
	if (ioctl(server.channel, DBLOCK_ATTACH, &t))
		die("attach");
	memcpy(s.name, c.name, sizeof(s.name));
	if (ioctl(server.channel, DBLOCK_STATUS, &s))
		die("status");
	server.max_io = s.max_io;
	server.depth = s.depth;
	server.capacity = s.capacity;

	server.slots = mmap(NULL, (size_t)s.depth * s.max_io, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (server.slots == MAP_FAILED)
		die("memory for the slots");
	if (server.file < 0) {
		server.memory = mmap(NULL, s.capacity, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (server.memory == MAP_FAILED)
			die("memory for the disk");
	}

	for (i = 0; i < n_threads; i++)
		if (pthread_create(&threads[i], NULL, serve_loop, NULL))
			die("thread");
	/* This thread serves nothing, so it may wait for the others. */
	if (ioctl(server.channel, DBLOCK_START, &t) && errno != EALREADY)
		die("start");
	printf("/dev/%s %s, %llu bytes\n", s.name, created ? "created" : "taken over",
	       (unsigned long long)s.capacity);
	fflush(stdout);
	for (i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);

	if (server.file >= 0 && fsync(server.file))
		die("the file can't be made durable");
	return 0;
}
