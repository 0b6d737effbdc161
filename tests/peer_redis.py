"""Somebody who uses Python's client of Redis: appends to a stream, or reads it as a member of a group. With typed messages.

peer_redis.py SOCKET append NAME | read NAME COUNT
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/python")
import aioipc

try:
    import redis
except ImportError:
    sys.exit(77)

BYTES = b"plain", b"\x00\r\n\xff", b"", b"x" * 100000
VALUES = ("is", 42, "x y"), ("A(u)", [1, 2, 3]), ("B", b"\x00\xff")


def append(server, name):
    for data in BYTES:
        server.xadd(name, {"m": data})
    for values in VALUES:
        server.xadd(name, {"m": aioipc.Message(*values).payload, "k": "tpl"})


def message(fields):
    if fields.get(b"k") == b"tpl":
        m = aioipc.Message.of_image(fields[b"m"])
        return (m.format, *m.values)
    return fields[b"m"]


def read(server, name, count):
    server.xgroup_create(name, "python", "0", mkstream=True)
    while count > 0:
        for _, entries in server.xreadgroup("python", "me", {name: ">"}, count=count, block=5000):
            for number, fields in entries:
                print(ascii(message(fields)))
                count -= server.xack(name, "python", number)
    assert server.xpending(name, "python")["pending"] == 0


def main():
    if len(sys.argv) == 1:
        return
    server = redis.Redis(unix_socket_path=sys.argv[1])
    if sys.argv[2] == "append":
        append(server, sys.argv[3])
    else:
        read(server, sys.argv[3], int(sys.argv[4]))


main()
