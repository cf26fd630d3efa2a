#!/usr/bin/env bash
# Compiles challenge.cl to PTX for compute capability 6.1 and newer: drivers compile
# it for the card that they find. The first line says from which source it was made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
clang=$(command -v clang-15 || command -v clang)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
echo "// challenge.cl $(sha256sum challenge.cl | cut -d' ' -f1)" >"$out"
"$clang" -x cl -cl-std=CL1.2 -Xclang -finclude-default-header --target=nvptx64-nvidia-cuda -march=sm_61 -O2 -S challenge.cl -o - >>"$out"
gzip -9n <"$out" >challenge.ptx.gz
