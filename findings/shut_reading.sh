#!/bin/sh
# shutdown(SHUT_RD): a unix peer can't write any more, a TCP peer notices nothing, and what it writes can be read here all the same.
. "$(dirname "$0")/common.sh"
system
guess "unix: the peer's write is EPIPE; tcp: the peer's write is EPIPE, then the end is read here"
cat >"$tmp/shut.py" <<'END'
import errno, socket

def shut(here, there):
    here.shutdown(socket.SHUT_RD)
    try:
        there.send(b"late")
    except OSError as e:
        return f"the peer's write is {errno.errorcode[e.errno]}"
    here.settimeout(10)
    return f"the peer's write is taken, then {here.recv(10) or 'the end'} is read here"

listening = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(listening.getsockname())
print(f"unix: {shut(*socket.socketpair())}; tcp: {shut(c, listening.accept()[0])}")
END
finding "unix: the peer's write is EPIPE; tcp: the peer's write is taken, then b'late' is read here" python3 "$tmp/shut.py"
