#!/usr/bin/env bash
# Prepares the demonstration, all parts side by side, and runs it with the arguments that it
# is given. What has been built before is not built again.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What is wrong with this machine is said at once, before anything is built.
problems=()
system=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}") || system=
case "$system $(uname -sm)" in
"debian 12 Linux x86_64" | "debian 13 Linux x86_64") ;;
*)
	problems+=("it needs Debian 12 or 13 on x86-64, whose packages the hosts' libvirt and the guest's kernel are, and this is ${system:-an unknown system} ($(uname -sm)): run it in a virtual machine with Debian, or in a privileged container of debian:12")
	;;
esac
[[ $EUID -eq 0 ]] || problems+=("it needs root, for namespaces and for libvirt: run it as root")
for program in gcc git; do
	command -v "$program" >/dev/null || problems+=("it needs $program: apt-get install $program")
done
go=$(go env GOVERSION 2>/dev/null) || go=
[[ $go =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge 26 ]] || problems+=("it needs Go 1.26 or later, and there is ${go:-none}: https://go.dev/dl")
if [[ ${#problems[@]} -gt 0 ]]; then
	printf 'demo: %s\n' "${problems[@]}" >&2
	exit 1
fi

logs=$(mktemp -d)
declare -A names=() seconds=() processes=()

# part NAME SECONDS COMMAND... begins with a part, which takes about as long as that on
# two cores where nothing is there yet.
part() {
	local name=$1
	names[$name]=$name seconds[$name]=$2
	shift 2
	# In a process group of its own, so that all of it can be stopped.
	set -m
	{
		code=0
		"$@" >"$logs/$name" 2>&1 </dev/null || code=$?
		echo "$code" >"$logs/$name.new"
		mv "$logs/$name.new" "$logs/$name.result"
	} &
	processes[$name]=$!
	set +m
}

# stop ends the parts that are not ready, and removes what they said.
stop() {
	trap - EXIT INT TERM
	for process in "${processes[@]}"; do kill -- "-$process" 2>/dev/null || true; done
	wait
	rm -rf "$logs"
}
trap stop EXIT
trap 'exit 130' INT TERM

# clock SECONDS prints minutes and seconds.
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

build=540
if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then build=1; fi
echo "==> Step 1 of 2: preparing, side by side; nothing is done twice, and the second time this takes seconds"
# Without what Git says: it tells root nothing of a checkout that is somebody else's, as one
# that is mounted into a container is.
part "packages of Debian" 60 hack/deps.sh lab
part "the control plane" "$build" hack/controlplane/build.sh
part "the lab" 90 go build -buildvcs=false -o bin/lab -tags libvirt_dlopen ./test/lab/cmd/lab
part "virtferry" 90 go build -buildvcs=false -o bin/virtferry -tags libvirt_dlopen ./cmd/virtferry

told=0
while [[ ${#names[@]} -gt 0 ]]; do
	sleep 0.5
	left=0
	for name in "${names[@]}"; do
		if [[ -e $logs/$name.result ]]; then
			if [[ $(<"$logs/$name.result") != 0 ]]; then
				tail -n 20 "$logs/$name" >&2
				echo "demo: $name cannot be prepared" >&2
				exit 1
			fi
			unset 'names[$name]' 'processes[$name]'
			echo "    $(clock $SECONDS)  $name: ready"
			continue
		fi
		rest=$((seconds[$name] - SECONDS))
		if ((rest > left)); then left=$rest; fi
	done
	if ((SECONDS >= told + 15)) && [[ ${#names[@]} -gt 0 ]]; then
		told=$SECONDS
		remaining="about $(clock $left) left on two cores"
		if ((left == 0)); then remaining="longer than on two cores"; fi
		printf -v waiting '%s, ' "${names[@]}"
		echo "    $(clock $SECONDS)  ${#names[@]} of 4 parts to go, $remaining: ${waiting%, }"
	fi
done
KUBEBUILDER_ASSETS=$(hack/controlplane/build.sh 2>/dev/null)
export KUBEBUILDER_ASSETS
echo
echo "==> Step 2 of 2: the demonstration, a minute or two; $(clock $SECONDS) have passed"
stop
# Without this shell between them, whoever stops the command stops the lab.
exec bin/lab demo -binary bin/virtferry "$@"
