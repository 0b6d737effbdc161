#!/bin/sh
# The command-line tool: two of them against each other.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/tool.sh"

talk() {
	text hello '"quoted" \ back' "$(printf 'esc \033[31m')" >"$tmp/lines"
	text from the listener >"$tmp/answer"
	input=$tmp/answer
	begin "$1" --once
	$tool connect "$address" <"$tmp/lines" >"$tmp/got" || return 1
	ends 0 && cat "$tmp/got" && text '"from"' '"the"' '"listener"' | diff - "$tmp/got" &&
		text '"hello"' '"\"quoted\" \\ back"' '"esc \x1b[31m"' | diff - "$tmp/heard"
}

asks_for_lines() {
	seq 1 100000 >"$tmp/many"
	input=$tmp/many
	begin "$(fresh)" --once "--lines$1"
	$tool connect "$address" "--lines$1" <"$tmp/many" >"$tmp/got" || return 1
	ends 0 && cmp "$tmp/many" "$tmp/got" && cmp "$tmp/many" "$tmp/heard"
}

copies_bytes() {
	head -c 3000000 /dev/urandom >"$tmp/random"
	begin "$(fresh)" --once --bytes --raw
	$tool connect "$address" --bytes <"$tmp/random" && ends 0 >/dev/null && cmp "$tmp/random" "$tmp/heard"
}

serves_one_after_the_other() {
	begin "$(fresh)" --count 3
	for word in one two three; do
		$tool connect "$address" --send s $word || return 1
	done
	ends 0 && text 's "one"' 's "two"' 's "three"' | diff - "$tmp/heard" && [ "$(grep -c connected "$tmp/told")" = 3 ]
}

# Lines that one peer had no time for are for the next.
keeps_for_the_next() {
	seq 1 3 >"$tmp/three"
	input=$tmp/three
	begin "$(fresh)" --lines --once
	$tool connect "$address" --lines --count 3 </dev/null >"$tmp/got" && ends 0 && cmp "$tmp/three" "$tmp/got"
}

asks_and_is_answered() {
	text pong >"$tmp/pong"
	input=$tmp/pong
	begin "$(fresh)" --once
	$tool connect "$address" --send s ping --count 1 >"$tmp/got" && ends 0 &&
		text 's "ping"' | diff - "$tmp/heard" && text '"pong"' | diff - "$tmp/got"
}

retries() {
	where=$(fresh)
	mkfifo "$tmp/fifo"
	$tool connect "$where" --retry --send s late 2>"$tmp/fifo" &
	client=$!
	exec 4<"$tmp/fifo"
	rm "$tmp/fifo"
	read -r line <&4
	echo "$line"
	case $line in *"trying again") ;; *) return 1 ;; esac
	begin "$where" --once
	wait $client && ends 0 && text 's "late"' | diff - "$tmp/heard"
	got=$?
	exec 4<&-
	return $got
}

stops() {
	begin "$(fresh)"
	$tool connect "$address" --print </dev/null >"$tmp/got" 2>&1 &
	client=$!
	read -r line <&3
	echo "$line"
	kill -"$1" $listener
	ends 0 && wait $client && [ ! -e "${address#unix://}" ]
}

ends_when_nobody_reads() {
	seq 1 100000 >"$tmp/many"
	mkfifo "$tmp/pipe"
	head -n 1 <"$tmp/pipe" >"$tmp/got" &
	heard=$tmp/pipe
	begin "$(fresh)" --lines
	heard=$tmp/heard
	$tool connect "$address" --lines <"$tmp/many" 2>/dev/null
	ends 0 && [ "$(cat "$tmp/got")" = 1 ] && ! grep output "$tmp/told"
}

full_disk() {
	heard=/dev/full
	begin "$(fresh)"
	heard=$tmp/heard
	$tool connect "$address" --send s x && ends 1 && grep 'standard output: No space' "$tmp/told"
}

# What can't be sent is told; what is beside it is sent.
a_line_with_the_delimiter() {
	text one 'a=+b' two >"$tmp/lines"
	begin "$(fresh)" --once '--lines=+b'
	gives_for 1 'a line was not sent: the delimiter is in it' "$tmp/lines" $tool connect "$address" '--lines=+b' &&
		ends 0 >/dev/null && text one two | diff - "$tmp/heard"
}

a_line_without_end() {
	{ text first; head -c 17000000 /dev/zero | tr '\0' x; } >"$tmp/lines"
	begin "$(fresh)" --once
	gives_for 1 'standard input: a line over 16 MiB' "$tmp/lines" $tool connect "$address" && ends 0 >/dev/null &&
		text '"first"' | diff - "$tmp/heard"
}

# It still hears what the peer says.
an_input_that_can_not_be_read() {
	text pong >"$tmp/pong"
	input=$tmp/pong
	begin "$(fresh)" --once
	gives_for 1 'standard input: Is a directory' "$tmp" $tool connect "$address" && ends 0 &&
		grep '"pong"' "$tmp/given"
}

# None at all is an empty one.
no_input() {
	input=$tmp/pong
	begin "$(fresh)" --once
	$tool connect "$address" --count 1 <&- >"$tmp/got" && ends 0 && text '"pong"' | diff - "$tmp/got"
}

### what people type

# A listener and its peer take the same word, or the port that was free.
is_understood() {
	mkfifo "$tmp/fifo"
	$tool listen "$1" --once --quiet </dev/null >"$heard" 2>"$tmp/fifo" &
	listener=$!
	exec 3<"$tmp/fifo"
	rm "$tmp/fifo"
	$tool connect "$1" --quiet --retry --send s hello && ends 0 && text 's "hello"' | diff - "$heard"
}

# Of which a port is told.
port_is_understood() {
	begin "$1" --once
	echo "$address"
	read -r line <&3
	gives 0 "^aioipc: ${1%0}${line##*:}: taken as tcp://" $tool connect "${1%0}${line##*:}" --send s hello && ends 0 &&
		text 's "hello"' | diff - "$heard"
}

leaves() {
	where=unix:@leaves-$$
	"${PYTHON3:-python3}" -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind("\0" + sys.argv[1])
s.listen()
print("ready", flush=True)
p = s.accept()[0]
n = 0
while part := p.recv(65536):
	n += len(part)
print(n)' "leaves-$$" >"$tmp/fifo.out" &
	server=$!
	until grep -q ready "$tmp/fifo.out"; do kill -0 $server || return 1; done
	$tool connect "$where" --send s x --send s y --no-wait && wait $server && tail -n 1 "$tmp/fifo.out" | grep '^62$'
}

has_mode() {
	begin "$(fresh)" --mode 660 --once
	stat -c %a "${address#unix://}" | grep '^660$' && $tool connect "$address" --send s x && ends 0
}

tells_connected() {
	begin "$(fresh)" --count 2
	gives 0 "^aioipc: $address: connected$" $tool connect "$address" --send s x &&
		$tool connect "$address" -q --send s x >"$tmp/given" 2>&1 && ends 0 && [ ! -s "$tmp/given" ]
}

interrupted() {
	begin "$(fresh)"
	env --default-signal=INT "${PYTHON3:-python3}" -c 'import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
p = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
print(p.stderr.readline())
p.send_signal(signal.SIGINT)
sys.exit(p.wait())' $tool connect "$address"
	[ $? = 130 ] && kill $listener && ends 0 && grep goodbye "$tmp/told"
}

speaks_lines() {
	text '220 welcome to the server' >"$tmp/lines"
	input=$tmp/lines
	begin "$(fresh)" --lines --once
	gives 1 'no preface; does it speak lines? try --lines' $tool connect "$address" && ends 0
}

### many peers at once

# All are connected before the first says anything, and each line says who has said it.
serves_at_once() {
	begin "$(fresh)" --keep --count 3
	mkfifo "$tmp/hold"
	for word in one two three; do
		$tool connect "$address" --print <"$tmp/hold" >/dev/null 2>&1 &
	done
	exec 5>"$tmp/hold"
	rm "$tmp/hold"
	for i in 1 2 3; do
		read -r line <&3
		echo "$line"
	done
	text one two three >&5
	exec 5>&-
	ends 0 && sed 's/^process [0-9]* of user [0-9]*: //' "$heard" | sort >"$tmp/got" && text '"one"' '"three"' '"two"' | diff - "$tmp/got"
}

fans_out() {
	mkfifo "$tmp/typed"
	input=$tmp/typed
	exec 6<>"$tmp/typed"
	begin "$(fresh)" --fan-out --lines
	for i in 1 2 3; do
		$tool connect "$address" --lines --count 2 </dev/null >"$tmp/got$i" 2>/dev/null &
	done
	for i in 1 2 3; do
		read -r line <&3
		echo "$line"
	done
	text first second >&6
	for i in 1 2 3; do
		until grep -q second "$tmp/got$i"; do kill -0 $listener || return 1; done
	done
	exec 6>&-
	rm "$tmp/typed"
	kill $listener
	ends 0 && for i in 1 2 3; do text first second | diff - "$tmp/got$i" || return 1; done
}

runs_programs() {
	begin "$(fresh)" --exec 'sed "s/^/$1 /"'" $*"
	text a b >"$tmp/lines"
	for i in 1 2; do
		$tool connect "$address" -q <"$tmp/lines" >"$tmp/got$i" &
		eval "peer$i=$!"
	done
	wait "$peer1" && wait "$peer2" && kill $listener && ends 0 &&
		for i in 1 2; do text '" \"a\""' '" \"b\""' | diff - "$tmp/got$i" || return 1; done
}

# A program that answers JSON by JSON, and one that is told who its peer is, and fails.
runs_a_program_of_json() {
	begin "$(fresh)" --json --exec 'sed -u s/1/2/ ; exit 3' --once
	$tool connect "$address" -q --send i 1 --count 1 >"$tmp/got" && ends 0 && text 'i 2' | diff - "$tmp/got" || return 1
	grep 'ended with status 3' "$tmp/told" || return 1
	begin "$(fresh)" --lines --exec 'echo "$AIOIPC_PEER"' --once
	$tool connect "$address" -q --lines </dev/null >"$tmp/got"
	ends 0 && grep '^process [0-9]* of user' "$tmp/got"
}

measures() {
	gives 0 '^one at a time  *[0-9]* calls/s  *median [0-9.]* us' $tool bench "$(fresh)" --echo --count 100 --size 1000 &&
		grep '^64 at once  *[0-9]* calls/s$' "$tmp/given" || return 1
	begin "$(fresh)"
	gives 0 '^{"at_once": 1, "calls_per_second": [0-9]*, "median_us": [0-9.]*,' $tool bench "$address" --count 100 --json &&
		kill $listener && ends 0
}

for where in "unix://$tmp/socket" "unix:@aioipc-test-$$" tcp://127.0.0.1:0 "tcp://*:0"; do
	check "messages both ways over ${where%"$$"}" talk "$where"
done
check "the port that was free is told" sh -c "echo '$address' | grep -q ':[1-9][0-9]*$'"
check "lines both ways, 100000 at once" asks_for_lines ""
check "lines that end otherwise" asks_for_lines '=\r\n'
check "bytes are not touched" copies_bytes
check "one peer after the other, until --count" serves_one_after_the_other
check "a peer that only listens gets all" keeps_for_the_next
check "a question and an answer" asks_and_is_answered
check "connect --retry waits for a listener" retries
check "SIGTERM ends with goodbye, and takes the socket away" stops TERM
check "so does SIGHUP" stops HUP
check "a closed standard output ends quietly" ends_when_nobody_reads
if [ -w /dev/full ]; then
	check "a full disk is told" full_disk
else
	skip "a full disk is told" "no /dev/full"
fi
check "a line that has the delimiter in it is told" a_line_with_the_delimiter
check "a line over every limit is told" a_line_without_end
check "a standard input that can't be read is told" an_input_that_can_not_be_read
check "without a standard input" no_input

for word in "unix:$tmp/written" "$tmp/written" "ring:$tmp/written" "@written-$$"; do
	check "an address as people write it: ${word%"$$"}" is_understood "$word"
done
check "a port" port_is_understood :0
check "a host and a port" port_is_understood localhost:0
cd "$tmp" || exit 1
check "a path from here" is_understood ./written
check "a path with unix: in front" is_understood unix:written
cd "$OLDPWD" || exit 1

check "--no-wait leaves without a goodbye" leaves
check "--mode is that of the socket" has_mode
check "connect tells that it is connected, without --quiet" tells_connected
check "Ctrl-C ends with 130" interrupted
check "--keep serves all at once, and says who says what" serves_at_once
check "--fan-out sends all to all" fans_out
check "--exec runs a program for each peer" runs_programs
check "--exec with JSON, and what becomes of the program" runs_a_program_of_json
check "bench" measures
check "bench of nobody" gives 1 'nobody listens there' $tool bench unix:@nobody
check "who does not speak the protocol, may speak lines" speaks_lines
finish
