#!/bin/sh
# Floors stand on those below; only the lowest knows operating systems; nobody ends the process or talks to its user.
. "$srcdir/tests/tap.sh"

all=.libs/libaioipc_all.a

cat >"$tmp/ranks" <<'END'
os 1
msg 1
wire 2
own 2
loop 3
task 4
end 4
flow 5
carry 5
conn 6
net 7
hub 7
link 8
stream 8
service 9
END

# The awk program "$1", in which floor() has the floor of a path like ipc/conn/conn.c.
of_floors() {
	awk -v ranks="$tmp/ranks" '
	function floor(file, part) {
		split(file, part, "/")
		if (!(part[2] in rank))
			print "no floor is called " part[2]
		return rank[part[2]] + 0
	}
	BEGIN { while ((getline line <ranks) > 0) { split(line, part, " "); rank[part[1]] = part[2] } }
	'"$1"
}

# Includes of a floor above, as "file:line:#include ...".
upward() {
	(cd "$srcdir" && grep -n '^ *# *include "ipc/' ipc/*/*.[ch]) | of_floors '
	{ split($0, word, "\""); if (floor(word[2]) > floor($0)) print }'
}

# What the objects of our files define and need; a build folder may hold objects of older files, too.
symbols() {
	(cd "$srcdir" && ls ipc/*/*.c) | sed 's/c$/o/' | xargs nm -A -g
}

# Calls of a floor above, as "file: name of file", out of lines "ipc/folder/file.o: ... T name" or "... U name", and what nm says of a file
# that is not there.
calls_upward() {
	sed 's/:/ /' | of_floors '
	/^nm / { print; next }
	$(NF - 1) == "U" { needs[$1 " " $NF]; next }
	{ home[$NF] = $1 }
	END {
		for (need in needs) {
			split(need, part, " ")
			if (part[2] in home && floor(home[part[2]]) > floor(part[1]))
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
