#!/bin/sh
# What libvirtd finds as QEMU on the lab's hosts: QEMU itself, with 8 KiB more
# memory for the guest.
#
# Emulating QEMU before 9.0 loses writes of the guest while it migrates: when it
# has read which pages are dirty, it does not tell the emulated processor to mark
# them anew, and a guest that takes more than two passes soon crashes (fixed
# upstream by 03bfc2188f06, "physmem: Fix migration dirty bitmap coherency with
# TCG memory access"). Only its fast path does so, which takes 64 pages at a time.
# Memory that is not a multiple of 64 pages is gone through page by page, which is
# correct until 11.0. Since then neither way is, and 11.1 shows it where post-copy is
# allowed; docs/testing.md says more, and nothing here helps against that. libvirt
# cannot be asked for such an odd size, so it is made odd here.
set -eu

extra=8 # KiB.

# Only plain memory can have an odd size; huge pages, files and NUMA nodes are
# left alone.
plain=
for argument; do
	case $argument in
	*'"hugetlb":true'*) ;;
	'{"qom-type":"memory-backend-ram",'*'"id":"pc.ram"'* | '{"qom-type":"memory-backend-memfd",'*'"id":"pc.ram"'*) plain=1 ;;
	esac
done

# Each argument is taken from the front, and put back, maybe changed, at the end.
left=$#
previous=
while [ "$left" -gt 0 ]; do
	argument=$1
	shift
	left=$((left - 1))
	case $plain:$previous:$argument in
	1:-m:size=*k*)
		size=${argument#size=}
		size=${size%%k*}
		new="size=$((size + extra))k${argument#"size=${size}k"}"
		;;
	1:-m:*[!0-9]*) new=$argument ;;
	1:-m:*) new="size=$((argument * 1024 + extra))k" ;;
	1:-object:*'"id":"pc.ram"'*'"size":'*)
		head=${argument%%'"size":'*}
		tail=${argument#*'"size":'}
		size=${tail%%[!0-9]*}
		new="$head\"size\":$((size + extra * 1024))${tail#"$size"}"
		;;
	*) new=$argument ;;
	esac
	set -- "$@" "$new"
	previous=$argument
done

# This file's directory comes first in the path.
PATH=${PATH#*:}
exec qemu-system-x86_64 "$@"
