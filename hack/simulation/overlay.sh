#!/usr/bin/env bash
# Prints the path of an overlay for `go build`, in which whatever Go's runtime leaves to chance follows from a number:
# the order of a map, which of several channels that are ready is read, which of two timers goes off first. It is made
# of the files of the Go that is installed, in the folder that is given.
set -euo pipefail

# Go passes folders over whose names begin with an underscore, so give it such a one.
out=$(mkdir -p "$1" && cd "$1" && pwd)
src=$(go env GOROOT)/src
replaced=()

# patch FILE LINE REPLACEMENT [OCCURRENCES] replaces a part of a line of the runtime's, which must be there.
patch() {
	local file=$1 from=$2 to=$3 want=${4:-1} copy=$out/${1//\//_} text
	[[ -e $copy ]] || cp "$src/$file" "$copy"
	text=$(<"$copy")
	local found=$(((${#text} - $(wc -m <<<"${text//"$from"/}") + 1) / ${#from}))
	if [[ $found != "$want" ]]; then
		echo "$0: $(go version) has '$from' $found times in $file, not $want: change this script to fit it" >&2
		exit 1
	fi
	printf '%s\n' "${text//"$from"/"$to"}" >"$copy"
	[[ " ${replaced[*]-} " == *" $file "* ]] || replaced+=("$file")
}

rm -f "$out"/*
# One sequence for all that has to do with an order. What the runtime draws for itself, such as for its caches, has
# another: it depends on what ran before.
patch runtime/rand.go 'var readRandomFailed bool' 'var readRandomFailed bool

// repeatable is where the sequence stands, or zero where there is none.
//
//go:linkname repeatable
var repeatable uint64

// next is splitmix64.
//
//go:nosplit
func next() uint64 {
	if repeatable == 0 {
		return uint64(cheaprand64())
	}
	repeatable += 0x9e3779b97f4a7c15
	z := repeatable
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}'
patch runtime/rand.go 'func rand() uint64 {' 'func rand() uint64 {
	if repeatable != 0 {
		return next()
	}'
patch runtime/select.go 'j := cheaprandn(uint32(norder + 1))' 'j := next() % uint64(norder+1)'
patch runtime/time.go 't.rand = cheaprand()' 't.rand = uint32(next())'
# The order of a large map follows from its hashes.
patch runtime/alg.go '= bootstrapRand()' '= 0x9e3779b97f4a7c15 * uint64(i+1)'
patch runtime/alg.go 'uintptr(bootstrapRand())' 'uintptr(0x9e3779b9) * uintptr(i+1)'
# Nobody is interrupted for having run for long, since that depends on what else the machine does: but for one that turns
# in a circle until others have run, as controller-runtime's manager does if it is stopped while it starts.
patch runtime/proc.go 'const forcePreemptNS = 10 * 1000 * 1000' 'const forcePreemptNS = 5 * 1000 * 1000 * 1000'

{
	printf '{"Replace": {'
	comma=
	for file in "${replaced[@]}"; do
		printf '%s"%s": "%s"' "$comma" "$src/$file" "$out/${file//\//_}"
		comma=', '
	done
	printf '}}\n'
} >"$out/overlay.json"
echo "$out/overlay.json"
