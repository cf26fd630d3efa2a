#!/bin/sh
# Compiles the contracts and writes artifacts/*.json and one Go package of bindings for each.
# With an argument, writes them below that folder instead. Needs node; $ABIGEN or bin/tools/abigen.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
abigen=${ABIGEN:-$here/../../../bin/tools/abigen}

cd "$here"
if ! cmp -s package-lock.json node_modules/.souk-lock.json 2>/dev/null; then
	npm ci --ignore-scripts --no-audit --no-fund >&2
	cp package-lock.json node_modules/.souk-lock.json
fi
node compile.mjs "$out/artifacts"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for contract in Anchors:anchors ERC3009DepositCollector:collector Multicall3:multicall Settlement:settlement TestToken:testtoken; do
	name=${contract%:*} pkg=${contract#*:}
	node -e '
		const [file, dir] = process.argv.slice(1);
		const fs = require("fs"), c = JSON.parse(fs.readFileSync(file));
		fs.writeFileSync(dir + "/c.abi", JSON.stringify(c.abi));
		fs.writeFileSync(dir + "/c.bin", c.bytecode.slice(2));
	' "$out/artifacts/$name.json" "$tmp"
	mkdir -p "$out/$pkg"
	# One package for each: two EIP-712 contracts in one would declare the same types twice.
	"$abigen" --v2 --abi "$tmp/c.abi" --bin "$tmp/c.bin" --pkg "$pkg" --type "$name" --out "$out/$pkg/$pkg.go"
	chmod 644 "$out/$pkg/$pkg.go"
done
