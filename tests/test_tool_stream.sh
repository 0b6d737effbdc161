#!/bin/sh
# aioipc stream, and what people have beside it, with a server of its own: Redis or Valkey, in a folder that goes away.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/tool.sh"
. "$srcdir/tests/server.sh"

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
	for _ in $(seq 600); do
		[ ! -s "$tmp/begun" ] || break
		sleep 0.1
	done
	kill -TERM $!
	wait $!
	[ $? -eq 1 ]
}

# Who reads, as the statistics of its process tell it.
is_in_top() {
	echo begin | appends shown || return 1
	AIOIPC_STATS=$tmp/stats $tool stream "$address" shown --group g --from-start >"$tmp/begun" 2>"$tmp/err" &
	reader=$!
	for _ in $(seq 100); do
		$tool top "$tmp/stats" >"$tmp/said" 2>/dev/null && grep -q 'stream .*1 acknowledged' "$tmp/said" && break
		sleep 0.1
	done
	$tool top "$tmp/stats" --json >"$tmp/json" 2>"$tmp/err"
	kill -TERM $reader
	wait $reader
	grep -q "stream  *shown, group g, .*connected, 1 received, 1 acknowledged" "$tmp/said" &&
		grep -q "\"kind\": \"stream\".*\"name\": \"shown, group g, $address\".*\"acked\": 1,.*\"in_work\": 0," "$tmp/json"
}

says_why() {
	$tool stream "redis+unix://$tmp/nobody" x --group g --timeout 0.5 >"$tmp/said" 2>&1
	[ $? -eq 1 ] && grep -q "No such file" "$tmp/said" && grep -q "nothing came for 0.5 seconds" "$tmp/said"
}

# Two workers, of which one is killed in the midst of it.
pool() {
	demos/jobs "$address" work &
	first=$!
	demos/jobs "$address" work &
	second=$!
	timeout $((120 * ${CK_TIMEOUT_MULTIPLIER:-1})) demos/jobs "$address" >"$tmp/primes" &
	asker=$!
	sleep 0.2
	kill -KILL $first
	wait $asker && kill $second && wait $second && grep -x '78498 primes below 1000000' "$tmp/primes"
}

# Shipper and collector are killed, and started again.
logs() {
	seq 5000 >"$tmp/my.log"
	demos/logs "$address" ship "$tmp/my.log" &
	shipper=$!
	demos/logs "$address" collect "$tmp/all.log" &
	collector=$!
	sleep 0.1
	kill -KILL $shipper $collector
	demos/logs "$address" ship "$tmp/my.log" &
	shipper=$!
	demos/logs "$address" collect "$tmp/all.log" &
	collector=$!
	for _ in $(seq 600); do
		sort -nu "$tmp/all.log" 2>/dev/null | cmp -s - "$tmp/my.log" && break
		sleep 0.1
	done
	kill $shipper $collector && wait $shipper && wait $collector && sort -nu "$tmp/all.log" | diff - "$tmp/my.log"
}

# The Python that has the package of Debian may not be the one that was configured.
find_client() {
	for python in "${PYTHON3:-python3}" /usr/bin/python3; do
		"$python" "$srcdir/tests/peer_redis.py" 2>/dev/null && return
	done
	return 1
}

python_peer() {
	timeout $((60 * ${CK_TIMEOUT_MULTIPLIER:-1})) "$python" -B "$srcdir/tests/peer_redis.py" "$tmp/s" "$@"
}

# What it appends, bytes and values, is read here.
python_appends() {
	python_peer append from || return 1
	{ printf '%s\n' '"plain"' '"\x00\r\n\xff"' '""' && head -c 100000 /dev/zero | tr '\0' x | sed 's/.*/"&"/' &&
		echo && printf '%s\n' 'is 42 "x y"' 'A(u) [ 1 2 3 ]' 'B "\x00\xff"'; } >"$tmp/due" || return 1
	$tool stream "$address" from --group g --from-start --count 7 | diff - "$tmp/due" | cut -c 1-100 >"$tmp/said"
	[ ! -s "$tmp/said" ] || { cat "$tmp/said" && false; }
}

# What is appended here is read by it.
python_reads() {
	printf 'one\0\377two\n' | $tool stream "$address" to && printf '42 "x y"\n7 ""\n' | $tool stream "$address" to --format is &&
		python_peer read to 3 >"$tmp/said" && printf '%s\n' "b'one\\x00\\xfftwo'" "('is', 42, 'x y')" "('is', 7, '')" | diff - "$tmp/said"
}

if ! run_server; then
	skip "aioipc stream" "no server of Redis or Valkey"
	finish
	exit
fi
check "lines are appended" sh -c "printf 'one\\ntwo\\nthree\\n' | $tool stream '$address' s"
check "and read" gives 'one\ntwo\nthree\n' $tool stream "$address" s --group g --lines --from-start --count 3
check "values are" sh -c "echo '42 \"x y\"' | $tool stream '$address' t --format is"
check "and come again" gives 'is 42 "x y"\n' $tool stream "$address" t --group g --from-start --count 1
check "what is not printed is given back" gives_back
check "a signal ends it" ends_by_signal
check "top shows it" is_in_top
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
if find_client; then
	check "what Python's client appends is read" python_appends
	check "what is appended is read by it" python_reads
else
	skip "Python's client beside it" "no module redis: the package python3-redis has one"
fi
if [ -x demos/jobs ]; then
	check "a pool of workers loses no job" pool
	check "a log shipper loses no line" logs
else
	skip "demos" "not built"
fi
finish
