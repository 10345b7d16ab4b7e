#!/bin/sh
# Writes C that has the files of the page as arrays.
#
#	embed.sh FILE...
set -eu

printf '%s\n\n' '#include "page.h"'
table=
n=0
for file in "$@"; do
	name=${file##*/}
	case $name in
	*.html) type='text/html; charset=utf-8' ;;
	*.css) type='text/css; charset=utf-8' ;;
	*.js) type='text/javascript; charset=utf-8' ;;
	*.svg) type='image/svg+xml' ;;
	*) echo "embed.sh: unknown kind of file: $file" >&2; exit 1 ;;
	esac
	[ "$name" != index.html ] || name=
	printf 'static const unsigned char file_%d[] = {\n' "$n"
	od -An -v -tx1 "$file" | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g'
	printf '};\n\n'
	table="$table	{\"/$name\", \"$type\", file_$n, sizeof(file_$n)},
"
	n=$((n + 1))
done
printf 'const PageFile page_files[] = {\n%s};\n\n' "$table"
printf 'const int page_file_count = %d;\n' "$n"
