/* SPDX-License-Identifier: GPL-2.0 */
/* fuzz: the disks, what each block has to hold, and what all threads share. */
#ifndef _FUZZ_DISK_H
#define _FUZZ_DISK_H

#include "client.h"

#define DISKS		3
#define NAMES		(DISKS + 2)	/* the last two have no keeper */
#define FUZZERS		3
#define FUZZ_IO		(64U << 10)
#define SLOT_MAX	(1U << 20)	/* odd slot sizes go up to that */
#define OP_BLOCKS	24U		/* at most in one operation */
/* Blocks of a disk: two shares for direct I/O, one for buffered, one for discards. */
#define SHARE		256U
#define BLOCKS		(4 * SHARE)
#define BUFFERED	(2 * SHARE)
#define DISCARDED	(3 * SHARE)
#define IMAGE		((uint64_t)BLOCKS * BLOCK)
#define POISON		0x5a
#define CHANNEL_FD	200		/* of disk 0; each has one, which is no other's ever */

static volatile bool stop;
static volatile int wrong;
static volatile double next_disruption;

static struct disk {
	uint8_t *image;			/* of what was written; servers share it */
	pthread_mutex_t lock;		/* the image */
	volatile bool recycle;		/* the keeper shall take a new channel */
	volatile uint64_t offered;	/* the highest version that was written */
	unsigned long direct;		/* operations that got through */
	unsigned long buffered;
} disks[DISKS];

static struct {
	unsigned long creates, starts, attaches, delivered, answered, refused, faults, ioctls,
		      forced, deferred, graceful, resizes, errors, races;
} counts;

#define COUNT(what)	__atomic_add_fetch(&counts.what, 1, __ATOMIC_RELAXED)

struct thread {
	pthread_t id;
	const char *what;
	uint64_t seed;
	int number;			/* of the disk, the share */
	int share;
	uint8_t *area;			/* a buffer area, for slots of SLOT_MAX */
	uint8_t *odd_page;		/* a page, with nothing behind it */
};

/* xorshift */
static uint64_t rnd(struct thread *t)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return t->seed;
}

static bool once_in(struct thread *t, int n)
{
	return rnd(t) % n == 0;
}

/* A number that is often the reasonable one, or just beside it. */
static uint64_t odd(struct thread *t, uint64_t reasonable)
{
	static const uint64_t edges[] = { 0, 1, ~0ULL, 1ULL << 31, 1ULL << 32, 1ULL << 63,
		0xffff888000000000ULL, 0x7ffffffff000ULL, 4095, 4096, 0xffff };

	switch (rnd(t) % 16) {
	case 0:
		return edges[rnd(t) % (sizeof(edges) / sizeof(*edges))];
	case 1:
		return reasonable + 1;
	case 2:
		return reasonable - 1;
	case 3:
		return rnd(t);
	default:
		return reasonable;
	}
}

static void complain(const char *what, int disk, uint64_t block, const uint8_t *p)
{
	uint64_t word[2] = { 0 };

	if (p)
		memcpy(word, p, sizeof(word));
	if (__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED) <= 20)
		printf("  disk %d, block %llu: %s: %016llx %016llx\n", disk,
		       (unsigned long long)block, what, (unsigned long long)word[0],
		       (unsigned long long)word[1]);
}

/* A block's contents: whose it is, and its version; again and again. */
static void stamp(uint8_t *p, int disk, uint64_t block, uint64_t version)
{
	uint64_t word[2] = { 0xdb00000000000000ULL | (uint64_t)disk << 32 | block, version };
	size_t i;

	for (i = 0; i < BLOCK; i += sizeof(word))
		memcpy(p + i, word, sizeof(word));
}

static bool uniform(const uint8_t *p)
{
	return !memcmp(p, p + 16, BLOCK - 16);
}

static bool filled_with(const uint8_t *p, uint8_t byte)
{
	return *p == byte && !memcmp(p, p + 1, BLOCK - 1);
}

/* Does this belong into the block, in whatever version? Tells the version. */
static bool belongs(const uint8_t *p, int disk, uint64_t block, uint64_t *version)
{
	uint64_t word[2];

	memcpy(word, p, sizeof(word));
	*version = word[1];
	if (block >= DISCARDED && filled_with(p, 0)) {
		*version = 0;
		return true;
	}
	return word[0] == (0xdb00000000000000ULL | (uint64_t)disk << 32 | block) && uniform(p);
}

static struct dblock_target named(int number, uint64_t arg)
{
	struct dblock_target t = target(arg);

	memset(t.name, 0, sizeof(t.name));
	snprintf(t.name, sizeof(t.name), "fuzz%d", number);
	return t;
}

static int named_command(int fd, unsigned long cmd, int number, uint64_t arg)
{
	struct dblock_target t = named(number, arg);

	return ioctl(fd, cmd, &t);
}

static struct dblock_create creation(struct thread *t, int number)
{
	static const uint32_t recover[] = { DBLOCK_FOREVER, DBLOCK_FOREVER, 3000, 0 };
	struct dblock_create c = params();

	memcpy(c.name, named(number, 0).name, sizeof(c.name));
	c.capacity = IMAGE;
	c.max_io = FUZZ_IO;
	c.logical_block = once_in(t, 2) ? 512 : 4096;
	c.physical_block = 4096;
	c.recover_ms = recover[rnd(t) % 4];
	c.io_timeout_ms = once_in(t, 3) ? 1000 : 0;
	if (once_in(t, 2))
		c.flags |= DBLOCK_F_PARTITIONS;
	return c;
}

/* May something be disrupted now? Not too often, or nothing would get through. */
static bool disruption(struct thread *t)
{
	double time = now();

	if (time < next_disruption)
		return false;
	next_disruption = time + 0.1 + rnd(t) % 300 / 1000.0;
	return true;
}

#endif /* _FUZZ_DISK_H */
