#!/bin/sh
# The command-line tool: what it prints of messages, and what it makes of words, of JSON and of lines.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/tool.sh"

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

check "bytes as text" prints_bytes_as_text
check "lines as JSON, UTF-8 or not" prints_lines_as_json
check "--send and print, every kind of value" prints_values
check "--send and print as JSON" prints_json
check "what is printed can be sent" gives_back_what_was_printed
check "a row without a byte is told why" gives 2 "are 0" $tool connect unix:@nobody --send 'c#' ''
check "wrong values are told" wrong_values

check "many messages by --send" sends_many
check "--json reads what it prints" reads_what_it_prints --json
check "--text reads what is printed" reads_what_it_prints --text
check "--json reads lines that were printed so" reads_lines_as_json
check "--format reads values" reads_values
check "what is wrong with a line is told, and the others are sent" wrong_lines
check "--time" tells_time
check "--hex" shows_hex
finish
