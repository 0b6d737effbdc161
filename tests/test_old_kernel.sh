#!/bin/sh
# What falls back to older calls where newer ones are missing passes its tests there, too: see tests/old_kernel.c.
. "$srcdir/tests/tap.sh"

# How the kernel is old, and which tests concern that. The second program is one of ours: the thread sanitizer does not even begin
# without some of these calls.
on() {
	how=$1
	shift
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
# In programs that are executed there, the sanitizer of addresses can't look for leaks, and not be told to leave it.
if nm tests/old_kernel | grep -q ' __asan_init$'; then
	skip "test_exec --eperm --no-proc" "the address sanitizer needs /proc"
else
	on "--eperm --no-proc" exec
fi
on "--eperm --no-proc" listener os proc
on "--eperm --bare" queue_watch
finish
