#!/bin/sh
# The harness and the wrapper report whatever goes wrong: tests/misbehave holds the ways.

n=0
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT

tell() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$out"
	fi
}

# a test of tests/misbehave, the status due, a pattern that its output has
run() {
	tests/wrap tests/misbehave "$1" >"$out" 2>&1
	status=$?
	[ $status = "$2" ] && grep -q -e "$3" "$out"
	tell $? "$1"
}

run behaves 0 "^ok 1"
run leaks_a_descriptor 1 "^not ok 1.*leaked descriptor [0-9]* /dev/null"
run closes_what_is_not_its_own 1 "^not ok 1.*closed descriptor 0 /dev/null, not its own"
run replaces_what_is_not_its_own 1 "^not ok 1.*leaked descriptor 0"
run hangs 1 "^not ok 1.*Test timeout expired"
run crashes 1 "^not ok 1.*signal 11"
run exits 1 "^# did not come to their end: exits$"
run exits_at_once 1 "^# did not come to their end: exits_at_once$"
run leaves_a_child 1 "^not ok 1.*child was left running"
run leaves_a_grandchild 1 "^not ok 1.*child was left running"
run child_returns 1 "^not ok 1.*came back from the test"
run child_asserts 1 "^not ok 1.*in a child.*seen in a child"
run must_sees_minus_one 1 "^not ok 1.*close(-1): Bad file descriptor"
run must_fail_sees_another_errno 1 "^not ok 1.*Bad file descriptor, Broken pipe was due"
run must_fail_sees_success 1 "^not ok 1.*did not fail, Broken pipe was due"
run leaves_a_session 1 "^# wrap: stray process [0-9]*: tests/misbehave leaves_a_session"
run no_such_test 1 "^1\.\.0"

wrap() {
	what=$1
	due=$2
	shift 2
	tests/wrap "$@" >"$out" 2>&1
	[ $? = "$due" ]
	tell $? "$what"
}

wrap "the status comes through" 7 sh -c 'exit 7'
wrap "so does a signal" 137 sh -c 'kill -9 $$'
wrap "a program that hangs is killed" 124 -t 0.2 sleep 1000
wrap "a stray is a failure" 99 sh -c 'setsid sleep 1000 & exit 0'
wrap "a stray that ends soon is none" 0 sh -c 'setsid sleep 0.1 & exit 0'
wrap "a program that is not there" 127 tests/no_such_program
echo "1..$n"
