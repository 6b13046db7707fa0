#!/bin/busybox sh
# The first process of a test VM: mounts what a Linux system has, runs the tests (or the one command that
# was asked for), says how it went in exactly one line that starts with "init:", and powers off.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=dumb IOTRACE_BIN=/bin/iotrace IOTRACE_TAPES=/tmp/tapes

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ip link set lo up
hostname vm

# IOTRACE_VM (the kernel that was meant to boot) and FILTER.
. /etc/vm.env

verdict() {
    echo "init: $1"
    # The serial line still holds what was written last.
    sync
    sleep 0.3
    poweroff -f
    # Without ACPI poweroff only halts.
    echo o > /proc/sysrq-trigger
    sleep 60
}

if [ -f /etc/command ]; then
    sh /etc/command < /dev/null
    verdict "exit $?"
fi

# Sends the tapes that failed tests have left to the second serial line, as a tar: 4 MiB at most, the newest first.
# Whether that works changes no verdict.
send_tapes() {
    room=4194304
    chosen=
    cd "$IOTRACE_TAPES" || return
    stty -F /dev/ttyS1 raw -echo || return
    for tape in $(ls -t); do
        size=$(stat -c %s "$tape") && [ "$size" -le "$room" ] || continue
        room=$((room - size))
        chosen="$chosen $tape"
    done
    # Names of tests: each is one word.
    [ -n "$chosen" ] && timeout 120 tar c $chosen > /dev/ttyS1
}

failed=0
for test in /tests/*; do
    echo "== ${test##*/} ($(uname -r))"
    # The arguments are in TEST_ARGS, one word each.
    "$test" $TEST_ARGS < /dev/null || { echo "== ${test##*/} failed: $?"; failed=1; }
done

# A kernel that complains has found a bug, ours or its own; either way the run proves nothing.
if dmesg | grep -E 'BUG: |cut here|Oops|hung_task|rcu.*detected stall'; then
    dmesg | tail -n 60
    failed=1
fi

[ "$failed" = 0 ] && verdict success
[ -d "$IOTRACE_TAPES" ] && (send_tapes < /dev/null > /dev/null 2>&1)
verdict failure
