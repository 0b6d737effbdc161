#!/bin/sh
# The guide: the program of each chapter compiles as it is shown, without a warning, and prints what the chapter says.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/server.sh"

include=$(cd "$srcdir/include" && pwd)
library=$(pwd)/.libs

# which kind of block, of which chapter
block() {
	awk -v fence="\`\`\`$1" '$0 == fence { inside = 1; next } /^```$/ { inside = 0 } inside' "$2"
}

# shellcheck disable=SC2046
compiles() {
	block c "$1" >"$tmp/program.c"
	${CC:-cc} -Wall -Wextra -Werror -I"$include" -o "$tmp/program" "$tmp/program.c" -L"$library" -laioipc \
		$(pkg-config --cflags --libs libevent_core)
}

runs() {
	block text "$1" >"$tmp/due"
	LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} timeout $((60 * ${CK_TIMEOUT_MULTIPLIER:-1})) "$tmp/program" "redis+unix://$tmp/s" >"$tmp/said" || return 1
	diff "$tmp/due" "$tmp/said"
}

check "there are eleven chapters" test "$(find "$srcdir/doc/guide" -name '*.md' | wc -l)" = 11
for chapter in "$srcdir"/doc/guide/*.md; do
	what=${chapter##*/}
	check "$what has one program and what it prints" test "$(grep -c -e '^```c$' -e '^```text$' "$chapter")" = 2
	if [ "$what" = 11-server.md ] && ! run_server; then
		skip "$what: the program" "no server of Redis or Valkey"
	elif [ -f "$library/libaioipc.so" ]; then
		check "$what: the program compiles" compiles "$chapter"
		check "$what: it prints what is said" runs "$chapter"
	else
		skip "$what: the program" "configured without a shared library"
	fi
done
finish
