// SPDX-License-Identifier: GPL-2.0
/*
 * dblock: the control device and the module.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "dblock.h"

/* Memory may depend on requests being failed, but not on a disk being deleted. */
struct workqueue_struct *dblock_recover_wq;
struct workqueue_struct *dblock_destroy_wq;

static int dblock_check_head(u32 size, u32 version, size_t expected)
{
	if (size != expected)
		return -EINVAL;
	return version == DBLOCK_ABI_VERSION ? 0 : -EPROTO;
}

static long dblock_ioctl_info(struct dblock_info __user *arg)
{
	struct dblock_info info;

	if (copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.size != sizeof(info) ||
	    memchr_inv(info.reserved, 0, sizeof(info.reserved)))
		return -EINVAL;
	info = (struct dblock_info) {
		.size		= sizeof(info),
		.version	= DBLOCK_ABI_VERSION,
		.version_min	= DBLOCK_ABI_VERSION,
		.flags		= DBLOCK_F_ALL,
		.max_devices	= DBLOCK_MAX_DEVICES,
		.max_depth	= DBLOCK_MAX_DEPTH,
		.max_queues	= DBLOCK_MAX_QUEUES,
		.min_io		= DBLOCK_MIN_IO,
		.max_io		= DBLOCK_MAX_IO,
		.max_block	= DBLOCK_MAX_BLOCK,
	};
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long dblock_ioctl_create(struct dblock_create __user *arg)
{
	static const u8 any_uuid[16];
	struct dblock_create params;
	struct dblock_dev *dev;
	int ret;

	if (copy_from_user(&params, arg, sizeof(params)))
		return -EFAULT;
	ret = dblock_check_head(params.size, params.version, sizeof(params));
	if (ret)
		return ret;
	ret = dblock_create(&params);
	if (ret)
		return ret;
	if (!put_user(params.id, &arg->id))
		return 0;

	dev = dblock_find(params.name, any_uuid);
	if (!IS_ERR(dev)) {
		dblock_destroy(dev, DBLOCK_DESTROY_FORCE);
		dblock_put(dev);
	}
	return -EFAULT;
}

static long dblock_ioctl_target(struct dblock_channel *channel,
				unsigned int cmd,
				struct dblock_target __user *arg)
{
	struct dblock_target t;
	struct dblock_dev *dev;
	long ret;

	if (copy_from_user(&t, arg, sizeof(t)))
		return -EFAULT;
	ret = dblock_check_head(t.size, t.version, sizeof(t));
	if (ret)
		return ret;
	if (memchr_inv(t.reserved, 0, sizeof(t.reserved)))
		return -EINVAL;
	if (cmd == DBLOCK_ATTACH && !memchr_inv(t.uuid, 0, sizeof(t.uuid)))
		return -EINVAL;
	if ((cmd == DBLOCK_ATTACH || cmd == DBLOCK_START) && t.arg)
		return -EINVAL;
	if (cmd == DBLOCK_DESTROY && t.arg > DBLOCK_DESTROY_FORCE)
		return -EINVAL;

	dev = dblock_find(t.name, t.uuid);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	switch (cmd) {
	case DBLOCK_ATTACH:
		mutex_lock(&dblock_registry);
		ret = dblock_attach(dev, channel);
		mutex_unlock(&dblock_registry);
		break;
	case DBLOCK_START:
		ret = dblock_start(dev);
		break;
	case DBLOCK_DESTROY:
		ret = dblock_destroy(dev, t.arg);
		break;
	case DBLOCK_RESIZE:
		ret = dblock_resize(dev, t.arg);
		break;
	}
	dblock_put(dev);
	return ret;
}

static long dblock_ioctl_status(unsigned int cmd,
				struct dblock_status __user *arg)
{
	struct dblock_status s;
	struct dblock_dev *dev;
	int ret;

	if (copy_from_user(&s, arg, sizeof(s)))
		return -EFAULT;
	ret = dblock_check_head(s.size, s.version, sizeof(s));
	if (ret)
		return ret;
	if (memchr_inv(s.reserved, 0, sizeof(s.reserved)))
		return -EINVAL;

	if (cmd == DBLOCK_LIST)
		dev = dblock_find_after(s.id);
	else
		dev = dblock_find(s.name, s.uuid);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	dblock_status(dev, &s);
	dblock_put(dev);
	return copy_to_user(arg, &s, sizeof(s)) ? -EFAULT : 0;
}

static long dblock_ctl_ioctl(struct file *file, unsigned int cmd,
			     unsigned long arg)
{
	struct dblock_channel *channel = file->private_data;
	void __user *p = (void __user *)arg;

	if (cmd == DBLOCK_EXCHANGE)
		return dblock_exchange(channel, p);
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;

	switch (cmd) {
	case DBLOCK_INFO:
		return dblock_ioctl_info(p);
	case DBLOCK_CREATE:
		return dblock_ioctl_create(p);
	case DBLOCK_ATTACH:
	case DBLOCK_START:
	case DBLOCK_DESTROY:
	case DBLOCK_RESIZE:
		return dblock_ioctl_target(channel, cmd, p);
	case DBLOCK_STATUS:
	case DBLOCK_LIST:
		return dblock_ioctl_status(cmd, p);
	default:
		return -ENOTTY;
	}
}

static int dblock_ctl_open(struct inode *inode, struct file *file)
{
	struct dblock_channel *channel;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	if (!channel)
		return -ENOMEM;
	file->private_data = channel;
	return 0;
}

/*
 * Called at every close() of a descriptor, and when a process exits with one:
 * only the latter is of interest. In a process that exits all threads have
 * left the kernel by now.
 */
static int dblock_ctl_flush(struct file *file, fl_owner_t id)
{
	if ((current->flags & PF_EXITING) &&
	    !atomic_read(&current->signal->live))
		dblock_detach(file->private_data, true);
	return 0;
}

static int dblock_ctl_release(struct inode *inode, struct file *file)
{
	struct dblock_channel *channel = file->private_data;

	dblock_detach(channel, false);
	if (channel->dev)
		dblock_put(channel->dev);
	kfree(channel);
	return 0;
}

static const struct file_operations dblock_ctl_fops = {
	.owner		= THIS_MODULE,
	.open		= dblock_ctl_open,
	.flush		= dblock_ctl_flush,
	.release	= dblock_ctl_release,
	.unlocked_ioctl	= dblock_ctl_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice dblock_ctl = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dblockctl",
	.mode	= 0600,
	.fops	= &dblock_ctl_fops,
};

static int __init dblock_init(void)
{
	int ret;

	BUILD_BUG_ON(sizeof(struct dblock_info) != 64);
	BUILD_BUG_ON(sizeof(struct dblock_create) != 160);
	BUILD_BUG_ON(sizeof(struct dblock_target) != 80);
	BUILD_BUG_ON(sizeof(struct dblock_status) != 256);
	BUILD_BUG_ON(sizeof(struct dblock_request) != 64);
	BUILD_BUG_ON(sizeof(struct dblock_commit) != 24);
	BUILD_BUG_ON(sizeof(struct dblock_exchange) != 80);

	dblock_recover_wq = alloc_workqueue("dblock_recover",
					    WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!dblock_recover_wq)
		return -ENOMEM;
	dblock_destroy_wq = alloc_workqueue("dblock_destroy", WQ_UNBOUND, 0);
	if (!dblock_destroy_wq) {
		ret = -ENOMEM;
		goto free_recover_wq;
	}
	ret = misc_register(&dblock_ctl);
	if (ret)
		goto free_destroy_wq;
	return 0;

free_destroy_wq:
	destroy_workqueue(dblock_destroy_wq);
free_recover_wq:
	destroy_workqueue(dblock_recover_wq);
	return ret;
}

/* There is no device any more: each holds a reference to the module. */
static void __exit dblock_exit(void)
{
	misc_deregister(&dblock_ctl);
	destroy_workqueue(dblock_destroy_wq);
	destroy_workqueue(dblock_recover_wq);
}

module_init(dblock_init);
module_exit(dblock_exit);

MODULE_DESCRIPTION("Block devices served by a process in user space");
MODULE_LICENSE("GPL");
