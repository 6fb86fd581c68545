// SPDX-License-Identifier: GPL-2.0
/*
 * abi_test [NAME]: what include/uapi/dblock.h promises of each command.
 */
#include "client.h"

static void info_tells_version_and_limits(void)
{
	struct dblock_info i = { .size = sizeof(i) };
	int fd = ctl();

	CHECK(!ioctl(fd, DBLOCK_INFO, &i));
	CHECK(i.version >= DBLOCK_ABI_VERSION && i.version_min <= DBLOCK_ABI_VERSION);
	CHECK(i.flags == DBLOCK_F_ALL);
	CHECK(i.max_devices >= 1024 && i.max_depth >= 128 && i.max_io == 1 << 20);
	CHECK(i.min_io == (uint32_t)getpagesize() && i.max_block == 4096 && i.max_queues == 1);
	close(fd);
}

static void heads_and_reserved_members_are_checked(void)
{
	struct dblock_info i = { .size = sizeof(i), .reserved = { 1 } };
	struct dblock_create c = params();
	struct dblock_target t = target(0);
	struct dblock_status s = { .size = sizeof(s) + 8, .version = DBLOCK_ABI_VERSION };
	int fd = ctl();

	CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_INFO, &i));
	c.size--;
	CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_CREATE, &c));
	c = params();
	c.version = DBLOCK_ABI_VERSION + 1;
	CHECK_ERRNO(EPROTO, ioctl(fd, DBLOCK_CREATE, &c));
	c = params();
	c.reserved[4] = 1;
	CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_CREATE, &c));
	t.version = 0;
	CHECK_ERRNO(EPROTO, ioctl(fd, DBLOCK_START, &t));
	t = target(0);
	t.reserved[1] = 1;
	CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_START, &t));
	CHECK_ERRNO(EINVAL, command(fd, DBLOCK_START, 1));
	CHECK_ERRNO(EINVAL, command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE + 1));
	CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_STATUS, &s));
	CHECK_ERRNO(EFAULT, ioctl(fd, DBLOCK_STATUS, NULL));
	CHECK_ERRNO(ENOTTY, ioctl(fd, _IO(DBLOCK_IOC_MAGIC, 0x00), &i));
	CHECK_ERRNO(ENOTTY, ioctl(fd, BLKGETSIZE64, &i));
	CHECK_ERRNO(ENODEV, command(fd, DBLOCK_START, 0));
	close(fd);
}

static void create_refuses_what_is_out_of_range(void)
{
	static const struct {
		size_t member;
		uint64_t value;
		int width;
	} bad[] = {
#define BAD(m, v) { offsetof(struct dblock_create, m), v, sizeof(((struct dblock_create *)0)->m) }
		BAD(capacity, 0), BAD(capacity, 1000), BAD(capacity, 1ULL << 63),
		BAD(flags, DBLOCK_F_ALL + 1), BAD(flags, DBLOCK_F_FUA),
		BAD(logical_block, 0), BAD(logical_block, 256), BAD(logical_block, 768),
		BAD(logical_block, 8192), BAD(physical_block, 256), BAD(physical_block, 1536),
		BAD(physical_block, 2 << 20), BAD(io_min, 100), BAD(io_opt, 1000),
		BAD(io_opt, ~0U), BAD(max_io, 0), BAD(max_io, 2048), BAD(max_io, 5000),
		BAD(max_io, 2 << 20), BAD(max_discard, 100), BAD(discard_granularity, 3),
		BAD(depth, 0), BAD(depth, 1025), BAD(depth, ~0U), BAD(queues, 0), BAD(queues, 2),
		BAD(reserved0, 1),
	};
	static const char * const names[] = { "", "1a", "-a", "a/b", "a.b", "a b", "\xe9",
		"a234567890123456789012345678" };
	struct dblock_create c;
	int fd = ctl();
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		c = params();
		memcpy((char *)&c + bad[i].member, &bad[i].value, bad[i].width);
		errno = 0;
		if (ioctl(fd, DBLOCK_CREATE, &c) != -1 || errno != EINVAL)
			printf("  member at %zu, value %llu\n", bad[i].member,
			       (unsigned long long)bad[i].value);
		CHECK(errno == EINVAL);
	}
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		c = params();
		memset(c.name, 0, sizeof(c.name));
		strcpy(c.name, names[i]);
		CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_CREATE, &c));
	}
	c = params();
	c.name[20] = 'x';	/* after the NUL */
	CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_CREATE, &c));
	c = params();
	memset(c.uuid, 0, sizeof(c.uuid));
	CHECK_ERRNO(EINVAL, ioctl(fd, DBLOCK_CREATE, &c));
	close(fd);
}

static void create_fills_in_what_is_left_open(void)
{
	struct dblock_create c = params();
	struct dblock_status s;
	int fd = ctl();

	c.logical_block = 4096;
	CHECK(!ioctl(fd, DBLOCK_CREATE, &c));
	CHECK(c.id > 0);
	s = status(fd);
	CHECK(s.state == DBLOCK_STATE_CREATED && s.id == c.id && s.capacity == CAPACITY);
	CHECK(s.physical_block == 4096 && s.io_min == 4096 && s.io_opt == 0);
	CHECK(s.max_discard == 128 << 20 && s.discard_granularity == 4096);
	CHECK(access(DISK_PATH, F_OK));
	c = params();
	CHECK_ERRNO(EEXIST, ioctl(fd, DBLOCK_CREATE, &c));
	close(fd);
}

static void list_goes_through_all_devices(void)
{
	struct dblock_status s = { .size = sizeof(s), .version = DBLOCK_ABI_VERSION };
	uint32_t last = 0;
	int fd = ctl();
	int i;

	for (i = 0; i < 20; i++) {
		struct dblock_create c = params();

		snprintf(c.name, sizeof(c.name), "list%d", i);
		CHECK(!ioctl(fd, DBLOCK_CREATE, &c));
	}
	for (i = 0; !ioctl(fd, DBLOCK_LIST, &s); i++) {
		CHECK(s.id > last);
		CHECK(!strncmp(s.name, "list", 4));
		last = s.id;
	}
	CHECK(errno == ENOENT && i == 20);
	s.id = ~0U;
	CHECK_ERRNO(ENOENT, ioctl(fd, DBLOCK_LIST, &s));
	close(fd);
}

static void one_channel_serves_a_device(void)
{
	struct dblock_create c = params();
	struct dblock_target t = target(0);
	int a = ctl(), b = ctl();

	CHECK(!ioctl(a, DBLOCK_CREATE, &c));
	t.uuid[0]++;
	CHECK_ERRNO(ESTALE, ioctl(a, DBLOCK_ATTACH, &t));
	memset(t.uuid, 0, sizeof(t.uuid));
	CHECK_ERRNO(EINVAL, ioctl(a, DBLOCK_ATTACH, &t));
	CHECK(!command(a, DBLOCK_ATTACH, 0));
	CHECK(status(b).server_pid == (uint32_t)getpid());
	CHECK_ERRNO(EBUSY, command(b, DBLOCK_ATTACH, 0));
	CHECK_ERRNO(EISCONN, command(a, DBLOCK_ATTACH, 0));
	close(a);
	CHECK(!command(b, DBLOCK_ATTACH, 0));
	CHECK(status(b).generation == 2);
	close(b);
}

static void exchange_checks_its_arguments(void)
{
	struct dblock_create c = params();
	struct dblock_exchange x = exchange_args();
	struct dblock_request r;
	int other = ctl();
	int fd;

	CHECK_ERRNO(ENOTCONN, ioctl(other, DBLOCK_EXCHANGE, &x));
	fd = create_and_start(&c);
	CHECK(fd >= 0);
	CHECK(ioctl(fd, DBLOCK_EXCHANGE, &x) == 0 && x.state == DBLOCK_STATE_LIVE);
	CHECK_ERRNO(EFAULT, ioctl(fd, DBLOCK_EXCHANGE, NULL));

#define WITH(m, v, e) do {						\
	x = exchange_args();						\
	x.m = v;							\
	CHECK_ERRNO(e, ioctl(fd, DBLOCK_EXCHANGE, &x));			\
} while (0)
	WITH(flags, 1, EINVAL);
	WITH(reserved0, 1, EINVAL);
	WITH(reserved[1], 1, EINVAL);
	WITH(n_commit, DEPTH + 1, EINVAL);
	WITH(max_fetch, DEPTH + 1, EINVAL);
	WITH(slot_size, MAX_IO - 1, EINVAL);
	WITH(base, -4096ULL, EFAULT);
	WITH(base, 1ULL << 62, EFAULT);
	WITH(n_commit, 1, EFAULT);

	/* Kernel addresses, with a request at hand. */
	struct io *io = io_start('r', 0, BLOCK);

	CHECK(EVENTUALLY(status(other).pending == 1));
	x = exchange_args();
	x.fetched = 0xffff888000000000ULL;
	x.max_fetch = 1;
	CHECK_ERRNO(EFAULT, ioctl(fd, DBLOCK_EXCHANGE, &x));
	x.fetched = 8;
	CHECK_ERRNO(EFAULT, ioctl(fd, DBLOCK_EXCHANGE, &x));
	CHECK(status(other).pending == 1);
	CHECK(fetch(fd, &r, 1) == 1 && !answer(fd, &r, 0));
	CHECK(!io_finish(io));
	close(other);
	close(fd);
}

static void reads_and_writes_carry_their_data(void)
{
	struct dblock_create c = params();
	struct dblock_request r[DEPTH];
	uint64_t zero[3] = { 0 };
	int fd = create_and_start(&c);
	struct io *io;
	size_t i;

	CHECK(fd >= 0);
	memset(r, 0xff, sizeof(r));
	io = io_start('w', 3 * BLOCK, MAX_IO);
	CHECK(fetch(fd, r, 1) == 1);
	CHECK(r->op == DBLOCK_OP_WRITE && r->offset == 3 * BLOCK && r->length == MAX_IO);
	CHECK(r->queue == 0 && r->tag < DEPTH && r->flags == 0 && r->reserved0 == 0);
	CHECK(!memcmp(r->reserved, zero, sizeof(zero)));
	CHECK(!memcmp(slot(r), io->data, MAX_IO));
	CHECK(!answer(fd, r, 0));
	CHECK(!io_finish(io));

	io = io_start('r', 512, MAX_IO);
	CHECK(fetch(fd, r, 1) == 1);
	CHECK(r->op == DBLOCK_OP_READ && r->offset == 512 && r->length == MAX_IO);
	for (i = 0; i < MAX_IO; i++)
		slot(r)[i] = i * 7 + i / 4096;
	CHECK(!answer(fd, r, 0));
	CHECK(!io_finish(io));
	CHECK(!memcmp(slot(r), io->data, MAX_IO));
	CHECK(status(fd).fetched == 2 && status(fd).committed == 2);
	close(fd);
}

/*
 * Serves one operation of a kind; returns its first request. The block layer may
 * add others: a flush after a write with FUA, for one.
 */
static struct dblock_request serve_one(int fd, char op, uint64_t offset, uint64_t length)
{
	struct io *io = io_start(op, offset, length);
	struct dblock_request r = { .op = ~0U }, more;

	if (fetch(fd, &r, 1) != 1 || answer(fd, &r, 0))
		return r;
	while (!io->finished)
		if (fetch_now(fd, &more, 1) == 1)
			answer(fd, &more, 0);
	if (io_finish(io))
		r.op = ~0U;
	return r;
}

static void flush_fua_discard_and_zeroes_arrive(void)
{
	struct dblock_create c = params();
	struct dblock_request r;
	int fd = create_and_start(&c);

	CHECK(fd >= 0);
	r = serve_one(fd, 'f', 0, 0);
	CHECK(r.op == DBLOCK_OP_FLUSH && r.offset == 0 && r.length == 0);
	r = serve_one(fd, 'u', 0, BLOCK);
	CHECK(r.op == DBLOCK_OP_WRITE && (r.flags & DBLOCK_RQ_FUA));
	r = serve_one(fd, 'd', 0, 8 * MAX_IO);
	CHECK(r.op == DBLOCK_OP_DISCARD && r.length == 8 * MAX_IO);
	r = serve_one(fd, 'z', MAX_IO, 8 * MAX_IO);
	CHECK(r.op == DBLOCK_OP_WRITE_ZEROES && r.length == 8 * MAX_IO);
	CHECK(r.flags & DBLOCK_RQ_NOUNMAP);
	close(fd);
}

static void without_a_cache_no_flush_arrives(void)
{
	struct dblock_create c = params();
	struct dblock_request r;
	struct io *io;
	int fd;

	c.flags = 0;
	fd = create_and_start(&c);
	CHECK(fd >= 0);
	CHECK(!io_finish(io_start('f', 0, 0)));
	CHECK(io_finish(io_start('d', 0, MAX_IO)) == EOPNOTSUPP);
	r = serve_one(fd, 'u', 0, BLOCK);
	CHECK(r.op == DBLOCK_OP_WRITE && r.flags == 0);
	/* Zeroes are written by the block layer then. */
	io = io_start('z', 0, BLOCK);
	CHECK(fetch(fd, &r, 1) == 1 && r.op == DBLOCK_OP_WRITE && !answer(fd, &r, 0));
	CHECK(!io_finish(io));
	close(fd);
}

static void results_reach_the_caller(void)
{
	static const struct { int result, error, bad; } results[] = {
		{ -EIO, EIO, 0 }, { -ENOSPC, ENOSPC, 0 }, { -EOPNOTSUPP, EOPNOTSUPP, 0 },
		{ -ETIMEDOUT, ETIMEDOUT, 0 }, { -ENOLINK, ENOLINK, 0 },
		{ -ENODATA, ENODATA, 0 }, { -EILSEQ, EILSEQ, 0 },
		{ -EAGAIN, EIO, 1 }, { -ENOMEM, EIO, 1 }, { -EBUSY, EIO, 1 },
		{ 1, EIO, 1 }, { 4096, EIO, 1 }, { INT32_MIN, EIO, 1 },
	};
	struct dblock_create c = params();
	int fd = create_and_start(&c);
	uint64_t bad = 0;
	size_t i;

	CHECK(fd >= 0);
	for (i = 0; i < sizeof(results) / sizeof(*results); i++) {
		struct io *io = io_start('w', 0, BLOCK);
		struct dblock_request r;

		CHECK(fetch(fd, &r, 1) == 1 && !answer(fd, &r, results[i].result));
		CHECK(io_finish(io) == results[i].error);
		bad += results[i].bad;
		CHECK(status(fd).bad_results == bad);
	}
	close(fd);
}

static void wrong_answers_are_refused(void)
{
	struct dblock_create c = params();
	struct dblock_request r, wrong;
	int fd = create_and_start(&c);
	struct io *io;

	CHECK(fd >= 0);
	io = io_start('r', 0, BLOCK);
	CHECK(fetch(fd, &r, 1) == 1);
	memset(slot(&r), 'x', BLOCK);
	wrong = r;
	wrong.cookie++;
	CHECK(answer(fd, &wrong, 0) == -ESTALE);
	wrong.cookie = 0;
	CHECK(answer(fd, &wrong, 0) == -ESTALE);
	wrong = r;
	wrong.tag = (r.tag + 1) % DEPTH;
	CHECK(answer(fd, &wrong, 0) == -ESTALE);
	wrong.tag = 0xffff;
	CHECK(answer(fd, &wrong, 0) == -ESTALE);
	wrong = r;
	wrong.queue = 1;
	CHECK(answer(fd, &wrong, 0) == -ESTALE);
	CHECK(!answer(fd, &r, 0));
	CHECK(answer(fd, &r, -EIO) == -ESTALE);
	CHECK(!io_finish(io));
	CHECK(io->data[0] == 'x' && io->data[BLOCK - 1] == 'x');
	CHECK(status(fd).stale == 6);

	/* The next request with this tag has a cookie of its own. */
	io = io_start('r', 0, BLOCK);
	CHECK(fetch(fd, &wrong, 1) == 1 && wrong.cookie != r.cookie);
	r.tag = wrong.tag;
	CHECK(answer(fd, &r, 0) == -ESTALE);
	CHECK(!answer(fd, &wrong, 0));
	CHECK(!io_finish(io));
	close(fd);
}

static void answers_are_marked_one_by_one(void)
{
	struct dblock_exchange x = exchange_args();
	struct dblock_create c = params();
	struct dblock_commit commits[3];
	struct dblock_request r[2];
	struct io *io[2];
	int fd = create_and_start(&c);

	CHECK(fd >= 0);
	io[0] = io_start('w', 0, BLOCK);
	CHECK(fetch(fd, &r[0], 1) == 1);
	io[1] = io_start('w', BLOCK, BLOCK);
	CHECK(fetch(fd, &r[1], 1) == 1);
	memset(commits, 0, sizeof(commits));
	commits[0].cookie = r[0].cookie;
	commits[0].tag = r[0].tag;
	commits[1].reserved = 1;
	commits[1].cookie = r[1].cookie;
	commits[1].tag = r[1].tag;
	commits[2].cookie = r[1].cookie;
	commits[2].tag = r[1].tag;
	x.commits = (uintptr_t)commits;
	x.n_commit = 3;
	CHECK(!ioctl(fd, DBLOCK_EXCHANGE, &x));
	CHECK(x.n_committed == 3 && x.n_refused == 1);
	CHECK(!commits[0].status && commits[1].status == -EINVAL && !commits[2].status);
	CHECK(!io_finish(io[0]) && !io_finish(io[1]));
	close(fd);
}

static void memory_that_is_not_there_loses_nothing(void)
{
	struct dblock_create c = params();
	int fd = create_and_start(&c);
	struct dblock_request r;
	struct io *io;

	CHECK(fd >= 0);
	/* A write that can't be delivered stays for the next caller. */
	io = io_start('w', 0, MAX_IO);
	CHECK(EVENTUALLY(status(fd).pending == 1));
	mprotect(slots, DEPTH * MAX_IO, PROT_READ);
	CHECK_ERRNO(EFAULT, fetch(fd, &r, 1));
	CHECK(status(fd).pending == 1);
	mprotect(slots, DEPTH * MAX_IO, PROT_READ | PROT_WRITE);
	CHECK(fetch(fd, &r, 1) == 1 && !memcmp(slot(&r), io->data, MAX_IO));
	CHECK(!answer(fd, &r, 0) && !io_finish(io));

	/* A read whose data can't be had stays delivered. */
	io = io_start('r', 0, MAX_IO);
	CHECK(fetch(fd, &r, 1) == 1);
	mprotect(slots, DEPTH * MAX_IO, PROT_NONE);
	CHECK(answer(fd, &r, 0) == -EFAULT);
	CHECK(status(fd).delivered == 1);
	mprotect(slots, DEPTH * MAX_IO, PROT_READ | PROT_WRITE);
	memset(slot(&r), 'y', MAX_IO);
	CHECK(!answer(fd, &r, 0) && !io_finish(io));
	CHECK(io->data[0] == 'y' && io->data[MAX_IO - 1] == 'y');

	/* Memory that was never touched is brought in. */
	madvise(slots, DEPTH * MAX_IO, MADV_DONTNEED);
	io = io_start('r', 0, MAX_IO);
	CHECK(fetch(fd, &r, 1) == 1 && !answer(fd, &r, 0) && !io_finish(io));
	CHECK(io->data[0] == 0 && io->data[MAX_IO - 1] == 0);
	close(fd);
}

struct waiter {
	pthread_t thread;
	int fd;
	int error;
};

static void *wait_for_ever(void *arg)
{
	struct waiter *w = arg;
	struct dblock_exchange x = exchange_args();
	struct dblock_request r;

	x.fetched = (uintptr_t)&r;
	x.max_fetch = 1;
	x.timeout_ms = DBLOCK_FOREVER;
	w->error = ioctl(w->fd, DBLOCK_EXCHANGE, &x) < 0 ? errno : 0;
	return NULL;
}

static void every_waiter_hears_of_the_end(void)
{
	struct dblock_create c = params();
	struct waiter w[16];
	struct timespec t;
	int other = ctl();
	int fd = create_and_start(&c);
	int i;

	CHECK(fd >= 0);
	for (i = 0; i < 16; i++) {
		w[i].fd = fd;
		pthread_create(&w[i].thread, NULL, wait_for_ever, &w[i]);
	}
	pause_ms(200);	/* most of them are waiting by now; it matters little */
	CHECK(!command(other, DBLOCK_DESTROY, DBLOCK_DESTROY_GRACEFUL));
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += PATIENCE_S;
	for (i = 0; i < 16; i++) {
		CHECK(!pthread_timedjoin_np(w[i].thread, NULL, &t));
		CHECK(w[i].error == ESHUTDOWN);
	}
	CHECK_ERRNO(ESHUTDOWN, fetch_now(fd, NULL, 0));
	close(fd);
	close(other);
}

static void one_request_wakes_one_waiter(void)
{
	struct dblock_create c = params();
	struct dblock_request r;
	struct waiter w;
	int fd = create_and_start(&c);
	struct io *io;

	CHECK(fd >= 0);
	w.fd = fd;
	pthread_create(&w.thread, NULL, wait_for_ever, &w);
	io = io_start('w', 0, BLOCK);
	pthread_join(w.thread, NULL);
	CHECK(w.error == 0 && status(fd).delivered == 1);
	CHECK(fetch_now(fd, &r, 1) == 0);
	command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE);
	CHECK(io_finish(io) == EIO);
	close(fd);
}

static void on_signal(int signal)
{
	(void)signal;
}

static void waits_end_by_signal_and_by_time(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct dblock_exchange x = exchange_args();
	struct dblock_create c = params();
	struct dblock_request r;
	struct waiter w = { 0 };
	int fd = create_and_start(&c);
	struct timespec t;
	double begin;

	CHECK(fd >= 0);
	x.fetched = (uintptr_t)&r;
	x.max_fetch = 1;
	x.timeout_ms = 300;
	begin = now();
	CHECK(!ioctl(fd, DBLOCK_EXCHANGE, &x) && !x.n_fetched);
	/* An emulated machine's ticks may be late, and then come together. */
	CHECK(now() - begin >= 0.2);

	sigaction(SIGUSR1, &action, NULL);
	w.fd = fd;
	pthread_create(&w.thread, NULL, wait_for_ever, &w);
	for (;;) {
		pthread_kill(w.thread, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 50000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		if (!pthread_timedjoin_np(w.thread, NULL, &t))
			break;
		CHECK(now() - begin < PATIENCE_S);
	}
	CHECK(w.error == EINTR);
	close(fd);
}

static void a_read_only_disk_takes_no_writes(void)
{
	struct dblock_create c = params();
	struct dblock_request r;
	int fd, error;

	c.flags |= DBLOCK_F_READ_ONLY;
	fd = create_and_start(&c);
	CHECK(fd >= 0);
	error = io_finish(io_start('w', 0, BLOCK));
	CHECK(error == EROFS || error == EACCES || error == EPERM);
	r = serve_one(fd, 'r', 0, BLOCK);
	CHECK(r.op == DBLOCK_OP_READ);
	close(fd);
}

static void resize_changes_the_capacity(void)
{
	struct dblock_create c = params();
	uint64_t size = 0;
	int fd = create_and_start(&c);
	int disk;

	CHECK(fd >= 0);
	disk = open(DISK_PATH, O_RDONLY);
	CHECK(disk >= 0);
	CHECK_ERRNO(EINVAL, command(fd, DBLOCK_RESIZE, 0));
	CHECK_ERRNO(EINVAL, command(fd, DBLOCK_RESIZE, CAPACITY + 1));
	CHECK(!command(fd, DBLOCK_RESIZE, 2 * CAPACITY));
	CHECK(!ioctl(disk, BLKGETSIZE64, &size) && size == 2 * CAPACITY);
	CHECK(status(fd).capacity == 2 * CAPACITY);
	CHECK(serve_one(fd, 'r', 2 * CAPACITY - BLOCK, BLOCK).op == DBLOCK_OP_READ);
	CHECK(!command(fd, DBLOCK_RESIZE, CAPACITY / 2));
	CHECK(!ioctl(disk, BLKGETSIZE64, &size) && size == CAPACITY / 2);
	close(disk);
	close(fd);
}

static void commands_need_a_capability(void)
{
	struct dblock_create c = params();
	int fd = create_and_start(&c);
	int code = 0;
	pid_t child;

	CHECK(fd >= 0);
	child = fork();
	if (!child) {
		if (setuid(65534))
			_exit(1);
		if (ctl() >= 0)
			_exit(2);
		if (command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE) != -1 || errno != EPERM)
			_exit(3);
		/* Serving is what a process without privileges may be handed. */
		if (fetch_now(fd, NULL, 0))
			_exit(4);
		_exit(0);
	}
	CHECK(waitpid(child, &code, 0) == child && code == 0);
	CHECK(status(fd).state == DBLOCK_STATE_LIVE);
	close(fd);
}

int main(int argc, char **argv)
{
#define TEST(f) { #f, f }
	static const struct test tests[] = {
		TEST(info_tells_version_and_limits),
		TEST(heads_and_reserved_members_are_checked),
		TEST(create_refuses_what_is_out_of_range),
		TEST(create_fills_in_what_is_left_open),
		TEST(list_goes_through_all_devices),
		TEST(one_channel_serves_a_device),
		TEST(exchange_checks_its_arguments),
		TEST(reads_and_writes_carry_their_data),
		TEST(flush_fua_discard_and_zeroes_arrive),
		TEST(without_a_cache_no_flush_arrives),
		TEST(results_reach_the_caller),
		TEST(wrong_answers_are_refused),
		TEST(answers_are_marked_one_by_one),
		TEST(memory_that_is_not_there_loses_nothing),
		TEST(every_waiter_hears_of_the_end),
		TEST(one_request_wakes_one_waiter),
		TEST(waits_end_by_signal_and_by_time),
		TEST(a_read_only_disk_takes_no_writes),
		TEST(resize_changes_the_capacity),
		TEST(commands_need_a_capability),
		{ NULL, NULL }
	};

	return run_tests(tests, argc > 1 ? argv[1] : NULL);
}
