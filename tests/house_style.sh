#!/bin/sh
# How long things may get, and what they look like.
. "$srcdir/tests/tap.sh"

cd "$srcdir" || exit 1

# "lines file:line" of each function: from the first line of its head to the brace that closes it.
functions() {
	awk '
	FNR == 1 { head = 0 }
	/^[a-z].*[(]/ && !/;$/ { head = FNR }
	/^{/ && head { open = head }
	/^}/ && open { print FNR - open + 1, FILENAME ":" open; open = head = 0 }' ipc/*/*.c tls/*.c tool/*.c
}

opening_comments() {
	awk 'FNR == 1 && !/^\/\*/ { print FILENAME } FNR > 1 { nextfile }' \
		ipc/*/*.[ch] tls/*.[ch] include/*.h include/*/*.h tests/*.[ch] demos/*.c tool/*.[ch] bench/*.[ch] fuzz/*.c
}

functions | sort -n >"$tmp/functions"
count=$(wc -l <"$tmp/functions")
middle=$(sed -n "$((count / 2 + 1))s/ .*//p" "$tmp/functions")
ninth=$(sed -n "$((count * 9 / 10 + 1))s/ .*//p" "$tmp/functions")
echo "# $count functions, median $middle lines, nine in ten below $((ninth + 1)); the longest:"
tail -n 5 "$tmp/functions" | sed 's/^/#   /'

check "half of all functions have less than 16 lines" test "$middle" -lt 16
check "nine in ten have less than 40" test "$ninth" -lt 40
wc -l ipc/*/*.[ch] tls/*.[ch] tool/*.[ch] | awk '$1 >= 800 && $2 != "total"' >"$tmp/long"
check "no file has 800 lines" nothing <"$tmp/long"
opening_comments >"$tmp/bare"
check "every file opens with a comment that says what it is" nothing <"$tmp/bare"
if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
	find include ipc tls tests demos tool bench fuzz -name '*.[ch]' >"$tmp/files"
	check "clang-format would change nothing" xargs clang-format -n --Werror <"$tmp/files"
else
	skip "clang-format would change nothing" "no clang-format 14"
fi
finish
