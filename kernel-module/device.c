// SPDX-License-Identifier: GPL-2.0
/*
 * dblock: the life of a device, from CREATE to the last reference.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/idr.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "compat.h"
#include "dblock.h"

/* Guards the two below, and more: see dblock.h. */
DEFINE_MUTEX(dblock_registry);
static DEFINE_IDR(dblock_devices);
static unsigned int dblock_n_devices;

static const struct block_device_operations dblock_fops = {
	.owner		= THIS_MODULE,
	.open		= dblock_fop_open,
	.release	= dblock_fop_release,
	DBLOCK_FREE_DISK
};

/* The time of a thread in EXCHANGE may be over. */
static void dblock_limit(struct timer_list *timer)
{
	struct dblock_dev *dev = container_of(timer, struct dblock_dev, limit);

	wake_up_all(&dev->fetchers);
}

static void dblock_free(struct kref *ref)
{
	struct dblock_dev *dev = container_of(ref, struct dblock_dev, ref);

	timer_delete_sync(&dev->limit);
	blk_mq_free_tag_set(&dev->tag_set);
	kvfree(dev);
	module_put(THIS_MODULE);
}

void dblock_put(struct dblock_dev *dev)
{
	kref_put(&dev->ref, dblock_free);
}

/* The last user of an added disk is gone (kernels that have free_disk). */
void dblock_free_disk(struct gendisk *disk)
{
	dblock_put(disk->private_data);
}

/*
 * An opener comes. A disk that is being deleted may still be found here, so
 * the way to the device is private_data, which teardown clears under the same
 * lock where a disk can outlive its device; the way back in dblock_release()
 * is queuedata, which stays.
 */
int dblock_open(struct gendisk *disk, bool write)
{
	struct dblock_dev *dev;
	int ret = -ENXIO;

	mutex_lock(&dblock_registry);
	dev = disk->private_data;
	if (dev) {
		spin_lock(&dev->lock);
		if (dev->dying || (DBLOCK_OPENS_EARLY && dev->starting)) {
			ret = -ENXIO;
		} else if (write && (dev->params.flags & DBLOCK_F_READ_ONLY)) {
			ret = -EROFS;
		} else {
			dev->openers++;
			kref_get(&dev->ref);
			ret = 0;
		}
		spin_unlock(&dev->lock);
	}
	mutex_unlock(&dblock_registry);
	return ret;
}

void dblock_release(struct gendisk *disk)
{
	struct dblock_dev *dev = disk->queue->queuedata;

	spin_lock(&dev->lock);
	dev->openers--;
	dblock_idle(dev);
	spin_unlock(&dev->lock);
	dblock_put(dev);
}

static bool dblock_is_idle(const struct dblock_dev *dev)
{
	lockdep_assert_held(&dev->lock);
	return !dev->openers && !dev->n_busy && !dev->starting;
}

/*
 * Called under dev->lock whenever the device may have become idle: carries out
 * a deferred destroy. In a work item, since the caller may be the release of
 * the disk, under locks that deleting it needs.
 */
void dblock_idle(struct dblock_dev *dev)
{
	if (!dev->deferred || dev->dying || !dblock_is_idle(dev))
		return;
	kref_get(&dev->ref);
	if (!queue_work(dblock_destroy_wq, &dev->destroy_work))
		kref_put(&dev->ref, dblock_free);
}

static void dblock_destroy_work(struct work_struct *work)
{
	struct dblock_dev *dev = container_of(work, struct dblock_dev,
					      destroy_work);

	/* Not idle any more, or destroyed by force: then nothing is to do. */
	dblock_destroy(dev, DBLOCK_DESTROY_DEFERRED);
	dblock_put(dev);
}

#define DBLOCK_ATTR(_name, _value)					\
static ssize_t _name##_show(struct device *d,				\
			    struct device_attribute *attr, char *buf)	\
{									\
	struct dblock_dev *dev = dev_to_disk(d)->queue->queuedata;	\
	u64 value;							\
									\
	spin_lock(&dev->lock);						\
	value = _value;							\
	spin_unlock(&dev->lock);					\
	return sysfs_emit(buf, "%llu\n", value);			\
}									\
static DEVICE_ATTR_RO(_name)

DBLOCK_ATTR(generation, dev->stats.generation);
DBLOCK_ATTR(pending, dev->n_pending);
DBLOCK_ATTR(delivered, dev->n_busy - dev->n_pending);
DBLOCK_ATTR(fetched, dev->stats.fetched);
DBLOCK_ATTR(committed, dev->stats.committed);
DBLOCK_ATTR(redelivered, dev->stats.redelivered);
DBLOCK_ATTR(stale, dev->stats.stale);
DBLOCK_ATTR(bad_results, dev->stats.bad_results);
DBLOCK_ATTR(timeouts, dev->stats.timeouts);
DBLOCK_ATTR(failed, dev->stats.failed);

static ssize_t state_show(struct device *d, struct device_attribute *attr,
			  char *buf)
{
	static const char * const names[] = {
		[DBLOCK_STATE_CREATED]	= "created",
		[DBLOCK_STATE_LIVE]	= "live",
		[DBLOCK_STATE_PARKED]	= "parked",
		[DBLOCK_STATE_FAILED]	= "failed",
		[DBLOCK_STATE_DYING]	= "dying",
	};
	struct dblock_dev *dev = dev_to_disk(d)->queue->queuedata;
	u32 state;

	spin_lock(&dev->lock);
	state = dblock_state(dev);
	spin_unlock(&dev->lock);
	return sysfs_emit(buf, "%s\n", names[state]);
}
static DEVICE_ATTR_RO(state);

static ssize_t uuid_show(struct device *d, struct device_attribute *attr,
			 char *buf)
{
	struct dblock_dev *dev = dev_to_disk(d)->queue->queuedata;

	return sysfs_emit(buf, "%pUb\n", dev->params.uuid);
}
static DEVICE_ATTR_RO(uuid);

static struct attribute *dblock_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_uuid.attr,
	&dev_attr_generation.attr,
	&dev_attr_pending.attr,
	&dev_attr_delivered.attr,
	&dev_attr_fetched.attr,
	&dev_attr_committed.attr,
	&dev_attr_redelivered.attr,
	&dev_attr_stale.attr,
	&dev_attr_bad_results.attr,
	&dev_attr_timeouts.attr,
	&dev_attr_failed.attr,
	NULL
};

/* /sys/block/NAME/dblock/ */
static const struct attribute_group dblock_group = {
	.name	= "dblock",
	.attrs	= dblock_attrs,
};

static const struct attribute_group *dblock_groups[] = {
	&dblock_group,
	NULL
};

static bool dblock_name_ok(const char *name)
{
	size_t len = strnlen(name, DBLOCK_NAME_LEN);
	size_t i;

	if (len == 0 || len > 27 || !isascii(name[0]) || !isalpha(name[0]))
		return false;
	for (i = 1; i < len; i++)
		if (!isascii(name[i]) ||
		    (!isalnum(name[i]) && name[i] != '_' && name[i] != '-'))
			return false;
	return !memchr_inv(name + len, 0, DBLOCK_NAME_LEN - len);
}

static bool dblock_capacity_ok(const struct dblock_create *p, u64 capacity)
{
	return capacity && capacity <= S64_MAX &&
	       IS_ALIGNED(capacity, p->logical_block);
}

/* A power of two from @min to @max. */
static bool dblock_power_ok(u32 value, u32 min, u32 max)
{
	return is_power_of_2(value) && value >= min && value <= max;
}

/* Checks what user space asks for, and puts in what it leaves to the driver. */
static int dblock_check_create(struct dblock_create *p)
{
	if (p->flags & ~DBLOCK_F_ALL || p->reserved0 ||
	    memchr_inv(p->reserved, 0, sizeof(p->reserved)))
		return -EINVAL;
	if ((p->flags & DBLOCK_F_FUA) && !(p->flags & DBLOCK_F_WRITE_CACHE))
		return -EINVAL;
	if (!dblock_name_ok(p->name) ||
	    !memchr_inv(p->uuid, 0, sizeof(p->uuid)))
		return -EINVAL;

	if (!dblock_power_ok(p->logical_block, SECTOR_SIZE, DBLOCK_MAX_BLOCK))
		return -EINVAL;
	p->physical_block = p->physical_block ?: p->logical_block;
	if (!dblock_power_ok(p->physical_block, p->logical_block, SZ_1M))
		return -EINVAL;
	p->io_min = p->io_min ?: p->physical_block;
	if (p->io_min > SZ_1G || p->io_opt > SZ_1G ||
	    !IS_ALIGNED(p->io_min, p->physical_block) ||
	    !IS_ALIGNED(p->io_opt, p->physical_block))
		return -EINVAL;
	p->discard_granularity = p->discard_granularity ?: p->physical_block;
	if (!dblock_power_ok(p->discard_granularity, p->logical_block, SZ_1G))
		return -EINVAL;
	p->max_discard = p->max_discard ?: DBLOCK_MAX_DISCARD;
	if (!IS_ALIGNED(p->max_discard, p->logical_block))
		return -EINVAL;

	if (p->max_io < DBLOCK_MIN_IO || p->max_io > DBLOCK_MAX_IO ||
	    !IS_ALIGNED(p->max_io, 4096))
		return -EINVAL;
	if (!p->depth || p->depth > DBLOCK_MAX_DEPTH ||
	    p->queues != DBLOCK_MAX_QUEUES)
		return -EINVAL;
	return dblock_capacity_ok(p, p->capacity) ? 0 : -EINVAL;
}

static struct dblock_dev *dblock_alloc(const struct dblock_create *p)
{
	struct blk_mq_tag_set *set;
	struct dblock_dev *dev;
	unsigned int tag;
	int ret;

	dev = kvzalloc(struct_size(dev, slots, p->depth), GFP_KERNEL);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	kref_init(&dev->ref);
	mutex_init(&dev->mutex);
	spin_lock_init(&dev->lock);
	dev->params = *p;
	INIT_LIST_HEAD(&dev->pending);
	init_waitqueue_head(&dev->fetchers);
	timer_setup(&dev->limit, dblock_limit, 0);
	init_waitqueue_head(&dev->drained);
	INIT_DELAYED_WORK(&dev->recover_work, dblock_recover_work);
	INIT_WORK(&dev->destroy_work, dblock_destroy_work);
	for (tag = 0; tag < p->depth; tag++)
		INIT_LIST_HEAD(&dev->slots[tag].node);

	set = &dev->tag_set;
	set->ops = &dblock_mq_ops;
	set->nr_hw_queues = 1;
	set->queue_depth = p->depth;
	set->numa_node = NUMA_NO_NODE;
	set->flags = DBLOCK_TAG_SET_FLAGS;
	if (p->io_timeout_ms)
		set->timeout = msecs_to_jiffies(p->io_timeout_ms);
	ret = blk_mq_alloc_tag_set(set);
	if (ret)
		goto free_dev;

	dev->disk = dblock_alloc_disk(set, p, dev);
	if (IS_ERR(dev->disk)) {
		ret = PTR_ERR(dev->disk);
		goto free_tag_set;
	}
	dev->disk->fops = &dblock_fops;
	dev->disk->private_data = dev;
	strscpy(dev->disk->disk_name, p->name, sizeof(dev->disk->disk_name));
	set_capacity(dev->disk, p->capacity >> SECTOR_SHIFT);
	if (p->flags & DBLOCK_F_READ_ONLY)
		set_disk_ro(dev->disk, true);
	if (!(p->flags & DBLOCK_F_PARTITIONS))
		dev->disk->flags |= DBLOCK_NO_PARTITIONS;
	__module_get(THIS_MODULE);
	return dev;

free_tag_set:
	blk_mq_free_tag_set(set);
free_dev:
	kvfree(dev);
	return ERR_PTR(ret);
}

static struct dblock_dev *dblock_lookup(const char *name)
{
	struct dblock_dev *dev;
	int id;

	lockdep_assert_held(&dblock_registry);
	idr_for_each_entry(&dblock_devices, dev, id)
		if (!strncmp(dev->params.name, name, DBLOCK_NAME_LEN))
			return dev;
	return NULL;
}

/* Drops a disk and the reference that it holds. */
static void dblock_drop_disk(struct dblock_dev *dev)
{
	if (dblock_put_disk(dev->disk, dev->added))
		dblock_put(dev);
}

/**
 * dblock_create() - DBLOCK_CREATE
 * @params: what is asked for; gets the id, and values for what was left open
 */
int dblock_create(struct dblock_create *params)
{
	struct dblock_dev *dev;
	int ret;

	ret = dblock_check_create(params);
	if (ret)
		return ret;
	dev = dblock_alloc(params);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	kref_get(&dev->ref);	/* the disk's */

	mutex_lock(&dblock_registry);
	if (dblock_lookup(params->name))
		ret = -EEXIST;
	else if (dblock_n_devices >= DBLOCK_MAX_DEVICES)
		ret = -ENOSPC;
	else
		ret = idr_alloc_cyclic(&dblock_devices, dev, 1, 0, GFP_KERNEL);
	if (ret > 0) {
		dev->id = ret;
		dev->params.id = ret;
		params->id = ret;
		dblock_n_devices++;
	}
	mutex_unlock(&dblock_registry);
	if (ret < 0) {
		dblock_drop_disk(dev);
		dblock_put(dev);
		return ret;
	}
	return 0;
}

/**
 * dblock_find() - a device by its name
 * @name: NUL-padded
 * @uuid: that it must have; all zeroes = any
 *
 * Return: the device, with a reference; -ENODEV or -ESTALE.
 */
struct dblock_dev *dblock_find(const char *name, const u8 *uuid)
{
	struct dblock_dev *dev;

	mutex_lock(&dblock_registry);
	dev = dblock_lookup(name);
	if (!dev)
		dev = ERR_PTR(-ENODEV);
	else if (memchr_inv(uuid, 0, sizeof(dev->params.uuid)) &&
		 memcmp(uuid, dev->params.uuid, sizeof(dev->params.uuid)))
		dev = ERR_PTR(-ESTALE);
	else
		kref_get(&dev->ref);
	mutex_unlock(&dblock_registry);
	return dev;
}

/* The device with the lowest id above @id, with a reference, or -ENOENT. */
struct dblock_dev *dblock_find_after(u32 id)
{
	struct dblock_dev *dev = NULL;
	int next = id + 1;

	mutex_lock(&dblock_registry);
	if (id < INT_MAX)
		dev = idr_get_next(&dblock_devices, &next);
	if (dev)
		kref_get(&dev->ref);
	mutex_unlock(&dblock_registry);
	return dev ?: ERR_PTR(-ENOENT);
}

/* Is there a disk of that name? Before 5.15, add_disk() can't say so. */
static bool dblock_disk_exists(const char *name)
{
	char path[sizeof("/sys/class/block/") + DBLOCK_NAME_LEN];
	struct path found;

	snprintf(path, sizeof(path), "/sys/class/block/%s", name);
	if (kern_path(path, 0, &found))
		return false;
	path_put(&found);
	return true;
}

/**
 * dblock_start() - DBLOCK_START
 * @dev: the device
 *
 * Requests may come while add_disk() is under way (from udev, say), and so may
 * a forced destroy, which fails them; add_disk() itself waits for none.
 */
int dblock_start(struct dblock_dev *dev)
{
	int ret;

	ret = mutex_lock_killable(&dev->mutex);
	if (ret)
		return ret;
	spin_lock(&dev->lock);
	if (dev->dying) {
		ret = -ESHUTDOWN;
	} else if (dev->started) {
		ret = -EALREADY;
	} else {
		dev->started = true;
		dev->starting = true;
	}
	spin_unlock(&dev->lock);
	if (ret)
		goto unlock;

	dblock_suppress_scan(dev->disk);
	ret = dblock_disk_exists(dev->params.name) ? -EEXIST :
	      dblock_add_disk(dev->disk, dblock_groups);
	if (!ret) {
		dev->added = true;
		if (dev->params.flags & DBLOCK_F_PARTITIONS)
			dblock_allow_scan(dev->disk);
	}

	spin_lock(&dev->lock);
	dev->starting = false;
	dev->started = dev->added;
	if (dev->added)
		dev->devt = disk_devt(dev->disk);
	dblock_idle(dev);
	spin_unlock(&dev->lock);
	if (dev->added && (DBLOCK_OPENS_EARLY ||
			   (dev->params.flags & DBLOCK_F_PARTITIONS)))
		kobject_uevent(&disk_to_dev(dev->disk)->kobj, KOBJ_CHANGE);
unlock:
	mutex_unlock(&dev->mutex);
	return ret;
}

/*
 * Takes a device down. Called once, by whoever has set dev->dying, from where
 * nothing is accepted any more: opening fails, and so does every request.
 * Nothing of sysfs, the queue or the disk may be waited for before the
 * requests have failed, since its holder may be waiting for them.
 */
static void dblock_teardown(struct dblock_dev *dev)
{
	wake_up_all(&dev->fetchers);
	dblock_fail_requests(dev);
	wait_event(dev->drained, !READ_ONCE(dev->n_busy));
	cancel_delayed_work_sync(&dev->recover_work);

	mutex_lock(&dev->mutex);
	if (dev->added) {
		dblock_mark_dead(dev->disk);
		del_gendisk(dev->disk);
	}
	mutex_unlock(&dev->mutex);

	mutex_lock(&dblock_registry);
	idr_remove(&dblock_devices, dev->id);
	dblock_n_devices--;
	dblock_forget_device(dev->disk);
	mutex_unlock(&dblock_registry);

	dblock_drop_disk(dev);
	dblock_put(dev);
}

/**
 * dblock_destroy() - DBLOCK_DESTROY
 * @dev: the device; the caller has a reference
 * @mode: &enum dblock_destroy_mode
 */
int dblock_destroy(struct dblock_dev *dev, u64 mode)
{
	int ret = 0;

	spin_lock(&dev->lock);
	if (dev->dying)
		ret = -ESHUTDOWN;
	else if (mode == DBLOCK_DESTROY_FORCE || dblock_is_idle(dev))
		dev->dying = true;
	else if (mode == DBLOCK_DESTROY_DEFERRED)
		dev->deferred = true;
	else
		ret = -EBUSY;
	if (ret || !dev->dying) {
		spin_unlock(&dev->lock);
		return ret;
	}
	spin_unlock(&dev->lock);

	dblock_teardown(dev);
	return 0;
}

/**
 * dblock_resize() - DBLOCK_RESIZE
 * @dev: the device
 * @capacity: bytes
 *
 * Changes the capacity and no other limit: that would freeze the queue, which
 * waits for the server.
 */
int dblock_resize(struct dblock_dev *dev, u64 capacity)
{
	int ret;

	ret = mutex_lock_killable(&dev->mutex);
	if (ret)
		return ret;
	spin_lock(&dev->lock);
	if (dev->dying)
		ret = -ESHUTDOWN;
	else if (!dblock_capacity_ok(&dev->params, capacity))
		ret = -EINVAL;
	else
		dev->params.capacity = capacity;
	spin_unlock(&dev->lock);
	if (!ret) {
		if (dev->added)
			dblock_set_capacity(dev->disk,
					    capacity >> SECTOR_SHIFT);
		else
			set_capacity(dev->disk, capacity >> SECTOR_SHIFT);
	}
	mutex_unlock(&dev->mutex);
	return ret;
}

/**
 * dblock_status() - fills in all members that are out
 * @dev: the device
 * @s: a copy of the caller's structure
 */
void dblock_status(struct dblock_dev *dev, struct dblock_status *s)
{
	const struct dblock_create *p = &dev->params;
	long left;

	spin_lock(&dev->lock);
	memcpy(s->name, p->name, sizeof(s->name));
	memcpy(s->uuid, p->uuid, sizeof(s->uuid));
	s->id = dev->id;
	s->state = dblock_state(dev);
	s->capacity = p->capacity;
	s->flags = p->flags;
	s->logical_block = p->logical_block;
	s->physical_block = p->physical_block;
	s->io_min = p->io_min;
	s->io_opt = p->io_opt;
	s->max_io = p->max_io;
	s->max_discard = p->max_discard;
	s->discard_granularity = p->discard_granularity;
	s->depth = p->depth;
	s->queues = p->queues;
	s->io_timeout_ms = p->io_timeout_ms;
	s->recover_ms = p->recover_ms;
	s->major = MAJOR(dev->devt);
	s->minor = MINOR(dev->devt);
	s->server_pid = dev->server_pid ? pid_vnr(dev->server_pid) : 0;
	s->openers = dev->openers;
	s->pending = dev->n_pending;
	s->delivered = dev->n_busy - dev->n_pending;
	s->recover_left_ms = 0;
	if (s->state == DBLOCK_STATE_PARKED && dev->recovering) {
		left = (long)(dev->recover_until - jiffies);
		if (left > 0)
			s->recover_left_ms = jiffies_to_msecs(left);
	}
	s->deferred = dev->deferred;
	s->generation = dev->stats.generation;
	s->fetched = dev->stats.fetched;
	s->committed = dev->stats.committed;
	s->redelivered = dev->stats.redelivered;
	s->stale = dev->stats.stale;
	s->bad_results = dev->stats.bad_results;
	s->timeouts = dev->stats.timeouts;
	s->failed = dev->stats.failed;
	spin_unlock(&dev->lock);
}
