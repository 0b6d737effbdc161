#!/bin/sh
# The manual: pages are well-formed, have every call that is exported, and refer to each other rightly.

n=0
: "${srcdir:=.}"
man=$srcdir/man

tell() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "$2" | sed 's/^/# /'
	fi
}

# what the NAME section of each page has, and the page itself
names() {
	sed -n 's/^\.Nm \([a-z_-]*\).*/\1/p' "$man"/*.[37]
	basename -a "$man"/*.[37] | sed 's/\.[37]$//'
}

missing() {
	while read -r name; do
		names | grep -q -x -e "$name" || echo "$name"
	done
}

if command -v mandoc >/dev/null; then
	for page in "$man"/*.[37]; do
		tell "$(basename "$page") is clean" "$(mandoc -T lint -W style "$page" 2>/dev/null | grep -v 'manual not found')"
	done
else
	echo "ok 1 - # SKIP mandoc is missing"
	n=1
fi

tell "every call has a page" "$(sed -n 's/^\t\(aio[a-z_]*\);/\1/p' "$srcdir/ipc/libaioipc.map" | missing)"
tell "every reference has its page" "$(sed -n 's/^\.Xr \(aio[a-z_-]*\) .*/\1/p' "$man"/*.[37] | sort -u | missing)"
echo "1..$n"
