#!/bin/bash
# Lays out the extension image of CloudNativePG:
#
#	collect.sh INSTALLED LIBRARIES IMAGE
#
# INSTALLED is where make install has put the extension.  LIBRARIES is a file with the
# names of the shared libraries of the operand image; those that dtm.so needs beyond
# them go into the image, with their licenses.
set -euo pipefail

installed=$1 libraries=$2 image=$3
library=$(find "$installed" -name dtm.so)

mkdir -p "$image/lib" "$image/share/extension" "$image/licenses/dtm"
cp "$library" "$image/lib/"
find "$installed" -path '*/extension/dtm*' \( -name '*.sql' -o -name '*.control' -o -name '*.psql' \) \
	-not -path '*/doc/*' -exec cp {} "$image/share/extension/" \;
cp LICENSE "$image/licenses/dtm/"

# needed by dtm.so, or by what it needs: name and file
ldd "$library" | awk '$2 == "=>" { print $1, $3 }' | while read -r name file; do
	! grep -qxF "$name" "$libraries" || continue
	cp -L "$file" "$image/lib/$name"
	package=$(dpkg -S "*/$(basename "$(realpath "$file")")" | sed 's/:.*//' | head -1)
	mkdir -p "$image/licenses/$package"
	cp "/usr/share/doc/$package/copyright" "$image/licenses/$package/"
done

# Beside dtm.so is where they are looked for, by dtm.so and by those that it loads; other
# programs of the container keep to their own.
# shellcheck disable=SC2016
patchelf --force-rpath --set-rpath '$ORIGIN' "$image/lib/dtm.so"

# The operand image may have no certificate authorities
mkdir -p "$image/share/ssl"
cp -L /etc/ssl/certs/ca-certificates.crt "$image/share/ssl/"
