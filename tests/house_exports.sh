#!/bin/sh
# What the library exports is what the headers declare, no more and no less; inside, names tell what is private.
. "$srcdir/tests/tap.sh"

lib=.libs/libaioipc.so
all=.libs/libaioipc_all.a

# The headers of a library: all, but that of libaioipc-tls apart.
headers() {
	ls "$srcdir"/include/aioipc/*.h | grep -v "/tls\.h$"
}

# shellcheck disable=SC2046
declared() {
	cat ${1-$(headers)} | grep -v '^#' | tr '\n' ' ' | grep -o 'AIOIPC_API [^;]*;' |
		sed 's/^[^(]*\b\(aio[a-z0-9_]*\)(.*/\1/' | LC_ALL=C sort
}

exported() {
	nm -D --defined-only $lib | sed -n 's/.* [A-Z] \([^@]*\)@@AIOIPC_[0-9.]*$/\1/p' | LC_ALL=C sort
}

# Whatever is defined, the version nodes but not the symbols in them apart.
exported_at_all() {
	nm -D --defined-only $lib | sed 's/.* //; s/@.*//; /^AIOIPC_[0-9.]*$/d' | LC_ALL=C sort
}

defined() {
	nm -g --defined-only $all | sed -n 's/.* [A-Z] \(aio.*\)/\1/p' | LC_ALL=C sort
}

declared >"$tmp/declared"
exported >"$tmp/exported"
exported_at_all >"$tmp/at_all"
defined >"$tmp/defined"

strangers() {
	nm -g --defined-only $all | sed -n 's/.* [A-Z] //p' | grep -v -E '^(aio[a-z]|ipc_)'
}

# Structs that a caller fills in or has filled in may grow: all but the reader, which is the library's own.
without_size() {
	awk '/^struct aio[a-z_]* \{/ && !/^struct aioreader/ { name = $2; getline; if (!/^\tsize_t size;/) print FILENAME ": " name }' \
		"$srcdir"/include/aioipc/*.h
}

check "there are declarations" test -s "$tmp/declared"
check "each declared function is exported, and nothing else" diff "$tmp/declared" "$tmp/exported"
check "everything exported has its version" diff "$tmp/exported" "$tmp/at_all"
check "no public function is forgotten in ipc/libaioipc.map" diff "$tmp/defined" "$tmp/exported"
strangers >"$tmp/strangers"
check "symbols that cross files start with aio or ipc_" nothing <"$tmp/strangers"
without_size >"$tmp/without_size"
check "every struct that may grow begins with its size" nothing <"$tmp/without_size"
check "the name of the ABI is libaioipc.so.0" sh -c "readelf -d $lib | grep -q 'SONAME.*\[libaioipc.so.0\]'"
check "it is never unloaded" sh -c "readelf -d $lib | grep -q NODELETE"

# The library of TLS, where it is built.
tls=.libs/libaioipc-tls.so

tls_exported() {
	nm -D --defined-only $tls | sed -n 's/.* [A-Z] \([^@]*\)@@AIOIPC_TLS_[0-9.]*$/\1/p' | LC_ALL=C sort
}

needs_openssl() {
	readelf -d "$1" | grep -q 'NEEDED.*\(libssl\|libcrypto\)'
}

check "libaioipc needs no OpenSSL" sh -c "! readelf -d $lib | grep 'NEEDED.*lib\(ssl\|crypto\)'"
if [ -f $tls ]; then
	declared "$srcdir/include/aioipc/tls.h" >"$tmp/declared_tls"
	tls_exported >"$tmp/exported_tls"
	check "libaioipc-tls exports what its header declares, and nothing else" diff "$tmp/declared_tls" "$tmp/exported_tls"
	check "libaioipc-tls needs OpenSSL" needs_openssl $tls
	check "the name of its ABI is libaioipc-tls.so.0" sh -c "readelf -d $tls | grep -q 'SONAME.*\[libaioipc-tls.so.0\]'"
else
	skip "libaioipc-tls exports what its header declares, and nothing else" "configured without it"
fi
finish
