// SPDX-License-Identifier: GPL-2.0
/*
 * life_test [NAME]: what becomes of requests when servers die, stop and return,
 * and of devices when they are destroyed, in every state.
 */
#include "client.h"

/*
 * A server in a process of its own: attaches, fetches as many requests as it
 * is told, says so, and sleeps. Returns its pid, with the requests in @shared; or -1
 * if there are no requests for as long as @patience_ms.
 */
static pid_t patient_server(struct dblock_request *shared, int requests, int patience_ms)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		int fd = attach();
		int n;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd < 0)
			_exit(1);
		for (n = 0; n < requests; n++)
			if (fetch_within(fd, &shared[n], 1, patience_ms) != 1)
				_exit(2);
		if (write(ready[1], "r", 1) != 1)
			_exit(3);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		pid = -1;
	close(ready[0]);
	return pid;
}

static pid_t silent_server(struct dblock_request *shared, int requests)
{
	return patient_server(shared, requests, PATIENCE_S * 1000);
}

static void kill_and_reap(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct dblock_request *shared_requests(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Creates and starts the device, and leaves it without a server. */
static bool parked(const struct dblock_create *c)
{
	int fd = create_and_start(c);

	close(fd);
	return fd >= 0;
}

static void what_a_dead_server_had_is_delivered_again(void)
{
	struct dblock_request *old = shared_requests();
	struct dblock_create c = params();
	struct dblock_request r[2];
	struct io *io[2];
	pid_t server;
	int fd, i;

	CHECK(parked(&c));
	io[0] = io_start('w', 0, MAX_IO);
	io[1] = io_start('r', MAX_IO, BLOCK);
	server = silent_server(old, 2);
	CHECK(server > 0);
	kill_and_reap(server);

	fd = attach();
	CHECK(fd >= 0);
	CHECK(status(fd).redelivered == 2 && status(fd).pending == 2);
	for (i = 0; i < 2; i++)
		CHECK(answer(fd, &old[i], -EIO) == -ESTALE);
	for (i = 0; i < 2; i++) {
		CHECK(fetch(fd, &r[i], 1) == 1);
		CHECK(r[i].cookie > old[0].cookie && r[i].cookie > old[1].cookie);
		if (r[i].op == DBLOCK_OP_WRITE)
			CHECK(!memcmp(slot(&r[i]), io[0]->data, MAX_IO));
		CHECK(answer(fd, &old[i], -EIO) == -ESTALE);
	}
	CHECK(!answer(fd, &r[0], 0) && !answer(fd, &r[1], 0));
	CHECK(!io_finish(io[0]) && !io_finish(io[1]));
	close(fd);
}

static void a_child_with_the_fd_keeps_no_dead_server(void)
{
	struct dblock_request *old = shared_requests();
	struct dblock_create c = params();
	struct dblock_request r;
	struct io *io;
	int ready[2], fd;
	pid_t server, child;

	CHECK(parked(&c) && !pipe(ready));
	io = io_start('w', 0, BLOCK);
	server = fork();
	if (!server) {
		fd = attach();
		if (fd < 0 || fetch(fd, old, 1) != 1)
			_exit(1);
		child = fork();
		if (!child)
			for (;;)
				pause();
		if (write(ready[1], &child, sizeof(child)) != sizeof(child))
			_exit(1);
		for (;;)
			pause();
	}
	CHECK(read(ready[0], &child, sizeof(child)) == sizeof(child));
	kill_and_reap(server);
	fd = attach();
	if (fd >= 0 && fetch(fd, &r, 1) == 1 && !answer(fd, &r, 0))
		io_finish(io);
	kill(child, SIGKILL);
	CHECK(fd >= 0 && io->error == 0);
	CHECK(status(fd).generation == 3);
	close(fd);
}

static void a_helper_process_gives_back_only_its_own(void)
{
	struct dblock_request *theirs = shared_requests();
	struct dblock_create c = params();
	struct dblock_request r;
	struct io *io[2];
	pid_t helper;
	int fd = create_and_start(&c);

	CHECK(fd >= 0);
	io[0] = io_start('w', 0, BLOCK);
	CHECK(fetch(fd, &r, 1) == 1);
	io[1] = io_start('w', BLOCK, BLOCK);
	helper = fork();
	if (!helper)
		_exit(fetch(fd, theirs, 1) != 1);
	CHECK(waitpid(helper, NULL, 0) == helper);
	CHECK(status(fd).pending == 1 && status(fd).delivered == 1);
	CHECK(!answer(fd, &r, 0) && !io_finish(io[0]));
	CHECK(answer(fd, theirs, 0) == -ESTALE);
	CHECK(fetch(fd, &r, 1) == 1 && r.offset == theirs->offset);
	CHECK(!answer(fd, &r, 0) && !io_finish(io[1]));
	close(fd);
}

static void without_recovery_everything_fails_at_once(void)
{
	struct dblock_request *old = shared_requests();
	struct dblock_create c = params();
	struct io *io[2];
	pid_t server;
	int other = ctl();

	c.recover_ms = 0;
	CHECK(!ioctl(other, DBLOCK_CREATE, &c) && !command(other, DBLOCK_START, 0));
	io[0] = io_start('w', 0, BLOCK);
	server = silent_server(old, 1);
	CHECK(server > 0);
	io[1] = io_start('w', BLOCK, BLOCK);
	CHECK(EVENTUALLY(status(other).pending == 1));
	kill_and_reap(server);
	CHECK(io_finish(io[0]) == EIO && io_finish(io[1]) == EIO);
	CHECK(status(other).state == DBLOCK_STATE_FAILED);
	CHECK(io_finish(io_start('r', 0, BLOCK)) == EIO);
	CHECK_ERRNO(ENOTRECOVERABLE, command(other, DBLOCK_ATTACH, 0));
	CHECK(status(other).failed >= 2);
	close(other);
}

static void recovery_time_ends_and_a_late_server_may_come(void)
{
	struct dblock_create c = params();
	struct dblock_request r;
	struct io *io;
	int fd;

	c.recover_ms = 500;
	CHECK(parked(&c));
	io = io_start('w', 0, BLOCK);
	CHECK(io_finish(io) == EIO);
	fd = attach();
	CHECK(fd >= 0 && status(fd).state == DBLOCK_STATE_LIVE);
	io = io_start('w', 0, BLOCK);
	CHECK(fetch(fd, &r, 1) == 1 && !answer(fd, &r, 0) && !io_finish(io));
	close(fd);
	/* It had answered, so the clock is started anew. */
	CHECK(EVENTUALLY(status(ctl()).state == DBLOCK_STATE_FAILED));
}

static void a_silent_server_does_not_restart_the_clock(void)
{
	struct dblock_request *old = shared_requests();
	struct dblock_create c = params();
	double begin = now();
	struct io *io;
	pid_t server;
	int rounds = 0;

	c.recover_ms = 1500;
	CHECK(parked(&c));
	io = io_start('w', 0, BLOCK);
	while (status(ctl()).state != DBLOCK_STATE_FAILED) {
		/* One that attaches a moment after the end would wait for nothing. */
		server = patient_server(old, 1, 1000);
		if (server < 0)
			break;
		kill_and_reap(server);
		rounds++;
		CHECK(now() - begin < PATIENCE_S);
	}
	CHECK(io_finish(io) == EIO);
	CHECK(now() - begin >= 1.4 && rounds > 0);
	printf("  %d silent servers\n", rounds);
}

static void requests_time_out_and_late_answers_are_stale(void)
{
	struct dblock_create c = params();
	struct dblock_request r, next;
	struct io *io[2];
	int fd;

	c.io_timeout_ms = 1000;
	c.depth = 1;
	fd = create_and_start(&c);
	CHECK(fd >= 0);
	io[0] = io_start('r', 0, BLOCK);
	CHECK(fetch(fd, &r, 1) == 1);
	CHECK(io_finish(io[0]) == EIO && status(fd).timeouts == 1);

	/* The server may still be writing into the slot: nothing comes there. */
	io[0] = io_start('w', 0, BLOCK);
	CHECK(EVENTUALLY(status(fd).pending == 1));
	CHECK(fetch_now(fd, &next, 1) == 0);
	CHECK(io_finish(io[0]) == EIO && status(fd).timeouts == 2);

	io[1] = io_start('w', BLOCK, BLOCK);
	CHECK(EVENTUALLY(status(fd).pending == 1));
	CHECK(answer(fd, &r, 0) == -ESTALE);
	if (fetch(fd, &next, 1) == 1 && !answer(fd, &next, 0))
		CHECK(!io_finish(io[1]));
	CHECK(next.tag == r.tag && next.cookie != r.cookie);
	close(fd);
}

static void a_stopped_server_costs_time_only(void)
{
	struct dblock_create c = params();
	struct io *io;
	pid_t server;

	CHECK(parked(&c));
	server = fork();
	if (!server) {
		int fd = attach();
		struct dblock_request r;

		/* Being stopped ends a wait, like any signal. */
		for (;;)
			if (fd >= 0 && fetch(fd, &r, 1) == 1)
				answer(fd, &r, 0);
	}
	CHECK(EVENTUALLY(status(ctl()).state == DBLOCK_STATE_LIVE));
	kill(server, SIGSTOP);
	io = io_start('w', 0, BLOCK);
	CHECK(EVENTUALLY(status(ctl()).pending + status(ctl()).delivered == 1));
	pause_ms(1000);
	CHECK(status(ctl()).pending + status(ctl()).delivered == 1);
	kill(server, SIGCONT);
	CHECK(!io_finish(io));
	kill_and_reap(server);
}

static void a_stopped_server_is_timed_out(void)
{
	struct dblock_request *old = shared_requests();
	struct dblock_create c = params();
	struct io *io[2];
	pid_t server;

	c.io_timeout_ms = 1000;
	CHECK(parked(&c));
	io[0] = io_start('w', 0, BLOCK);
	server = silent_server(old, 1);
	CHECK(server > 0);
	kill(server, SIGSTOP);
	io[1] = io_start('w', BLOCK, BLOCK);
	CHECK(io_finish(io[0]) == EIO && io_finish(io[1]) == EIO);
	kill_and_reap(server);
}

/* The device is open for its partitions to be read, and its server doesn't answer. */
static struct io *hanging_scan(struct dblock_create *c, int fd)
{
	c->flags |= DBLOCK_F_PARTITIONS;
	if (ioctl(fd, DBLOCK_CREATE, c) || command(fd, DBLOCK_ATTACH, 0) ||
	    command(fd, DBLOCK_START, 0))
		return NULL;
	struct io *io = io_start('o', 0, 0);

	return EVENTUALLY(status(fd).pending > 0) ? io : NULL;
}

static void a_partition_scan_does_not_outlive_what_it_waits_for(void)
{
	struct dblock_create c = params();
	int fd = ctl(), other = ctl();
	struct io *io = hanging_scan(&c, fd);

	/* The server dies, and the scan waits for the next, in nobody's way. */
	CHECK(io);
	close(fd);
	CHECK(status(other).state == DBLOCK_STATE_PARKED && !io->finished);
	CHECK(!command(other, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE));
	CHECK(io_finish(io) != -1);

	c = params();
	c.recover_ms = 0;
	fd = ctl();
	io = hanging_scan(&c, fd);
	CHECK(io);
	close(fd);
	CHECK(io_finish(io) != -1);
	CHECK(status(other).state == DBLOCK_STATE_FAILED);
	close(other);
}

static void a_server_that_dies_halfway_leaves_no_obstacle(void)
{
	struct dblock_request *old = shared_requests();
	struct dblock_create c = params();
	struct io *io[2];
	int other = ctl();
	pid_t server;

	CHECK(parked(&c));
	io[0] = io_start('w', 0, BLOCK);
	io[1] = io_start('w', BLOCK, BLOCK);
	CHECK(EVENTUALLY(status(other).pending == 2));
	server = silent_server(old, 1);
	CHECK(server > 0);
	kill_and_reap(server);
	CHECK_ERRNO(EBUSY, command(other, DBLOCK_DESTROY, DBLOCK_DESTROY_GRACEFUL));
	CHECK(!command(other, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE));
	CHECK(io_finish(io[0]) == EIO && io_finish(io[1]) == EIO);
	close(other);
}

static void *start_thread(void *arg)
{
	int *error = arg;
	int fd = ctl();

	*error = command(fd, DBLOCK_START, 0) ? errno : 0;
	close(fd);
	return NULL;
}

/*
 * Whoever opens the disk before START is over may wait for the server; START
 * itself must not, nor anybody who would destroy the device meanwhile.
 */
static void starting_waits_for_no_requests(void)
{
	struct dblock_create c = params();
	struct timespec t;
	pthread_t thread;
	int fd = ctl();
	struct io *io;
	int error;

	c.flags |= DBLOCK_F_PARTITIONS;
	CHECK(!ioctl(fd, DBLOCK_CREATE, &c));
	CHECK(!command(fd, DBLOCK_ATTACH, 0));	/* and serves nothing */
	pthread_create(&thread, NULL, start_thread, &error);
	while (access(DISK_PATH, F_OK))
		sched_yield();
	io = io_start('r', 0, BLOCK);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += PATIENCE_S;
	CHECK(!pthread_timedjoin_np(thread, NULL, &t));
	CHECK(!error);
	CHECK(EVENTUALLY(status(fd).pending > 0));
	CHECK_ERRNO(EBUSY, command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_GRACEFUL));
	CHECK(!command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE));
	CHECK(io_finish(io) > 0);
	close(fd);
}

/* Starts and destroys at the same time, in all ways: none may hang. */
static void starting_and_destroying_at_once_ends(void)
{
	int round;

	for (round = 0; round < 30; round++) {
		struct dblock_create c = params();
		struct timespec t;
		pthread_t thread;
		int fd = ctl();
		int error;

		CHECK(!ioctl(fd, DBLOCK_CREATE, &c) && !command(fd, DBLOCK_ATTACH, 0));
		pthread_create(&thread, NULL, start_thread, &error);
		pause_ms(round % 7);
		while (command(fd, DBLOCK_DESTROY, round % 3))
			CHECK(errno == EBUSY);
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_sec += PATIENCE_S;
		CHECK(!pthread_timedjoin_np(thread, NULL, &t));
		close(fd);
		CHECK(EVENTUALLY(status(ctl()).state == 0));
		CHECK(access("/sys/block/" DISK, F_OK));
	}
}

static void graceful_destroy_refuses_what_is_in_use(void)
{
	struct dblock_create c = params();
	int fd = create_and_start(&c);
	int disk;

	CHECK(fd >= 0);
	disk = open(DISK_PATH, O_RDONLY);
	CHECK_ERRNO(EBUSY, command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_GRACEFUL));
	CHECK(status(fd).openers == 1);
	close(disk);
	CHECK(!command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_GRACEFUL));
	CHECK(access("/sys/block/" DISK, F_OK));
	CHECK_ERRNO(ENODEV, command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_GRACEFUL));
	close(fd);
}

static void deferred_destroy_waits_for_the_last_close(void)
{
	struct dblock_create c = params();
	struct dblock_request r;
	struct io *io;
	int fd = create_and_start(&c);
	int disk;

	CHECK(fd >= 0);
	disk = open(DISK_PATH, O_RDONLY);
	CHECK(!command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_DEFERRED));
	CHECK(status(fd).deferred == 1 && status(fd).state == DBLOCK_STATE_LIVE);
	io = io_start('r', 0, BLOCK);
	CHECK(fetch(fd, &r, 1) == 1 && !answer(fd, &r, 0) && !io_finish(io));
	CHECK(status(fd).state == DBLOCK_STATE_LIVE);
	close(disk);
	CHECK(EVENTUALLY(status(fd).state == 0));
	close(fd);

	fd = create_and_start(&c);
	CHECK(fd >= 0 && !command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_DEFERRED));
	CHECK(status(fd).state == 0);
	close(fd);
}

/* The state that a forced destroy meets is made by the caller. */
static void force_and_forget(int disk)
{
	char byte[BLOCK] __attribute__((aligned(4096)));
	int fd = ctl();

	CHECK(!command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE));
	CHECK(access("/sys/block/" DISK, F_OK));
	CHECK(status(fd).state == 0);
	if (disk >= 0) {
		CHECK(pread(disk, byte, BLOCK, 0) <= 0);
		close(disk);
	}
	/* The name is free again. */
	struct dblock_create c = params();

	CHECK(!ioctl(fd, DBLOCK_CREATE, &c));
	CHECK(!command(fd, DBLOCK_START, 0));
	CHECK(!command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_GRACEFUL));
	close(fd);
}

static void force_works_in_every_state(void)
{
	struct dblock_request *shared = shared_requests();
	struct dblock_create c = params();
	struct dblock_request r;
	struct io *io[3];
	pid_t server;
	int fd, i;

	/* created; attached */
	fd = ctl();
	CHECK(!ioctl(fd, DBLOCK_CREATE, &c));
	force_and_forget(-1);
	CHECK(!ioctl(fd, DBLOCK_CREATE, &c) && !command(fd, DBLOCK_ATTACH, 0));
	force_and_forget(-1);
	close(fd);

	/* open, and idle; with requests pending and delivered */
	fd = create_and_start(&c);
	CHECK(fd >= 0);
	force_and_forget(open(DISK_PATH, O_RDWR | O_DIRECT));
	close(fd);
	fd = create_and_start(&c);
	CHECK(fd >= 0);
	for (i = 0; i < 3; i++)
		io[i] = io_start('w', i * MAX_IO, MAX_IO);
	CHECK(EVENTUALLY(status(fd).pending == 3));
	CHECK(fetch(fd, &r, 1) == 1);
	force_and_forget(open(DISK_PATH, O_RDWR | O_DIRECT));
	for (i = 0; i < 3; i++)
		CHECK(io_finish(io[i]) == EIO);
	CHECK_ERRNO(ESHUTDOWN, answer(fd, &r, 0));
	close(fd);

	/* parked, with requests */
	CHECK(parked(&c));
	io[0] = io_start('w', 0, BLOCK);
	CHECK(EVENTUALLY(status(ctl()).pending == 1));
	force_and_forget(-1);
	CHECK(io_finish(io[0]) > 0);

	/* failed */
	c.recover_ms = 0;
	CHECK(parked(&c));
	CHECK(status(ctl()).state == DBLOCK_STATE_FAILED);
	force_and_forget(-1);

	/* the server has a request and is stopped */
	c = params();
	CHECK(parked(&c));
	io[0] = io_start('w', 0, BLOCK);
	server = silent_server(shared, 1);
	CHECK(server > 0);
	kill(server, SIGSTOP);
	force_and_forget(-1);
	CHECK(io_finish(io[0]) > 0);
	kill_and_reap(server);
}

static void force_loses_dirty_pages_and_hangs_nobody(void)
{
	struct dblock_create c = params();
	char *data = calloc(1, MAX_IO);
	int fd = create_and_start(&c);
	int disk, i;

	CHECK(fd >= 0);
	disk = open(DISK_PATH, O_RDWR);
	CHECK(disk >= 0);
	for (i = 0; i < 16; i++)
		CHECK(pwrite(disk, data, MAX_IO, i * MAX_IO) == MAX_IO);
	CHECK(!command(fd, DBLOCK_DESTROY, DBLOCK_DESTROY_FORCE));
	CHECK(fsync(disk) == -1);
	close(disk);
	close(fd);
	free(data);
}

static void many_devices_exist_at_once(void)
{
	struct dblock_target t = target(0);
	int fd = ctl();
	int i, n = 1100;

	for (i = 0; i < n; i++) {
		struct dblock_create c = params();

		snprintf(c.name, sizeof(c.name), "many%d", i);
		CHECK(!ioctl(fd, DBLOCK_CREATE, &c));
		memcpy(t.name, c.name, sizeof(t.name));
		/* All exist; a disk each would be the block layer's test. */
		if (i % 100 == 0)
			CHECK(!ioctl(fd, DBLOCK_START, &t));
	}
	t.arg = DBLOCK_DESTROY_GRACEFUL;
	for (i = 0; i < n; i++) {
		memset(t.name, 0, sizeof(t.name));
		snprintf(t.name, sizeof(t.name), "many%d", i);
		CHECK(!ioctl(fd, DBLOCK_DESTROY, &t));
	}
	close(fd);
}

int main(int argc, char **argv)
{
#define TEST(f) { #f, f }
	static const struct test tests[] = {
		TEST(what_a_dead_server_had_is_delivered_again),
		TEST(a_child_with_the_fd_keeps_no_dead_server),
		TEST(a_helper_process_gives_back_only_its_own),
		TEST(without_recovery_everything_fails_at_once),
		TEST(recovery_time_ends_and_a_late_server_may_come),
		TEST(a_silent_server_does_not_restart_the_clock),
		TEST(requests_time_out_and_late_answers_are_stale),
		TEST(a_stopped_server_costs_time_only),
		TEST(a_stopped_server_is_timed_out),
		TEST(a_partition_scan_does_not_outlive_what_it_waits_for),
		TEST(a_server_that_dies_halfway_leaves_no_obstacle),
		TEST(starting_waits_for_no_requests),
		TEST(starting_and_destroying_at_once_ends),
		TEST(graceful_destroy_refuses_what_is_in_use),
		TEST(deferred_destroy_waits_for_the_last_close),
		TEST(force_works_in_every_state),
		TEST(force_loses_dirty_pages_and_hangs_nobody),
		TEST(many_devices_exist_at_once),
		{ NULL, NULL }
	};

	return run_tests(tests, argc > 1 ? argv[1] : NULL);
}
