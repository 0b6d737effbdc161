#!/bin/sh
# python/aioipc.py by itself, with each warning an error; and its types with mypy, where that is installed.
. "$srcdir/tests/tap.sh"

typed() {
	mypy --strict --cache-dir="$tmp/mypy" --python-version 3.9 "$srcdir/python/aioipc.py"
}

has_failed() {
	cat "$tmp/said"
	return 1
}

if have mypy; then
	check "types" typed
else
	skip "types" "no mypy"
fi
"${PYTHON3:-python3}" -W error -B "$srcdir/tests/test_python_peer.py" >"$tmp/said" 2>&1
check "the tests in Python come to their end" grep -q '^1\.\.' "$tmp/said"
grep -E '^(not )?ok ' "$tmp/said" >"$tmp/results"
while read -r line; do
	case $line in
	ok*) check "${line#* - }" true ;;
	*) check "${line#* - }" has_failed ;;
	esac
done <"$tmp/results"
finish
