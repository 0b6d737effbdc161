#!/bin/sh
# Redis 7.0.15, appendfsync always: the power fails while it writes a transaction to its file. The first start after that reverts the
# transaction, but leaves its front in the file, up to the last whole command; what is written from then on comes behind it. So the second start
# takes that for the rest of the transaction, finds no EXEC, and removes it: a write that was confirmed, and a shutdown in good order, and the
# write is gone. Valkey 8.1.1 does the same. BGREWRITEAOF after the first start, or redis-check-aof --fix before it, prevents that.
. "$(dirname "$0")/common.sh"
packages redis-tools=5:7.0.15-1~deb12u10 libatomic1=12.2.0-14+deb12u1 libjemalloc2=5.3.0-1 liblzf1=3.6-3
guess "confirmed after the first start: 3; after the second: 3"
bin=$tmp/root/usr/bin
ln -s redis-check-rdb "$bin/redis-server"

cli() {
	"$bin/redis-cli" -s "$tmp/s" "$@"
}

start() {
	"$bin/redis-server" --port 0 --unixsocket "$tmp/s" --dir "$tmp" --save '' --appendonly yes --appendfsync always >>"$tmp/log" 2>&1 &
	server=$!
	until [ "$(cli PING 2>/dev/null)" = PONG ]; do
		kill -0 "$server" || return 1
		sleep 0.05
	done
}

stop() {
	cli SHUTDOWN >/dev/null
	wait "$server"
}

# A power failure leaves the front of what is being written: here, all but the last 20 bytes, which are in the midst of "SET b 2".
tear_transaction() {
	start
	printf 'MULTI\nSET a 1\nSET b 2\nEXEC\n' | cli >/dev/null
	stop
	truncate -s -20 "$tmp"/appendonlydir/*.incr.aof
}

twice() {
	tear_transaction
	start
	cli SET after 3 >/dev/null
	printf 'confirmed after the first start: %s; ' "$(cli GET after)"
	stop
	start
	printf 'after the second: %s\n' "$(cli GET after)"
	stop
}
finding "confirmed after the first start: 3; after the second: " twice
