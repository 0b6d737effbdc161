#!/bin/sh
# What falls back to older calls where newer ones are missing passes its tests there, too: see tests/old_kernel.c.
. "$srcdir/tests/tap.sh"

# How the kernel is old, and which tests concern that. The second program is one of ours: the thread sanitizer does not even begin
# without some of these calls. Without /proc the sanitizer of addresses can't look for leaks, and calls that an error.
on() {
	how=$1
	shift
	case $how in *--no-proc*) export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" ;; esac
	tests/old_kernel $how tests/old_kernel true 2>/dev/null
	allowed=$?
	for name; do
		if [ $allowed = 0 ]; then
			check "test_$name $how" tests/old_kernel $how tests/test_$name
		else
			skip "test_$name $how" "no program of ours runs there"
		fi
	done
}

# All tests, each way: make check UNDER="tests/old_kernel --eperm". Here are those of what falls back.
on "" chan end_cause exec fork proc queue queue_tasks service shortage task
on --enosys exec os proc
on --eperm end_cause exec fork os proc watch
on "--eperm --no-proc" exec listener os proc
on "--eperm --bare" queue_watch
finish
