#!/bin/sh
# The packages: their version, soname and nodes are the library's, and what can be checked of them without building is sound.
. "$srcdir/tests/tap.sh"

cd "$srcdir" || exit 1
version=$(sed -n 's/^#define AIOIPC_VERSION "\(.*\)"/\1/p' include/aioipc/base.h)

# A node of the version script is a line of the symbols file, with the version that brought it.
nodes() {
	sed -n 's/^AIOIPC_\([0-9.]*\) {/ (symver)AIOIPC_\1 \1.0/p' ipc/libaioipc.map | diff - "$tmp/symbols"
}

soname() {
	soname=$(sed -n 's/.*-version-info \([0-9]*\):[0-9]*:\([0-9]*\).*/\1 \2/p' ipc/ipc.am | awk '{ print $1 - $2 }')
	[ "$(head -n 1 debian/libaioipc0.symbols)" = "libaioipc.so.$soname libaioipc$soname #MINVER#" ] &&
		grep -qx "Package: libaioipc$soname" debian/control && grep -q "libaioipc.so.$soname\\*" pkg/rpm/aioipc.spec
}

shell_sound() {
	for script in pkg/alpine/APKBUILD debian/tests/readme debian/tests/command; do
		sh -n "$script" || return 1
	done
}

if [ -d debian ]; then
	grep '^ (symver)' debian/libaioipc0.symbols >"$tmp/symbols"
	check "Debian: the version" test "$(sed -n '1s/aioipc (\(.*\)-.*/\1/p' debian/changelog)" = "$version"
	check "Debian: the nodes" nodes
	check "Debian: the soname" soname
	check "scripts are sound" shell_sound
else
	skip "Debian" "a tarball has no debian/"
fi
check "RPM: the version" test "$(sed -n 's/^Version: *//p' pkg/rpm/aioipc.spec)" = "$version"
check "Alpine: the version" test "$(sed -n 's/^pkgver=//p' pkg/alpine/APKBUILD)" = "$version"
if have rpmspec; then
	check "RPM: the spec can be read" rpmspec -q --define "_topdir $tmp" pkg/rpm/aioipc.spec
else
	skip "RPM: the spec can be read" "no rpmspec"
fi
finish
