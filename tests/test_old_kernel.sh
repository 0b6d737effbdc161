#!/bin/sh
# What falls back to older calls where newer ones are missing passes its tests there, too: see tests/old_kernel.c.
. "$srcdir/tests/tap.sh"

# The second one is a program of ours: the thread sanitizer does not even begin without some of these calls.
tests/old_kernel tests/old_kernel true 2>/dev/null
allowed=$?
for name in chan end_cause exec fork proc queue queue_tasks service shortage task; do
	if [ $allowed = 0 ]; then
		check "test_$name" tests/old_kernel tests/test_$name
	else
		skip "test_$name" "no program of ours runs there"
	fi
done
finish
