# The little that shell tests share: TAP by "check NAME COMMAND...", "skip NAME WHY", and "finish" at the end.
# Output of a command that fails is told, as comments. "$tmp" is a folder that goes away.

tests_run=0
# Paths of sockets have 107 bytes at most, and the tests add to this one.
[ "${#TMPDIR}" -lt 60 ] || TMPDIR=/tmp
export TMPDIR
# One that is not installed makes programs complain, and nothing here depends on any.
LC_ALL=C
export LC_ALL
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

check() {
	name=$1
	shift
	tests_run=$((tests_run + 1))
	if "$@" >"$tmp/output" 2>&1; then
		echo "ok $tests_run - $name"
	else
		echo "not ok $tests_run - $name"
		sed 's/^/# /' "$tmp/output"
	fi
}

skip() {
	tests_run=$((tests_run + 1))
	echo "ok $tests_run - $1 # SKIP $2"
}

finish() {
	echo "1..$tests_run"
}

# Nothing on standard input; what there is, is told.
nothing() {
	! grep .
}

have() {
	command -v "$1" >/dev/null 2>&1
}
