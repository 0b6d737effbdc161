#!/bin/sh
# Redis 7.0.15: a user who may SET and EXEC, but not MULTI, sends MULTI, SET, EXEC at once, as clients do. MULTI is refused, and what should have
# been queued is done; then EXEC fails. So who takes an error of EXEC for "nothing was done", and asks again, does it twice. Valkey 8.1.1 too.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/redis.sh"
guess "MULTI: NOPERM; EXEC: EXECABORT; counted: 0"

transaction() {
	start || return 1
	cli ACL SETUSER user on nopass '~*' +incr +exec >/dev/null
	printf 'AUTH user any\nMULTI\nINCR counted\nEXEC\n' | cli >"$tmp/said"
	printf 'MULTI: %s; EXEC: %s; counted: %s\n' "$(sed -n '2s/ .*//p' "$tmp/said")" "$(tail -n 2 "$tmp/said" | head -n 1)" "$(cli GET counted)"
	stop
}
finding "MULTI: NOPERM; EXEC: ERR EXEC without MULTI; counted: 1" transaction
