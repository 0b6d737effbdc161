# A server of Redis or Valkey in "$tmp", for tests that have tests/tap.sh: "run_server" starts it, on the socket "$tmp/s"; it ends with the test.

# Debian's redis-tools has one under another name; under this one it is a server. False: there is none.
find_server() {
	for path in redis-server valkey-server redis-check-rdb valkey-check-rdb; do
		server=$(command -v $path) && ln -sf "$server" "$tmp/redis-server" && return
	done
	return 1
}

run_server() {
	find_server || return 1
	"$tmp/redis-server" --port 0 --unixsocket "$tmp/s" --dir "$tmp" --save '' --appendonly yes --appendfsync always >"$tmp/log" 2>&1 &
	pid=$!
	trap 'kill $pid; wait $pid 2>/dev/null; rm -rf "$tmp"' EXIT
	until [ -S "$tmp/s" ]; do
		kill -0 $pid || return 1
		sleep 0.02
	done
}
