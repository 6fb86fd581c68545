/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test programs share: short names for the commands, I/O on a disk from
 * another thread, and a runner. A test is a function that returns early at the
 * first CHECK that doesn't hold; whatever devices it leaves are destroyed.
 */
#ifndef _CLIENT_H
#define _CLIENT_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dblock.h"

#define DISK		"dbtest"
#define DISK_PATH	"/dev/" DISK
#define BLOCK		4096U
#define MAX_IO		(1U << 20)
#define DEPTH		8U
#define CAPACITY	(64ULL << 20)
/* Far beyond what anything takes, on a machine however busy. */
#define PATIENCE_S	120

static int failures;

#define CHECK(condition) do {						\
	if (!(condition)) {						\
		printf("  %s:%d: %s (errno %d: %s)\n", __FILE__,	\
		       __LINE__, #condition, errno, strerror(errno));	\
		failures++;						\
		return;							\
	}								\
} while (0)

/* The command fails, with this errno. */
#define CHECK_ERRNO(expected, call) do {				\
	errno = 0;							\
	CHECK((call) == -1 && errno == (expected));			\
} while (0)

static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static inline void pause_ms(long ms)
{
	nanosleep(&(struct timespec) { ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Waits until the condition holds; false if it doesn't in all that time. */
#define EVENTUALLY(condition) ({					\
	double _end = now() + PATIENCE_S;				\
	bool _holds;							\
									\
	while (!(_holds = (condition)) && now() < _end)			\
		pause_ms(5);						\
	_holds;								\
})

static const uint8_t test_uuid[16] = "test test test ";

static inline int ctl(void)
{
	return open(DBLOCK_CTL_PATH, O_RDWR | O_CLOEXEC);
}

static inline struct dblock_create params(void)
{
	struct dblock_create c = {
		.size = sizeof(c),
		.version = DBLOCK_ABI_VERSION,
		.name = DISK,
		.capacity = CAPACITY,
		.flags = DBLOCK_F_WRITE_CACHE | DBLOCK_F_FUA | DBLOCK_F_DISCARD |
			 DBLOCK_F_WRITE_ZEROES,
		.logical_block = 512,
		.max_io = MAX_IO,
		.depth = DEPTH,
		.queues = 1,
		.recover_ms = DBLOCK_FOREVER,
	};

	memcpy(c.uuid, test_uuid, sizeof(c.uuid));
	return c;
}

static inline struct dblock_target target(uint64_t arg)
{
	struct dblock_target t = {
		.size = sizeof(t),
		.version = DBLOCK_ABI_VERSION,
		.name = DISK,
		.arg = arg,
	};

	memcpy(t.uuid, test_uuid, sizeof(t.uuid));
	return t;
}

static inline int command(int fd, unsigned long cmd, uint64_t arg)
{
	struct dblock_target t = target(arg);

	return ioctl(fd, cmd, &t);
}

static inline struct dblock_status status(int fd)
{
	struct dblock_status s = {
		.size = sizeof(s),
		.version = DBLOCK_ABI_VERSION,
		.name = DISK,
	};

	if (ioctl(fd, DBLOCK_STATUS, &s))
		s.state = 0;
	return s;
}

/* A new channel on the existing device, or -1. */
static inline int attach(void)
{
	int fd = ctl();

	if (fd >= 0 && command(fd, DBLOCK_ATTACH, 0)) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* Creates the device and starts it; returns its channel. */
static inline int create_and_start(const struct dblock_create *c)
{
	struct dblock_create copy = *c;
	int fd = ctl();

	if (fd < 0 || ioctl(fd, DBLOCK_CREATE, &copy) || command(fd, DBLOCK_ATTACH, 0) ||
	    command(fd, DBLOCK_START, 0))
		return -1;
	return fd;
}

/* The server's buffer area; every test has a fresh one, that isn't there yet. */
static uint8_t *slots;

static inline uint8_t *slot(const struct dblock_request *r)
{
	return slots + r->tag * (size_t)MAX_IO;
}

static inline struct dblock_exchange exchange_args(void)
{
	return (struct dblock_exchange) {
		.base = (uintptr_t)slots,
		.slot_size = MAX_IO,
	};
}

/* Fetches up to @max requests; waits for the first as long as it is told. */
static inline int fetch_within(int fd, struct dblock_request *r, int max, int ms)
{
	struct dblock_exchange x = exchange_args();

	x.fetched = (uintptr_t)r;
	x.max_fetch = max;
	x.timeout_ms = ms;
	return ioctl(fd, DBLOCK_EXCHANGE, &x);
}

static inline int fetch(int fd, struct dblock_request *r, int max)
{
	return fetch_within(fd, r, max, PATIENCE_S * 1000);
}

/* Fetches only what is there. */
static inline int fetch_now(int fd, struct dblock_request *r, int max)
{
	return fetch_within(fd, r, max, 0);
}

/* Answers; returns 0, the status of a refusal, or -1. */
static inline int answer(int fd, const struct dblock_request *r, int result)
{
	struct dblock_commit c = {
		.cookie = r->cookie,
		.queue = r->queue,
		.tag = r->tag,
		.result = result,
	};
	struct dblock_exchange x = exchange_args();

	x.commits = (uintptr_t)&c;
	x.n_commit = 1;
	if (ioctl(fd, DBLOCK_EXCHANGE, &x))
		return -1;
	return x.n_refused ? c.status : 0;
}

/* One operation on the disk, in a thread of its own. */
struct io {
	pthread_t thread;
	char op;		/* r, w, f: flush, u: FUA, d: discard, z: zeroes, o: open only */
	uint64_t offset;
	uint64_t length;
	uint8_t *data;		/* page-aligned */
	int error;		/* of the operation, once it is finished */
	volatile bool finished;
};

static inline void *io_run(void *arg)
{
	struct io *io = arg;
	int flags = O_DIRECT | O_CLOEXEC | (strchr("ro", io->op) ? O_RDONLY : O_RDWR);
	struct iovec iov = { io->data, io->length };
	uint64_t range[2] = { io->offset, io->length };
	int fd = open(DISK_PATH, flags);
	long n = -1;
	int tries;

	/* Before 5.15, a disk that is just being started can't be opened yet. */
	for (tries = 0; fd < 0 && errno == ENXIO && tries < 500; tries++) {
		pause_ms(10);
		fd = open(DISK_PATH, flags);
	}
	if (fd < 0) {
		io->error = errno;
		io->finished = true;
		return NULL;
	}
	switch (io->op) {
	case 'r':
		n = pread(fd, io->data, io->length, io->offset);
		break;
	case 'w':
		n = pwrite(fd, io->data, io->length, io->offset);
		break;
	case 'u':
		n = pwritev2(fd, &iov, 1, io->offset, RWF_DSYNC);
		break;
	case 'f':
		n = fsync(fd);
		break;
	case 'd':
		n = ioctl(fd, BLKDISCARD, range);
		break;
	case 'z':
		n = ioctl(fd, BLKZEROOUT, range);
		break;
	case 'o':
		n = 0;
		break;
	}
	io->error = n < 0 ? errno : 0;
	/* A disk that has just been destroyed may look empty to whoever has it open. */
	if (n == 0 && strchr("rwu", io->op))
		io->error = ENXIO;
	close(fd);
	io->finished = true;
	return NULL;
}

static inline struct io *io_start(char op, uint64_t offset, uint64_t length)
{
	struct io *io = calloc(1, sizeof(*io));

	io->op = op;
	io->offset = offset;
	io->length = length;
	if (strchr("rwu", op)) {
		io->data = mmap(NULL, length, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(io->data, 'a' + offset / BLOCK % 26, length);
	}
	pthread_create(&io->thread, NULL, io_run, io);
	return io;
}

/* The operation's errno, or -1 if it hangs. */
static inline int io_finish(struct io *io)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += PATIENCE_S;
	if (pthread_timedjoin_np(io->thread, NULL, &t))
		return -1;
	return io->error;
}

static inline void destroy_all(void)
{
	struct dblock_status s = { .size = sizeof(s), .version = DBLOCK_ABI_VERSION };
	int fd = ctl();

	while (!ioctl(fd, DBLOCK_LIST, &s)) {
		struct dblock_target t = target(DBLOCK_DESTROY_FORCE);

		memcpy(t.name, s.name, sizeof(t.name));
		memcpy(t.uuid, s.uuid, sizeof(t.uuid));
		ioctl(fd, DBLOCK_DESTROY, &t);
	}
	close(fd);
}

struct test {
	const char *name;
	void (*run)(void);
};

/* Runs the tests whose names contain the argument, or all. */
static inline int run_tests(const struct test *tests, const char *only)
{
	int passed = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (; tests->name; tests++) {
		int before = failures;
		double begin = now();

		if (only && !strstr(tests->name, only))
			continue;
		slots = mmap(NULL, (size_t)DEPTH * MAX_IO, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		tests->run();
		destroy_all();
		printf("%s %s (%.1f s)\n", failures == before ? "ok" : "FAILED", tests->name,
		       now() - begin);
		failures == before ? passed++ : failed++;
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed || !passed;
}

#endif /* _CLIENT_H */
