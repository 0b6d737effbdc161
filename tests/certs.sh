# An authority, and what it signs, in "$tmp", for tests that have tests/tap.sh.
# shellcheck shell=sh disable=SC2086,SC2154

elliptic="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

# make_authority NAME: NAME.pem and NAME.key.
make_authority() (
	cd "$tmp" &&
		openssl req -x509 $elliptic -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=$1" \
			-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
)

# make_certificate NAME AUTHORITY NAMES: NAME.pem, a certificate that is good for these, and its key. NAMES as of subjectAltName.
make_certificate() (
	cd "$tmp" &&
		openssl req $elliptic -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" &&
		echo "subjectAltName=$3" >"$1.san" &&
		openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -extfile "$1.san" -out "$1.crt" &&
		(umask 077 && cat "$1.crt" "$1.key" >"$1.pem")
)
