# Shared by the findings: a folder that goes away again, packages in it, and what is printed. POSIX shell.
# shellcheck shell=sh
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# packages NAME=VERSION...: of Debian 12, unpacked below $tmp/root; nothing is installed.
packages() {
	(cd "$tmp" && apt-get -qq download "$@" 2>/dev/null)
	for deb in "$tmp"/*.deb; do
		dpkg-deb -x "$deb" "$tmp/root"
	done
	lib=$tmp/root/usr/lib/$(gcc -print-multiarch)
	export LD_LIBRARY_PATH="$lib"
	echo "version: $*"
}

# build -lNAME...: the C program on standard input becomes $tmp/program.
build() {
	gcc -w -x c -o "$tmp/program" - -I"$tmp/root/usr/include" -L"$lib" -Wl,--allow-shlib-undefined "$@"
}

system() {
	echo "version: $(uname -s) $(uname -r)"
}

guess() {
	echo "guess:   $*"
}

# finding "what is expected" COMMAND...: runs it, shows what it prints, and fails when that is something else.
finding() {
	expected=$1
	shift
	seen=$("$@")
	echo "seen:    $seen"
	[ "$seen" = "$expected" ] && return
	echo "changed: it was \"$expected\""
	exit 1
}
