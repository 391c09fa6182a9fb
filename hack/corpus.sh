#!/usr/bin/env bash
# Fetches the source of libvirt from Debian's archive, unless it is there already, and
# prints the directory of its tests. Nothing of it is kept in the repository.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/virtferry/corpus
suite=${SUITE:-bookworm}
mkdir -p "$cache/$suite/lists/partial"
cd "$cache/$suite"

if [[ ! -d source/tests ]]; then
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" >sources.list
	apt=(-o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$PWD/lists" -o APT::Sandbox::User=root)
	apt-get "${apt[@]}" --quiet=2 update >&2
	apt-get "${apt[@]}" --quiet=2 source --download-only --only-source libvirt >&2
	rm -rf source.part
	mkdir source.part
	archives=(libvirt_*.orig.tar.*z)
	tar --extract --file="${archives[0]}" --directory=source.part --strip-components=1 --wildcards '*/tests/*.xml'
	mv source.part source
fi
echo "$PWD/source/tests"
