#!/bin/sh
# SO_PEERCRED of a socket pair tells who made the pair, not who holds its other end: a parent that asks for its forked child is told
# of itself. The same holds for a listening socket: who connects is told of the process that called listen(2).
. "$(dirname "$0")/common.sh"
system
guess "the peer of a pair is the child; the peer of a connection that a worker accepted is the worker"
cat >"$tmp/peer.py" <<'END'
import os, socket, struct, sys

def peer(s):
    return struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

def name(pid, child):
    return "the child" if pid == child else "the parent" if pid == os.getpid() else "somebody"

a, b = socket.socketpair()
listening = socket.socket(socket.AF_UNIX)
listening.bind("")
listening.listen()
child = os.fork()
if child == 0:
    b.send(b"x")
    worker, _ = listening.accept()
    worker.send(b"x")
    b.recv(1)
    os._exit(0)
a.recv(1)
c = socket.socket(socket.AF_UNIX)
c.connect(listening.getsockname())
c.recv(1)
print(f"the peer of a pair is {name(peer(a), child)}; the peer of a connection that a worker accepted is {name(peer(c), child)}")
a.send(b"x")
os.waitpid(child, 0)
END
finding "the peer of a pair is the parent; the peer of a connection that a worker accepted is the parent" python3 "$tmp/peer.py"
