#!/bin/sh
# The harness and the wrapper report whatever goes wrong: tests/misbehave holds the ways.
. "$srcdir/tests/tap.sh"

# the status due, a pattern that the output has, a command
gives() {
	due=$1
	pattern=$2
	shift 2
	"$@" >"$tmp/given" 2>&1
	status=$?
	cat "$tmp/given"
	[ $status = "$due" ] && { [ -z "$pattern" ] || grep -q -e "$pattern" "$tmp/given"; }
}

run() {
	check "$1" gives "$2" "$3" tests/wrap tests/misbehave "$1"
}

run behaves 0 "^ok 1"
run leaks_a_descriptor 1 "^not ok 1.*leaked descriptor [0-9]* /dev/null"
run closes_what_is_not_its_own 1 "^not ok 1.*closed descriptor 0 /dev/null, not its own"
run replaces_what_is_not_its_own 1 "^not ok 1.*leaked descriptor 0"
run hangs 1 "^not ok 1.*Test timeout expired"
run crashes 1 "^not ok 1.*signal 5"
run exits 1 "^# did not come to their end: exits$"
run exits_at_once 1 "^# did not come to their end: exits_at_once$"
run leaves_a_child 1 "^not ok 1.*child was left running"
run leaves_a_grandchild 1 "^not ok 1.*child was left running"
if nm tests/misbehave | grep -q ' __asan_init$'; then # only the address sanitizer sees it
	run loses_memory 1 "^not ok 1.*leaked memory"
fi
run child_returns 1 "^not ok 1.*came back from the test"
run child_asserts 1 "^not ok 1.*in a child.*seen in a child"
run must_sees_minus_one 1 "^not ok 1.*close(-1): Bad file descriptor"
run must_fail_sees_another_errno 1 "^not ok 1.*Bad file descriptor, Broken pipe was due"
run must_fail_sees_success 1 "^not ok 1.*did not fail, Broken pipe was due"
run leaves_a_session 1 "^# wrap: stray process [0-9]*: tests/misbehave leaves_a_session"
run no_such_test 1 "^1\.\.0"

check "the status comes through" gives 7 "" tests/wrap sh -c 'exit 7'
check "so does a signal" gives 137 "" tests/wrap sh -c 'kill -9 $$'
check "a program that hangs is killed" gives 124 "time limit" tests/wrap -t 0.2 sleep 1000
check "a stray is a failure" gives 99 "stray process" tests/wrap sh -c 'setsid sleep 1000 & exit 0'
check "a stray that ends soon is none" gives 0 "" tests/wrap sh -c 'setsid sleep 0.1 & exit 0'
if ! nm tests/wrap | grep -q ' __asan_init$' && tests/old_kernel --no-proc tests/old_kernel true 2>/dev/null; then
	check "without /proc a test sees what it leaks" \
		gives 1 "^not ok 1.*leaked descriptor" tests/old_kernel --no-proc tests/wrap tests/misbehave leaks_a_descriptor
	check "without /proc a stray is a failure" \
		gives 99 "stray process" tests/old_kernel --no-proc tests/wrap sh -c 'setsid sleep 1000 & exit 0'
	check "without /proc a program that hangs is killed" \
		gives 124 "time limit" tests/old_kernel --no-proc tests/wrap -t 0.2 sleep 1000
else
	skip "without /proc" "/proc can't be hidden here, or the address sanitizer needs it"
fi
check "a program that is not there" gives 127 "No such file" tests/wrap tests/no_such_program
finish
