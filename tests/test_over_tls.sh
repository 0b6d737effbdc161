#!/bin/sh
# All that is tested of links, once more over TLS. Of listeners it is not: in those tests one thread is both sides, and who connects waits
# for the handshake; test_tls has them.
. "$srcdir/tests/tap.sh"

programs="call_link confirm link link_calls link_many link_restart link_set link_shared link_stop link_talk"

# These look at the text of an address, take a unix socket by hand, abort a peer and want a clean end, or begin before the handshake is over.
except="what_it_tells_before_it_starts|what_it_tells_when_it_runs|an_address_in_use_is_told_by_start|an_attempt_to_connect_has_a_limit"
except="$except|settings_that_make_no_sense_are_refused_in_words|many_peers_leave_nothing_behind|room_in_a_shared_inbox_goes_to_each_in_turn"

lib=$(pwd)/.libs/libaioipc-tls.so.0
if [ ! -f "$lib" ] || ! have openssl; then
	skip "tests over TLS" "no libaioipc-tls, or no openssl, here"
	finish
	exit
fi

# An authority, and one certificate for both sides.
certificates() (
	key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
	cd "$tmp" &&
		# shellcheck disable=SC2086
		openssl req -x509 $key -keyout ca.key -out ca.pem -days 2 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE \
			-addext keyUsage=critical,keyCertSign &&
		# shellcheck disable=SC2086
		openssl req $key -keyout both.key -out both.csr -subj /CN=both &&
		echo 'subjectAltName=DNS:both.test' >san &&
		openssl x509 -req -in both.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out both.crt &&
		(umask 077 && cat both.crt both.key >both.pem)
)

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
