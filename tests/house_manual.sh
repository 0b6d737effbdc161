#!/bin/sh
# The manual: pages are well-formed, have every call that is exported, and refer to pages that exist.
. "$srcdir/tests/tap.sh"

man=$srcdir/man

lint() {
	mandoc -T lint -W style "$1" 2>/dev/null | grep -v 'referenced manual not found' | nothing
}

# As man shows them on a terminal of 80 columns: nothing that groff could warn of.
tables_fit() {
	for page in "$man"/*.[137]; do
		groff -mandoc -ww -Tascii -rLL=78n "$page" 2>&1 >"$tmp/shown" | sed "s|^|${page##*/}: |"
	done | nothing
}

# what the NAME section of each page has, and the pages themselves
sed -n 's/^\.Nm \([a-z_-]*\).*/\1/p' "$man"/*.[137] >"$tmp/names"
basename -a "$man"/*.[137] | sed 's/\.[137]$//' >>"$tmp/names"

have_pages() {
	sort -u | grep -v -x -F -f "$tmp/names" | nothing
}

described_constants() {
	cat "$man"/*.[137] >"$tmp/manual"
	sort -u "$tmp/constants" | while read -r name; do
		grep -q -w "$name" "$tmp/manual" || echo "$name"
	done | nothing
}

# Prototypes, one a line, as the headers have them and as the pages do.
declared() {
	sed -n 's/^#include <\(aioipc.*\)>/\1/p' "$srcdir/include/aioipc.h" | while read -r header; do
		cat "$srcdir/include/$header"
	done | cat - "$srcdir/include/aioipc/tpl.h" "$srcdir/include/aioipc/tls.h" | tr '\n\t' '  ' | grep -o -E '(AIOIPC_API|typedef (void|int)) [^;]*\);' |
		sed 's/AIOIPC_API //; s/;$//; s/  */ /g' | sort
}

described() {
	awk '
	function start(call) { name = call; arguments = "" }
	function add(one) { arguments = arguments (arguments == "" ? "" : ", ") one }
	function finish() { print type (type ~ /\*$/ ? "" : " ") name "(" arguments ")" }
	/^\.Sh/ { synopsis = /SYNOPSIS/ }
	!synopsis { next }
	/^\.Ft/ { type = substr($0, 5); gsub(/"/, "", type) }
	/^\.Fo/ { start($2) }
	/^\.Fa/ { one = substr($0, 5); gsub(/"/, "", one); add(one) }
	/^\.Fc/ { finish() }
	/^\.Fn/ {
		start($2)
		n = split($0, part, "\"")
		for (i = 2; i <= n; i += 2)
			add(part[i])
		if (n == 1)
			add($3)
		finish()
	}' "$man"/*.3 | sort
}

for page in "$man"/*.[137]; do
	if have mandoc; then
		check "${page##*/} is clean" lint "$page"
	else
		skip "${page##*/} is clean" "no mandoc"
	fi
done
if have groff; then
	check "tables fit" tables_fit
else
	skip "tables fit" "no groff"
fi
sed -n 's/^\t\(aio[a-z_]*\);/\1/p' "$srcdir/ipc/libaioipc.map" "$srcdir/tls/libaioipc-tls.map" >"$tmp/exported"
check "every call has a page" have_pages <"$tmp/exported"
# what a macro needs for itself is nobody's business
grep -h -o -w -E 'AIO[A-Z]*_[A-Z_]*' "$srcdir"/include/aioipc/*.h | grep -v -e '_H$' -e '_API$' -e '_DEPTH$' >"$tmp/constants"
check "every constant is described" described_constants
declared >"$tmp/declared"
described >"$tmp/described"
check "prototypes are those of the headers" diff "$tmp/declared" "$tmp/described"
grep -h -o -E '(^\.| )Xr aio[a-z_-]*' "$man"/*.[137] | sed 's/.*Xr //' >"$tmp/referred"
check "every reference has its page" have_pages <"$tmp/referred"
finish
