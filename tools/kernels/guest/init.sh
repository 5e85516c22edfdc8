#!/bin/busybox sh
# The guest's init: mounts what programs expect, loads modules for the disk, runs the checks, sends their output
# through the second serial line, and leaves.
B=/bin/busybox
$B mount -t devtmpfs dev /dev
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B --install -s /bin
export PATH=/bin HOME=/root TMPDIR=/disk/tmp
mkdir -p /disk /ram /tmp /root /dev/shm
mount -t tmpfs ram /ram
mount -t tmpfs tmp /tmp
mount -t securityfs security /sys/kernel/security 2>/dev/null
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in $(cat /modules/order 2>/dev/null); do
  insmod "/modules/$module.ko" || echo "init: cannot load $module" >/dev/console
done
tries=0
while [ ! -b /dev/nvme0n1 ] && [ $tries -lt 100 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
if ! mount -t ext4 /dev/nvme0n1 /disk; then
  echo "init: cannot mount the disk" >/dev/ttyS1
  poweroff -f
fi
mkdir -p /disk/tmp
stty raw -echo </dev/ttyS1
BUN_BE_BUN=1 /bin/diffkeeper run /repo/tools/kernels/guest/check.ts >/dev/ttyS1 2>&1 </dev/null
echo "@@EXIT $?" >/dev/ttyS1
umount /disk
/bin/leave
poweroff -f
