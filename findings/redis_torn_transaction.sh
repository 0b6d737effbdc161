#!/bin/sh
# Redis 7.0.15, appendfsync always: the power fails while it writes a transaction to its file. The first start after that reverts the
# transaction, but leaves its front in the file, up to the last whole command; what is written from then on comes behind it. So the second start
# takes that for the rest of the transaction, finds no EXEC, and removes it: a write that was confirmed, and a shutdown in good order, and the
# write is gone. Valkey 8.1.1 does the same. BGREWRITEAOF after the first start, or redis-check-aof --fix before it, prevents that.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/redis.sh"
guess "confirmed after the first start: 3; after the second: 3"

start_safely() {
	start --appendonly yes --appendfsync always
}

# A power failure leaves the front of what is being written: here, all but the last 20 bytes, which are in the midst of "SET b 2".
tear_transaction() {
	start_safely
	printf 'MULTI\nSET a 1\nSET b 2\nEXEC\n' | cli >/dev/null
	stop
	truncate -s -20 "$tmp"/appendonlydir/*.incr.aof
}

twice() {
	tear_transaction
	start_safely
	cli SET after 3 >/dev/null
	printf 'confirmed after the first start: %s; ' "$(cli GET after)"
	stop
	start_safely
	printf 'after the second: %s\n' "$(cli GET after)"
	stop
}
finding "confirmed after the first start: 3; after the second: " twice
