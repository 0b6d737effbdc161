#!/bin/sh
# The command-line tool: beside peers that know nothing of the library (tests/tool_peers.py).
. "$srcdir/tests/tap.sh"
. "$srcdir/tests/tool.sh"

python=${PYTHON3:-python3}
TOOL=$tool
export TOOL
for name in $(sed -n 's/^def test_\(.*\)():$/\1/p' "$srcdir/tests/tool_peers.py"); do
	said=$(echo "$name" | tr _ ' ')
	if ! have "$python"; then
		skip "$said" "no python3"
	elif [ "${name#a_terminal}" != "$name" ] && ! "$python" -c 'import os; os.openpty()' 2>/dev/null; then
		skip "$said" "no terminal to be had"
	else
		check "$said" "$python" -IS "$srcdir/tests/tool_peers.py" "$name"
	fi
done
finish
