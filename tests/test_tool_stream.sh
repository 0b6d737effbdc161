#!/bin/sh
# aioipc stream, and what people have beside it, with a server of its own: Redis or Valkey, in a folder that goes away.
. "$srcdir/tests/tap.sh"

tool=./aioipc
[ -x $tool ] || tool=tool/aioipc
server=

# Debian's redis-tools has one under another name; under this one it is a server.
find_server() {
	for path in redis-server valkey-server redis-check-rdb valkey-check-rdb; do
		server=$(command -v $path) && break
	done
	[ -n "$server" ] && ln -s "$server" "$tmp/redis-server"
}

run_server() {
	"$tmp/redis-server" --port 0 --unixsocket "$tmp/s" --dir "$tmp" --save '' >"$tmp/log" 2>&1 &
	pid=$!
	trap 'kill $pid; wait $pid 2>/dev/null; rm -rf "$tmp"' EXIT
	until [ -S "$tmp/s" ]; do
		kill -0 $pid || return 1
		sleep 0.02
	done
}

address=redis+unix://$tmp/s

gives() {
	due=$1
	shift
	timeout $((60 * ${CK_TIMEOUT_MULTIPLIER:-1})) "$@" >"$tmp/said" 2>"$tmp/err"
	status=$?
	[ $status -eq 0 ] && printf '%b' "$due" | diff - "$tmp/said"
}

appends() {
	timeout $((60 * ${CK_TIMEOUT_MULTIPLIER:-1})) $tool stream "$address" "$@"
}

# Whoever has enough leaves the rest to the next one.
gives_back() {
	seq 1000 | appends many && $tool stream "$address" many --group g --lines --from-start --count 10 >"$tmp/first" &&
		timeout 60 $tool stream "$address" many --group g --lines --count 990 >"$tmp/rest" &&
		seq 1000 >"$tmp/due" && cat "$tmp/first" "$tmp/rest" | sort -n | diff "$tmp/due" -
}

ends_by_signal() {
	echo begin | appends one || return 1
	$tool stream "$address" one --group g --from-start >"$tmp/begun" 2>"$tmp/err" &
	until [ -s "$tmp/begun" ]; do
		sleep 0.02
	done
	kill -TERM $!
	wait $!
	[ $? -eq 1 ]
}

says_why() {
	$tool stream "redis+unix://$tmp/nobody" x --group g --timeout 0.5 >"$tmp/said" 2>&1
	[ $? -eq 1 ] && grep -q "No such file" "$tmp/said" && grep -q "nothing came for 0.5 seconds" "$tmp/said"
}

if ! find_server; then
	skip "aioipc stream" "no server of Redis or Valkey"
	finish
	exit
fi
run_server || exit 1
check "lines are appended" sh -c "printf 'one\\ntwo\\nthree\\n' | $tool stream '$address' s"
check "and read" gives 'one\ntwo\nthree\n' $tool stream "$address" s --group g --lines --from-start --count 3
check "values are" sh -c "echo '42 \"x y\"' | $tool stream '$address' t --format is"
check "and come again" gives 'is 42 "x y"\n' $tool stream "$address" t --group g --from-start --count 1
check "what is not printed is given back" gives_back
check "a signal ends it" ends_by_signal
check "what is wrong is told" says_why
if have redis-cli; then
	cli="redis-cli -s $tmp/s"
	check "redis-cli appends three" sh -c "for word in a b c; do $cli XADD other '*' m \$word >/dev/null || exit; done"
	check "that are read" gives 'a\nb\nc\n' $tool stream "$address" other --group g --lines --from-start --count 3
	check "three that were appended" sh -c "printf 'd\\ne\\nf\\n' | $tool stream '$address' other"
	$cli XGROUP CREATE other cli 0 >/dev/null
	check "are read by redis-cli" sh -c "$cli XREADGROUP GROUP cli me COUNT 9 STREAMS other '>' | grep -x -e d -e e -e f | tr '\\n' ' ' | grep -x 'd e f '"
else
	skip "redis-cli beside it" "no redis-cli"
fi
finish
