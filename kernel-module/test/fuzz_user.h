/* SPDX-License-Identifier: GPL-2.0 */
/* fuzz: those who write and read the disks, and know what must be there. */
#ifndef _FUZZ_USER_H
#define _FUZZ_USER_H

#include "fuzz_disk.h"

/*
 * Opens a disk, or returns -1. A number may have gone from one disk to another between
 * the name and the open; the kernel even waits for modprobe there. Once open, it
 * can't go.
 */
static int open_disk(int number, int flags)
{
	char path[64], link[256], *name;
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/dev/fuzz%d", number);
	fd = open(path, O_RDWR | O_CLOEXEC | flags);
	if (fd < 0)
		return -1;
	if (!fstat(fd, &st) && S_ISBLK(st.st_mode)) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(st.st_rdev),
			 minor(st.st_rdev));
		n = readlink(path, link, sizeof(link) - 1);
		link[n < 0 ? 0 : n] = 0;
		name = strrchr(link, '/');
		snprintf(path, sizeof(path), "/fuzz%d", number);
		if (name && !strcmp(name, path))
			return fd;
	}
	close(fd);
	return -1;
}

/* What a thread knows of a block: only it writes it. */
struct known {
	uint64_t issued;	/* the last version written */
	uint64_t valid;		/* the last one that was acknowledged */
	uint64_t doubt;		/* bit i: version issued - i failed, and may be there or come */
};

static bool expected(const struct known *k, uint64_t version)
{
	uint64_t age = k->issued - version;

	return version == k->valid || (age < 64 && k->doubt >> age & 1);
}

static bool direct_write(struct thread *t, int fd, struct known *known, uint8_t *data,
			 unsigned int first, unsigned int n)
{
	struct disk *d = &disks[t->number];
	uint64_t base = t->share * SHARE;
	bool ok;
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct known *k = &known[first + i];

		k->issued++;
		k->doubt = k->doubt << 1 | 1;
		stamp(data + i * BLOCK, t->number, base + first + i, k->issued);
		/* Never goes back, and the other share's thread has its own numbers. */
		pthread_mutex_lock(&d->lock);
		if (k->issued > d->offered)
			d->offered = k->issued;
		pthread_mutex_unlock(&d->lock);
	}
	ok = pwrite(fd, data, n * BLOCK, (base + first) * BLOCK) == n * (ssize_t)BLOCK;
	for (i = 0; i < n && ok; i++) {
		struct known *k = &known[first + i];

		k->valid = k->issued;
		k->doubt &= ~1ULL;
	}
	return ok;
}

static bool direct_read(struct thread *t, int fd, const struct known *known, uint8_t *data,
			unsigned int first, unsigned int n)
{
	uint64_t base = t->share * SHARE, version;
	unsigned int i;
	ssize_t got;

	memset(data, POISON, n * BLOCK);
	got = pread(fd, data, n * BLOCK, (base + first) * BLOCK);
	for (i = 0; i < n; i++) {
		const uint8_t *p = data + i * BLOCK;

		/* After an error there is nothing new, or the data: nothing else. */
		if (got < (ssize_t)((i + 1) * BLOCK) && filled_with(p, POISON))
			continue;
		if (!belongs(p, t->number, base + first + i, &version))
			complain(got < 0 ? "a read that failed left" : "a read brings", t->number,
				 base + first + i, p);
		else if (!expected(&known[first + i], version))
			complain("a read brings another version", t->number, base + first + i, p);
	}
	return got == n * (ssize_t)BLOCK;
}

static void *direct(void *arg)
{
	struct thread *t = arg;
	struct known *known = calloc(SHARE, sizeof(*known));
	uint8_t *data = aligned_alloc(BLOCK, OP_BLOCKS * BLOCK);

	while (!stop) {
		int fd = open_disk(t->number, O_DIRECT);
		bool ok = fd >= 0;

		if (!ok)
			pause_ms(5);
		/* Now and then it is closed, so that a polite destroy has a chance. */
		while (ok && !stop && !once_in(t, 64)) {
			unsigned int n = 1 + rnd(t) % (once_in(t, 8) ? OP_BLOCKS : 4);
			unsigned int first = rnd(t) % (SHARE - n);

			if (once_in(t, 2))
				ok = direct_write(t, fd, known, data, first, n);
			else
				ok = direct_read(t, fd, known, data, first, n);
			if (ok)
				__atomic_add_fetch(&disks[t->number].direct, 1, __ATOMIC_RELAXED);
			else
				COUNT(errors);
		}
		if (fd >= 0)
			close(fd);
	}
	free(data);
	free(known);
	return NULL;
}

/*
 * Through the page cache, whose writing goes on by itself: so all that is ever written
 * to a block is the same, and in the last share it may also be discarded.
 */
static bool buffered_operation(struct thread *t, int fd, uint8_t *data)
{
	unsigned int n = 1 + rnd(t) % OP_BLOCKS, i;
	uint64_t block = BUFFERED + rnd(t) % (2 * SHARE - n), version;
	uint64_t range[2] = { block * BLOCK, n * BLOCK };
	ssize_t got;

	switch (rnd(t) % 8) {
	case 0:
		return !fsync(fd);
	case 1:
		if (block < DISCARDED)
			return true;
		return !ioctl(fd, once_in(t, 2) ? BLKDISCARD : BLKZEROOUT, range);
	case 2:
		/* Refused while it is in use, or has none; but it may read. */
		ioctl(fd, once_in(t, 2) ? BLKRRPART : BLKFLSBUF, 0);
		return true;
	case 3:
	case 4:
		for (i = 0; i < n; i++)
			stamp(data + i * BLOCK, t->number, block + i, 0);
		return pwrite(fd, data, n * BLOCK, block * BLOCK) == n * (ssize_t)BLOCK;
	}
	memset(data, POISON, n * BLOCK);
	got = pread(fd, data, n * BLOCK, block * BLOCK);
	for (i = 0; i < n && got >= (ssize_t)((i + 1) * BLOCK); i++)
		if (!belongs(data + i * BLOCK, t->number, block + i, &version) || version)
			complain("a buffered read brings", t->number, block + i, data + i * BLOCK);
	return got == n * (ssize_t)BLOCK;
}

static void *buffered(void *arg)
{
	struct thread *t = arg;
	uint8_t *data = aligned_alloc(BLOCK, OP_BLOCKS * BLOCK);

	while (!stop) {
		int fd = open_disk(t->number, 0);
		bool ok = fd >= 0;

		if (!ok)
			pause_ms(5);
		while (ok && !stop && !once_in(t, 32)) {
			ok = buffered_operation(t, fd, data);
			if (ok)
				__atomic_add_fetch(&disks[t->number].buffered, 1, __ATOMIC_RELAXED);
			else
				COUNT(errors);
		}
		if (fd >= 0)
			close(fd);
	}
	free(data);
	return NULL;
}

/* Uses the disks that only come and go: is there at any step of it. */
static void *racer(void *arg)
{
	struct thread *t = arg;
	uint8_t *data = aligned_alloc(BLOCK, BLOCK);

	while (!stop) {
		int fd = open_disk(t->number, once_in(t, 2) ? O_DIRECT : 0);

		if (fd < 0) {
			pause_ms(1);
			continue;
		}
		COUNT(races);
		if (once_in(t, 4))
			ioctl(fd, BLKRRPART, 0);
		else if (pread(fd, data, BLOCK, rnd(t) % BLOCKS * BLOCK) > 0)
			complain("a read without a server brings", t->number, 0, data);
		close(fd);
	}
	free(data);
	return NULL;
}

#endif /* _FUZZ_USER_H */
