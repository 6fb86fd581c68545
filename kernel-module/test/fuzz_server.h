/* SPDX-License-Identifier: GPL-2.0 */
/* fuzz: those who serve the disks, well and badly. */
#ifndef _FUZZ_SERVER_H
#define _FUZZ_SERVER_H

#include "fuzz_disk.h"

static uint8_t *payload(const struct dblock_exchange *x, const struct dblock_request *r)
{
	return (uint8_t *)(uintptr_t)x->base + r->tag * (size_t)x->slot_size;
}

/* Is that a request as the header says? */
static void check_request(int number, const struct dblock_request *r)
{
	static const uint64_t zero[3];

	if (!r->cookie || r->queue || r->tag >= DEPTH || r->op > DBLOCK_OP_WRITE_ZEROES ||
	    r->flags & ~(DBLOCK_RQ_FUA | DBLOCK_RQ_NOUNMAP) || r->reserved0 ||
	    memcmp(r->reserved, zero, sizeof(zero)))
		complain("a request that can't be", number, r->offset / BLOCK, (const uint8_t *)r);
}

/* Does what is asked for; the result to answer with. */
static int carry_out(int number, const struct dblock_request *r, uint8_t *data)
{
	struct disk *d = &disks[number];
	uint64_t version, i;
	int result = 0;

	if (r->op == DBLOCK_OP_FLUSH)
		return 0;
	/* Somebody else created it larger, or in other blocks. */
	if (r->offset > IMAGE || r->length > IMAGE - r->offset || (r->offset | r->length) % BLOCK)
		return -EIO;
	pthread_mutex_lock(&d->lock);
	switch (r->op) {
	case DBLOCK_OP_READ:
		memcpy(data, d->image + r->offset, r->length);
		break;
	case DBLOCK_OP_WRITE:
		for (i = 0; i < r->length; i += BLOCK)
			if (!belongs(data + i, number, (r->offset + i) / BLOCK, &version) ||
			    version > d->offered) {
				complain("a write brings", number, (r->offset + i) / BLOCK, data + i);
				result = -EIO;
			}
		if (!result)
			memcpy(d->image + r->offset, data, r->length);
		break;
	default:
		if (r->offset < (uint64_t)DISCARDED * BLOCK)
			complain("nobody discards here", number, r->offset / BLOCK, NULL);
		else
			memset(d->image + r->offset, 0, r->length);
	}
	pthread_mutex_unlock(&d->lock);
	return result;
}

static struct dblock_exchange fuzz_args(struct thread *t, struct dblock_request *r)
{
	return (struct dblock_exchange) {
		.base = (uintptr_t)t->area,
		.slot_size = FUZZ_IO,
		.fetched = (uintptr_t)r,
		.max_fetch = 1 + rnd(t) % DEPTH,
		.timeout_ms = 20,
	};
}

static struct dblock_commit answer_to(const struct dblock_request *r, int result)
{
	return (struct dblock_commit) { .cookie = r->cookie, .tag = r->tag, .result = result };
}

/* Answers only; the number of answers taken. */
static unsigned int give(int fd, struct dblock_exchange *x, struct dblock_commit *c, int n)
{
	unsigned int taken;

	x->commits = (uintptr_t)c;
	x->n_commit = n;
	x->max_fetch = 0;
	x->flags = 0;
	x->n_committed = 0;
	x->n_refused = 0;
	ioctl(fd, DBLOCK_EXCHANGE, x);
	taken = x->n_committed - x->n_refused;
	__atomic_add_fetch(&counts.answered, taken, __ATOMIC_RELAXED);
	__atomic_add_fetch(&counts.refused, x->n_refused, __ATOMIC_RELAXED);
	return taken;
}

/* Asks for requests, in a way that may be wrong; how many were delivered to @r. */
static int take(struct thread *t, int fd, int number, struct dblock_exchange *x,
		struct dblock_request *r)
{
	uint64_t kernel = 0xffff888000000000ULL;
	int n, i;

	/* What a kernel leaves in a slot that it doesn't write to. */
	if (once_in(t, 4))
		madvise(t->area, DEPTH * FUZZ_IO, MADV_DONTNEED);
	switch (rnd(t) % 24) {
	case 0:
		x->fetched = once_in(t, 2) ? kernel : 64;
		break;
	case 1:
		/* The second one doesn't fit in. */
		x->fetched = (uintptr_t)t->odd_page + BLOCK - sizeof(*r);
		break;
	case 2:
		x->base = once_in(t, 2) ? kernel : (uintptr_t)t->odd_page + BLOCK;
		break;
	case 3:
		x->slot_size = odd(t, FUZZ_IO);
		/* Much larger ones would lead into memory that is used for other things. */
		if (x->slot_size > SLOT_MAX)
			x->slot_size = SLOT_MAX;
		break;
	case 4:
		x->max_fetch = odd(t, DEPTH);
		/* There is room for the depth only. */
		if (x->max_fetch > DEPTH)
			x->fetched = kernel;
		break;
	case 5:
		x->flags = odd(t, 0);
		x->n_commit = odd(t, 0) % 1024;
		x->commits = once_in(t, 2) ? kernel : 0;
		break;
	}
	n = ioctl(fd, DBLOCK_EXCHANGE, x);
	if (n < 0 && errno == EFAULT)
		COUNT(faults);
	/* Where there is no memory, only what has no payload was delivered. */
	if (x->base != (uintptr_t)t->area)
		x->base = (uintptr_t)t->area;
	if (n <= 0)
		return n;
	if (x->fetched != (uintptr_t)r)
		memcpy(r, (void *)(uintptr_t)x->fetched, n * sizeof(*r));
	x->fetched = (uintptr_t)r;
	for (i = 0; i < n; i++)
		check_request(number, &r[i]);
	__atomic_add_fetch(&counts.delivered, n, __ATOMIC_RELAXED);
	return n;
}

/* Answers that must not count, whoever has these tags now: they carry this. */
static void nonsense(struct thread *t, int fd, struct dblock_exchange *x,
		     const struct dblock_request *old)
{
	struct dblock_commit c[4];
	int i;

	memset(t->area, 0xee, DEPTH * FUZZ_IO);
	for (i = 0; i < 4; i++) {
		c[i] = answer_to(old, 0);
		c[i].tag = once_in(t, 4) ? odd(t, DEPTH) : rnd(t) % DEPTH;
		switch (rnd(t) % 4) {
		case 0:
			c[i].cookie = 0;
			break;
		case 1:
			c[i].cookie |= 1ULL << 40;
			break;
		case 2:
			c[i].queue = 1;
			break;
		}
	}
	x->base = (uintptr_t)t->area;
	x->slot_size = FUZZ_IO;
	if (give(fd, x, c, 4))
		complain("an answer to nothing counts", t->number, 0, NULL);
}

/* One round of a server that has more than one way; what it says, it has done. */
static int serve(struct thread *t, int fd, int number, bool honest)
{
	struct dblock_request r[DEPTH];
	struct dblock_commit c[2 * DEPTH], wrong_base[DEPTH];
	struct dblock_exchange x = fuzz_args(t, r);
	int way = honest ? 0 : rnd(t) % 8;
	int i, n;

	if (honest) {
		n = ioctl(fd, DBLOCK_EXCHANGE, &x);
		for (i = 0; i < n; i++)
			check_request(number, &r[i]);
		if (n > 0)
			__atomic_add_fetch(&counts.delivered, n, __ATOMIC_RELAXED);
	} else {
		x.timeout_ms = rnd(t) % 20;
		n = take(t, fd, number, &x, r);
	}
	if (n <= 0)
		return n;
	if (way == 1 && disruption(t))
		return n;		/* never answered */
	for (i = 0; i < n; i++) {
		if (way == 2 || number >= DISKS)
			c[i] = answer_to(&r[i], once_in(t, 4) ? (int)odd(t, 4096) | 1 : -EIO);
		else
			c[i] = answer_to(&r[i], carry_out(number, &r[i], payload(&x, &r[i])));
		c[n + i] = c[i];
	}
	if (way == 3) {
		/* Data that can't be had: only a read wants any. */
		struct dblock_exchange y = x;

		y.base = (uintptr_t)t->odd_page + BLOCK;
		y.slot_size = FUZZ_IO;	/* larger ones would lead out of there */
		for (i = 0; i < n; i++) {
			wrong_base[i] = c[i];
			if (r[i].op != DBLOCK_OP_READ || c[i].result)
				wrong_base[i].cookie = 0;
		}
		if (give(fd, &y, wrong_base, n))
			complain("a read without data counts", number, r[0].offset / BLOCK, NULL);
	}
	if (way == 4)
		pause_ms(rnd(t) % 50);
	if (way == 5 && 2 * n <= (int)DEPTH) {
		give(fd, &x, c, 2 * n);
		for (i = 0; i < n && x.n_committed == 2 * (unsigned int)n; i++)
			if (c[n + i].status != -ESTALE)
				complain("an answer counts twice", number, r[i].offset / BLOCK, NULL);
	} else if (give(fd, &x, c, n) == (unsigned int)n && way == 6) {
		nonsense(t, fd, &x, &r[0]);
	}
	return n;
}

/* Takes a device from whatever it is to one that this thread serves; or not. */
static bool revive(struct thread *t)
{
	struct dblock_create c = creation(t, t->number);
	int fd = ctl();
	bool ok = false;

	if (!ioctl(fd, DBLOCK_CREATE, &c))
		COUNT(creates);
	if (!named_command(fd, DBLOCK_ATTACH, t->number, 0)) {
		COUNT(attaches);
		ok = !named_command(fd, DBLOCK_START, t->number, 0);
		if (ok)
			COUNT(starts);
		ok = (ok || errno == EALREADY) &&
		     dup3(fd, CHANNEL_FD + t->number, O_CLOEXEC) >= 0;
	} else if (errno == ENOTRECOVERABLE) {
		named_command(fd, DBLOCK_DESTROY, t->number, DBLOCK_DESTROY_FORCE);
	}
	close(fd);
	return ok;
}

/* Are there requests that nobody seems to serve? */
static bool stuck(int fd, int number)
{
	struct dblock_status s = { .size = sizeof(s), .version = DBLOCK_ABI_VERSION };

	memcpy(s.name, named(number, 0).name, sizeof(s.name));
	return !ioctl(fd, DBLOCK_STATUS, &s) && s.pending + s.delivered;
}

static void *keeper(void *arg)
{
	struct thread *t = arg;
	struct disk *d = &disks[t->number];
	int fd = CHANNEL_FD + t->number;
	double served = now();
	bool attached = false;

	while (!stop) {
		int n;

		if (!attached) {
			attached = revive(t);
			served = now();
			d->recycle = false;
			if (!attached)
				pause_ms(2);
			continue;
		}
		n = serve(t, fd, t->number, true);
		if (n > 0)
			served = now();
		/* Somebody has fetched and doesn't answer: a new channel has them back. */
		if (now() - served > 0.3) {
			d->recycle |= stuck(fd, t->number);
			served = now();
		}
		if (n < 0 && errno != EINTR && errno != ENOTCONN && errno != ESHUTDOWN)
			/* Somebody else created it, so that it can't be served from here. */
			named_command(fd, DBLOCK_DESTROY, t->number, DBLOCK_DESTROY_FORCE);
		if ((n < 0 && errno != EINTR) || d->recycle) {
			int other = ctl();

			dup3(other, fd, O_CLOEXEC);
			close(other);
			attached = false;
		}
	}
	return NULL;
}

#endif /* _FUZZ_SERVER_H */
