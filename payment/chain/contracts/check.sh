#!/bin/sh
# Fails when the committed artifacts or bindings are not what the sources compile to.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$here/generate.sh" "$tmp"
for dir in "$tmp"/*/; do
	name=$(basename "$dir")
	diff -r "$dir" "$here/$name" >/dev/null || {
		echo "payment/chain/contracts/$name is stale: run payment/chain/contracts/generate.sh" >&2
		exit 1
	}
done
