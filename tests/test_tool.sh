#!/bin/sh
# The command-line tool: two of them against each other, and against plain sockets (tests/tool_peers.py). What a listener
# got is in "heard", what it told in "told".
. "$srcdir/tests/tap.sh"

tool=tool/aioipc
TSAN_OPTIONS=$TSAN_OPTIONS:atexit_sleep_ms=0
export TSAN_OPTIONS
input=/dev/null
heard=$tmp/heard

# A listener in the background, known by "address" once it listens; its standard input is "$input". The tests may run
# under nohup: the signal that this ignores has its meaning back.
begin() {
	mkfifo "$tmp/fifo"
	env --default-signal=HUP $tool listen "$@" <"$input" >"$heard" 2>"$tmp/fifo" &
	listener=$!
	exec 3<"$tmp/fifo"
	rm "$tmp/fifo"
	read -r line <&3
	address=${line#aioipc: listening on }
	input=/dev/null
}

# Waits for its end, and for the status that is due.
ends() {
	wait "$listener"
	got=$?
	cat <&3 >"$tmp/told"
	exec 3<&-
	cat "$tmp/told" "$tmp/heard"
	[ $got = "$1" ]
}

# An address that is free.
fresh() {
	echo "unix://$(mktemp -u "$tmp/socketXXXXXX")"
}

# The status due, and a pattern of what the command says.
gives() {
	due=$1
	pattern=$2
	shift 2
	gives_for "$due" "$pattern" /dev/null "$@"
}

# The same, with a file for its standard input.
gives_for() {
	due=$1
	pattern=$2
	file=$3
	shift 3
	"$@" >"$tmp/given" 2>&1 <"$file"
	got=$?
	cat "$tmp/given"
	[ $got = "$due" ] && grep -q -e "$pattern" "$tmp/given"
}

text() {
	printf '%s\n' "$@"
}

# Wrong usage: nothing is printed, a message names the word and the way out.
is_wrong() {
	pattern=$1
	shift
	timeout 20 $tool "$@" >"$tmp/given" 2>"$tmp/said" </dev/null
	got=$?
	cat "$tmp/given" "$tmp/said"
	[ $got = 2 ] && [ ! -s "$tmp/given" ] && grep -q -e "$pattern.*; see aioipc --help$" "$tmp/said"
}

### two tools

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

prints_bytes_as_text() {
	printf 'a\033b\nc\\' >"$tmp/bytes"
	begin "$(fresh)" --bytes --once
	$tool connect "$address" --bytes <"$tmp/bytes" && ends 0 >/dev/null &&
		printf 'a\\x1bb\nc\\\\' | diff - "$tmp/heard"
}

# What is no UTF-8 is none, and what may not be seen is not shown.
prints_lines_as_json() {
	printf 'plain\n\360\237\230\200\n\363\240\200\201\n\342\050\n\355\240\200\n\360\217\277\277\n\364\220\200\200\n' >"$tmp/lines"
	begin "$(fresh)" --once --json
	$tool connect "$address" <"$tmp/lines" && ends 0 >/dev/null && cat >"$tmp/due" <<'END' && diff "$tmp/due" "$tmp/heard"
{"bytes": "plain"}
{"bytes": "😀"}
{"bytes": "\udb40\udc01"}
{"bytes": {"hex": "e228"}}
{"bytes": {"hex": "eda080"}}
{"bytes": {"hex": "f08fbfbf"}}
{"bytes": {"hex": "f4908080"}}
END
}

### values

# Sends one message of each kind by "$1 FORMAT WORDS...".
each_value() {
	"$1" c x && "$1" c '\xff' && "$1" j -32768 && "$1" v 65535 && "$1" i -2147483648 && "$1" u 0xffffffff &&
		"$1" I -9223372036854775808 && "$1" U 18446744073709551615 && "$1" f 0.1 && "$1" f -inf &&
		"$1" s "$(printf 'caf\303\251 \033')" && "$1" s '' && "$1" s '\N' && "$1" s '\\N \xff\n' && "$1" B 'a\x00\xfe' &&
		"$1" B '' && "$1" i# [ 1 -2 ] && "$1" i# 1 -2 && "$1" 'c#' abc && "$1" 'c##i' [ ab cd ] 7 &&
		"$1" 's##' [ [ a b ] [ '\N' c ] ] && "$1" 'S(ic#s)' 1 xyz name && "$1" 'S(cIjf)#' [ a 1 2 3.5 b -1 -2 1e300 ] &&
		"$1" 'S(i#c)##' [ [ [ 1 2 ] x [ 3 4 ] y ] ] && "$1" 'A(i)' && "$1" 'A(i)' 1 2 3 &&
		"$1" 'A(i)i' [ ] 5 && "$1" 'sA(iA(s))u' rows [ 1 [ a b ] 2 [ ] ] 3 && "$1" 'A(S(ic)#i#)' [ [ 1 a ] [ 2 3 ] [ 4 b ] [ 5 6 ] ] &&
		"$1" 'A(i#)c#' [ [ 1 2 ] [ 3 4 ] ] xyz && "$1" 'A(si#)j##' [ ] [ [ 1 ] [ 2 ] ] && "$1" 'A(A(A(B)))' [ [ [ a ] [ ] ] [ ] ] && "$1" '' &&
		"$1" 's#B' [ '\]' '\[' ']]' ] '[' && "$1" fff nan -nan 'nan(0x1f)'
}

send_it() {
	$tool connect "$address" --send "$@" </dev/null
}

prints_values() {
	begin "$(fresh)" --count 35
	each_value send_it && ends 0 >/dev/null && cat >"$tmp/due" <<'END' && diff "$tmp/due" "$tmp/heard"
c "x"
c "\xff"
j -32768
v 65535
i -2147483648
u 4294967295
I -9223372036854775808
U 18446744073709551615
f 0.1
f -inf
s "café \x1b"
s ""
s \N
s "\\N \xff\n"
B "a\x00\xfe"
B ""
i# [ 1 -2 ]
i# [ 1 -2 ]
c# "abc"
c##i [ "ab" "cd" ] 7
s## [ [ "a" "b" ] [ \N "c" ] ]
S(ic#s) 1 "xyz" "name"
S(cIjf)# [ "a" 1 2 3.5 "b" -1 -2 1e+300 ]
S(i#c)## [ [ [ 1 2 ] "x" [ 3 4 ] "y" ] ]
A(i) [ ]
A(i) [ 1 2 3 ]
A(i)i [ ] 5
sA(iA(s))u "rows" [ 1 [ "a" "b" ] 2 [ ] ] 3
A(S(ic)#i#) [ [ 1 "a" ] [ 2 3 ] [ 4 "b" ] [ 5 6 ] ]
A(i#)c# [ [ 1 2 ] [ 3 4 ] ] "xyz"
A(si#)j## [ ] [ [ 1 ] [ 2 ] ]
A(A(A(B))) [ [ [ "a" ] [ ] ] [ ] ]

s#B [ "\]" "\[" "]]" ] "\["
fff nan -nan nan(0x1f)
END
}

# A value that is a bracket is no bracket, and a number that is none comes back to the bit.
gives_back_what_was_printed() {
	begin "$(fresh)" --count 2
	send_it 's#B' [ '\]' '\[' ] ']' && send_it ff -nan '-nan(0x8000000000001)' && ends 0 >/dev/null || return 1
	sed 's/[()]/\\&/g' "$tmp/heard" >"$tmp/words"
	begin "$(fresh)" --count 2
	eval "send_it $(sed -n 1p "$tmp/words")" && eval "send_it $(sed -n 2p "$tmp/words")" && ends 0 >/dev/null &&
		cat >"$tmp/due" <<'END' && diff "$tmp/due" "$tmp/heard"
s#B [ "\]" "\[" ] "\]"
ff -nan -nan(0x8000000000001)
END
}

prints_json() {
	begin "$(fresh)" --json --count 35
	each_value send_it && ends 0 >/dev/null && cat >"$tmp/due" <<'END' && sed 's/"values": //' "$tmp/heard" | diff "$tmp/due" -
{"format": "c", ["x"]}
{"format": "c", [{"hex": "ff"}]}
{"format": "j", [-32768]}
{"format": "v", [65535]}
{"format": "i", [-2147483648]}
{"format": "u", [4294967295]}
{"format": "I", [-9223372036854775808]}
{"format": "U", [18446744073709551615]}
{"format": "f", [0.1]}
{"format": "f", ["-inf"]}
{"format": "s", ["café \u001b"]}
{"format": "s", [""]}
{"format": "s", [null]}
{"format": "s", [{"hex": "5c4e20ff0a"}]}
{"format": "B", [{"hex": "6100fe"}]}
{"format": "B", [""]}
{"format": "i#", [[1, -2]]}
{"format": "i#", [[1, -2]]}
{"format": "c#", ["abc"]}
{"format": "c##i", [["ab", "cd"], 7]}
{"format": "s##", [[["a", "b"], [null, "c"]]]}
{"format": "S(ic#s)", [[1, "xyz", "name"]]}
{"format": "S(cIjf)#", [[["a", 1, 2, 3.5], ["b", -1, -2, 1e+300]]]}
{"format": "S(i#c)##", [[[[[1, 2], "x"], [[3, 4], "y"]]]]}
{"format": "A(i)", [[]]}
{"format": "A(i)", [[1, 2, 3]]}
{"format": "A(i)i", [[], 5]}
{"format": "sA(iA(s))u", ["rows", [[1, ["a", "b"]], [2, []]], 3]}
{"format": "A(S(ic)#i#)", [[[[[1, "a"]], [2, 3]], [[[4, "b"]], [5, 6]]]]}
{"format": "A(i#)c#", [[[1, 2], [3, 4]], "xyz"]}
{"format": "A(si#)j##", [[], [[1], [2]]]}
{"format": "A(A(A(B)))", [[[["a"], []], []]]}
{"format": "", []}
{"format": "s#B", [["]", "[", "]]"], "["]}
{"format": "fff", ["nan", "-nan", "nan(0x1f)"]}
END
}

# Wrong values, and a part of what is said about them.
wrong_values() {
	while IFS='|' read -r say words; do
		# shellcheck disable=SC2086
		gives 2 "$say" $tool connect unix:@nobody --send $words || return 1
	done <<'END'
is not a format|z 1
is missing|ii 1
one word too many|i 1 2
16-bit|j 32768
unsigned|u -1
32-bit|i 1x
32-bit|i 0x
number|f 1.5.
one byte|c ab
string|s a\x00
string|s \q
escape that is none|B \x4
a ] is missing|A(i)i [ 1
between the words|A(i)i 1 2
rows of one # have 2 and 1|i## [ [ 1 2 ] [ 3 ] ]
counts of a # differ|A(i#) [ [ 1 ] [ 1 2 ] ]
are 0|i# [ ]
END
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

sends_many() {
	begin "$(fresh)" --once
	$tool connect "$address" --send s one --send ii 1 2 --send 'i#' [ 1 2 ] && ends 0 &&
		text 's "one"' 'ii 1 2' 'i# [ 1 2 ]' | diff - "$heard"
}

reads_what_it_prints() {
	[ "$1" = --json ] && printed=--json || printed=--print
	begin "$(fresh)" $printed --count 36
	each_value send_it && text 'plain "bytes"' >"$tmp/lines" && $tool connect "$address" <"$tmp/lines" && ends 0 >/dev/null || return 1
	cp "$heard" "$tmp/printed"
	begin "$(fresh)" $printed --once
	$tool connect "$address" "$1" <"$tmp/printed" && ends 0 && grep . "$tmp/printed" | diff - "$heard"
}

reads_lines_as_json() {
	text '{"line": "one"}' '{ "line":{"hex":"00ff"}, "from": "x"}' '{"bytes":"two"}' >"$tmp/lines"
	begin "$(fresh)" --once --lines --json
	$tool connect "$address" --lines --json <"$tmp/lines" && ends 0 &&
		text '{"line": "one"}' '{"line": {"hex": "00ff"}}' '{"line": "two"}' | diff - "$heard"
}

reads_values() {
	text 'hello 42' '' '"the answer" -1' >"$tmp/lines"
	begin "$(fresh)" --once
	$tool connect "$address" --format si <"$tmp/lines" && ends 0 &&
		text 'si "hello" 42' 'si "the answer" -1' | diff - "$heard"
}

wrong_lines() {
	text 'a 1' 'a b' 'c 3' >"$tmp/lines"
	begin "$(fresh)" --once
	gives_for 1 'line 2 was not sent: "b" is not what i takes' "$tmp/lines" $tool connect "$address" --format si &&
		ends 0 && text 'si "a" 1' 'si "c" 3' | diff - "$heard" || return 1
	text '{"format": "i", "values": [1]}' '{"format": "i"}' nonsense '{"bytes": "x"}' >"$tmp/lines"
	begin "$(fresh)" --once
	gives_for 1 'line 3 was not sent: byte 1: an object is missing' "$tmp/lines" $tool connect "$address" --json &&
		grep 'line 2 was not sent' "$tmp/given" && ends 0 && text 'i 1' '"x"' | diff - "$heard"
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

tells_time() {
	begin "$(fresh)" --once --time
	$tool connect "$address" --send i 1 && ends 0 && grep '^[0-9:]*\.[0-9]* i 1$' "$heard" || return 1
	begin "$(fresh)" --keep --count 1 --time --json
	$tool connect "$address" --send i 1 && ends 0 &&
		grep '^{"format": "i", "values": \[1\], "time": "2[0-9T:.-]*Z", "from": "process [0-9]* of user [0-9]*"}$' "$heard"
}

shows_hex() {
	printf '0123456789abcdef\033\377' >"$tmp/lines"
	begin "$(fresh)" --once --hex
	$tool connect "$address" <"$tmp/lines" && ends 0 && cat >"$tmp/due" <<'END' && diff "$tmp/due" "$heard"
18 bytes
00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|
00000010  1b ff                                             |..|
END
}

### between two, and how fast

# A tap in front of the listener, as "$tapped".
tap() {
	mkfifo "$tmp/tapfifo"
	tapped=$(fresh)
	$tool tap "$tapped" "$address" --once "$@" >"$tmp/tapped" 2>"$tmp/tapfifo" &
	tap=$!
	exec 7<"$tmp/tapfifo"
	rm "$tmp/tapfifo"
	read -r line <&7
	echo "$line"
}

# Its end, and that it printed of client and server what is due, each in order.
tap_ends() {
	wait $tap || return 1
	cat <&7
	exec 7<&-
	cat "$tmp/tapped"
	for side in client server; do
		grep "$side" <"$tmp/tapped"
	done | diff - "$tmp/due"
}

taps_messages() {
	begin "$(fresh)" --once --send s answer
	tap "$@"
	gives 0 's "answer"' $tool connect "$tapped" --send i 42 --print && ends 0 && tap_ends
}

taps_lines() {
	text one two >"$tmp/lines"
	begin "$(fresh)" --once --lines
	tap --lines
	$tool connect "$tapped" --lines <"$tmp/lines" && ends 0 && diff "$tmp/lines" "$heard" && tap_ends
}

# What is no protocol is told and passed on.
taps_what_is_bad() {
	text 'GET / HTTP/1.1' >"$tmp/lines"
	begin "$(fresh)" --once --lines
	tap
	$tool connect "$tapped" --lines <"$tmp/lines" && ends 0 && diff "$tmp/lines" "$heard" && wait $tap || return 1
	cat <&7 >"$tmp/told"
	exec 7<&-
	grep 'client 1: bad at byte 0: the peer does not speak aioipc' "$tmp/told"
}

stops_tapping() {
	tapped=$(fresh)
	"${PYTHON3:-python3}" -c 'import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
p = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE)
print(p.stderr.readline())
p.send_signal(signal.SIGINT)
sys.exit(p.wait())' $tool tap "$tapped" unix:@nobody
	[ $? = 130 ] && [ ! -e "${tapped#unix://}" ]
}

measures() {
	gives 0 '^one at a time  *[0-9]* calls/s  *median [0-9.]* us' $tool bench "$(fresh)" --echo --count 100 --size 1000 &&
		grep '^64 at once  *[0-9]* calls/s$' "$tmp/given" || return 1
	begin "$(fresh)"
	gives 0 '^{"at_once": 1, "calls_per_second": [0-9]*, "median_us": [0-9.]*,' $tool bench "$address" --count 100 --json &&
		kill $listener && ends 0
}

### captures

# What a client says; it hears no goodbye.
capture() {
	heard=$tmp/capture
	begin "$(fresh)" --bytes --raw --once
	heard=$tmp/heard
	$tool connect "$address" --send "$@" 2>/dev/null
	ends 0 >/dev/null && [ -s "$tmp/capture" ]
}

dumps() {
	gives 0 . $tool dump "$@" && diff - "$tmp/given"
}

# The capture with the bytes "$2", as of printf, at offset "$1".
broken() {
	cp "$tmp/capture" "$tmp/broken"
	# shellcheck disable=SC2059
	printf "$2" | dd of="$tmp/broken" bs=1 seek="$1" conv=notrunc 2>/dev/null
	gives 1 "broken: bad at byte $3: $4\$" $tool dump "$tmp/broken"
}

# So many bytes of it, the status due and what is said.
cut() {
	head -c "$1" "$tmp/capture" >"$tmp/broken"
	gives "$2" "broken: $3\$" $tool dump "$tmp/broken"
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
check "bytes as text" prints_bytes_as_text
check "lines as JSON, UTF-8 or not" prints_lines_as_json
check "--send and print, every kind of value" prints_values
check "--send and print as JSON" prints_json
check "what is printed can be sent" gives_back_what_was_printed
check "a row without a byte is told why" gives 2 "are 0" $tool connect unix:@nobody --send 'c#' ''
check "wrong values are told" wrong_values

check "a capture by --bytes --raw" capture si 'the answer' 42
check "dump" dumps "$tmp/capture" <<'END'
         0  preface           8 bytes
         8  values           29 bytes  si "the answer" 42
        45  goodbye           0 bytes
END
check "dump of standard input, as JSON" sh -c "$tool dump --json <$tmp/capture >$tmp/given"
check "dump of what - is" sh -c "$tool dump --json - <$tmp/capture | cmp - $tmp/given"
check "has the frames and the values" diff - "$tmp/given" <<'END'
{"offset": 8, "kind": 1, "length": 29, "descriptors": 0, "format": "si", "values": ["the answer", 42]}
{"offset": 45, "kind": 3, "length": 0, "descriptors": 0}
END
check "dump of another file" broken 0 HTTP 0 'the peer does not speak aioipc: no preface'
check "of another version" broken 4 '\2' 0 'the peer speaks version 2, this library 1'
check "of an unknown kind" broken 12 '\12' 8 'frame of unknown kind 10'
check "of flags in a header" broken 14 '\1' 8 'frame header with unknown flags'
check "of too many descriptors" broken 13 '\377' 8 'more descriptors than a frame can have'
check "of a NUL in a string" broken 35 '\0' 8 'tpl image: NUL inside a string'
check "of another format" broken 24 'z' 8 'tpl image: not a format'
check "of a goodbye with a payload" broken 45 '\1\0\0\0\3\0\0\0x' 45 'goodbye with a payload'
check "of what follows the goodbye" broken 53 'x' 53 'something follows the goodbye'
check "of a length over every limit" broken 8 '\377\377\377\377' 8 'frame of 4294967295 bytes, limit 1073741824'
check "of a length that is not there" broken 8 '\0\0\0\77' 8 'it ends after 45 of the 1056964616 bytes that are due'
check "of one just below that" broken 8 '\377\377\377\77' 8 'it ends after 45 of the 1073741831 bytes that are due'
check "of half a preface" cut 7 1 'bad at byte 0: it ends after 7 of the 8 bytes that are due'
check "of nothing" cut 0 1 'bad at byte 0: it ends after 0 of the 8 bytes that are due'
check "of half a header" cut 15 1 'bad at byte 8: it ends after 7 of the 8 bytes that are due'
check "of half a frame" cut 44 1 'bad at byte 8: it ends after 36 of the 37 bytes that are due'
check "of a stream without goodbye" cut 45 0 'ends at byte 45 without goodbye'
printf 'AIPC\1\0\0\0\3\0\0\0\311\0\0\0abc\2\0\0\0\2\2\0\0hi\16\0\0\0\1\0\0\0tpl\1\0\0\0\16i\0\0\0\1\2\0\0\0\0\3\0\0\0' >"$tmp/odd"
check "dump of what is skipped, of descriptors, and of big-endian values" dumps "$tmp/odd" <<'END'
         0  preface           8 bytes
         8  kind 201          3 bytes
        19  bytes             2 bytes, 2 descriptors  "hi"
        29  values           14 bytes  i 258
        51  goodbye           0 bytes
END
printf 'AIPC\1\0\0\0\30\0\0\0\4\0\0\0\1\0\0\0\0\0\0\0tpl\2\20\0\0\0s\0\3\0\0\0hi\16\0\0\0\10\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0no\12\0\0\0\7\0\0\0\1\0\0\0\0\0\0\0ok\10\0\0\0\11\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0' >"$tmp/called"
check "dump of calls, and of what answers and cancels them" dumps "$tmp/called" <<'END'
         0  preface           8 bytes
         8  call             24 bytes  0000000000000001  s "hi"
        40  refusal          14 bytes  0000000000000001  error 2  "no"
        62  answer           10 bytes  0000000000000001  "ok"
        80  cancel            8 bytes  0000000000000001
        96  goodbye           0 bytes
END
check "the same as JSON" dumps --json "$tmp/called" <<'END'
{"offset": 8, "kind": 4, "length": 24, "descriptors": 0, "call": "0000000000000001", "format": "s", "values": ["hi"]}
{"offset": 40, "kind": 8, "length": 14, "descriptors": 0, "call": "0000000000000001", "error": 2, "bytes": "no"}
{"offset": 62, "kind": 7, "length": 10, "descriptors": 0, "call": "0000000000000001", "bytes": "ok"}
{"offset": 80, "kind": 9, "length": 8, "descriptors": 0, "call": "0000000000000001"}
{"offset": 96, "kind": 3, "length": 0, "descriptors": 0}
END
printf 'AIPC\1\0\0\0\40\0\0\0\20\0\0\0abcdefghijklmnop\7\0\0\0\0\0\0\0\0\20\0\0\0\0\0\0\20\0\0\0\21\0\0\0\6\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\2\0\0\0\2\0\0\0hi\10\0\0\0\22\0\0\0\7\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0' >"$tmp/confirmed"
check "dump of what is confirmed" dumps "$tmp/confirmed" <<'END'
         0  preface           8 bytes
         8  hello            32 bytes  sender 6162636465666768696a6b6c6d6e6f70  first 7  most 4096
        48  had              16 bytes  had 6  taken 5
        72  bytes             2 bytes  "hi"
        82  taken             8 bytes  taken 7
        98  goodbye           0 bytes
END
check "the same as JSON" dumps --json "$tmp/confirmed" <<'END'
{"offset": 8, "kind": 16, "length": 32, "descriptors": 0, "sender": "6162636465666768696a6b6c6d6e6f70", "first": 7, "most": 4096}
{"offset": 48, "kind": 17, "length": 16, "descriptors": 0, "had": 6, "taken": 5}
{"offset": 72, "kind": 2, "length": 2, "descriptors": 0, "bytes": "hi"}
{"offset": 82, "kind": 18, "length": 8, "descriptors": 0, "taken": 7}
{"offset": 98, "kind": 3, "length": 0, "descriptors": 0}
END
printf 'AIPC\1\0\0\0\10\0\0\0\200\0\0\0\5\0\0\0\0\0\0\0\10\0\0\0\2\1\1\0\0\0\20\0\0\0\0\0\20\0\0\0\5\2\1\0\1\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\3\0\0\0' >"$tmp/memory"
check "dump of messages in memory" dumps "$tmp/memory" <<'END'
         0  preface           8 bytes
         8  grant             8 bytes  5 in all
        24  bytes             8 bytes, 1 descriptors  1048576 bytes in memory
        40  call             16 bytes, 2 descriptors  0000000000000001  131072 bytes in memory
        64  goodbye           0 bytes
END
check "the same as JSON" dumps --json "$tmp/memory" <<'END'
{"offset": 8, "kind": 128, "length": 8, "descriptors": 0, "grant": 5}
{"offset": 24, "kind": 2, "length": 8, "descriptors": 1, "in memory": 1048576}
{"offset": 40, "kind": 5, "length": 16, "descriptors": 2, "call": "0000000000000001", "in memory": 131072}
{"offset": 64, "kind": 3, "length": 0, "descriptors": 0}
END
printf 'AIPC\1\0\0\0\7\0\0\0\4\0\0\0abcdefg' >"$tmp/called"
check "of a call without a number" gives 1 'bad at byte 8: frame of kind 4 and only 7 bytes' $tool dump "$tmp/called"
printf 'AIPC\1\0\0\0\14\0\0\0\10\0\0\0abcdefgh\0\0\0\0' >"$tmp/called"
check "of a refusal without an error" gives 1 'bad at byte 8: refusal without an error' $tool dump "$tmp/called"
printf 'AIPC\1\0\0\0\7\0\0\0\22\0\0\0abcdefg' >"$tmp/confirmed"
check "of a confirmation that is too short" gives 1 'bad at byte 8: frame of kind 18 and 7 bytes' $tool dump "$tmp/confirmed"
check "call without values" gives 2 'call: the values end too early' $tool call unix:@nobody i
check "call without a format" gives 2 'call: the format of a message is missing' $tool call unix:@nobody
check "call of nobody" gives 1 'nobody listens there' $tool call unix:@nobody s hello
check "dump of no file" gives 1 'No such file' $tool dump "$tmp/none"
check "dump of a folder" gives 1 'Is a directory' $tool dump "$tmp"

check "nobody listens on TCP" gives 1 "nobody listens there (ECONNREFUSED): start the listener first, or use --retry" \
	$tool connect tcp://127.0.0.1:1 --print
check "there is no socket" gives 1 "no such socket.*(ENOENT)" $tool connect "unix://$tmp/none"
text x >"$tmp/plain"
check "there is a file that is none" gives 1 'that is no socket: look at the address$' $tool connect "unix://$tmp/plain"
check "what is told does nothing to a terminal" gives 1 '/\\x1b\[31m: no such' $tool connect "unix:///$(printf '\033[31m')"
check "no address" gives 2 "an address is missing" $tool listen
check "not an address" gives 2 "neither tcp://" $tool connect http://localhost
check "not one to connect to" gives 2 'not an address to connect to; see aioipc --help' $tool connect 'tcp://*:4711'
check "no folder for a socket" gives 1 "no such socket, host or folder (ENOENT): look at the address$" $tool listen "unix://$tmp/none/x"
check "no command" gives 2 "usage:" $tool
check "another command" gives 2 '"talk" is not a command' $tool talk
check "an option of another command" gives 2 "not with this command" $tool listen unix:@x --retry
check "no option" gives 2 "no such option" $tool listen unix:@x --prnit
check "an option without its value" gives 2 "its value is missing" $tool listen unix:@x --count
check "a value that is none" gives 2 "not a number" $tool listen unix:@x --count=0
check "half of a message" gives 2 "not a whole number" $tool listen unix:@x --count 1.5
check "a value where none is taken" gives 2 "takes no value" $tool listen unix:@x --json=yes
check "a line's end that is too long" gives 2 "1 to 8 bytes" $tool listen unix:@x --lines=123456789
check "lines and bytes" gives 2 "--lines or --bytes, not both" $tool listen unix:@x --lines --bytes
check "--json and --raw" gives 2 "--json or --raw, not both" $tool listen unix:@x --json --raw
check "--send is for messages" gives 2 "not with --lines" $tool connect unix:@x --send s x --lines
while IFS='|' read -r say words; do
	# shellcheck disable=SC2086
	check "wrong: $words" is_wrong "$say" $words
done <"$srcdir/tests/tool_usage.txt"

for word in "unix:$tmp/written" "$tmp/written" "ring:$tmp/written" "@written-$$"; do
	check "an address as people write it: ${word%"$$"}" is_understood "$word"
done
check "a port" port_is_understood :0
check "a host and a port" port_is_understood localhost:0
cd "$tmp" || exit 1
tool=$OLDPWD/$tool
check "a path from here" is_understood ./written
check "a path with unix: in front" is_understood unix:written
cd "$OLDPWD" || exit 1
tool=tool/aioipc
check "many messages by --send" sends_many
check "--json reads what it prints" reads_what_it_prints --json
check "--text reads what is printed" reads_what_it_prints --text
check "--json reads lines that were printed so" reads_lines_as_json
check "--format reads values" reads_values
check "what is wrong with a line is told, and the others are sent" wrong_lines
check "--no-wait leaves without a goodbye" leaves
check "--mode is that of the socket" has_mode
check "connect tells that it is connected, without --quiet" tells_connected
check "Ctrl-C ends with 130" interrupted
check "--keep serves all at once, and says who says what" serves_at_once
check "--fan-out sends all to all" fans_out
check "--exec runs a program for each peer" runs_programs
check "--exec with JSON, and what becomes of the program" runs_a_program_of_json
check "--time" tells_time
check "--hex" shows_hex
cat >"$tmp/due" <<'END'
client 1:          0  preface           8 bytes
client 1:          8  values           14 bytes  i 42
client 1:         30  goodbye           0 bytes
server 1:          0  preface           8 bytes
server 1:          8  values           20 bytes  s "answer"
server 1:         36  goodbye           0 bytes
END
check "tap prints the frames of both" taps_messages
cat >"$tmp/due" <<'END'
{"from": "client 1", "offset": 8, "kind": 1, "length": 14, "descriptors": 0, "format": "i", "values": [42]}
{"from": "client 1", "offset": 30, "kind": 3, "length": 0, "descriptors": 0}
{"from": "server 1", "offset": 8, "kind": 1, "length": 20, "descriptors": 0, "format": "s", "values": ["answer"]}
{"from": "server 1", "offset": 36, "kind": 3, "length": 0, "descriptors": 0}
END
check "tap prints JSON" taps_messages --json
text 'client 1: one' 'client 1: two' >"$tmp/due"
check "tap prints lines" taps_lines
check "tap passes on what is bad, and tells" taps_what_is_bad
check "Ctrl-C ends a tap with 130, and takes its socket away" stops_tapping
check "bench" measures
check "bench of nobody" gives 1 'nobody listens there' $tool bench unix:@nobody
check "who does not speak the protocol, may speak lines" speaks_lines
check "help" gives 0 "aioipc connect ADDR" $tool help
check "help of a command" sh -c "$tool help call | grep -q -e --raw && ! $tool help call | grep -e --once"
check "which says what its address is" sh -c "$tool help stream | grep '^ADDR.* redis://' && ! $tool help stream | grep tcp:"
check "-V" gives 0 "^aioipc [0-9.]*$" $tool -V
check "--help" gives 0 "usage: aioipc listen" $tool --help
check "--version" gives 0 "^aioipc [0-9.]*$" $tool listen --version

### peers that know nothing of the library

python=${PYTHON3:-python3}
for name in $(sed -n 's/^def test_\(.*\)():$/\1/p' "$srcdir/tests/tool_peers.py"); do
	said=$(echo "$name" | tr _ ' ')
	if ! have "$python"; then
		skip "$said" "no python3"
	elif [ "${name#a_terminal}" != "$name" ] && ! "$python" -c 'import os; os.openpty()' 2>/dev/null; then
		skip "$said" "no terminal to be had"
	else
		check "$said" "$python" -IS "$srcdir/tests/tool_peers.py" "$name"
	fi
done

### shells

# What bash proposes for the words.
proposes() {
	bash -c '
		. "$1" && complete -p aioipc >/dev/null || exit
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		compopt() { :; }
		_aioipc && echo ${COMPREPLY[*]}' bash "$srcdir/tool/completion/aioipc" "$@"
}

# Every option that is proposed is known where it is, and every one that --help has is proposed somewhere.
proposes_options() {
	for command in listen connect call dump tap bench top stream; do
		for option in $(proposes aioipc $command x --); do
			echo "$option" >>"$tmp/proposed"
			$tool $command "$option" 2>&1 </dev/null | grep -e 'no such option' -e 'not with this' && return 1
		done
	done
	$tool --help | grep -o -- '--[a-z-]*' | sort -u >"$tmp/helped"
	sort -u "$tmp/proposed" | diff "$tmp/helped" -
}

if have bash; then
	check "bash completion of commands" sh -c "[ '$(proposes aioipc '')' = 'listen connect call dump tap bench top stream help --help --version' ]"
	check "of options" sh -c "[ '$(proposes aioipc listen x --o)' = --once ]"
	check "which are those that there are" proposes_options
	check "of addresses" sh -c "[ '$(proposes aioipc listen --once uni)' = 'unix:/// unix:@' ]"
	check "behind a colon" sh -c "[ '$(proposes aioipc listen unix :)' = '/// @' ]"
	check "and of one only" sh -c "[ -z '$(proposes aioipc listen unix : @x uni)' ]"
else
	skip "bash completion" "no bash"
fi
if have zsh; then
	check "zsh completion" zsh -f -c "autoload -U compinit && compinit -D && fpath=('$srcdir/tool/completion' \$fpath) &&
		autoload +X -U _aioipc && whence -f _aioipc"
else
	skip "zsh completion" "no zsh"
fi
finish
