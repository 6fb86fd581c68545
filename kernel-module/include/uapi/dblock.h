/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * dblock: block devices that are served by a process in user space.
 *
 * All commands are ioctls on the control device. Structures have the same
 * layout on 32-bit and 64-bit machines: fixed-width types, every member
 * aligned to its own size, no implicit padding. User addresses are __u64.
 *
 * The life of a device:
 *
 *	fd = open(DBLOCK_CTL_PATH)
 *	DBLOCK_INFO	which version and which flags the module knows
 *	DBLOCK_CREATE	the device exists, under its name; no disk yet
 *	DBLOCK_ATTACH	fd becomes the device's only server channel
 *	DBLOCK_START	/dev/NAME appears; this thread must not be a server
 *	DBLOCK_EXCHANGE	again and again, from any number of other threads
 *	DBLOCK_DESTROY	every thread in DBLOCK_EXCHANGE gets ESHUTDOWN
 *
 * A server that dies leaves the device behind. The next one opens the control
 * device, attaches by name and uuid, and exchanges; what had been delivered
 * and not answered is delivered again.
 *
 * Errors common to all commands: EPERM without CAP_SYS_ADMIN (not asked of
 * DBLOCK_EXCHANGE), EFAULT for a bad address, ENOTTY for a command or a
 * structure size the module doesn't know, EINVAL for a wrong @size, an unknown
 * flag, or a reserved member that is not zero, EPROTO for a @version that the
 * module doesn't speak.
 */
#ifndef _UAPI_DBLOCK_H
#define _UAPI_DBLOCK_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define DBLOCK_CTL_PATH		"/dev/dblockctl"

/* Version of this interface; goes into every structure's @version. */
#define DBLOCK_ABI_VERSION	1

/* Length of a device name's field, the terminating NUL included. */
#define DBLOCK_NAME_LEN		32

/* A timeout that never passes. */
#define DBLOCK_FOREVER		0xffffffffU

/**
 * enum dblock_flags - properties of a device, bits of &dblock_create.flags
 * @DBLOCK_F_READ_ONLY: the disk is read-only: only READ and FLUSH are ever
 *	delivered
 * @DBLOCK_F_WRITE_CACHE: completed writes may be volatile until a FLUSH; without
 *	it the block layer takes every completed write for durable, and FLUSH
 *	is never delivered
 * @DBLOCK_F_FUA: WRITE may carry DBLOCK_RQ_FUA; needs DBLOCK_F_WRITE_CACHE.
 *	Without it the block layer sends a FLUSH after the write instead
 * @DBLOCK_F_DISCARD: DISCARD may be delivered
 * @DBLOCK_F_WRITE_ZEROES: WRITE_ZEROES may be delivered
 * @DBLOCK_F_ROTATIONAL: the disk says it rotates; the default is that it doesn't
 * @DBLOCK_F_PARTITIONS: the partition table is read at the first open after
 *	START, and partitions may be added; without it the disk has none
 */
enum dblock_flags {
	DBLOCK_F_READ_ONLY	= 1 << 0,
	DBLOCK_F_WRITE_CACHE	= 1 << 1,
	DBLOCK_F_FUA		= 1 << 2,
	DBLOCK_F_DISCARD	= 1 << 3,
	DBLOCK_F_WRITE_ZEROES	= 1 << 4,
	DBLOCK_F_ROTATIONAL	= 1 << 5,
	DBLOCK_F_PARTITIONS	= 1 << 6,
};

/* Every flag that this version of the interface defines. */
#define DBLOCK_F_ALL		0x7f

/**
 * enum dblock_state - what a device is doing
 * @DBLOCK_STATE_CREATED: created, not started: there is no disk
 * @DBLOCK_STATE_LIVE: started, and a server is attached
 * @DBLOCK_STATE_PARKED: started, no server; requests wait until one attaches
 *	or until recover_ms is over
 * @DBLOCK_STATE_FAILED: the server died and recover_ms is over (or was 0):
 *	every request fails with EIO
 * @DBLOCK_STATE_DYING: being destroyed
 */
enum dblock_state {
	DBLOCK_STATE_CREATED	= 1,
	DBLOCK_STATE_LIVE	= 2,
	DBLOCK_STATE_PARKED	= 3,
	DBLOCK_STATE_FAILED	= 4,
	DBLOCK_STATE_DYING	= 5,
};

/**
 * struct dblock_info - what the module knows (DBLOCK_INFO)
 * @size: in: sizeof(struct dblock_info)
 * @version: in: ignored; out: newest interface version the module speaks
 * @version_min: out: oldest interface version the module speaks
 * @flags: out: mask of the &enum dblock_flags the module knows
 * @max_devices: out: how many devices may exist at once
 * @max_depth: out: largest &dblock_create.depth
 * @max_queues: out: largest &dblock_create.queues
 * @min_io: out: smallest &dblock_create.max_io, bytes
 * @max_io: out: largest &dblock_create.max_io, bytes
 * @max_block: out: largest &dblock_create.logical_block, bytes
 * @features: out: bits for later additions, none defined yet
 * @reserved: in: must be zero; out: zero
 *
 * A program uses an interface version v where version_min <= v <= version.
 */
struct dblock_info {
	__u32	size;
	__u32	version;
	__u32	version_min;
	__u32	flags;
	__u32	max_devices;
	__u32	max_depth;
	__u32	max_queues;
	__u32	min_io;
	__u32	max_io;
	__u32	max_block;
	__u64	features;
	__u64	reserved[2];
};

/**
 * struct dblock_create - a new device (DBLOCK_CREATE)
 * @size: sizeof(struct dblock_create)
 * @version: DBLOCK_ABI_VERSION
 * @name: of the device, and of the disk: [A-Za-z][A-Za-z0-9_-]{0,26}, padded
 *	with NULs
 * @uuid: identity, asked for at ATTACH; must not be all zeroes
 * @capacity: bytes; a multiple of @logical_block, not zero, below 2^63
 * @flags: &enum dblock_flags
 * @logical_block: bytes; 512, 1024, 2048 or 4096: unit of offset and length of
 *	every request
 * @physical_block: bytes; a power of two, @logical_block to 1 MiB; 0 =
 *	@logical_block
 * @io_min: preferred smallest I/O, bytes, a multiple of @physical_block up to
 *	1 GiB; 0 = @physical_block
 * @io_opt: best I/O size, bytes, a multiple of @physical_block up to 1 GiB;
 *	0 = unknown
 * @max_io: longest READ or WRITE, bytes; a multiple of 4096 within
 *	&dblock_info.min_io and &dblock_info.max_io
 * @max_discard: longest DISCARD or WRITE_ZEROES, bytes; a multiple of
 *	@logical_block; 0 = 128 MiB
 * @discard_granularity: bytes; a power of two, @logical_block to 1 GiB; 0 =
 *	@physical_block
 * @depth: requests in flight; tags are 0 to @depth - 1
 * @queues: hardware queues; 1 in this version
 * @io_timeout_ms: with a server attached, a request that isn't fetched within
 *	this time, or not answered this long after its delivery, fails with
 *	EIO; 0 = wait as long as a server is attached. The answer that comes too
 *	late is stale, but a late WRITE may still reach the storage. The
 *	slot of a request that failed so is left alone until the late
 *	answer has come or the server is gone
 * @recover_ms: how long requests wait for a new server after the server's
 *	death: 0 = they fail at once and no server may attach again,
 *	DBLOCK_FOREVER = for ever. The clock starts at the death, and is not
 *	started anew by a server that dies without having answered a request
 * @id: out: number of the device, from 1, never used again while the module
 *	is loaded
 * @reserved0: must be zero
 * @reserved: must be zero
 *
 * Errors: EINVAL (one of the above is out of range), EEXIST (the name is in
 * use), ENOSPC (&dblock_info.max_devices exist), ENOMEM.
 */
struct dblock_create {
	__u32	size;
	__u32	version;
	char	name[DBLOCK_NAME_LEN];
	__u8	uuid[16];
	__u64	capacity;
	__u32	flags;
	__u32	logical_block;
	__u32	physical_block;
	__u32	io_min;
	__u32	io_opt;
	__u32	max_io;
	__u32	max_discard;
	__u32	discard_granularity;
	__u32	depth;
	__u32	queues;
	__u32	io_timeout_ms;
	__u32	recover_ms;
	__u32	id;
	__u32	reserved0;
	__u64	reserved[5];
};

/**
 * enum dblock_destroy_mode - how DBLOCK_DESTROY goes about it
 * @DBLOCK_DESTROY_GRACEFUL: only a disk that nobody has open and that has no
 *	request in flight, else EBUSY; never waits for the server. Every
 *	completed write has been given to the server by then, which makes it
 *	durable itself. User space retries: udev opens every new disk for a
 *	moment
 * @DBLOCK_DESTROY_DEFERRED: now if the above holds, else at the last close;
 *	the command itself returns at once
 * @DBLOCK_DESTROY_FORCE: now, in any state: requests fail with EIO, what is in
 *	the page cache is lost
 */
enum dblock_destroy_mode {
	DBLOCK_DESTROY_GRACEFUL	= 0,
	DBLOCK_DESTROY_DEFERRED	= 1,
	DBLOCK_DESTROY_FORCE	= 2,
};

/**
 * struct dblock_target - a command on one device (DBLOCK_ATTACH, DBLOCK_START,
 *	DBLOCK_DESTROY, DBLOCK_RESIZE)
 * @size: sizeof(struct dblock_target)
 * @version: DBLOCK_ABI_VERSION
 * @name: of the device, padded with NULs
 * @uuid: of the device; all zeroes = whichever has the name (not for ATTACH)
 * @arg: RESIZE: the new capacity in bytes, as in &dblock_create.capacity;
 *	DESTROY: &enum dblock_destroy_mode; ATTACH and START: must be zero
 * @reserved: must be zero
 *
 * Errors of all: ENODEV (no device of that name), ESTALE (it has another
 * uuid), ESHUTDOWN (it is being destroyed).
 *
 * ATTACH: makes this open file the device's server channel, until the file is
 * released or the process that attached exits. EBUSY (another channel is
 * attached), EISCONN (this file is a channel already), ENOTRECOVERABLE (the
 * server died and recover_ms is 0).
 *
 * START: adds the disk. Does not wait for requests, but openers may come at
 * once, so a server should be attached and exchanging. EALREADY (started),
 * EEXIST (a disk of another driver has the name), ENOMEM.
 *
 * DESTROY: EBUSY (GRACEFUL only). Returns when the disk is gone, except for
 * DEFERRED; file systems that are still mounted hold only a dead disk.
 *
 * RESIZE: changes the capacity and sends a uevent. To grow, let the storage
 * grow first; to shrink, let it shrink afterwards. A request delivered before
 * may lie beyond a new end.
 *
 * START, DESTROY and RESIZE are for threads that serve no requests.
 */
struct dblock_target {
	__u32	size;
	__u32	version;
	char	name[DBLOCK_NAME_LEN];
	__u8	uuid[16];
	__u64	arg;
	__u64	reserved[2];
};

/**
 * struct dblock_status - one device (DBLOCK_STATUS, DBLOCK_LIST)
 * @size: in: sizeof(struct dblock_status)
 * @version: in: DBLOCK_ABI_VERSION
 * @name: STATUS: in: of the device; out
 * @uuid: STATUS: in: of the device, or all zeroes; out
 * @id: LIST: in: number of the last device seen, 0 to begin; out
 * @state: out: &enum dblock_state
 * @capacity: out: as the next ten, see &struct dblock_create
 * @flags: out
 * @logical_block: out
 * @physical_block: out
 * @io_min: out
 * @io_opt: out
 * @max_io: out
 * @max_discard: out
 * @discard_granularity: out
 * @depth: out
 * @queues: out
 * @io_timeout_ms: out
 * @recover_ms: out
 * @major: out: of the disk, 0 before START
 * @minor: out: of the disk
 * @server_pid: out: process that attached, as the caller sees it; 0 = none
 * @openers: out: how often the disk is open (mounts count as one)
 * @pending: out: requests that wait to be fetched
 * @delivered: out: requests that were fetched and not answered yet
 * @recover_left_ms: out: rest of recover_ms while PARKED, else 0
 * @deferred: out: 1 = destroyed at the last close
 * @generation: out: number of ATTACHes so far
 * @fetched: out: requests delivered, repeated deliveries included
 * @committed: out: requests answered
 * @redelivered: out: requests put back because their server died
 * @stale: out: answers refused because of their cookie
 * @bad_results: out: answers whose result was none of the accepted ones
 * @timeouts: out: requests failed by io_timeout_ms
 * @failed: out: requests failed for want of a server, or by a forced destroy
 * @reserved: in: must be zero; out: zero
 *
 * Members marked out need not be zero on entry. Errors: as in
 * &struct dblock_target; LIST: ENOENT (no further device).
 */
struct dblock_status {
	__u32	size;
	__u32	version;
	char	name[DBLOCK_NAME_LEN];
	__u8	uuid[16];
	__u32	id;
	__u32	state;
	__u64	capacity;
	__u32	flags;
	__u32	logical_block;
	__u32	physical_block;
	__u32	io_min;
	__u32	io_opt;
	__u32	max_io;
	__u32	max_discard;
	__u32	discard_granularity;
	__u32	depth;
	__u32	queues;
	__u32	io_timeout_ms;
	__u32	recover_ms;
	__u32	major;
	__u32	minor;
	__u32	server_pid;
	__u32	openers;
	__u32	pending;
	__u32	delivered;
	__u32	recover_left_ms;
	__u32	deferred;
	__u64	generation;
	__u64	fetched;
	__u64	committed;
	__u64	redelivered;
	__u64	stale;
	__u64	bad_results;
	__u64	timeouts;
	__u64	failed;
	__u64	reserved[5];
};

/**
 * enum dblock_op - what a request asks for
 * @DBLOCK_OP_READ: fill the slot with @length bytes from @offset
 * @DBLOCK_OP_WRITE: store @length bytes of the slot at @offset
 * @DBLOCK_OP_FLUSH: make every write that was answered before this request was
 *	fetched durable; offset and length are 0
 * @DBLOCK_OP_DISCARD: the range's contents are no longer needed; no payload,
 *	@length may exceed the slot
 * @DBLOCK_OP_WRITE_ZEROES: the range must read as zeroes; no payload, @length
 *	may exceed the slot
 */
enum dblock_op {
	DBLOCK_OP_READ		= 0,
	DBLOCK_OP_WRITE		= 1,
	DBLOCK_OP_FLUSH		= 2,
	DBLOCK_OP_DISCARD	= 3,
	DBLOCK_OP_WRITE_ZEROES	= 4,
};

/**
 * enum dblock_rq_flags - bits of &dblock_request.flags
 * @DBLOCK_RQ_FUA: WRITE or WRITE_ZEROES: durable before it is answered; set
 *	only on devices with DBLOCK_F_FUA
 * @DBLOCK_RQ_NOUNMAP: WRITE_ZEROES: keep the space allocated
 *
 * A server ignores bits it doesn't know.
 */
enum dblock_rq_flags {
	DBLOCK_RQ_FUA		= 1 << 0,
	DBLOCK_RQ_NOUNMAP	= 1 << 1,
};

/**
 * struct dblock_request - a request, as delivered to the server
 * @cookie: identifies this delivery; goes unchanged into the answer
 * @queue: hardware queue, 0 in this version
 * @tag: the request's slot: its data is at base + @tag * slot_size
 * @op: &enum dblock_op
 * @offset: bytes from the start of the device
 * @length: bytes
 * @flags: &enum dblock_rq_flags
 * @reserved0: zero
 * @reserved: zero
 *
 * From delivery to answer the slot belongs to the server. A cookie is never
 * used twice while the device exists.
 */
struct dblock_request {
	__u64	cookie;
	__u16	queue;
	__u16	tag;
	__u32	op;
	__u64	offset;
	__u64	length;
	__u32	flags;
	__u32	reserved0;
	__u64	reserved[3];
};

/**
 * struct dblock_commit - an answer
 * @cookie: of the request, as delivered
 * @queue: of the request
 * @tag: of the request
 * @result: 0, or one of these negated: EIO, ENOSPC, EOPNOTSUPP, ETIMEDOUT,
 *	ENOLINK, ENODATA, EILSEQ; anything else counts as EIO. All or nothing:
 *	a successful READ has filled the whole length
 * @status: out, written only if the answer was refused, which
 *	&dblock_exchange.n_refused counts: -ESTALE (no such request is
 *	delivered: answered, timed out or delivered anew since; harmless),
 *	-EFAULT (the slot's memory can't be read: the request stays delivered
 *	under the same cookie), -EINVAL (@reserved is not zero)
 * @reserved: must be zero
 */
struct dblock_commit {
	__u64	cookie;
	__u16	queue;
	__u16	tag;
	__s32	result;
	__s32	status;
	__u32	reserved;
};

/**
 * struct dblock_exchange - answers in, requests out (DBLOCK_EXCHANGE)
 * @commits: address of @n_commit &struct dblock_commit
 * @fetched: address of room for @max_fetch &struct dblock_request
 * @base: address of the server's buffer area, depth * @slot_size bytes: the
 *	slot of tag t is at @base + t * @slot_size. May differ between calls as
 *	long as each answer's slot is where the answering call says
 * @slot_size: bytes, at least the device's max_io
 * @n_commit: answers given, at most the device's depth
 * @max_fetch: requests wanted, at most the device's depth; 0 = only answer
 * @timeout_ms: how long to wait for a first request: 0 = not at all,
 *	DBLOCK_FOREVER. There is no waiting while any request is at hand
 * @flags: must be zero
 * @n_committed: out: answers looked at, refused ones included; less than
 *	@n_commit only with an error or if the caller is being killed
 * @n_refused: out: answers refused, see &dblock_commit.status
 * @n_fetched: out: requests delivered
 * @state: out: &enum dblock_state
 * @reserved0: must be zero
 * @reserved: must be zero
 *
 * On a channel only. Answers are taken first, in the order given. Returns the
 * number of requests delivered, or -1 with errno:
 *
 * EINTR: a signal came before any request, and no answer had been given;
 *	after answers a signal gives 0.
 * EFAULT: @commits or @fetched can't be accessed, or a slot of a WRITE can't be
 *	written: that request is not delivered, and goes to the next caller.
 *	@n_committed and @n_fetched are valid; with @n_fetched > 0 the call
 *	succeeds instead.
 * ENOTCONN: this file is no channel, or is one no more.
 * ESHUTDOWN: the device is being destroyed; every caller gets this, now and
 *	later. The server makes its storage durable and closes the file.
 * EINVAL: a member is out of range.
 *
 * The out members are written with ENOTCONN and ESHUTDOWN, too. Any number of
 * threads may call at once; requests are independent of each other, and may
 * be answered in any order and from any thread that has the channel.
 */
struct dblock_exchange {
	__u64	commits;
	__u64	fetched;
	__u64	base;
	__u32	slot_size;
	__u32	n_commit;
	__u32	max_fetch;
	__u32	timeout_ms;
	__u32	flags;
	__u32	n_committed;
	__u32	n_refused;
	__u32	n_fetched;
	__u32	state;
	__u32	reserved0;
	__u64	reserved[2];
};

#define DBLOCK_IOC_MAGIC	0xdb

#define DBLOCK_INFO	_IOWR(DBLOCK_IOC_MAGIC, 0x00, struct dblock_info)
#define DBLOCK_CREATE	_IOWR(DBLOCK_IOC_MAGIC, 0x01, struct dblock_create)
#define DBLOCK_ATTACH	_IOW(DBLOCK_IOC_MAGIC, 0x02, struct dblock_target)
#define DBLOCK_START	_IOW(DBLOCK_IOC_MAGIC, 0x03, struct dblock_target)
#define DBLOCK_DESTROY	_IOW(DBLOCK_IOC_MAGIC, 0x04, struct dblock_target)
#define DBLOCK_RESIZE	_IOW(DBLOCK_IOC_MAGIC, 0x05, struct dblock_target)
#define DBLOCK_STATUS	_IOWR(DBLOCK_IOC_MAGIC, 0x06, struct dblock_status)
#define DBLOCK_LIST	_IOWR(DBLOCK_IOC_MAGIC, 0x07, struct dblock_status)
#define DBLOCK_EXCHANGE	_IOWR(DBLOCK_IOC_MAGIC, 0x10, struct dblock_exchange)

#endif /* _UAPI_DBLOCK_H */
