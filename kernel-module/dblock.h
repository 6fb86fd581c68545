/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dblock: what the parts of the driver share.
 *
 * Locks, in the order in which they nest:
 *
 *	dblock_registry		the set of devices, disk->private_data, and which
 *				device a channel has
 *	dblock_dev.mutex	START, RESIZE and teardown of one device; held
 *				over add_disk() and del_gendisk()
 *	dblock_dev.lock		everything else of one device; never held over
 *				anything that sleeps
 *
 * The I/O path takes dblock_dev.lock only.
 */
#ifndef _DBLOCK_H
#define _DBLOCK_H

#include <linux/blk-mq.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "include/uapi/dblock.h"

#define DBLOCK_MAX_DEVICES	4096
#define DBLOCK_MAX_DEPTH	1024
#define DBLOCK_MAX_QUEUES	1
#define DBLOCK_MIN_IO		((u32)PAGE_SIZE)
#define DBLOCK_MAX_IO		SZ_1M
#define DBLOCK_MAX_BLOCK	4096
#define DBLOCK_MAX_DISCARD	SZ_128M

/*
 * The states of a slot, and who owns its request meanwhile. Every step is
 * taken under dblock_dev.lock.
 *
 *	SLOT_FREE	  there is no request
 *	SLOT_PENDING	  the driver; may be fetched, failed, timed out
 *	SLOT_COPYING	  the thread that fetches it; all others keep off
 *	SLOT_DELIVERED	  the server; may be answered, put back, failed, timed out
 *	SLOT_COMMITTING	  the thread that answers it; all others keep off
 *
 * A thread in one of the two copying states doesn't sleep, so waiting for it
 * to leave them is bounded.
 */
enum dblock_slot_state {
	SLOT_FREE,
	SLOT_PENDING,
	SLOT_COPYING,
	SLOT_DELIVERED,
	SLOT_COMMITTING,
};

/**
 * struct dblock_slot - the place of one request, by its tag
 * @node: in dblock_dev.pending while SLOT_PENDING, unless @late is set
 * @rq: the request, NULL while SLOT_FREE
 * @cookie: of the last delivery
 * @late: cookie of a delivery that timed out and whose answer hasn't come: its
 *	server may still use the slot's memory, so nothing is delivered here;
 *	0 = none
 * @since: jiffies at which the present wait for the server began
 * @tgid: process that fetched, or is answering
 * @state: &enum dblock_slot_state
 */
struct dblock_slot {
	struct list_head	node;
	struct request		*rq;
	u64			cookie;
	u64			late;
	unsigned long		since;
	pid_t			tgid;
	enum dblock_slot_state	state;
};

/**
 * struct dblock_channel - an open control device
 * @dev: the device it once attached to, or NULL; set once, under
 *	dblock_registry; holds a reference. The channel is in use only
 *	while dblock_dev.server points back here
 */
struct dblock_channel {
	struct dblock_dev	*dev;
};

/**
 * struct dblock_dev - a device
 * @ref: held by the registry, the disk, each opener, each channel, and
 *	@destroy_work while it is queued
 * @tag_set: of the disk's only queue; freed with the last reference
 * @disk: allocated at CREATE, added at START; the device's until teardown has
 *	set @dying and taken @mutex
 * @mutex: see the head of this file
 * @added: the disk is added; under @mutex
 * @lock: guards all that follows, and the slots
 * @params: as created; only the capacity changes
 * @started: START was called, requests may come
 * @starting: START is under way
 * @devt: of the disk, once it is added
 * @dying: nothing is accepted any more; whoever sets it tears down
 * @failed: the recovery time is over: requests fail
 * @deferred: to be destroyed when idle
 * @recovering: the recovery clock runs, from a server's death to the first
 *	answer to the next one
 * @recover_until: jiffies at which the recovery time is over
 * @openers: open block device files
 * @server: the channel attached, or NULL
 * @server_pid: process that attached it
 * @last_cookie: of the latest delivery; never goes back
 * @pending: requests to fetch, oldest first
 * @n_pending: slots in SLOT_PENDING
 * @n_busy: slots not in SLOT_FREE
 * @stats: counters as in &struct dblock_status
 * @fetchers: threads in EXCHANGE that wait for a request, exclusively
 * @limit: wakes all of them when the first one's time is over; stays armed
 *	where it isn't, so that a busy thread doesn't set a timer per request
 * @drained: teardown waits here for @n_busy to become 0
 * @recover_work: fails the requests when the recovery time is over
 * @destroy_work: carries out a deferred destroy
 * @slots: one for each tag
 */
struct dblock_dev {
	struct kref		ref;
	u32			id;
	struct blk_mq_tag_set	tag_set;
	struct gendisk		*disk;

	struct mutex		mutex;	/* START, RESIZE, teardown */
	bool			added;

	spinlock_t		lock;	/* all that follows */
	struct dblock_create	params;
	bool			started;
	bool			starting;
	dev_t			devt;
	bool			dying;
	bool			failed;
	bool			deferred;
	bool			recovering;
	unsigned long		recover_until;
	unsigned int		openers;
	struct dblock_channel	*server;
	struct pid		*server_pid;
	u64			last_cookie;
	struct list_head	pending;
	unsigned int		n_pending;
	unsigned int		n_busy;
	struct {
		u64	generation;
		u64	fetched;
		u64	committed;
		u64	redelivered;
		u64	stale;
		u64	bad_results;
		u64	timeouts;
		u64	failed;
	} stats;

	wait_queue_head_t	fetchers;
	struct timer_list	limit;
	wait_queue_head_t	drained;
	struct delayed_work	recover_work;
	struct work_struct	destroy_work;
	struct dblock_slot	slots[];
};

extern struct mutex dblock_registry;
extern struct workqueue_struct *dblock_recover_wq;
extern struct workqueue_struct *dblock_destroy_wq;

/* device.c: the life of a device */
int dblock_create(struct dblock_create *params);
struct dblock_dev *dblock_find(const char *name, const u8 *uuid);
struct dblock_dev *dblock_find_after(u32 id);
void dblock_put(struct dblock_dev *dev);
int dblock_start(struct dblock_dev *dev);
int dblock_destroy(struct dblock_dev *dev, u64 mode);
int dblock_resize(struct dblock_dev *dev, u64 capacity);
void dblock_status(struct dblock_dev *dev, struct dblock_status *status);
void dblock_idle(struct dblock_dev *dev);
int dblock_open(struct gendisk *disk, bool write);
void dblock_release(struct gendisk *disk);
void dblock_free_disk(struct gendisk *disk);

/* queue.c: requests between the block layer and the slots; servers */
extern const struct blk_mq_ops dblock_mq_ops;
void dblock_enqueue(struct dblock_dev *dev, struct dblock_slot *slot,
		    bool at_head);
u32 dblock_state(const struct dblock_dev *dev);
int dblock_attach(struct dblock_dev *dev, struct dblock_channel *channel);
void dblock_detach(struct dblock_channel *channel, bool exiting);
void dblock_fail_requests(struct dblock_dev *dev);
void dblock_recover_work(struct work_struct *work);
enum blk_eh_timer_return dblock_timed_out(struct request *rq);
struct request *dblock_take(struct dblock_dev *dev, struct dblock_slot *slot);

/* exchange.c: the server's side */
long dblock_exchange(struct dblock_channel *channel,
		     struct dblock_exchange __user *arg);

#endif /* _DBLOCK_H */
