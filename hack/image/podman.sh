#!/usr/bin/env bash
# Runs podman with images of the project's own, in ${VIRTFERRY_CACHE:-the user's cache
# directory/virtferry}: those that the build starts from bear names of public ones, and
# nothing else on this machine should take them for those.
set -euo pipefail

cache=${VIRTFERRY_CACHE:-}
if [[ -z $cache ]]; then
	base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
	cache=${base:?set VIRTFERRY_CACHE, XDG_CACHE_HOME or HOME}/virtferry
fi
# Neither systemd nor a journal is needed.
podman=(podman --root "$cache/containers/images" --runroot "$cache/containers/run" --tmpdir "$cache/containers/tmp"
	--cgroup-manager cgroupfs --events-backend none)
if [[ ${1:-} == run && $(stat --file-system --format=%T /sys/fs/cgroup) != cgroup2fs ]]; then
	# No container here has control groups, but crun wants to see those of version 2 only.
	exec unshare --mount --propagation private bash -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"' - "${podman[@]}" "$@"
fi
exec "${podman[@]}" "$@"
