#!/bin/sh
# The command over TLS: whom it takes, whom it refuses, and what it says then.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/tool.sh"
. "$srcdir/tests/certs.sh"

limit=$((60 * ${CK_TIMEOUT_MULTIPLIER:-1}))

if ! have openssl || $tool listen tls://127.0.0.1:0 --tls-ca x --tls-cert x 2>&1 | grep -q "without TLS"; then
	skip "aioipc over TLS" "no openssl, or no libaioipc-tls, here"
	finish
	exit
fi

certificates() {
	make_authority ca && make_authority other &&
		make_certificate server ca DNS:localhost,IP:127.0.0.1 &&
		make_certificate client ca DNS:client.test &&
		make_certificate stranger other DNS:client.test
}

# as WHO COMMAND...: with the certificate of WHO.
as() {
	who=$1
	shift
	timeout $limit $tool "$@" --tls-ca "$tmp/ca.pem" --tls-cert "$tmp/$who.pem"
}

# A listener in the background, known by "address" once it listens.
begin() {
	: >"$tmp/told"
	timeout $limit $tool "$@" --tls-ca "$tmp/ca.pem" --tls-cert "$tmp/server.pem" >"$tmp/heard" 2>"$tmp/told" </dev/null &
	listener=$!
	until grep -q 'listening on ' "$tmp/told"; do
		kill -0 $listener || return 1
		sleep 0.02
	done
	address=$(sed -n 's/^aioipc: listening on //p' "$tmp/told")
}

ends() {
	wait "$listener"
	got=$?
	cat "$tmp/told" "$tmp/heard"
	[ $got = "$1" ]
}

talks() {
	begin listen tls://127.0.0.1:0 --once || return 1
	as client connect "$address" --send si hello 1 || return 1
	ends 0 && grep -q '^si "hello" 1$' "$tmp/heard" && grep -q 'client.test at tcp://127.0.0.1:[0-9]*: connected' "$tmp/told"
}

has_a_file_for_the_key() {
	begin listen tls://127.0.0.1:0 --once || return 1
	timeout $limit $tool connect "$address" --send s apart --tls-ca "$tmp/ca.pem" --tls-cert "$tmp/client.crt" --tls-key "$tmp/client.key" || return 1
	ends 0 && grep -q apart "$tmp/heard"
}

# refuses WORDS COMMAND...: status 1, and the words on standard error.
refuses() {
	words=$1
	shift
	"$@" >"$tmp/said" 2>&1 </dev/null
	got=$?
	cat "$tmp/said"
	[ $got = 1 ] && grep -q -e "$words" "$tmp/said"
}

# The server takes those whom "ca" has signed, and those who look for it trust "ca".
knows_whom() {
	begin listen tls://127.0.0.1:0 --count 1 || return 1
	refuses "$1" as "$2" connect "$address" --send s x "$3" "$4" &&
		as client connect "$address" --send s good && ends 0 && echo 's "good"' | diff - "$tmp/heard"
}

takes_anybody() {
	begin listen tls://127.0.0.1:0 --once --tls-anonymous || return 1
	timeout $limit $tool connect "$address" --send s nobody --tls-ca "$tmp/ca.pem" || return 1
	ends 0 && grep -q nobody "$tmp/heard"
}

trusts_the_system() {
	begin listen tls://127.0.0.1:0 --tls-anonymous --count 1 &&
		refuses "certificate" timeout $limit $tool connect "$address" --send s x &&
		as client connect "$address" --send s good && ends 0
}

# Encrypted on one side of it, in the clear on the other.
taps() {
	begin listen tls://127.0.0.1:0 --once || return 1
	timeout $limit $tool tap "unix://$tmp/front" "$address" --once --tls-ca "$tmp/ca.pem" --tls-cert "$tmp/client.pem" >"$tmp/seen" 2>"$tmp/tap" &
	tap=$!
	until grep -q 'listening on' "$tmp/tap"; do
		kill -0 $tap || return 1
		sleep 0.02
	done
	timeout $limit $tool connect "unix://$tmp/front" --send s through && wait $tap && ends 0 &&
		grep -q through "$tmp/heard" && grep -q 'client 1.*s "through"' "$tmp/seen"
}

calls() {
	begin listen tls://127.0.0.1:0 || return 1
	kill -TERM "$listener"
	wait "$listener"
	as server bench "$address" --echo --count 100 >"$tmp/rates" && grep -q calls/s "$tmp/rates"
}

check "certificates" certificates
check "two talk, and one knows the other's name" talks
check "the key may be in a file of its own" has_a_file_for_the_key
check "a peer that an authority has not signed is refused" knows_whom "refused: the peer does not trust the authority of our certificate" stranger --timeout 30
check "a server of another name is not talked to" knows_whom "certificate is for another name" client --tls-name other.test
check "a peer without a certificate is taken where that is wished" takes_anybody
check "without --tls-ca those are trusted whom the system trusts" trusts_the_system
check "a tap into TLS" taps
check "a bench over TLS" calls
check "a file that is not there" refuses "No such file" $tool connect tls://localhost:1 --tls-ca "$tmp/nothing.pem"
finish
