#!/bin/sh
# The manual: pages are well-formed, have every call that is exported, and refer to pages that exist.
. "$srcdir/tests/tap.sh"

man=$srcdir/man

lint() {
	mandoc -T lint -W style "$1" 2>/dev/null | grep -v 'referenced manual not found' | nothing
}

# what the NAME section of each page has, and the pages themselves
sed -n 's/^\.Nm \([a-z_-]*\).*/\1/p' "$man"/*.[37] >"$tmp/names"
basename -a "$man"/*.[37] | sed 's/\.[37]$//' >>"$tmp/names"

have_pages() {
	sort -u | grep -v -x -F -f "$tmp/names" | nothing
}

for page in "$man"/*.[37]; do
	if have mandoc; then
		check "${page##*/} is clean" lint "$page"
	else
		skip "${page##*/} is clean" "no mandoc"
	fi
done
sed -n 's/^\t\(aio[a-z_]*\);/\1/p' "$srcdir/ipc/libaioipc.map" >"$tmp/exported"
check "every call has a page" have_pages <"$tmp/exported"
sed -n 's/^\.Xr \(aio[a-z_-]*\) .*/\1/p' "$man"/*.[37] >"$tmp/referred"
check "every reference has its page" have_pages <"$tmp/referred"
finish
