#!/bin/sh
# Tries souk on this machine's NVIDIA card and writes report.jsonl and report.md. It needs
# Linux, glibc and the card's driver; no network, no toolkit, and root only for what the
# report then says could not be tried. It ends by itself within seven minutes.
#
#	run.sh [--out DIR] [--bundle FOLDER-OR-ARCHIVE]
#
# The bundle is what make device wrote: the folder that this script lies in, if it was
# unpacked there, or bin/device/souk-device.tar.gz of the source tree.
set -eu
out=device-report
here=$(cd "$(dirname "$0")" && pwd)
bundle=
while [ $# -gt 0 ]; do
	case $1 in
	--out) out=$2; shift 2 ;;
	--bundle) bundle=$2; shift 2 ;;
	*) sed -n 's/^#	//p' "$0" >&2; exit 2 ;;
	esac
done
if [ -z "$bundle" ]; then
	bundle=$here
	[ -x "$here/bin/souk-device" ] || bundle=$here/../../bin/device/souk-device.tar.gz
fi
mkdir -p "$out"
unpacked=
trap '[ -z "$unpacked" ] || rm -rf "$unpacked"' EXIT
if [ -f "$bundle" ]; then
	unpacked=$(mktemp -d)
	tar -xzf "$bundle" -C "$unpacked"
	bundle=$unpacked
fi
chmod 755 "$bundle" # whoever a container's user is, it reads the programs
code=0
timeout -k 10 "${SOUK_DEVICE_WITHIN:-415}" "$bundle/bin/souk-device" -bundle "$bundle" -out "$out" || code=$?
exit $code
