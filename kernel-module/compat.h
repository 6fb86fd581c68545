/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dblock: the differences between the kernels that it is built for, 5.10 to
 * 6.8 and from 6.11 on. Every test of a kernel version is in this file.
 */
#ifndef _DBLOCK_COMPAT_H
#define _DBLOCK_COMPAT_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 18, 0)
#include <linux/genhd.h>
#endif

#include "dblock.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 10, 0)
#error "dblock needs Linux 5.10 or later"
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#error "dblock can't be built for Linux 6.9 and 6.10: take 6.8, or 6.11 or later"
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define timer_delete_sync	del_timer_sync
#endif

/*
 * Tag set flags. STACKING: requests may wait for user space for as long as it
 * takes, and taking a processor offline must not wait for them.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
#define DBLOCK_TAG_SET_FLAGS	(BLK_MQ_F_STACKING | \
				 BLK_MQ_F_NO_SCHED_BY_DEFAULT)
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#define DBLOCK_TAG_SET_FLAGS	(BLK_MQ_F_STACKING | BLK_MQ_F_SHOULD_MERGE | \
				 BLK_MQ_F_NO_SCHED_BY_DEFAULT)
#else
#define DBLOCK_TAG_SET_FLAGS	(BLK_MQ_F_STACKING | BLK_MQ_F_SHOULD_MERGE)
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
static inline struct gendisk *
dblock_alloc_disk(struct blk_mq_tag_set *set, const struct dblock_create *p,
		  void *data)
{
	unsigned int discard = p->max_discard >> SECTOR_SHIFT;
	struct queue_limits lim = {
		.logical_block_size	= p->logical_block,
		.physical_block_size	= p->physical_block,
		.io_min			= p->io_min,
		.io_opt			= p->io_opt,
		.max_hw_sectors		= p->max_io >> SECTOR_SHIFT,
		.max_segments		= p->max_io / PAGE_SIZE + 1,
		.max_segment_size	= UINT_MAX,
		.max_discard_segments	= 1,
	};

	if (p->flags & DBLOCK_F_WRITE_CACHE)
		lim.features |= BLK_FEAT_WRITE_CACHE;
	if (p->flags & DBLOCK_F_FUA)
		lim.features |= BLK_FEAT_FUA;
	if (p->flags & DBLOCK_F_ROTATIONAL)
		lim.features |= BLK_FEAT_ROTATIONAL;
	if (p->flags & DBLOCK_F_DISCARD) {
		lim.max_hw_discard_sectors = discard;
		lim.discard_granularity = p->discard_granularity;
	}
	if (p->flags & DBLOCK_F_WRITE_ZEROES)
		lim.max_write_zeroes_sectors = discard;
	return blk_mq_alloc_disk(set, &lim, data);
}
#else
static inline void dblock_set_limits(struct request_queue *q,
				     const struct dblock_create *p)
{
	unsigned int discard = p->max_discard >> SECTOR_SHIFT;

	blk_queue_logical_block_size(q, p->logical_block);
	blk_queue_physical_block_size(q, p->physical_block);
	blk_queue_io_min(q, p->io_min);
	blk_queue_io_opt(q, p->io_opt);
	blk_queue_max_hw_sectors(q, p->max_io >> SECTOR_SHIFT);
	blk_queue_max_segments(q, p->max_io / PAGE_SIZE + 1);
	blk_queue_max_segment_size(q, UINT_MAX);
	blk_queue_max_discard_segments(q, 1);
	blk_queue_write_cache(q, p->flags & DBLOCK_F_WRITE_CACHE,
			      p->flags & DBLOCK_F_FUA);
	if (!(p->flags & DBLOCK_F_ROTATIONAL))
		blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, q);
	if (p->flags & DBLOCK_F_DISCARD) {
		blk_queue_max_discard_sectors(q, discard);
		q->limits.discard_granularity = p->discard_granularity;
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 19, 0)
		blk_queue_flag_set(QUEUE_FLAG_DISCARD, q);
#endif
	}
	if (p->flags & DBLOCK_F_WRITE_ZEROES)
		blk_queue_max_write_zeroes_sectors(q, discard);
}

static inline struct gendisk *
dblock_alloc_disk(struct blk_mq_tag_set *set, const struct dblock_create *p,
		  void *data)
{
	struct gendisk *disk;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
	disk = blk_mq_alloc_disk(set, data);
	if (IS_ERR(disk))
		return disk;
#else
	struct request_queue *q = blk_mq_init_queue(set);

	if (IS_ERR(q))
		return ERR_CAST(q);
	disk = alloc_disk(0);
	if (!disk) {
		blk_cleanup_queue(q);
		return ERR_PTR(-ENOMEM);
	}
	disk->queue = q;
	disk->flags |= GENHD_FL_EXT_DEVT;
	q->queuedata = data;
#endif
	dblock_set_limits(disk->queue, p);
	return disk;
}
#endif

/*
 * No partition scan inside add_disk(): it would wait for the server, in the
 * server's own START. dblock_suppress_scan() comes before it,
 * dblock_allow_scan() after it; then the next opener scans. Without
 * partitions on the device there is never a scan.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
#define DBLOCK_NO_PARTITIONS	GENHD_FL_NO_PART
#else
#define DBLOCK_NO_PARTITIONS	GENHD_FL_NO_PART_SCAN
#endif

static inline void dblock_suppress_scan(struct gendisk *disk)
{
#ifdef GD_SUPPRESS_PART_SCAN
	set_bit(GD_SUPPRESS_PART_SCAN, &disk->state);
#else
	disk->flags |= DBLOCK_NO_PARTITIONS;
#endif
}

static inline void dblock_allow_scan(struct gendisk *disk)
{
#ifdef GD_SUPPRESS_PART_SCAN
	clear_bit(GD_SUPPRESS_PART_SCAN, &disk->state);
#else
	disk->flags &= ~DBLOCK_NO_PARTITIONS;
#endif
	set_bit(GD_NEED_PART_SCAN, &disk->state);
}

/*
 * Before 5.15, a disk can be opened while add_disk() is under way, and
 * add_disk() then freezes the queue, which waits for the opener's requests. So
 * openers are refused until it is over, and udev is told to look again.
 */
#define DBLOCK_OPENS_EARLY	(LINUX_VERSION_CODE < KERNEL_VERSION(5, 15, 0))

static inline int dblock_add_disk(struct gendisk *disk,
				  const struct attribute_group **groups)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 15, 0)
	return device_add_disk(NULL, disk, groups);
#else
	device_add_disk(NULL, disk, groups);
	return 0;
#endif
}

/* Tells file systems and the block layer that nothing can be written back. */
static inline void dblock_mark_dead(struct gendisk *disk)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	blk_mark_disk_dead(disk);
#endif
}

/*
 * Drops a disk that is deleted or was never added. Returns true if the caller
 * must drop the disk's reference to the device itself; otherwise free_disk()
 * does, when the last user of the disk is gone.
 */
static inline bool dblock_put_disk(struct gendisk *disk, bool added)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 0, 0)
	put_disk(disk);
	return !added;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
	blk_cleanup_disk(disk);
	return true;
#else
	blk_cleanup_queue(disk->queue);
	/* add_disk() took the reference that put_disk() drops. */
	if (!added)
		disk->queue = NULL;
	put_disk(disk);
	return true;
#endif
}

/*
 * Before there was free_disk(), a deleted disk that was just looked up could
 * outlive the device. Called under dblock_registry.
 */
static inline void dblock_forget_device(struct gendisk *disk)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 0, 0)
	disk->private_data = NULL;
#endif
}

static inline void dblock_set_capacity(struct gendisk *disk, sector_t sectors)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
	set_capacity_and_notify(disk, sectors);
#else
	char *envp[] = { "RESIZE=1", NULL };

	set_capacity(disk, sectors);
	revalidate_disk_size(disk, true);
	kobject_uevent_env(&disk_to_dev(disk)->kobj, KOBJ_CHANGE, envp);
#endif
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
static inline int dblock_fop_open(struct gendisk *disk, blk_mode_t mode)
{
	return dblock_open(disk, mode & BLK_OPEN_WRITE);
}

static inline void dblock_fop_release(struct gendisk *disk)
{
	dblock_release(disk);
}
#else
static inline int dblock_fop_open(struct block_device *bdev, fmode_t mode)
{
	return dblock_open(bdev->bd_disk, mode & FMODE_WRITE);
}

static inline void dblock_fop_release(struct gendisk *disk, fmode_t mode)
{
	dblock_release(disk);
}
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 0, 0)
#define DBLOCK_FREE_DISK	.free_disk = dblock_free_disk,
#else
#define DBLOCK_FREE_DISK
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 0, 0)
static inline enum blk_eh_timer_return dblock_mq_timeout(struct request *rq)
{
	return dblock_timed_out(rq);
}
#else
static inline enum blk_eh_timer_return dblock_mq_timeout(struct request *rq,
							 bool reserved)
{
	return dblock_timed_out(rq);
}
#endif

/*
 * An iterator over the server's memory that copies to it, or from it. @iov is
 * room that it may need for as long as it is used.
 */
static inline int dblock_user_iter(bool to_user, void __user *buf, size_t len,
				   struct iovec *iov, struct iov_iter *iter)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	return import_ubuf(to_user ? ITER_DEST : ITER_SOURCE, buf, len, iter);
#else
	return import_single_range(to_user ? READ : WRITE, buf, len, iov, iter);
#endif
}

/*
 * Brings in the server's memory, without changing it: meanwhile another thread
 * may have got the request, and its data may be there already. (That rules out
 * fault_in_writeable(), which writes a zero into each page.)
 */
static inline int dblock_fault_in(bool writeable, void __user *buf, size_t len)
{
	if (!access_ok(buf, len))
		return -EFAULT;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	if (writeable)
		return fault_in_safe_writeable(buf, len) ? -EFAULT : 0;
	return fault_in_readable(buf, len) ? -EFAULT : 0;
#else
	if (writeable) {
		unsigned long at = (unsigned long)buf & PAGE_MASK;
		unsigned long end = (unsigned long)buf + len;
		bool unlocked = false;
		int ret = 0;

		mmap_read_lock(current->mm);
		for (; at < end && !ret; at += PAGE_SIZE)
			ret = fixup_user_fault(current->mm, at, FAULT_FLAG_WRITE, &unlocked);
		mmap_read_unlock(current->mm);
		return ret ? -EFAULT : 0;
	}
	return fault_in_pages_readable(buf, len);
#endif
}

#endif /* _DBLOCK_COMPAT_H */
