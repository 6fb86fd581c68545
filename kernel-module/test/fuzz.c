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
#include "fuzz_disk.h"
#include "fuzz_server.h"
#include "fuzz_user.h"
#include <sys/syscall.h>

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
