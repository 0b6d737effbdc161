#!/bin/sh
# Floors stand on those below; only the lowest knows operating systems; nobody ends the process or talks to its user.
. "$srcdir/tests/tap.sh"

all=.libs/libaioipc_all.a

# Until waiting and forking know nothing of who stands on them, four folders share a floor.
rank() {
	case $1 in
	os | msg) echo 1 ;;
	wire) echo 2 ;;
	own | loop | task | end) echo 4 ;;
	flow | carry) echo 5 ;;
	conn) echo 6 ;;
	net) echo 7 ;;
	link) echo 8 ;;
	service) echo 9 ;;
	*) echo "no floor is called $1" ;;
	esac
}

# Includes of a floor above, as "file:line:#include ...".
upward() {
	for folder in "$srcdir"/ipc/*/; do
		floor=$(basename "$folder")
		for other in os msg wire own loop task end flow carry conn net link service; do
			[ "$(rank "$floor")" -ge "$(rank $other)" ] || grep -n "^ *# *include \"ipc/$other/" "$folder"*.[ch]
		done
	done 2>&1
}

# Every private header is included by its path from the root.
relative() {
	grep -n '^ *# *include "' "$srcdir"/ipc/*/*.[ch] | grep -v '"ipc/[a-z]*/[a-z_]*\.h"'
}

impure_bytes() {
	grep -n -E '# *include <(event2?[./]|time\.h|poll\.h|sys/(time|socket|epoll|eventfd|wait|un)\.h|signal\.h)' "$srcdir"/ipc/msg/*.[ch] "$srcdir"/ipc/wire/*.[ch]
}

systems() {
	grep -n -E '^ *# *(if|ifdef|ifndef|elif).*(__linux__|__APPLE__|__FreeBSD__|__OpenBSD__|__NetBSD__|HAVE_|SYS_|__GLIBC)' \
		"$srcdir"/ipc/*/*.[ch] "$srcdir"/include/*.h "$srcdir"/include/*/*.h | grep -v "^$srcdir/ipc/os/"
}

private_in_public() {
	grep -n '# *include' "$srcdir"/include/*.h "$srcdir"/include/*/*.h | grep -v -E '<(aioipc/)?[a-z]+\.h>|<sys/types\.h>'
}

# Calls that end the process, or print: "object: symbol". The trace, asked for by the user, writes to stderr; what the caller has
# printed is flushed around a fork.
unwelcome() {
	nm -A -u $all | sed 's/^[^:]*:\([^:]*\): *U */\1: /' |
		grep -E ': (exit|abort|quick_exit|__assert_fail|v?f?printf|__v?f?printf_chk|v?dprintf|f?puts|f?putc|putchar|perror|stderr|stdout|err|errx|warn|warnx|v?syslog)$' |
		grep -v -E 'trace\.o: |stdio\.o: std(out|err)$'
}

# Folders that HACKING.md, or the picture of the floors, does not name.
untold() {
	for folder in "$srcdir"/ipc/*/; do
		name=$(basename "$folder")
		grep -q "^| [0-9] | \`$name\` |" "$srcdir/HACKING.md" || echo "HACKING.md: $name"
		grep -q "<B>$name</B>" "$srcdir/doc/floors.dot" || echo "doc/floors.dot: $name"
		grep -q ">$name</text>" "$srcdir/doc/floors.svg" || echo "doc/floors.svg: $name (make pictures)"
	done
}

for what in upward relative impure_bytes systems private_in_public unwelcome untold; do
	$what >"$tmp/$what"
done
check "no floor includes one above it" nothing <"$tmp/upward"
check "includes are written from the root" nothing <"$tmp/relative"
check "messages and frames know bytes and nothing else" nothing <"$tmp/impure_bytes"
check "only ipc/os asks which system this is" nothing <"$tmp/systems"
check "public headers include no private one" nothing <"$tmp/private_in_public"
check "every folder is in HACKING.md and in the picture of the floors" nothing <"$tmp/untold"
check "nothing ends the process or prints" nothing <"$tmp/unwelcome"
finish
