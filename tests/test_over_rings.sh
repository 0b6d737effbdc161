#!/bin/sh
# All that is tested of connections over socket pairs, once more over rings.
. "$srcdir/tests/tap.sh"

programs="call callbacks conn end_cause fds flow goodbye late lines read settings signals steady stopped stream task_close task_conn"

over_rings() {
	TEST_PAIR=ring tests/wrap "tests/test_$1"
}

for program in $programs; do
	check "test_$program over rings" over_rings "$program"
done
finish
