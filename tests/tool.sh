# What the tests of the command share, for those that have tests/tap.sh: a listener in the background, and what is said and printed. What a
# listener got is in "heard", what it told in "told".

# The program itself: libtool's script before it takes ten times as long.
tool=$PWD/tool/.libs/aioipc
if [ -x "$tool" ]; then
	LD_LIBRARY_PATH=$PWD/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	export LD_LIBRARY_PATH
else
	tool=$PWD/tool/aioipc
fi
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
