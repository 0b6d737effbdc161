#!/bin/sh
# Builds fuzz targets into fuzz/bin: "build.sh NAME...", by make fuzz, which sets CC, CFLAGS, LIBS and srcdir.
set -e
mkdir -p fuzz/bin/objects
rm -f fuzz/bin/objects/*

for file in "$srcdir"/ipc/*/*.c "$srcdir"/fuzz/arena.c "$srcdir"/fuzz/args.c; do
	object=$(basename "$(dirname "$file")")-$(basename "$file" .c).o
	$CC $CFLAGS -c -o "fuzz/bin/objects/$object" "$file"
done
for name; do
	$CC $CFLAGS -o "fuzz/bin/$name" "$srcdir/fuzz/fuzz_$name.c" fuzz/bin/objects/*.o $LIBS
done
