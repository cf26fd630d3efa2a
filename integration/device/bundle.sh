#!/bin/bash
# Makes a bundle for run.sh: souk, the stages, and a Podman with conmon, a static runc and
# their libraries, all from Debian but ours.
#
#	bundle.sh FOLDER SOUK DEVICE RUNC PODMAN-OR-NOTHING
set -eu -o pipefail
folder=$1 souk=$2 device=$3 runc=$4 podman=${5:-}
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/lib"
cp "$(dirname "$0")/run.sh" "$folder/"
cp "$souk" "$folder/bin/souk"
cp "$device" "$folder/bin/souk-device"
cp "$runc" "$folder/bin/runc"
[ -n "$podman" ] || exit 0
# An RPATH, which holds for libraries of libraries too, and not LD_LIBRARY_PATH, which
# conmon does not hand on to the podman that it starts when a container ends. The C
# library is the machine's.
for program in "$podman" "$(command -v conmon)"; do
	to=$folder/bin/$(basename "$program")
	cp "$program" "$to"
	ldd "$program" | awk '$3 ~ /^\// {print $3}' | grep -Ev '/(libc|libm|libdl|libpthread|librt|ld-linux[^/]*)\.so' | xargs cp -Lt "$folder/lib"
	patchelf --force-rpath --set-rpath '$ORIGIN/../lib' "$to"
done
