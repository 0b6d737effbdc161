#!/bin/sh
# A look at a message with MSG_PEEK makes new descriptors each time, and leaves the message and its descriptor where they were.
. "$(dirname "$0")/common.sh"
system
guess "three looks at a message with one descriptor leave 0 new descriptors here, then reading it 1"
cat >"$tmp/peek.py" <<'END'
import array, os, socket

def held():
    return len(os.listdir("/proc/self/fd"))

a, b = socket.socketpair()
r, w = os.pipe()
b.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [r]))])
start = held()
for _ in range(3):
    a.recvmsg(1, 100, socket.MSG_PEEK)
looks = held() - start
a.recvmsg(1, 100)
print(f"three looks at a message with one descriptor leave {looks} new descriptors here, then reading it {held() - start - looks}")
END
finding "three looks at a message with one descriptor leave 3 new descriptors here, then reading it 1" python3 "$tmp/peek.py"
