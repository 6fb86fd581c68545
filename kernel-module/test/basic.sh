#!/bin/bash
# basic.sh FOLDER short|full: real programs on a disk that the sample server serves.
bin=$1 form=$2
. "$(dirname "$0")/shell.sh"

# A tree of real files, small enough for an emulated machine.
tree=/usr/share/perl
[ $form = full ] || tree=$(realpath "$(dirname "$0")/..")

file_system() {
	local type=$1 name=$2
	case $type in
	ext4) mkfs.ext4 -q -E nodiscard "/dev/$name" ;;
	*) "mkfs.$type" -q -f "/dev/$name" ;;
	esac
	mount "/dev/$name" "$mnt"
	cp -r $tree "$mnt/copy"
	umount "$mnt"
	echo 3 >/proc/sys/vm/drop_caches
	mount "/dev/$name" "$mnt"
	diff -r $tree "$mnt/copy"
	rm -r "$mnt/copy"
	fstrim "$mnt"
	umount "$mnt"
	case $type in
	ext4) e2fsck -fn "/dev/$name" ;;
	xfs) xfs_repair -n "/dev/$name" ;;
	btrfs) btrfs check "/dev/$name" ;;
	esac
	destroy "$name"
	wait $server
}

ext4_keeps_a_tree() {
	serve db0 128M
	file_system ext4 db0
}

ext4_keeps_a_tree_in_a_file_with_4096_byte_blocks() {
	serve db0 128M -f "$work/a.img" -b 4096 -j 3
	file_system ext4 db0
}

xfs_keeps_a_tree() {
	serve db0 400M -j 2
	file_system xfs db0
}

btrfs_keeps_a_tree() {
	serve db0 256M -j 2
	file_system btrfs db0
}

fio_verifies_what_four_jobs_wrote() {
	serve db0 64M -j 2
	fio --name=job --filename=/dev/db0 --numjobs=4 --size=8M --offset_increment=8M --rw=randwrite --bsrange=512-128k \
		--blockalign=512 --ioengine=libaio --direct=1 --iodepth=8 --verify=crc32c --verify_fatal=1 \
		--number_ios=300 --group_reporting
	destroy db0
	wait $server
}

large_requests_arrive_whole() {
	serve db0 64M
	dd if=/dev/urandom of="$work/data.img" bs=1M count=16
	dd if="$work/data.img" of=/dev/db0 bs=4M oflag=direct
	cmp "$work/data.img" /dev/db0 -n 16777216
	[ "$(cat /sys/block/db0/queue/max_hw_sectors_kb)" = 1024 ]
}

a_disk_has_the_partitions_that_its_table_says() {
	serve db0 64M -p
	printf 'label: dos\n,16M\n,16M\n' | sfdisk -q /dev/db0
	eventually test -e /dev/db0p2
	[ "$(cat /sys/block/db0/db0p2/size)" = 32768 ]
	destroy db0
	# Found again by whoever opens the disk first.
	serve db0 64M -p -f "$work/a.img"
	printf 'label: dos\n,16M\n' | sfdisk -q /dev/db0
	destroy db0
	wait $server || true
	serve db0 64M -p -f "$work/a.img"
	blockdev --getsize64 /dev/db0
	eventually test -e /dev/db0p1
	mkfs.ext4 -q /dev/db0p1
	mount /dev/db0p1 "$mnt"
	umount "$mnt"
}

a_disk_without_partitions_has_none() {
	serve db0 64M
	printf 'label: dos\n,16M\n' | sfdisk -q --no-reread /dev/db0
	fails blockdev --rereadpt /dev/db0
	[ ! -e /dev/db0p1 ]
}

a_mounted_file_system_grows() {
	serve db0 32M -f "$work/a.img"
	mkfs.ext4 -q /dev/db0
	mount /dev/db0 "$mnt"
	echo kept >"$mnt/file"
	"$bin/sample_ramdisk" -s 96M db0
	resize2fs /dev/db0
	dd if=/dev/zero of="$mnt/large" bs=1M count=48
	[ "$(cat "$mnt/file")" = kept ]
	umount "$mnt"
	e2fsck -fn /dev/db0
}

a_forced_destroy_under_a_mounted_file_system_hangs_nothing() {
	serve db0 64M
	mkfs.ext4 -q /dev/db0
	mount /dev/db0 "$mnt"
	dd if=/dev/zero of="$mnt/dirty" bs=1M count=8
	"$bin/sample_ramdisk" -D db0
	sync -f "$mnt" || true
	umount "$mnt"
	wait $server
	[ ! -e /sys/block/db0 ]
}

a_forced_destroy_ends_a_scheduler_change_that_waits_for_a_dead_server() {
	serve db0 64M -f "$work/a.img" -r 4294967295
	kill -9 $server
	dd if=/dev/db0 of=/dev/null bs=4k count=1 iflag=direct &
	reader=$!
	eventually [ "$(attribute db0 state)" = parked ]
	eventually sh -c '[ $(cat /sys/block/db0/dblock/pending) -gt 0 ]'
	echo mq-deadline >/sys/block/db0/queue/scheduler &
	changer=$!
	sleep 0.5
	"$bin/sample_ramdisk" -D db0
	fails wait $reader
	wait $changer || true
}

udev_names_a_disk_by_its_uuid() {
	local uuid
	mkdir -p /run/udev/rules.d
	cp "$(dirname "$0")/../60-dblock.rules" /run/udev/rules.d/
	/lib/systemd/systemd-udevd &
	udevd=$!
	trap 'kill $udevd' EXIT
	serve db0 64M -p
	uuid=$(attribute db0 uuid)
	# What comes before it listens is lost on it.
	eventually sh -c "echo change >/sys/block/db0/uevent; sleep 0.5; [ /dev/disk/by-id/dblock-$uuid -ef /dev/db0 ]"
	printf 'label: dos\n,16M\n' | sfdisk -q /dev/db0
	eventually test /dev/disk/by-id/dblock-$uuid-part1 -ef /dev/db0p1
	eventually destroy db0
	eventually test ! -L /dev/disk/by-id/dblock-$uuid
}

the_module_stays_while_a_device_exists() {
	serve db0 64M
	kill -9 $server
	wait $server || true
	fails rmmod dblock
	"$bin/sample_ramdisk" -D db0
	eventually rmmod dblock
	insmod "$DBLOCK_MODULE"
}

short="ext4_keeps_a_tree fio_verifies_what_four_jobs_wrote large_requests_arrive_whole
	a_disk_has_the_partitions_that_its_table_says a_disk_without_partitions_has_none a_mounted_file_system_grows
	a_forced_destroy_under_a_mounted_file_system_hangs_nothing
	a_forced_destroy_ends_a_scheduler_change_that_waits_for_a_dead_server
	the_module_stays_while_a_device_exists"
# udev watches disks with inotify, which the User-mode Linux has not.
[ ! -e /proc/sys/fs/inotify ] || short+=" udev_names_a_disk_by_its_uuid"
full="ext4_keeps_a_tree_in_a_file_with_4096_byte_blocks"
# Where the kernel has them: User-mode Linux doesn't.
for type in xfs btrfs; do
	! modprobe $type 2>/dev/null || full+=" ${type}_keeps_a_tree"
done
[ $form = short ] || short+=" $full"
run_tests ${TESTS:-$short}
