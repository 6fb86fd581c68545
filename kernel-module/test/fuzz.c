// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz SECONDS [SEED]: random commands with random arguments on a few devices,
 * from several threads, with I/O going on. Whatever errors come are right; what
 * must not come is a complaint of the kernel, a hang, or data of another device
 * or of nobody: everything on device i consists of bytes 'A' + i.
 */
#include "client.h"

#define DEVICES		4
#define SERVERS		6
#define FUZZ_IO		(64U << 10)

static volatile bool stop;
static volatile int wrong;
static uint8_t *areas[DEVICES];
static int channels[DEVICES];
static volatile bool dead[DEVICES];	/* the channel's device is destroyed */
static pthread_mutex_t channel_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long counts[8];

/* xorshift; one state for each thread. */
static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* A number that is often a reasonable one, or just beside it. */
static uint64_t odd(uint64_t *s, uint64_t reasonable)
{
	static const uint64_t edges[] = { 0, 1, ~0ULL, 1ULL << 31, 1ULL << 32, 1ULL << 63,
		0xffff888000000000ULL, 0x7ffffffff000ULL, 4095, 4096, 0xffff };

	switch (rnd(s) % 16) {
	case 0:
		return edges[rnd(s) % (sizeof(edges) / sizeof(*edges))];
	case 1:
		return reasonable + 1;
	case 2:
		return reasonable - 1;
	case 3:
		return rnd(s);
	default:
		return reasonable;
	}
}

static bool all(const uint8_t *p, size_t n, uint8_t byte)
{
	return p[0] == byte && !memcmp(p, p + 1, n - 1);
}

static void complain(const char *what, int device, uint8_t byte)
{
	printf("  %s of device %d has byte %#x\n", what, device, byte);
	wrong++;
}

static void name_of(int device, char *name)
{
	snprintf(name, DBLOCK_NAME_LEN, "fuzz%d", device);
}

static void fuzz_control(uint64_t *s, int fd, int device)
{
	struct dblock_create c = params();
	struct dblock_target t = target(0);
	struct dblock_status st = { .size = sizeof(st), .version = DBLOCK_ABI_VERSION };
	unsigned long cmd;

	switch (rnd(s) % 8) {
	case 0:
		name_of(device, c.name);
		c.capacity = odd(s, 16 << 20);
		c.flags = odd(s, DBLOCK_F_ALL & ~DBLOCK_F_READ_ONLY);
		c.max_io = odd(s, FUZZ_IO);
		c.depth = odd(s, DEPTH);
		c.io_timeout_ms = rnd(s) % 3 * 200;
		c.recover_ms = rnd(s) % 3 * 100;
		ioctl(fd, DBLOCK_CREATE, &c);
		counts[0]++;
		break;
	case 1:
		name_of(device, st.name);
		ioctl(fd, rnd(s) % 2 ? DBLOCK_STATUS : DBLOCK_LIST, &st);
		counts[1]++;
		break;
	case 2:
		/* No structure at all. */
		cmd = _IOC(rnd(s) % 4, DBLOCK_IOC_MAGIC, rnd(s) % 18, odd(s, 80) % 8192);
		ioctl(fd, cmd, odd(s, (uintptr_t)&st));
		break;
	default:
		name_of(device, t.name);
		t.arg = rnd(s) % 8 ? 0 : odd(s, rnd(s) % 3);
		if (rnd(s) % 32 == 0)
			t.reserved[0] = odd(s, 0);
		cmd = rnd(s) % 12;
		if (cmd == 0) {
			t.arg = odd(s, rnd(s) % 3);
			ioctl(fd, DBLOCK_DESTROY, &t);
			counts[2]++;
		} else if (cmd == 1) {
			t.arg = odd(s, (rnd(s) % 32 + 1) << 20);
			ioctl(fd, DBLOCK_RESIZE, &t);
		} else if (cmd < 6) {
			ioctl(fd, DBLOCK_START, &t);
		} else {
			ioctl(fd, DBLOCK_ATTACH, &t);
		}
	}
}

/* One exchange; answers some of what it got, and some that it didn't get. */
static void fuzz_exchange(uint64_t *s, int fd, int device)
{
	/* Room for a depth and an address that are a little too large. */
	struct dblock_request r[DEPTH + 2];
	struct dblock_commit c[DEPTH + 2];
	struct dblock_exchange x = {
		.commits = odd(s, (uintptr_t)c),
		.fetched = odd(s, (uintptr_t)r),
		.base = (uintptr_t)areas[device],
		.slot_size = odd(s, FUZZ_IO),
		.max_fetch = odd(s, DEPTH),
		.timeout_ms = rnd(s) % 4 * 5,
	};
	int i, n;

	/* Much larger slots would lie in the other devices' areas. */
	if (x.slot_size > FUZZ_IO + 1)
		x.slot_size = FUZZ_IO;
	n = ioctl(fd, DBLOCK_EXCHANGE, &x);
	if (n < 0 && errno == ESHUTDOWN)
		dead[device] = true;
	counts[3]++;
	/* Fetched to somewhere else: their server will not answer these. */
	if (n <= 0 || x.fetched != (uintptr_t)r || x.slot_size != FUZZ_IO)
		return;
	memset(c, 0, sizeof(c));
	for (i = 0; i < n; i++) {
		uint8_t *p = areas[device] + r[i].tag * (size_t)FUZZ_IO;

		counts[4]++;
		if (r[i].op == DBLOCK_OP_WRITE && !all(p, r[i].length, 'A' + device))
			complain("a write", device, p[0]);
		c[i].cookie = rnd(s) % 16 ? r[i].cookie : odd(s, r[i].cookie);
		c[i].tag = rnd(s) % 16 ? r[i].tag : odd(s, r[i].tag);
		c[i].result = rnd(s) % 16 ? 0 : -(int)odd(s, EIO);
	}
	x.commits = (uintptr_t)c;
	x.n_commit = n;
	x.max_fetch = 0;
	x.slot_size = FUZZ_IO;
	ioctl(fd, DBLOCK_EXCHANGE, &x);
	if (x.n_committed)
		counts[5] += x.n_committed - x.n_refused;
}

static void *server_thread(void *arg)
{
	uint64_t s = (uintptr_t)arg;

	while (!stop) {
		int device = rnd(&s) % DEVICES;
		int fd;

		/* A channel is for one device; what is in its slots is that one's. */
		pthread_mutex_lock(&channel_lock);
		if (dead[device] || rnd(&s) % 512 == 0) {
			dead[device] = false;
			close(channels[device]);
			channels[device] = ctl();
		}
		fd = dup(channels[device]);
		pthread_mutex_unlock(&channel_lock);
		if (rnd(&s) % 16 == 0)
			fuzz_control(&s, fd, device);
		else
			fuzz_exchange(&s, fd, device);
		close(fd);
	}
	return NULL;
}

/*
 * Is this an open file of the device? A number may have gone from one disk to
 * another between the name and the open; the kernel even waits for modprobe there.
 * Once open, it can't go.
 */
static bool is_ours(int fd, int device)
{
	char path[64], link[256], *name;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = 0;
	name = strrchr(link, '/');
	return name && !strncmp(name + 1, "fuzz", 4) && atoi(name + 5) == device;
}

static void *io_thread(void *arg)
{
	uint64_t s = (uintptr_t)arg * 7919;
	int device = (uintptr_t)arg % DEVICES;
	uint8_t *data = aligned_alloc(4096, FUZZ_IO * 4);
	char path[64];

	snprintf(path, sizeof(path), "/dev/fuzz%d", device);
	while (!stop) {
		int fd = open(path, O_RDWR | (rnd(&s) % 4 ? O_DIRECT : 0));
		int i;

		if (!is_ours(fd, device)) {
			close(fd);
			pause_ms(2);
			continue;
		}
		for (i = 0; i < 8 && !stop; i++) {
			size_t n = (rnd(&s) % 4 + 1) * (FUZZ_IO / 2);
			off_t at = rnd(&s) % 1024 * 4096;
			uint64_t range[2] = { at, n };
			ssize_t got;

			switch (rnd(&s) % 8) {
			case 0:
				fsync(fd);
				break;
			case 1:
				ioctl(fd, rnd(&s) % 2 ? BLKDISCARD : BLKRRPART, range);
				break;
			case 2:
			case 3:
			case 4:
				memset(data, 'A' + device, n);
				if (pwrite(fd, data, n, at) > 0)
					counts[6]++;
				break;
			default:
				memset(data, 0, n);
				got = pread(fd, data, n, at);
				if (got > 0) {
					counts[7]++;
					if (!all(data, got, 'A' + device))
						complain("a read", device, data[0]);
				}
			}
		}
		close(fd);
	}
	free(data);
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	pthread_t servers[SERVERS], ios[DEVICES];
	double end;
	int i;

	if (argc < 2)
		return 2;
	printf("seed %llu\n", (unsigned long long)seed);
	for (i = 0; i < DEVICES; i++) {
		areas[i] = malloc(1024 * (size_t)FUZZ_IO);
		memset(areas[i], 'A' + i, 1024 * (size_t)FUZZ_IO);
		channels[i] = ctl();
	}
	end = now() + atoi(argv[1]);
	for (i = 0; i < SERVERS; i++)
		pthread_create(&servers[i], NULL, server_thread,
			       (void *)(uintptr_t)(seed * 31 + i + 1));
	for (i = 0; i < DEVICES; i++)
		pthread_create(&ios[i], NULL, io_thread,
			       (void *)(uintptr_t)(seed / DEVICES * DEVICES + i));
	while (now() < end)
		pause_ms(100);
	stop = true;
	for (i = 0; i < SERVERS; i++)
		pthread_join(servers[i], NULL);
	destroy_all();
	for (i = 0; i < DEVICES; i++)
		pthread_join(ios[i], NULL);
	printf("  creates %lu, status %lu, destroys %lu, exchanges %lu, fetched %lu, accepted %lu, writes %lu, reads %lu\n",
	       counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6],
	       counts[7]);
	/* A fuzzer that got nothing through has shown nothing. */
	if (!counts[5] || !counts[6] || !counts[7])
		wrong++;
	printf("%d passed, %d failed\n", !wrong, !!wrong);
	return !!wrong;
}
