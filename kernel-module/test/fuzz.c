// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz SECONDS [SEED]: random commands and answers, with verified I/O going on.
 *
 * Each of a few disks has a keeper that creates, attaches, starts and serves it,
 * again and again; what a disk holds is kept in memory and outlives all of that.
 * Threads write and read it, and know which version each block must have. Beside
 * them others send commands to the same disks: valid ones, nearly valid ones and
 * garbage; serve them, too; answer wrongly, twice, too late, never; and take the
 * disks away. Further names have no keeper and only come and go, at full speed.
 *
 * Any error may come. What must not: a complaint of the kernel; data of another
 * disk, block or version, or of nobody; an answer that counts twice; a thread
 * that never returns; a module that can't be unloaded when all is over. And
 * enough requests must have got through.
 */
#include "client.h"
#include <sys/syscall.h>

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

/* -- servers */

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

/* -- those who send anything */

static void garbage(struct thread *t, int fd)
{
	uint64_t words[512];
	unsigned int size = once_in(t, 2) ? 80 : rnd(t) % 8192;
	unsigned long cmd = _IOC(rnd(t) % 4, DBLOCK_IOC_MAGIC, rnd(t) % 18, size);
	static const unsigned long known[] = { DBLOCK_INFO, DBLOCK_CREATE, DBLOCK_ATTACH,
		DBLOCK_START, DBLOCK_DESTROY, DBLOCK_RESIZE, DBLOCK_STATUS, DBLOCK_LIST,
		DBLOCK_EXCHANGE };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		words[i] = once_in(t, 2) ? 0 : rnd(t);
	if (once_in(t, 2))
		cmd = known[rnd(t) % (sizeof(known) / sizeof(*known))];
	if (once_in(t, 2))	/* a head that passes, and then anything */
		words[0] = _IOC_SIZE(cmd) | (uint64_t)DBLOCK_ABI_VERSION << 32;
	switch (rnd(t) % 8) {
	case 0:
		ioctl(fd, cmd, NULL);
		break;
	case 1:
		ioctl(fd, cmd, 0xffff888000000000ULL);
		break;
	case 2:
		ioctl(fd, cmd, t->odd_page + BLOCK - rnd(t) % 128);
		break;
	default:
		ioctl(fd, cmd, words);
	}
}

/* Of whole pages: what lies behind the end is cached as zeroes in the last one. */
static uint64_t odd_capacity(struct thread *t, uint64_t reasonable)
{
	uint64_t capacity = odd(t, reasonable);

	return capacity % 512 ? capacity : capacity & -(uint64_t)BLOCK;
}

static void odd_creation(struct thread *t, int fd, int number)
{
	struct dblock_create c = creation(t, number);

	if (once_in(t, 2)) {
		c.capacity = odd_capacity(t, IMAGE);
		c.flags = odd(t, c.flags);
		c.max_io = odd(t, FUZZ_IO);
		c.depth = odd(t, DEPTH);
		if (c.depth > DEPTH && c.depth <= 1024)
			c.depth = DEPTH;	/* the servers here have no more slots */
		c.queues = odd(t, 1);
		c.max_discard = odd(t, 0);
		c.reserved[rnd(t) % 5] = once_in(t, 8);
	}
	if (!ioctl(fd, DBLOCK_CREATE, &c))
		COUNT(creates);
}

/* A status has no byte of the kernel's memory that isn't meant. */
static void look(struct thread *t, int fd, int number)
{
	struct dblock_status s = { .size = sizeof(s), .version = DBLOCK_ABI_VERSION };
	static const uint8_t zero[sizeof(s.reserved)];
	bool list = once_in(t, 2);

	if (list)
		s.id = rnd(t) % 8;
	else
		memcpy(s.name, named(number, 0).name, sizeof(s.name));
	if (!ioctl(fd, list ? DBLOCK_LIST : DBLOCK_STATUS, &s) &&
	    (memcmp(s.reserved, zero, sizeof(zero)) || strncmp(s.name, "fuzz", 4) ||
	     s.state > DBLOCK_STATE_DYING))
		complain("a status that can't be", number, 0, (uint8_t *)s.reserved);
}

static void destroy(struct thread *t, int fd, int number)
{
	/* One that has a keeper has to live for a while. */
	uint64_t mode = number >= DISKS || disruption(t) ? rnd(t) % 3 : DBLOCK_DESTROY_GRACEFUL;

	if (named_command(fd, DBLOCK_DESTROY, number, once_in(t, 16) ? odd(t, mode) : mode))
		return;
	if (mode == DBLOCK_DESTROY_FORCE)
		COUNT(forced);
	else if (mode == DBLOCK_DESTROY_DEFERRED)
		COUNT(deferred);
	else
		COUNT(graceful);
}

static void resize(struct thread *t, int fd, int number)
{
	/* To other sizes only for a moment: there nothing gets through. */
	if (number >= DISKS || disruption(t)) {
		if (!named_command(fd, DBLOCK_RESIZE, number,
				   once_in(t, 2) ? odd_capacity(t, IMAGE / 2) :
						   rnd(t) % BLOCKS * BLOCK))
			COUNT(resizes);
		pause_ms(rnd(t) % 20);
	}
	named_command(fd, DBLOCK_RESIZE, number, IMAGE);
}

/* Tries to become a device's server; if so, serves it for a while, well or badly. */
static void intrude(struct thread *t, int fd, int number)
{
	struct dblock_target a = named(number, 0);
	int rounds = rnd(t) % 20;

	if (once_in(t, 8))
		a.uuid[rnd(t) % 16] ^= 1;
	if (once_in(t, 8))
		a.reserved[0] = odd(t, 0);
	if (ioctl(fd, DBLOCK_ATTACH, &a))
		return;
	COUNT(attaches);
	while (rounds-- && !stop)
		serve(t, fd, number, false);
}

static void *fuzzer(void *arg)
{
	struct thread *t = arg;

	while (!stop) {
		int number = t->number < 0 ? (int)(rnd(t) % DISKS) : t->number;
		int fd;

		COUNT(ioctls);
		/* The keeper's channel, whatever device it is for; or a fresh file. */
		if (number < DISKS && once_in(t, 2)) {
			/* As long as this is open, the channel stays that device's. */
			fd = dup(CHANNEL_FD + number);
			if (once_in(t, 8))
				garbage(t, fd);
			else
				serve(t, fd, number, false);
			close(fd);
			continue;
		}
		fd = ctl();
		switch (rnd(t) % 10) {
		case 0:
			odd_creation(t, fd, number);
			break;
		case 1:
			if (!named_command(fd, DBLOCK_START, number, once_in(t, 16)))
				COUNT(starts);
			break;
		case 2:
			destroy(t, fd, number);
			break;
		case 3:
			resize(t, fd, number);
			break;
		case 4:
			look(t, fd, number);
			break;
		case 5:
			if (number < DISKS && disruption(t))
				disks[number].recycle = true;
			break;
		case 6:
		case 7:
			intrude(t, fd, number);
			break;
		default:
			garbage(t, fd);
		}
		close(fd);
	}
	return NULL;
}

/* -- those who use the disks */

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

/* -- */

static struct thread threads[64];
static int n_threads;

static void begin(void *(*run)(void *), const char *what, int number, int share, uint64_t seed)
{
	struct thread *t = &threads[n_threads++];

	t->what = what;
	t->number = number;
	t->share = share;
	t->seed = (seed + n_threads) * 0x9e3779b97f4a7c15ULL | 1;
	t->area = mmap(NULL, DEPTH * SLOT_MAX, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	t->odd_page = mmap(NULL, 1024 * BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(t->odd_page, BLOCK, PROT_READ | PROT_WRITE);
	pthread_create(&t->id, NULL, run, t);
}

/* Waits for all users of disks, or for all others; ends the program if one doesn't return. */
static void join_all(bool users)
{
	struct timespec end;
	int i;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	for (i = 0; i < n_threads; i++) {
		struct thread *t = &threads[i];

		if ((t->share >= 0) != users)
			continue;
		if (pthread_timedjoin_np(t->id, NULL, &end)) {
			printf("  %s of disk %d doesn't return\n", t->what, t->number);
			_exit(1);
		}
	}
}

static bool no_device(int fd)
{
	struct dblock_status s = { .size = sizeof(s), .version = DBLOCK_ABI_VERSION };

	return ioctl(fd, DBLOCK_LIST, &s) && errno == ENOENT;
}

static bool unloaded(void)
{
	return !syscall(SYS_delete_module, "dblock", O_NONBLOCK);
}

/* The way out: whatever the state, all devices go, all threads return, the module goes. */
static void finish(void)
{
	int i, fd = ctl();

	stop = true;
	join_all(false);
	destroy_all();
	if (!EVENTUALLY(no_device(fd)))
		complain("a device outlives its forced destruction", -1, 0, NULL);
	join_all(true);
	close(fd);
	for (i = 0; i < DISKS; i++)
		close(CHANNEL_FD + i);
	if (!EVENTUALLY(unloaded()))
		complain("the module can't be unloaded", 0, 0, NULL);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	unsigned long seconds, least = ~0UL, buffers = ~0UL;
	int i, j;

	if (argc < 2)
		return 2;
	seconds = atoi(argv[1]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %llu, %lu s\n", (unsigned long long)seed, seconds);
	for (i = 0; i < DISKS; i++) {
		int fd = ctl();

		dup3(fd, CHANNEL_FD + i, O_CLOEXEC);
		close(fd);
		pthread_mutex_init(&disks[i].lock, NULL);
		disks[i].image = malloc(IMAGE);
		for (j = 0; j < (int)BLOCKS; j++)
			stamp(disks[i].image + j * BLOCK, i, j, 0);
	}
	next_disruption = now() + 1;
	for (i = 0; i < DISKS; i++) {
		begin(keeper, "the keeper", i, -1, seed);
		begin(direct, "direct I/O", i, 0, seed);
		begin(direct, "direct I/O", i, 1, seed);
		begin(buffered, "buffered I/O", i, 2, seed);
	}
	for (i = 0; i < FUZZERS; i++)
		begin(fuzzer, "a fuzzer", -1, -1, seed);
	for (i = DISKS; i < NAMES; i++) {
		begin(fuzzer, "a fuzzer", i, -1, seed);
		begin(racer, "I/O", i, 0, seed);
	}
	for (i = 1; i <= (int)seconds * 10 && !wrong; i++) {
		pause_ms(100);
		if (i % 100 == 0)
			printf("  %d s, %lu delivered\n", i / 10, counts.delivered);
	}
	finish();

	printf("  %lu delivered, %lu answered, %lu refused, %lu faults, %lu errors\n",
	       counts.delivered, counts.answered, counts.refused, counts.faults, counts.errors);
	printf("  %lu rounds of fuzzers: %lu creates, %lu starts, %lu attaches, %lu resizes; destroys: %lu forced, %lu deferred, %lu graceful\n",
	       counts.ioctls, counts.creates, counts.starts, counts.attaches, counts.resizes,
	       counts.forced, counts.deferred, counts.graceful);
	for (i = 0; i < DISKS; i++) {
		printf("  disk %d: %lu direct operations, %lu buffered\n", i, disks[i].direct,
		       disks[i].buffered);
		least = disks[i].direct < least ? disks[i].direct : least;
		buffers = disks[i].buffered < buffers ? disks[i].buffered : buffers;
	}
	printf("  %lu opens of what has no keeper\n", counts.races);
	/* A fuzzer that got little through has shown little. */
	if (least < seconds * 10 || buffers < seconds * 10 || counts.forced < seconds / 2 ||
	    counts.refused < seconds || !counts.races) {
		printf("  that is too little\n");
		wrong++;
	}
	printf("%d passed, %d failed\n", !wrong, !!wrong);
	return !!wrong;
}
