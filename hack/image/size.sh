#!/usr/bin/env bash
# size.sh TAG says how large an image is, unpacked.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

bytes=$(./podman.sh image inspect --format '{{.Size}}' "$1")
echo "image_mib: $((bytes / 1024 / 1024))"
