#!/bin/sh
# Calls go one way: no circle between files, seen in what their objects define and need.
. "$srcdir/tests/tap.sh"

# Only of files that there are: a build folder may hold objects of older ones.
objects() {
	for source in "$srcdir"/ipc/*/*.c; do
		object=${source#"$srcdir"/}
		echo "${object%.c}.o"
	done
}

# "caller callee" of each file that needs a name of another.
calls() {
	nm -A -g "$@" | sed 's/:/ /' | awk '
	$(NF - 1) == "U" { needs[$1 " " $NF]; next }
	{ home[$NF] = $1 }
	END {
		for (need in needs) {
			split(need, part, " ")
			if (part[2] in home && home[part[2]] != part[1])
				print part[1], home[part[2]]
		}
	}' | sort -u
}

objects >"$tmp/objects"
xargs ls <"$tmp/objects" >"$tmp/there"
check "every file was compiled" diff "$tmp/objects" "$tmp/there"
# shellcheck disable=SC2046
calls $(cat "$tmp/there") >"$tmp/calls"
check "files call each other" test -s "$tmp/calls"
tsort <"$tmp/calls" 2>&1 >"$tmp/order" | sed 's/^tsort: //; s/^-: //' >"$tmp/circles"
check "no file calls one that calls it back" nothing <"$tmp/circles"

printf 'a b\nb c\nc a\n' | tsort >/dev/null 2>"$tmp/known"
check "a circle would be seen" test -s "$tmp/known"
finish
