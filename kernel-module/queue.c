// SPDX-License-Identifier: GPL-2.0
/*
 * dblock: requests between the block layer and the slots, and what the
 * comings and goings of servers do to them.
 *
 * A request that the block layer hands over waits in its slot until a server's
 * thread fetches it (exchange.c). blk-mq's own requeueing is not used, and
 * a tag that comes from user space is never looked up in blk-mq's tables: the
 * slots alone say which requests exist.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "dblock.h"

/* What a device is doing, as &enum dblock_state. Called under dev->lock. */
u32 dblock_state(const struct dblock_dev *dev)
{
	lockdep_assert_held(&dev->lock);
	if (dev->dying)
		return DBLOCK_STATE_DYING;
	if (dev->failed)
		return DBLOCK_STATE_FAILED;
	if (!dev->started)
		return DBLOCK_STATE_CREATED;
	return dev->server ? DBLOCK_STATE_LIVE : DBLOCK_STATE_PARKED;
}

/* Makes a PENDING slot ready to be fetched. Called under dev->lock. */
void dblock_enqueue(struct dblock_dev *dev, struct dblock_slot *slot,
		    bool at_head)
{
	lockdep_assert_held(&dev->lock);
	slot->since = jiffies;
	if (slot->late)
		return;
	if (at_head)
		list_add(&slot->node, &dev->pending);
	else
		list_add_tail(&slot->node, &dev->pending);
}

/**
 * dblock_take() - empties a slot whose request is to be ended
 * @dev: the device
 * @slot: a slot that isn't free and isn't owned by another thread
 *
 * Context: under dev->lock. The caller ends the request after dropping it: the
 * block layer may hand over the next request with this tag at once.
 *
 * Return: the request.
 */
struct request *dblock_take(struct dblock_dev *dev, struct dblock_slot *slot)
{
	struct request *rq = slot->rq;

	lockdep_assert_held(&dev->lock);
	if (slot->state == SLOT_PENDING) {
		list_del_init(&slot->node);
		dev->n_pending--;
	}
	slot->rq = NULL;
	slot->state = SLOT_FREE;
	if (!--dev->n_busy) {
		if (dev->dying)
			wake_up(&dev->drained);
		dblock_idle(dev);
	}
	return rq;
}

/* There is something to fetch, for one thread. */
static void dblock_wake(struct dblock_dev *dev)
{
	if (wq_has_sleeper(&dev->fetchers))
		wake_up(&dev->fetchers);
}

static blk_status_t dblock_queue_rq(struct blk_mq_hw_ctx *hctx,
				    const struct blk_mq_queue_data *bd)
{
	struct dblock_dev *dev = hctx->queue->queuedata;
	struct request *rq = bd->rq;
	struct dblock_slot *slot = &dev->slots[rq->tag];

	switch (req_op(rq)) {
	case REQ_OP_READ:
	case REQ_OP_FLUSH:
		break;
	case REQ_OP_WRITE:
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		/* Anyone with CAP_SYS_ADMIN can clear the disk's flag. */
		if (dev->params.flags & DBLOCK_F_READ_ONLY)
			return BLK_STS_IOERR;
		break;
	default:
		return BLK_STS_NOTSUPP;
	}

	blk_mq_start_request(rq);

	spin_lock(&dev->lock);
	if (dev->dying || dev->failed) {
		dev->stats.failed++;
		spin_unlock(&dev->lock);
		return BLK_STS_IOERR;
	}
	slot->rq = rq;
	slot->state = SLOT_PENDING;
	dev->n_busy++;
	dev->n_pending++;
	dblock_enqueue(dev, slot, false);
	spin_unlock(&dev->lock);

	if (bd->last)
		dblock_wake(dev);
	return BLK_STS_OK;
}

static void dblock_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	dblock_wake(hctx->queue->queuedata);
}

/**
 * dblock_timed_out() - the block layer's timer for a request has expired
 * @rq: the request; the block layer holds a reference to it
 *
 * The clock that counts is the slot's: it starts anew when the request is
 * delivered and when a server attaches, and stands still without a server.
 */
enum blk_eh_timer_return dblock_timed_out(struct request *rq)
{
	struct dblock_dev *dev = rq->q->queuedata;
	struct dblock_slot *slot = &dev->slots[rq->tag];
	unsigned long limit = msecs_to_jiffies(dev->params.io_timeout_ms);
	long left;

	spin_lock(&dev->lock);
	if (slot->rq != rq) {
		/* Ended by somebody else in this moment. */
		spin_unlock(&dev->lock);
		return BLK_EH_DONE;
	}
	rq->timeout = 0;
	if (!dev->params.io_timeout_ms || !dev->server ||
	    slot->state == SLOT_COPYING || slot->state == SLOT_COMMITTING)
		goto again;
	left = (long)(slot->since + limit - jiffies);
	if (left > 0) {
		rq->timeout = left;
		goto again;
	}
	if (slot->state == SLOT_DELIVERED)
		slot->late = slot->cookie;
	dblock_take(dev, slot);
	dev->stats.timeouts++;
	spin_unlock(&dev->lock);

	blk_mq_end_request(rq, BLK_STS_IOERR);
	return BLK_EH_DONE;

again:
	spin_unlock(&dev->lock);
	return BLK_EH_RESET_TIMER;
}

const struct blk_mq_ops dblock_mq_ops = {
	.queue_rq	= dblock_queue_rq,
	.commit_rqs	= dblock_commit_rqs,
	.timeout	= dblock_mq_timeout,
};

/**
 * dblock_fail_requests() - ends with EIO what can't be served any more
 * @dev: the device, dying or failed; if it has come back to life meanwhile,
 *	what is left stays
 *
 * Requests that a thread is copying are ended by that thread.
 */
void dblock_fail_requests(struct dblock_dev *dev)
{
	unsigned int tag;

	for (tag = 0; tag < dev->params.depth; tag++) {
		struct dblock_slot *slot = &dev->slots[tag];
		struct request *rq = NULL;

		spin_lock(&dev->lock);
		if ((dev->dying || dev->failed) &&
		    (slot->state == SLOT_PENDING ||
		     slot->state == SLOT_DELIVERED)) {
			rq = dblock_take(dev, slot);
			dev->stats.failed++;
		}
		spin_unlock(&dev->lock);
		if (rq)
			blk_mq_end_request(rq, BLK_STS_IOERR);
	}
}

/* The recovery time is over. */
void dblock_recover_work(struct work_struct *work)
{
	struct dblock_dev *dev = container_of(to_delayed_work(work),
					      struct dblock_dev, recover_work);

	spin_lock(&dev->lock);
	/* With a server there again, its own death decides. */
	if (dev->recovering && !dev->server &&
	    time_after_eq(jiffies, dev->recover_until))
		dev->failed = true;
	spin_unlock(&dev->lock);
	dblock_fail_requests(dev);
}

/* A started device has lost its server: start the clock, or see it expired. */
static void dblock_begin_recovery(struct dblock_dev *dev)
{
	u32 ms = dev->params.recover_ms;

	lockdep_assert_held(&dev->lock);
	if (ms == DBLOCK_FOREVER)
		return;
	if (!dev->recovering) {
		dev->recovering = true;
		dev->recover_until = jiffies + msecs_to_jiffies(ms);
	}
	if (!ms || time_after_eq(jiffies, dev->recover_until)) {
		dev->failed = true;
		return;
	}
	/* Teardown cancels the work, after setting dying under the lock. */
	mod_delayed_work(dblock_recover_wq, &dev->recover_work,
			 dev->recover_until - jiffies);
}

/**
 * dblock_attach() - makes a channel the device's server
 * @dev: the device
 * @channel: an open control device; holds a reference to @dev from now on
 *
 * Context: under dblock_registry.
 *
 * Return: 0, -EISCONN, -ESHUTDOWN, -EBUSY or -ENOTRECOVERABLE.
 */
int dblock_attach(struct dblock_dev *dev, struct dblock_channel *channel)
{
	unsigned int tag;
	int ret = 0;

	lockdep_assert_held(&dblock_registry);
	if (channel->dev)
		return -EISCONN;

	spin_lock(&dev->lock);
	if (dev->dying) {
		ret = -ESHUTDOWN;
	} else if (dev->server) {
		ret = -EBUSY;
	} else if (dev->failed && !dev->params.recover_ms) {
		ret = -ENOTRECOVERABLE;
	} else {
		dev->server = channel;
		dev->server_pid = get_pid(task_tgid(current));
		dev->failed = false;
		dev->stats.generation++;
		for (tag = 0; tag < dev->params.depth; tag++)
			dev->slots[tag].since = jiffies;
	}
	spin_unlock(&dev->lock);
	if (ret)
		return ret;

	kref_get(&dev->ref);
	/* Pairs with the acquire in dblock_exchange(). */
	smp_store_release(&channel->dev, dev);
	return 0;
}

/*
 * Takes back what was delivered: to process @tgid, or to any if it is 0. That
 * server answers no more, so the slots of its late answers are free again.
 */
static void dblock_put_back(struct dblock_dev *dev, pid_t tgid)
{
	unsigned int tag = dev->params.depth;

	lockdep_assert_held(&dev->lock);
	/* Backwards, since each goes to the head. */
	while (tag--) {
		struct dblock_slot *slot = &dev->slots[tag];

		if (tgid && slot->tgid != tgid)
			continue;
		if (slot->late) {
			slot->late = 0;
			if (slot->state == SLOT_PENDING)
				dblock_enqueue(dev, slot, true);
		}
		if (slot->state == SLOT_DELIVERED) {
			slot->state = SLOT_PENDING;
			dev->n_pending++;
			dev->stats.redelivered++;
			dblock_enqueue(dev, slot, true);
		}
	}
}

/**
 * dblock_detach() - a channel is released, or a process that has it exits
 * @channel: the channel
 * @exiting: the current process exits. If it is the one that attached, then
 *	the server is dead, even where a child has inherited the file
 */
void dblock_detach(struct dblock_channel *channel, bool exiting)
{
	/* Pairs with the release in dblock_attach(). */
	struct dblock_dev *dev = smp_load_acquire(&channel->dev);
	struct pid *pid = NULL;
	bool failed = false;

	if (!dev)
		return;

	spin_lock(&dev->lock);
	if (dev->server != channel) {
		spin_unlock(&dev->lock);
		return;
	}
	if (exiting && dev->server_pid != task_tgid(current)) {
		dblock_put_back(dev, current->tgid);
	} else {
		dev->server = NULL;
		pid = dev->server_pid;
		dev->server_pid = NULL;
		dblock_put_back(dev, 0);
		if (dev->started && !dev->dying)
			dblock_begin_recovery(dev);
		failed = dev->failed;
	}
	spin_unlock(&dev->lock);

	put_pid(pid);
	/* Threads of the dead channel leave; others find what was put back. */
	wake_up_all(&dev->fetchers);
	if (failed)
		dblock_fail_requests(dev);
}
