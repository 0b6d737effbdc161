#!/bin/sh
# Redis 7.0.15: a user who may SET and EXEC, but not MULTI, sends MULTI, SET, EXEC at once, as clients do. MULTI is refused, and what should have
# been queued is done; then EXEC fails. So who takes an error of EXEC for "nothing was done", and asks again, does it twice. Valkey 8.1.1 too.
. "$(dirname "$0")/common.sh"
packages redis-tools=5:7.0.15-1~deb12u10 libatomic1=12.2.0-14+deb12u1 libjemalloc2=5.3.0-1 liblzf1=3.6-3
guess "MULTI: NOPERM; EXEC: EXECABORT; counted: 0"
bin=$tmp/root/usr/bin
ln -s redis-check-rdb "$bin/redis-server"

cli() {
	"$bin/redis-cli" -s "$tmp/s" "$@"
}

transaction() {
	"$bin/redis-server" --port 0 --unixsocket "$tmp/s" --dir "$tmp" --save '' >>"$tmp/log" 2>&1 &
	server=$!
	until [ "$(cli PING 2>/dev/null)" = PONG ]; do
		kill -0 "$server" || return 1
		sleep 0.05
	done
	cli ACL SETUSER user on nopass '~*' +incr +exec >/dev/null
	printf 'AUTH user any\nMULTI\nINCR counted\nEXEC\n' | cli >"$tmp/said"
	printf 'MULTI: %s; EXEC: %s; counted: %s\n' "$(sed -n '2s/ .*//p' "$tmp/said")" "$(tail -n 2 "$tmp/said" | head -n 1)" "$(cli GET counted)"
	cli SHUTDOWN
	wait "$server"
}
finding "MULTI: NOPERM; EXEC: ERR EXEC without MULTI; counted: 1" transaction
