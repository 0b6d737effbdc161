#!/bin/sh
# Each demo, and the programs that README and manual show: succeeds, is silent on stderr, says what it should; lines are in
# order where that is promised.
. "$srcdir/tests/tap.sh"

# Process ids become A, B, ... in the order in which they are met.
letters() {
	awk '{
		while (match($0, /(\[|PID: |process )[0-9]+/)) {
			word = substr($0, RSTART, RLENGTH)
			pid = word
			sub(/.*[^0-9]/, "", pid)
			if (!(pid in name))
				name[pid] = substr("ABCDEFGHIJKLMNOP", ++count, 1)
			sub(/[0-9]+$/, "", word)
			$0 = substr($0, 1, RSTART - 1) word name[pid] substr($0, RSTART + RLENGTH)
		}
		print
	}'
}

# Keeps what it says for the checks behind.
succeeds() {
	"$@" >"$tmp/raw" 2>"$tmp/err"
	status=$?
	letters <"$tmp/raw" >"$tmp/said"
	cat "$tmp/raw" "$tmp/err"
	[ $status = 0 ] && [ ! -s "$tmp/err" ]
}

# A server at any free port, which it tells, and a client. What the server says is said behind what the client does.
both_succeed() {
	mkfifo "$tmp/server"
	demos/duplex_server tcp://127.0.0.1:0 >"$tmp/server" 2>&1 &
	exec 3<"$tmp/server"
	read -r listening <&3
	succeeds demos/duplex_client 10 "${listening##* }" || kill $!
	{ cat "$tmp/raw"; echo "$listening"; cat <&3; } | sed 's/0\.1:[0-9]*/0.1:PORT/' | letters >"$tmp/said"
	wait $!
}

# Standard input is what was to be said.
says() {
	diff - "$tmp/said"
}

# The same of processes that write side by side: lines are in order only for each role, which follows the process.
roles_say() {
	LC_ALL=C sort -s -k 1,2 "$tmp/said" >"$tmp/sorted"
	diff - "$tmp/sorted"
}

# The number in front of these words.
figure() {
	sed -n "s/.*[^0-9]\([0-9]*\) $1.*/\1/p" "$tmp/said"
}

all_jobs() {
	cat "$tmp/said"
	[ "$(figure answers)" = 500 ] && [ "$(figure primes)" = 78498 ]
}

some_killed() {
	cat "$tmp/said"
	[ "$(figure 'workers died')" -ge 5 ]
}

# A folder with 60 files, and one that never ends.
make_tree() {
	mkdir -p "$tmp/tree/b" && i=0
	while [ $i -lt 30 ]; do
		echo "file $i" >"$tmp/tree/a$i" && echo "another $i" >"$tmp/tree/b/$i" && i=$((i + 1))
	done
}

in_order() {
	find "$tmp/tree" -type f | LC_ALL=C sort >"$tmp/names"
	cut -c 19- "$tmp/said" | LC_ALL=C sort -c && cut -c 19- "$tmp/said" | cmp - "$tmp/names"
}

# Its hash is that of FNV-1a, and the same without a crash.
same_hashes() {
	mv "$tmp/said" "$tmp/before"
	succeeds demos/hash "$tmp/tree" 3 && cmp "$tmp/before" "$tmp/said"
}

known_hash() {
	printf 'foobar' >"$tmp/tree/c"
	demos/hash "$tmp/tree" | grep -q '^85944171f73967e8  .*/c$'
}

# One file is a FIFO, whose worker waits for ever. No process is left.
interrupted() {
	mkfifo "$tmp/tree/d"
	demos/hash "$tmp/tree" 2 >"$tmp/said" 2>&1 &
	pid=$!
	until grep -q '/c$' "$tmp/said"; do sleep 0.05; done
	kill -INT $pid
	wait $pid
	rc=$?
	[ $rc = 130 ] && grep -q '^interrupted$' "$tmp/said"
}

# fewer: what many cost is measured by the bench
thousand() {
	demos/thousand 100
}

all_answered() {
	cat "$tmp/said"
	children=$(figure children)
	[ "$children" = 100 ] && [ "$(figure 'right answers')" = $((children * 10)) ] && [ "$(figure 'ended well')" = "$children" ]
}

all_passed() {
	cat "$tmp/said"
	[ "$(figure 'MiB sent')" = 64 ] && [ "$(figure 'MiB received')" = 64 ]
}

# the limit of 1 MiB, and what one read may bring beyond it
little_kept() {
	cat "$tmp/said"
	[ "$(figure 'KiB waited on the way in')" -le 1200 ] && [ "$(figure 'KiB on the way out')" -le 1200 ]
}

# The demo that passes GPU memory, where libcuda.so.1 is what lies in this folder. A broken one hides one that works.
gpu() {
	LD_LIBRARY_PATH=$1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} demos/gpu 2
}

compiles() {
	${CC:-cc} -D_GNU_SOURCE -I"$srcdir" -I"$srcdir/include" -I. -Iinclude "$@"
}

says_no_cuda() {
	mkdir "$tmp/broken" && : >"$tmp/broken/libcuda.so.1"
	gpu "$tmp/broken" >"$tmp/said" 2>&1
	[ $? = 77 ] && ! grep -v '^\[[0-9]*\] parent: no CUDA: ' "$tmp/said"
}

worker_says() {
	grep 'worker: ' "$tmp/said" >"$tmp/sorted"
	diff - "$tmp/sorted"
}

# What the client has logged next.
logged() {
	read -r pid text <&4 && echo "$pid $text" && [ "$text" = "message $1" ]
}

# Whatever was on its way from the server before.
logged_anew() {
	while read -r pid text <&4 && echo "$pid $text"; do
		[ "$text" != "message 0" ] || return 0
	done
	return 1
}

# Ctrl-C
stops() {
	kill -INT "$1" && wait "$1"
}

serve() {
	demos/pysock_server "$1" >"$tmp/pysock_server" 2>>"$tmp/err" &
	server=$!
	read -r pid what at address <"$tmp/pysock_server" && echo "$pid $what $at $address"
}

# A client that outlives its server, and connects to the next one.
client_logs() {
	rm -f "$tmp/pysock_server" "$tmp/pysock_client" "$tmp/err"
	mkfifo "$tmp/pysock_server" "$tmp/pysock_client"
	serve "$1" || { cat "$tmp/err"; return 1; }
	demos/pysock_client "$address" >"$tmp/pysock_client" 2>>"$tmp/err" &
	client=$!
	exec 4<"$tmp/pysock_client"
	logged 0 && logged 1 && logged 2 && stops "$server" && serve "$address" && logged_anew && logged 1 &&
		stops "$server" && stops "$client" && ! cat "$tmp/err" | grep .
	status=$?
	exec 4<&-
	[ $status = 0 ] || { cat "$tmp/err"; kill "$server" "$client"; }
	return $status
}

# A guest of the chat: socat or nc where it is installed, else the tool. It says what comes through a fifo, and reads into another.
guest() {
	mkfifo "$tmp/$1.says" "$tmp/$1.reads"
	if [ "$1" = ada ] && have socat; then
		socat - "unix-connect:$tmp/chat" <"$tmp/$1.says" >"$tmp/$1.reads" &
	elif [ "$1" = bob ] && have nc; then
		nc -U "$tmp/chat" <"$tmp/$1.says" >"$tmp/$1.reads" &
	else
		tool/aioipc connect --quiet --raw --lines "unix://$tmp/chat" <"$tmp/$1.says" >"$tmp/$1.reads" &
	fi
}

# The next line that comes from there.
reads() {
	read -r line && echo "$line" && [ "$line" = "$1" ]
}

chat() {
	mkfifo "$tmp/listening"
	demos/chat "unix://$tmp/chat" >"$tmp/listening" 2>"$tmp/err" &
	server=$!
	read -r line <"$tmp/listening"
	guest ada && exec 5>"$tmp/ada.says" 6<"$tmp/ada.reads" && echo ada >&5 && reads '* ada is here' <&6 &&
		guest bob && exec 7>"$tmp/bob.says" 8<"$tmp/bob.reads" && echo bob >&7 && reads '* bob is here' <&8 &&
		reads '* bob is here' <&6 && echo 'hello, bob' >&5 && reads 'ada: hello, bob' <&8 &&
		guest eve && exec 3>"$tmp/eve.says" 4<"$tmp/eve.reads" && echo eve >&3 && reads '* eve is here' <&4 &&
		reads '* eve is here' <&6 && reads '* eve is here' <&8 && echo 'hello, both' >&7 &&
		reads 'bob: hello, both' <&4 && reads 'bob: hello, both' <&6 && exec 3>&- &&
		reads '* eve has left' <&6 && reads '* eve has left' <&8 && nothing <"$tmp/err"
	status=$?
	exec 3>&- 4<&- 5>&- 6<&- 7>&- 8<&-
	kill $server
	return $status
}

check "chat: what one says, all others read" chat
# Each is copied into an empty folder, and needs nothing there but the library.
stand_alone() {
	for demo in "$srcdir"/demos/*.c; do
		mkdir "$tmp/alone" && cp "$demo" "$tmp/alone" && (cd "$tmp/alone" && ${CC:-cc} -Wall -Wextra -Werror -fsyntax-only \
			-I"$include" "${demo##*/}") || return 1
		rm -r "$tmp/alone"
	done
	! find "$srcdir/demos" -name '*.h' | grep .
}

include=$(cd "$srcdir/include" && pwd)
check "each demo stands alone" stand_alone

check "first" succeeds demos/first
check "who says what to whom" says <<'END'
process A, the parent: I started process B, which has the other end of my socket pair
process A, the parent: I ask process B: multiply 6 and 7
process B, the child: process A asks me: multiply 6 and 7
process B, the child: I answer process A: 42
process A, the parent: process B answers: 42
process A, the parent: I say goodbye to process B
process B, the child: process A says goodbye, so I end
process A, the parent: process B ended with status 0
END

# The collector is killed again and again; no line is missing, and the first of each comes in order.
shipped() {
	mkfifo "$tmp/lines"
	demos/shipper "unix://$tmp/logs" <"$tmp/lines" >"$tmp/raw" 2>"$tmp/err" &
	shipper=$!
	exec 3>"$tmp/lines"
	for again in 0 1 2 3 4; do
		demos/collector "unix://$tmp/logs" "$tmp/collected.$again" 2>>"$tmp/err" 3>&- &
		collector=$!
		seq $((again * 4000 + 1)) $((again * 4000 + 4000)) >&3
		timeout 30 sh -c 'until [ -s "$0" ]; do sleep 0.01; done' "$tmp/collected.$again"
		[ $again = 4 ] && break
		kill -9 $collector
		wait $collector 2>/dev/null
	done
	exec 3>&-
	wait $shipper && cat "$tmp/raw" "$tmp/err"
	kill $collector
	wait $collector 2>/dev/null
	cat "$tmp"/collected.? | awk '!seen[$0]++' >"$tmp/all"
	seq 20000 | cmp - "$tmp/all" && grep -q '^20000 lines, 20000 confirmed' "$tmp/raw" && nothing <"$tmp/err"
}
check "shipper: a collector that is killed loses no line" shipped
check "simplex" succeeds demos/simplex
check "a line from the child" says <<'END'
[A] child: sending a line
[B] parent: got "hi from the child process"
[B] parent: the child ended with status 0
END

check "duplex" succeeds demos/duplex
check "there and back, by bytes and lines" says <<'END'
[A] child: sending "hello"
[B] parent: got "hello"
[A] child: got "hello world"
[B] parent: got "HELLO WORLD"
END

check "aiosock" succeeds demos/aiosock
check "callback and reader both see the message, then the answer comes" says <<'END'
Main Process PID: A
IO Process PID: B
[sock1 write] PID: A
[io on_read] PID: B
[io await read][sock1 write] PID: A
[io await read] PID: B
[sock2 write] PID: B
[main await read] PID: A
END

check "privsep" succeeds demos/privsep
check "the worker reads what the monitor opens, and nothing else" says <<'END'
[A] monitor: opens secret
[B] worker: secret: "forty-two"
[A] monitor: refuses /etc/shadow
[B] worker: /etc/shadow: Permission denied
END

check "pool" succeeds demos/pool
check "every job is done, none twice" all_jobs
check "though workers are killed" some_killed

make_tree
check "hash, while its workers crash" succeeds env HASH_CRASHES=1 demos/hash "$tmp/tree" 4
check "all files, in order" in_order
check "the same hashes without crashes" same_hashes
check "a known hash" known_hash
check "an interrupt ends it at once, while a worker hangs" interrupted

check "proxy" succeeds demos/proxy
check "everything passes the proxy" all_passed
check "which keeps little of it" little_kept

check "gpu compiles in C11 without a warning" compiles -std=c11 -Wall -Wextra -Wconversion -Werror -fsyntax-only "$srcdir/demos/gpu.c"
check "gpu says so when there is no CUDA" says_no_cuda
mkdir "$tmp/gpu"
check "a library that stands in for CUDA" compiles -shared -fPIC -o "$tmp/gpu/libcuda.so.1" "$srcdir/tests/fake_cuda.c"
check "gpu" succeeds gpu "$tmp/gpu"
check "the worker reads every word of memory that its parent made" worker_says <<'END'
[B] worker: 2 MiB by descriptor: all of 524288 words are right
[B] worker: 2 MiB by bytes: all of 524288 words are right
END

check "stream" succeeds demos/stream
check "a producer and its helper" says <<'END'
One
Two
Three
END

check "letters" succeeds demos/letters
check "both directions of a channel" says <<'END'
A
0
B
1
END

check "call" succeeds demos/call
check "calls are answered, refused and cancelled" says <<'END'
add 40 2: 42
divide 1 0: refused, by zero?
divide 84 2: 42
ponder 6 7: Operation canceled
END

check "pairs" succeeds demos/pairs
check "a pipeline that joins two and two" says <<'END'
The quick
brown fox
jumps
END

check "split" succeeds demos/split
check "one routine feeds two channels" says <<'END'
even 0
odd 1
even 2
odd 3
even 4
odd 5
even ended
odd ended
END

check "thousand" succeeds thousand
check "a task for each child has its answers" all_answered

check "service" succeeds demos/service
check "a chain of services, through another process and to its end" roles_say <<'END'
[A] all have ended, the child with status 0
[A] generator: apple
[A] generator: banana
[A] generator: cherry
[A] logger: APPLE
[A] logger: BANANA
[A] logger: CHERRY
[B] to upper: APPLE
[B] to upper: BANANA
[B] to upper: CHERRY
END

check "python_parent and its python_worker" succeeds "${PYTHON3:-python3}" -B "$srcdir/demos/python_parent.py"
check "a parent in Python, a worker in C" says <<'END'
[A] worker, C: sum of squares of 3 numbers
[B] parent, Python: the sum of squares of 1, 2, 3 is 14
[A] worker, C: sum of squares of 0 numbers
[B] parent, Python: the sum of squares of nothing is 0
[A] worker, C: sum of squares of 2 numbers
[B] parent, Python: the sum of squares of 0.5, -0.5 is 0.5
[B] parent, Python: the worker ended with status 0
END

check "pysock_server generates, pysock_client logs, and connects again" client_logs "tcp://127.0.0.1:0"
check "at a path too" client_logs "unix://$tmp/socket"

check "the program of aioipc(7)" succeeds tests/example_man
check "says what the page says" says <<'END'
1 squared is 1
2 squared is 4
3 squared is 9
END

check "the program of the README" succeeds tests/example_readme
check "says what it should" says <<'END'
the answer is 42
a dozen is 12
END

# Those of tasks and links have checks of their own.
check "README has no other block of C" test "$(grep -c '^```c$' "$srcdir/README.md")" = 3
check "the one of README that has tasks" succeeds tests/example_tasks
check "gets each number" says <<'END'
0
1
2
END

first_says() {
	sed 's/process [0-9]*/process N/g' "$tmp/raw" | diff - "$1"
}

check "the first program of quickstart" succeeds tests/example_first
echo "hello from process N, says process N" >"$tmp/due"
check "says who says what" first_says "$tmp/due"

check "duplex_server and duplex_client" both_succeed
check "every message gets there and back" says <<'END'
[A] client: connected to tcp://127.0.0.1:PORT
[A] client: got "Hello #0"
[A] client: got "Hello #1"
[A] client: got "Hello #2"
[A] client: got "Hello #3"
[A] client: got "Hello #4"
[A] client: got "Hello #5"
[A] client: got "Hello #6"
[A] client: got "Hello #7"
[A] client: got "Hello #8"
[A] client: got "Hello #9"
[A] client: disconnected
[B] server: listening at tcp://127.0.0.1:PORT
[B] server: incoming connection from tcp://127.0.0.1:PORT
[B] server: got "Hello #0"
[B] server: got "Hello #1"
[B] server: got "Hello #2"
[B] server: got "Hello #3"
[B] server: got "Hello #4"
[B] server: got "Hello #5"
[B] server: got "Hello #6"
[B] server: got "Hello #7"
[B] server: got "Hello #8"
[B] server: got "Hello #9"
[B] server: disconnected
END

# The programs of aioipc-python(7).
check "the program beside aiopipe's" succeeds tests/example_aiopipe
check "reads the line" says <<'END'
hi from the child
END

check "the program beside aiosock's" succeeds tests/example_aiosock
check "callback and reader get each message" says <<'END'
callback: one
reader: one
callback: two
reader: two
END

check "the program beside that of channels" succeeds tests/example_channels
check "gets both items" says <<'END'
One
Two
END

check "the one in both directions" succeeds tests/example_letters
check "takes turns" says <<'END'
A
0
B
1
END

check "the program beside Duplex's" succeeds tests/example_duplex
check "is told what was put before the end" says <<'END'
Hi !
END

check "the program beside PySockLib's" succeeds tests/example_pysocklib
check "ends behind the last line" says <<'END'
a line
a line
a line
END
finish
