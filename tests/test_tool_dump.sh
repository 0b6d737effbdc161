#!/bin/sh
# The command-line tool: captures, and the tap between two.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/tool.sh"

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

### between two

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
check "dump of no file" gives 1 'No such file' $tool dump "$tmp/none"
check "dump of a folder" gives 1 'Is a directory' $tool dump "$tmp"

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
finish
