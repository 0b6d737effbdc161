#!/bin/sh
# Floors stand on those below; only the lowest knows operating systems; nobody ends the process or talks to its user.
. "$srcdir/tests/tap.sh"

all=.libs/libaioipc_all.a

rank() {
	case $1 in
	os | msg) echo 1 ;;
	wire | own) echo 2 ;;
	loop) echo 3 ;;
	task | end) echo 4 ;;
	flow | carry) echo 5 ;;
	conn) echo 6 ;;
	net | hub) echo 7 ;;
	link | stream) echo 8 ;;
	service) echo 9 ;;
	*) echo "no floor is called $1" ;;
	esac
}

folders="os msg wire own loop task end flow carry conn net hub link stream service"

# Includes of a floor above, as "file:line:#include ...".
upward() {
	for folder in "$srcdir"/ipc/*/; do
		floor=$(basename "$folder")
		for other in $folders; do
			[ "$(rank "$floor")" -ge "$(rank $other)" ] || grep -n "^ *# *include \"ipc/$other/" "$folder"*.[ch]
		done
	done 2>&1
}

# What the objects of our files define and need; a build folder may hold objects of older files, too.
symbols() {
	for source in "$srcdir"/ipc/*/*.c; do
		object=${source#"$srcdir"/}
		nm -A -g "${object%.c}.o" || echo "$object: is not compiled"
	done
}

# Calls of a floor above, as "file: name of file", out of lines "ipc/folder/file.o: ... T name" or "... U name".
calls_upward() {
	for folder in $folders; do
		echo "$folder $(rank "$folder")"
	done >"$tmp/ranks"
	sed 's/:/ /' | awk -v ranks="$tmp/ranks" '
	function floor(file, part) { split(file, part, "/"); return rank[part[2]] }
	BEGIN { while ((getline line <ranks) > 0) { split(line, part, " "); rank[part[1]] = part[2] } }
	/is not compiled/ { print; next }
	$(NF - 1) == "U" { needs[$1 " " $NF]; next }
	{ home[$NF] = $1 }
	END {
		for (need in needs) {
			split(need, part, " ")
			if (part[2] in home && floor(home[part[2]]) + 0 > floor(part[1]) + 0)
				print part[1] ": " part[2] " of " home[part[2]]
		}
	}' | sort
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

# Calls that end the process, or print: "object: symbol". The trace and the log, when the user asks for them in the environment, write to
# descriptor 2 by ipc_log_print(), which is none of these; what the caller has printed is flushed around a fork.
unwelcome() {
	nm -A -u $all | sed 's/^[^:]*:\([^:]*\): *U */\1: /' |
		grep -E ': (exit|abort|quick_exit|__assert_fail|v?f?printf|__v?f?printf_chk|v?dprintf|f?puts|f?putc|putchar|perror|stderr|stdout|err|errx|warn|warnx|v?syslog)$' |
		grep -v -E 'stdio\.o: std(out|err)$'
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
symbols >"$tmp/symbols" 2>&1
calls_upward <"$tmp/symbols" >"$tmp/calls"
printf '%s\n' 'ipc/own/a.o: U ipc_x' 'ipc/loop/b.o:0 T ipc_x' | calls_upward >"$tmp/known"
check "no floor includes one above it" nothing <"$tmp/upward"
check "no file calls a name of a floor above" nothing <"$tmp/calls"
check "such a call would be seen" test -s "$tmp/known"
check "includes are written from the root" nothing <"$tmp/relative"
check "messages and frames know bytes and nothing else" nothing <"$tmp/impure_bytes"
check "only ipc/os asks which system this is" nothing <"$tmp/systems"
check "public headers include no private one" nothing <"$tmp/private_in_public"
check "every folder is in HACKING.md and in the picture of the floors" nothing <"$tmp/untold"
check "nothing ends the process or prints" nothing <"$tmp/unwelcome"
finish
