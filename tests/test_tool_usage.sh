#!/bin/sh
# The command-line tool: wrong words, help, and what shells propose.
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/tool.sh"

# Wrong usage: nothing is printed, a message names the word and the way out.
is_wrong() {
	pattern=$1
	shift
	timeout 20 $tool "$@" >"$tmp/given" 2>"$tmp/said" </dev/null
	got=$?
	cat "$tmp/given" "$tmp/said"
	[ $got = 2 ] && [ ! -s "$tmp/given" ] && grep -q -e "$pattern.*; see aioipc --help$" "$tmp/said"
}

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
check "call without values" gives 2 'call: the values end too early' $tool call unix:@nobody i
check "call without a format" gives 2 'call: the format of a message is missing' $tool call unix:@nobody
check "call of nobody" gives 1 'nobody listens there' $tool call unix:@nobody s hello

check "help" gives 0 "aioipc connect ADDR" $tool help
check "help of a command" sh -c "$tool help call | grep -q -e --raw && ! $tool help call | grep -e --once"
check "which says what its address is" sh -c "$tool help stream | grep '^ADDR.* redis://' && ! $tool help stream | grep tcp:"
check "-V" gives 0 "^aioipc [0-9.]*$" $tool -V
check "--help" gives 0 "usage: aioipc listen" $tool --help
check "--version" gives 0 "^aioipc [0-9.]*$" $tool listen --version

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
