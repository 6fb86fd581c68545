// SPDX-License-Identifier: GPL-2.0
/*
 * dblock: DBLOCK_EXCHANGE, the server's side of a device.
 *
 * Payload is copied between a request's pages and the server's memory in the
 * context of the thread that fetches or answers. While it copies, the thread
 * owns the request, and a teardown waits for it; so it copies with page faults
 * disabled. Where the memory isn't there, it gives the request up, faults
 * the memory in, however long that takes, and claims the request again, which
 * may have been timed out, put back or failed by then.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/nospec.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "dblock.h"

/* Is the range one of user space, as far as can be told without touching it? */
static bool dblock_user_range(u64 addr, u64 len)
{
	return addr + len >= addr && addr + len <= ULONG_MAX &&
	       access_ok(u64_to_user_ptr(addr), len);
}

static void __user *dblock_slot_addr(const struct dblock_exchange *x, u32 tag)
{
	return u64_to_user_ptr(x->base + (u64)tag * x->slot_size);
}

/* Copies all of a request's payload; false if a page of @buf isn't there. */
static bool dblock_copy(struct request *rq, void __user *buf, bool to_user)
{
	struct req_iterator rq_iter;
	struct iov_iter user;
	struct iovec iov;
	struct bio_vec bv;
	bool ok = true;

	if (dblock_user_iter(to_user, buf, blk_rq_bytes(rq), &iov, &user))
		return false;

	pagefault_disable();
	rq_for_each_segment(bv, rq, rq_iter) {
		size_t n;

		if (to_user)
			n = copy_page_to_iter(bv.bv_page, bv.bv_offset,
					      bv.bv_len, &user);
		else
			n = copy_page_from_iter(bv.bv_page, bv.bv_offset,
						bv.bv_len, &user);
		if (n != bv.bv_len) {
			ok = false;
			break;
		}
	}
	pagefault_enable();
	return ok;
}

static void dblock_describe(const struct dblock_slot *slot, u32 tag,
			    struct dblock_request *d)
{
	struct request *rq = slot->rq;

	memset(d, 0, sizeof(*d));
	d->cookie = slot->cookie;
	d->tag = tag;
	switch (req_op(rq)) {
	case REQ_OP_WRITE:
		d->op = DBLOCK_OP_WRITE;
		break;
	case REQ_OP_FLUSH:
		d->op = DBLOCK_OP_FLUSH;
		return;
	case REQ_OP_DISCARD:
		d->op = DBLOCK_OP_DISCARD;
		break;
	case REQ_OP_WRITE_ZEROES:
		d->op = DBLOCK_OP_WRITE_ZEROES;
		if (rq->cmd_flags & REQ_NOUNMAP)
			d->flags |= DBLOCK_RQ_NOUNMAP;
		break;
	default:
		d->op = DBLOCK_OP_READ;
		break;
	}
	d->offset = (u64)blk_rq_pos(rq) << SECTOR_SHIFT;
	d->length = blk_rq_bytes(rq);
	if (rq->cmd_flags & REQ_FUA)
		d->flags |= DBLOCK_RQ_FUA;
}

/*
 * The present thread gives up a request that it was copying. Called and
 * returns under dev->lock; returns the request if it is to be failed by the
 * caller, after dropping the lock.
 */
static struct request *dblock_give_up(struct dblock_dev *dev,
				      struct dblock_channel *channel,
				      struct dblock_slot *slot)
{
	bool fetched = slot->state == SLOT_COMMITTING;

	lockdep_assert_held(&dev->lock);
	if (dev->dying || dev->failed) {
		dev->stats.failed++;
		return dblock_take(dev, slot);
	}
	if (fetched && dev->server == channel) {
		slot->state = SLOT_DELIVERED;
		return NULL;
	}
	if (fetched)
		dev->stats.redelivered++;
	slot->state = SLOT_PENDING;
	dev->n_pending++;
	dblock_enqueue(dev, slot, true);
	return NULL;
}

/* Why the channel can't be used, or 0. Called under dev->lock. */
static int dblock_channel_error(const struct dblock_dev *dev,
				const struct dblock_channel *channel)
{
	if (dev->dying)
		return -ESHUTDOWN;
	return dev->server == channel ? 0 : -ENOTCONN;
}

/* What the block layer is told. Called under dev->lock. */
static blk_status_t dblock_result(struct dblock_dev *dev, s32 result)
{
	switch (result) {
	case 0:
	case -EIO:
	case -ENOSPC:
	case -EOPNOTSUPP:
	case -ETIMEDOUT:
	case -ENOLINK:
	case -ENODATA:
	case -EILSEQ:
		return errno_to_blk_status(result);
	default:
		/* Among the rest are some that the block layer would retry. */
		dev->stats.bad_results++;
		return BLK_STS_IOERR;
	}
}

/*
 * Takes one answer. Returns 0, or why it was refused: -ESTALE, -EFAULT,
 * -EINVAL; or -EINTR if the thread is being killed.
 */
static int dblock_commit_one(struct dblock_dev *dev,
			     struct dblock_channel *channel,
			     const struct dblock_exchange *x,
			     const struct dblock_commit *c)
{
	struct dblock_slot *slot;
	blk_status_t status;
	struct request *rq;
	void __user *buf;
	u32 tag;

	if (c->reserved)
		return -EINVAL;
	if (c->queue || c->tag >= dev->params.depth) {
		spin_lock(&dev->lock);
		dev->stats.stale++;
		spin_unlock(&dev->lock);
		return -ESTALE;
	}
	tag = array_index_nospec(c->tag, dev->params.depth);
	slot = &dev->slots[tag];
	buf = dblock_slot_addr(x, tag);

again:
	spin_lock(&dev->lock);
	if (slot->state != SLOT_DELIVERED || slot->cookie != c->cookie ||
	    dblock_channel_error(dev, channel)) {
		bool wake = false;

		dev->stats.stale++;
		if (slot->late && slot->late == c->cookie &&
		    dev->server == channel) {
			slot->late = 0;
			wake = slot->state == SLOT_PENDING;
			if (wake)
				dblock_enqueue(dev, slot, false);
		}
		spin_unlock(&dev->lock);
		if (wake)
			wake_up(&dev->fetchers);
		return -ESTALE;
	}
	slot->state = SLOT_COMMITTING;
	slot->tgid = current->tgid;
	rq = slot->rq;
	spin_unlock(&dev->lock);

	if (!c->result && req_op(rq) == REQ_OP_READ &&
	    !dblock_copy(rq, buf, false)) {
		unsigned int len = blk_rq_bytes(rq);

		spin_lock(&dev->lock);
		rq = dblock_give_up(dev, channel, slot);
		spin_unlock(&dev->lock);
		if (rq)
			blk_mq_end_request(rq, BLK_STS_IOERR);
		else
			wake_up(&dev->fetchers);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (dblock_fault_in(false, buf, len))
			return -EFAULT;
		cond_resched();
		goto again;
	}

	spin_lock(&dev->lock);
	status = dblock_result(dev, c->result);
	dblock_take(dev, slot);
	dev->stats.committed++;
	dev->recovering = false;
	spin_unlock(&dev->lock);
	blk_mq_end_request(rq, status);
	return 0;
}

static int dblock_commit(struct dblock_dev *dev, struct dblock_channel *channel,
			 struct dblock_exchange *x)
{
	struct dblock_commit __user *commits = u64_to_user_ptr(x->commits);

	while (x->n_committed < x->n_commit) {
		struct dblock_commit __user *p = &commits[x->n_committed];
		struct dblock_commit c;
		int status;

		if (copy_from_user(&c, p, sizeof(c)))
			return -EFAULT;
		status = dblock_commit_one(dev, channel, x, &c);
		if (status == -EINTR)
			return status;
		x->n_committed++;
		if (status) {
			x->n_refused++;
			if (put_user(status, &p->status))
				return -EFAULT;
		}
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/*
 * Delivers one request. Returns 0, -EAGAIN (there is none), -ENOTCONN,
 * -ESHUTDOWN, -EFAULT, or -EINTR if the thread is being killed.
 */
static int dblock_fetch_one(struct dblock_dev *dev,
			    struct dblock_channel *channel,
			    const struct dblock_exchange *x,
			    struct dblock_request __user *out)
{
	struct dblock_request d;
	struct dblock_slot *slot;
	struct request *rq;
	void __user *buf;
	bool payload, ok;
	int ret;

again:
	spin_lock(&dev->lock);
	ret = dblock_channel_error(dev, channel);
	slot = list_first_entry_or_null(&dev->pending, struct dblock_slot,
					node);
	if (!ret && !slot)
		ret = -EAGAIN;
	if (ret) {
		spin_unlock(&dev->lock);
		return ret;
	}
	list_del_init(&slot->node);
	dev->n_pending--;
	slot->state = SLOT_COPYING;
	slot->cookie = ++dev->last_cookie;
	slot->tgid = current->tgid;
	rq = slot->rq;
	spin_unlock(&dev->lock);

	dblock_describe(slot, slot - dev->slots, &d);
	payload = d.op == DBLOCK_OP_WRITE;
	buf = dblock_slot_addr(x, d.tag);
	ok = !payload || dblock_copy(rq, buf, true);
	if (ok) {
		pagefault_disable();
		ok = !__copy_to_user_inatomic(out, &d, sizeof(d));
		pagefault_enable();
	}

	spin_lock(&dev->lock);
	if (ok && !dblock_channel_error(dev, channel)) {
		slot->state = SLOT_DELIVERED;
		slot->since = jiffies;
		dev->stats.fetched++;
		spin_unlock(&dev->lock);
		return 0;
	}
	rq = dblock_give_up(dev, channel, slot);
	spin_unlock(&dev->lock);
	if (rq)
		blk_mq_end_request(rq, BLK_STS_IOERR);
	else
		wake_up(&dev->fetchers);

	if (!ok) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (dblock_fault_in(true, out, sizeof(d)) ||
		    (payload && dblock_fault_in(true, buf, d.length)))
			return -EFAULT;
		cond_resched();
	}
	goto again;
}

/* Is there a reason not to wait? */
static bool dblock_must_look(struct dblock_dev *dev,
			     struct dblock_channel *channel)
{
	bool look;

	spin_lock(&dev->lock);
	look = !list_empty(&dev->pending) || dblock_channel_error(dev, channel);
	spin_unlock(&dev->lock);
	return look;
}

/*
 * Waits until there may be something to fetch, or until @until, in jiffies,
 * if the wait is @limited. Returns 0, -ETIME or -EINTR. There is no macro for
 * a wait that is exclusive, interruptible and limited. The condition comes
 * before the signal: the wake-up that is used up here was perhaps the only
 * one.
 */
static int dblock_wait(struct dblock_dev *dev, struct dblock_channel *channel,
		       bool limited, unsigned long until)
{
	DEFINE_WAIT(wait);
	int ret = 0;

	for (;;) {
		prepare_to_wait_exclusive(&dev->fetchers, &wait,
					  TASK_INTERRUPTIBLE);
		if (dblock_must_look(dev, channel))
			break;
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (limited) {
			if (time_after_eq(jiffies, until)) {
				ret = -ETIME;
				break;
			}
			timer_reduce(&dev->limit, until);
		}
		schedule();
	}
	finish_wait(&dev->fetchers, &wait);
	return ret;
}

static int dblock_fetch(struct dblock_dev *dev, struct dblock_channel *channel,
			struct dblock_exchange *x)
{
	struct dblock_request __user *out = u64_to_user_ptr(x->fetched);
	bool limited = x->timeout_ms != DBLOCK_FOREVER;
	unsigned long until = 0;
	int ret = 0;

	if (limited)
		until = jiffies + msecs_to_jiffies(x->timeout_ms);

	while (x->n_fetched < x->max_fetch) {
		ret = dblock_fetch_one(dev, channel, x, &out[x->n_fetched]);
		if (!ret) {
			x->n_fetched++;
			cond_resched();
			if (fatal_signal_pending(current))
				break;
			continue;
		}
		if (ret != -EAGAIN || x->n_fetched)
			break;
		ret = dblock_wait(dev, channel, limited, until);
		if (ret)
			break;
	}
	/*
	 * This thread used up one wake-up, perhaps in the moment in which its
	 * time was over; what it leaves is for another.
	 */
	if (x->max_fetch && !list_empty(&dev->pending))
		wake_up(&dev->fetchers);

	if (x->n_fetched || ret == -EAGAIN || ret == -ETIME)
		return 0;
	if (ret == -EINTR && x->n_committed)
		return 0;
	return ret;
}

static int dblock_check_exchange(const struct dblock_dev *dev,
				 const struct dblock_exchange *x)
{
	u32 depth = dev->params.depth;

	if (x->flags || x->reserved0 || x->reserved[0] || x->reserved[1])
		return -EINVAL;
	if (x->n_commit > depth || x->max_fetch > depth)
		return -EINVAL;
	if (x->slot_size < dev->params.max_io)
		return -EINVAL;
	if (!dblock_user_range(x->base, (u64)depth * x->slot_size) ||
	    !dblock_user_range(x->commits, (u64)x->n_commit *
			       sizeof(struct dblock_commit)) ||
	    !dblock_user_range(x->fetched, (u64)x->max_fetch *
			       sizeof(struct dblock_request)))
		return -EFAULT;
	return 0;
}

/**
 * dblock_exchange() - DBLOCK_EXCHANGE
 * @channel: the open control device
 * @arg: see &struct dblock_exchange
 *
 * Memory is allocated on the way (to fault in the server's), and what waits
 * for that may wait for this very device: hence memalloc_noio_save().
 */
long dblock_exchange(struct dblock_channel *channel,
		     struct dblock_exchange __user *arg)
{
	/* Pairs with the release in dblock_attach(). */
	struct dblock_dev *dev = smp_load_acquire(&channel->dev);
	struct dblock_exchange x;
	unsigned int noio;
	int ret;

	if (!dev)
		return -ENOTCONN;
	if (copy_from_user(&x, arg, sizeof(x)))
		return -EFAULT;
	ret = dblock_check_exchange(dev, &x);
	if (ret)
		return ret;
	x.n_committed = 0;
	x.n_refused = 0;
	x.n_fetched = 0;

	noio = memalloc_noio_save();
	spin_lock(&dev->lock);
	ret = dblock_channel_error(dev, channel);
	spin_unlock(&dev->lock);
	if (!ret)
		ret = dblock_commit(dev, channel, &x);
	if (!ret)
		ret = dblock_fetch(dev, channel, &x);
	memalloc_noio_restore(noio);

	spin_lock(&dev->lock);
	x.state = dblock_state(dev);
	spin_unlock(&dev->lock);

	BUILD_BUG_ON(offsetof(struct dblock_exchange, reserved0) -
		     offsetof(struct dblock_exchange, n_committed) != 16);
	if (copy_to_user(&arg->n_committed, &x.n_committed, 16))
		return -EFAULT;
	return ret ? ret : (long)x.n_fetched;
}
