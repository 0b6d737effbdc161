#!/bin/sh
# All that is tested of links and hubs, once more over TLS. Of listeners, and of those who connect without a link, it is not: their tests
# have peers by hand, and one thread is both sides where who connects waits for the handshake; test_tls has them.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/certs.sh"

programs="call_link confirm hub link link_calls link_chain link_end link_fork link_many link_restart link_set link_shared link_stop link_talk"

# These look at the text of an address, take a unix socket by hand, abort a peer and want a clean end, or begin before the handshake is over.
except="what_it_tells_before_it_starts|what_it_tells_when_it_runs|an_address_in_use_is_told_by_start|an_attempt_to_connect_has_a_limit"
except="$except|who_cannot_connect_says_so|settings_that_make_no_sense_are_refused_in_words|many_peers_leave_nothing_behind|room_in_a_shared_inbox_goes_to_each_in_turn"

lib=$(pwd)/.libs/libaioipc-tls.so.0
if [ ! -f "$lib" ] || ! have openssl; then
	skip "tests over TLS" "no libaioipc-tls, or no openssl, here"
	finish
	exit
fi

# An authority, and one certificate for both sides.
certificates() {
	make_authority ca && make_certificate both ca DNS:both.test
}

# Those with a peer by hand, or that need a unix socket, say so, and do not apply.
over_tls() {
	LD_LIBRARY_PATH=$(pwd)/.libs TEST_OVER_TLS=$tmp TEST_TLS_LIB=$lib tests/wrap "tests/test_$1" >"$tmp/$1.out" 2>&1
	grep '^not ok' "$tmp/$1.out" | grep -v -E "knows no TLS|:($except):" >"$tmp/$1.bad"
	cat "$tmp/$1.bad"
	grep -q '^ok' "$tmp/$1.out" && [ ! -s "$tmp/$1.bad" ]
}

check "certificates" certificates
for program in $programs; do
	check "test_$program over TLS" over_tls "$program"
done
finish
