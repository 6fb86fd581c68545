# The shell suites' own small runner, sourced by them. A test is a function; it runs under set -e in a shell of its own, and
# every device and mount that it leaves is cleared away. Expects $bin, the folder of the programs.
passed=0 failed=0
work=${TMPDIR:-/tmp}/dblock-test
mnt=$work/mnt
mkdir -p "$mnt"

# serve NAME SIZE [OPTION...]: starts the sample server and waits until the disk is there; leaves the pid in $server.
serve() {
	local name=$1 size=$2
	shift 2
	rm -f "$work/server.log" # the last server's would do
	"$bin/sample_ramdisk" "$@" "$name" "$size" >"$work/server.log" &
	server=$!
	eventually grep -q "^/dev/$name" "$work/server.log"
}

destroy() { "$bin/sample_ramdisk" -d "$1"; }

attribute() { cat "/sys/block/$1/dblock/$2"; }

# eventually COMMAND: polls until it succeeds, for two minutes: far longer than anything takes.
eventually() {
	local end=$((SECONDS + 120))
	while [ $SECONDS -lt $end ]; do
		! "$@" || return 0
		sleep 0.1
	done
	echo "  in vain: $*"
	return 1
}

# fails COMMAND: it must not succeed. (A plain "! command" never ends a test, whatever comes of it.)
fails() { ! "$@"; }

clear_away() {
	local d
	umount -l "$mnt" 2>/dev/null
	for d in /sys/block/*/dblock; do
		[ ! -e "$d" ] || "$bin/sample_ramdisk" -D "$(basename "$(dirname "$d")")"
	done
	rm -f "$work"/*.img
}

run_tests() {
	local t begin
	for t in "$@"; do
		begin=$(date +%s.%N)
		# Not in a condition: there, set -e would count for nothing.
		(set -e; "$t") >"$work/$t.log" 2>&1
		if [ $? = 0 ]; then
			result=ok
			passed=$((passed + 1))
		else
			result=FAILED
			failed=$((failed + 1))
		fi
		[ $result = ok ] || tail -30 "$work/$t.log" | sed 's/^/  /'
		grep '^note: ' "$work/$t.log"
		clear_away >/dev/null 2>&1
		printf '%s %s (%.1f s)\n' $result "$t" "$(echo "$(date +%s.%N) - $begin" | bc)"
	done
	echo "$passed passed, $failed failed"
	[ $failed = 0 ] && [ $passed != 0 ]
}
