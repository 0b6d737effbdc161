#!/usr/bin/env python3
"""A peer that knows nothing of aioipc, for the tests of links: lines that end in CRLF, by plain sockets or by asyncio.

    peer_lines.py [asyncio] WHERE WHAT [NUMBER...]

WHERE is "listen", "listen:PORT" or "connect:PORT", on 127.0.0.1; who listens says "port N" first. WHAT:

    talk SEND EXPECT    sends "python 0", "python 1", ... and reads "link 0", "link 1", ... at once; then closes
    upper               answers each line in upper case until the other side closes
    take COUNT          reads "link N ...", consecutive, from any N on; after COUNT lines leaves, whatever is left; 0: until
                        the other side closes; says "first N" and "last N"
    drip LENGTH PIECE   sends one line of so many bytes, in pieces

At its end it says "done". Standard library only.
"""
import socket
import sys
import threading


def say(*words):
    print(*words, flush=True)


def connection(where):
    verb, _, port = where.partition(":")
    if verb == "connect":
        return socket.create_connection(("127.0.0.1", int(port)))
    with socket.create_server(("127.0.0.1", int(port or 0))) as listening:
        say("port", listening.getsockname()[1])
        return listening.accept()[0]


def expect(line, due):
    if line != due:
        sys.exit(f"got {line!r}, {due!r} was due")


def numbered(who, count):
    return (f"{who} {n}\r\n".encode() for n in range(count))


# With plain sockets.

def send_all(sock, count):
    for line in numbered("python", count):
        sock.sendall(line)


def talk(sock, send, count):
    sent = []
    sending = threading.Thread(target=lambda: sent.append(send_all(sock, send)))
    sending.start()
    with sock.makefile("rb") as lines:
        for due in numbered("link", count):
            expect(lines.readline(), due)
    sending.join()
    if not sent:
        sys.exit("sending failed")


def upper(sock):
    with sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(line.upper())


def take(sock, count):
    first = last = None
    with sock.makefile("rb") as lines:
        for line in lines:
            word, number, *padding = line.split()
            expect(word, b"link")
            expect(line, b" ".join([word, number, *padding]) + b"\r\n")
            if last is not None:
                expect(int(number), last + 1)
            last = int(number)
            first = last if first is None else first
            if last - first + 1 == count:
                break
    say("first", first)
    say("last", last)


def drip(sock, length, piece):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line = bytes(33 + n % 90 for n in range(length)) + b"\r\n"
    for at in range(0, len(line), piece):
        sock.sendall(line[at:at + piece])


def run_plain(where, what, numbers):
    with connection(where) as sock:
        {"talk": talk, "upper": upper, "take": take, "drip": drip}[what](sock, *numbers)


# With asyncio.

async def streams(where):
    verb, _, port = where.partition(":")
    if verb == "connect":
        return await asyncio.open_connection("127.0.0.1", int(port))
    came = asyncio.get_running_loop().create_future()

    def on_peer(reader, writer):
        came.set_result((reader, writer))

    server = await asyncio.start_server(on_peer, "127.0.0.1", int(port or 0))
    say("port", server.sockets[0].getsockname()[1])
    pair = await came
    server.close()
    return pair


async def async_send_all(writer, count):
    for line in numbered("python", count):
        writer.write(line)
        await writer.drain()


async def async_expect_all(reader, count):
    for due in numbered("link", count):
        expect(await reader.readline(), due)


async def async_talk(reader, writer, send, count):
    await asyncio.gather(async_send_all(writer, send), async_expect_all(reader, count))


async def async_upper(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


async def run_asyncio(where, what, numbers):
    reader, writer = await streams(where)
    await {"talk": async_talk, "upper": async_upper}[what](reader, writer, *numbers)
    writer.close()
    await writer.wait_closed()


def main(words):
    by_asyncio = words[0] == "asyncio"
    where, what, *numbers = words[by_asyncio:]
    numbers = [int(n) for n in numbers]
    if by_asyncio:
        global asyncio
        import asyncio  # takes longer than all the rest
        asyncio.run(run_asyncio(where, what, numbers))
    else:
        run_plain(where, what, numbers)
    say("done")


main(sys.argv[1:])
