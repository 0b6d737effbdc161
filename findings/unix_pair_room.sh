#!/bin/sh
# How much fits into a unix socket pair, and when it is writable again. The kernel charges each write with the memory that it
# takes (768 bytes at least), and calls the socket writable when three quarters of the room are free, not when something is.
. "$(dirname "$0")/common.sh"
system
guess "writes of one byte until EAGAIN: about 200000 (SO_SNDBUF is 212992); writable again after reading: 4096 of 180224"
cat >"$tmp/pair.py" <<'END'
import select, socket

def filled(size):
    a, b = socket.socketpair()
    a.setblocking(False)
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 106496)  # the kernel doubles it
    writes = total = 0
    try:
        while True:
            total += a.send(bytes(size))
            writes += 1
    except BlockingIOError:
        return a, b, writes, total

a, b, writes, _ = filled(1)
a, b, _, total = filled(4096)
poll = select.poll()
poll.register(a, select.POLLOUT)
read = 0
while not poll.poll(0):
    read += len(b.recv(4096))
print(f"writes of one byte until EAGAIN: {writes}; writable again after reading: {read} of {total}")
END
finding "writes of one byte until EAGAIN: 278; writable again after reading: 139264 of 180224" python3 "$tmp/pair.py"
