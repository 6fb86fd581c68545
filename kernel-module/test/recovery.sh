#!/bin/bash
# recovery.sh FOLDER ROUNDS: a server that keeps its disk in a file is killed ROUNDS times under verifying load; and what becomes
# of a disk in memory.
bin=$1 rounds=$2
. "$(dirname "$0")/shell.sh"

load() {
	fio --name=load --filename=/dev/db0 --size=24M --rw=randwrite --bsrange=4k-64k --ioengine=libaio --direct=1 --iodepth=16 \
		--verify=crc32c --verify_fatal=1 --number_ios=400 --randseed=$RANDOM
}

# Runs load again and again until $work/enough exists.
loads() {
	while [ ! -e "$work/enough" ]; do load || return; done
}

# Stops the server where it has requests that it hasn't answered; tries that a few times.
stop_with_requests() {
	local i
	for ((i = 0; i < 50; i++)); do
		kill -STOP $server
		[ "$(attribute db0 delivered)" = 0 ] || return 0
		kill -CONT $server
		sleep 0.0$((RANDOM % 10))
	done
}

kill_9_costs_no_request() {
	local round committed begin
	rm -f "$work/enough"
	serve db0 32M -f "$work/a.img" -j 2
	loads >"$work/fio.log" 2>&1 &
	loader=$!
	for ((round = 1; round <= rounds; round++)); do
		committed=$(attribute db0 committed)
		eventually sh -c "[ \$(cat /sys/block/db0/dblock/committed) -gt $((committed + RANDOM % 100)) ]"
		[ $((round % 2)) = 0 ] || stop_with_requests
		kill -9 $server
		wait $server || true
		begin=$(date +%s%N)
		committed=$(attribute db0 committed)
		serve db0 32M -f "$work/a.img" -j 2
		eventually sh -c "[ \$(cat /sys/block/db0/dblock/committed) -gt $committed ]"
		[ $round -gt 3 ] || echo "note: first answer $((($(date +%s%N) - begin) / 1000000)) ms after the kill"
	done
	touch "$work/enough"
	wait $loader || { cat "$work/fio.log" && false; }
	[ "$(attribute db0 failed)" = 0 ]
	[ "$(attribute db0 generation)" = $((rounds + 1)) ]
	echo "note: $rounds kills, $(attribute db0 redelivered) requests delivered again"
	[ "$(attribute db0 redelivered)" != 0 ]
	destroy db0
}

a_mounted_file_system_outlives_its_server() {
	local i
	serve db0 64M -f "$work/a.img"
	mkfs.ext4 -q /dev/db0
	mount /dev/db0 "$mnt"
	for i in 1 2 3; do
		cp -r /usr/share/perl/5.*.*/unicore/lib/Age "$mnt/$i" &
		copier=$!
		kill -9 $server
		wait $server || true
		serve db0 64M -f "$work/a.img"
		wait $copier
	done
	umount "$mnt"
	e2fsck -fn /dev/db0
	destroy db0
}

a_disk_in_memory_fails_cleanly() {
	serve db0 32M
	dd if=/dev/urandom of=/dev/db0 bs=1M count=4 oflag=direct
	kill -9 $server
	wait $server || true
	eventually sh -c '[ $(cat /sys/block/db0/dblock/state) = failed ]'
	# An error, not zeroes and not what was there before.
	fails dd if=/dev/db0 of="$work/read.img" bs=4k count=1 iflag=direct
	[ ! -s "$work/read.img" ]
	fails "$bin/sample_ramdisk" db0 32M
	destroy db0
}

a_killed_server_s_disk_is_destroyed_under_load() {
	# at once; and when it is known to have failed
	rm -f "$work/enough"
	serve db0 32M -f "$work/a.img" -r 4294967295
	loads >"$work/fio.log" 2>&1 &
	loader=$!
	eventually sh -c '[ $(cat /sys/block/db0/dblock/committed) -gt 20 ]'
	kill -9 $server
	"$bin/sample_ramdisk" -D db0
	fails wait $loader
	[ ! -e /sys/block/db0 ]
	serve db0 32M
	loads >"$work/fio.log" 2>&1 &
	loader=$!
	eventually sh -c '[ $(cat /sys/block/db0/dblock/committed) -gt 20 ]'
	kill -9 $server
	eventually sh -c '[ $(cat /sys/block/db0/dblock/state) = failed ]'
	fails wait $loader
	destroy db0
	[ ! -e /sys/block/db0 ]
}

run_tests kill_9_costs_no_request a_mounted_file_system_outlives_its_server a_disk_in_memory_fails_cleanly \
	a_killed_server_s_disk_is_destroyed_under_load
