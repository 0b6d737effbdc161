#!/usr/bin/env python3
"""The Python peer of the wire, python/aioipc.py, for the tests that let it talk with the library.

    peer_wire.py [asyncio] WHAT [WORD...]

It has an end named "peer". WHAT:

    echo            sends each message back, made anew from its values, with the descriptors that came; until the goodbye
    judge           gets images, "A(B)", and says what is wrong with each, "A(s)"
    generate SEED N sends N messages of random formats and values, and wants each back as it was
    addresses       gets addresses, "iA(s)", the number is 1 where they are to listen on, and says what is wrong with each, "A(s)"
    serve ADDRESS   says where it listens, "s", and what became of each peer, "Bis": the messages that it sent, in a row with a NUL
                    behind each, the errno of its end and why; until the goodbye
    connect ADDRESS echoes there instead; "listen" says where first, "s", and then echoes to the first who comes
    calls           answers each call of a number, "i": twice the number; one below 0 is refused, 0 is dropped. A number that is no call
                    is called back, and what came of that is said, "iis": the number, the answer or minus the error, and words; one
                    below 0 is given 50 ms
    die             sends "s" and kills itself; "leave" exits, without goodbye
    end             receives all, and says how that ended by its exit status: 0 goodbye, 3 lost, 4 bad

"asyncio": with that. Standard library only.
"""
import asyncio
import errno
import os
import random
import signal
import string
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import aioipc  # noqa: E402

LIMITS = aioipc.Limits(fds=8)
NO_FDS = aioipc.Limits()
LETTERS = "cjviuIUfs"


# Random formats, and values of them. The counts of # are the same wherever a format is used.

def random_number(rng, letter):
    if letter == "f":
        return rng.choice([0.0, -0.0, float("inf"), rng.uniform(-1e9, 1e9), struct.unpack("d", rng.getrandbits(64).to_bytes(8, "big"))[0]])
    bits = {"j": 16, "v": 16, "i": 32, "u": 32, "I": 64, "U": 64}[letter]
    n = rng.choice([0, 1, (1 << bits) - 1, 1 << bits - 1, rng.getrandbits(bits)])
    return n - (1 << bits) if letter in "jiI" and n >> bits - 1 else n


def random_text(rng):
    if rng.random() < 0.2:
        return None
    return "".join(rng.choice(string.printable + "\u00e4\u20ac\U0001f600\udcff") for _ in range(rng.randrange(12)))


def random_letter(rng, letter):
    if letter == "c":
        return bytes([rng.randrange(256)])
    return random_text(rng) if letter == "s" else random_number(rng, letter)


class Item:
    """One item of a format: its text, and how to make a value."""

    def __init__(self, rng, depth, in_struct=False):
        kinds = "llllB" if not in_struct else "l"
        if depth < 4 and not in_struct:
            kinds += "SAA"
        self.kind = rng.choice(kinds)
        self.letter = rng.choice(LETTERS)
        self.counts = [rng.randrange(1, 4) for _ in range(rng.choice([0, 0, 0, 1, 2, 3]))] if self.kind in "lS" else []
        self.members = []
        if self.kind in "SA":
            self.members = [Item(rng, depth + 1, self.kind == "S") for _ in range(rng.randrange(1, 4))]

    def text(self):
        inner = "".join(m.text() for m in self.members)
        return {"l": self.letter, "B": "B", "S": f"S({inner})", "A": f"A({inner})"}[self.kind] + "#" * len(self.counts)

    def value(self, rng):
        if self.kind == "B":
            return rng.randbytes(rng.randrange(9))
        if self.kind == "A":
            return self.elements(rng, rng.randrange(4))
        return self.row(rng, self.counts)

    def elements(self, rng, n):
        if len(self.members) > 1:
            return [tuple(m.value(rng) for m in self.members) for _ in range(n)]
        only = self.members[0]
        values = [only.value(rng) for _ in range(n)]
        return b"".join(values) if only.kind == "l" and only.letter == "c" and not only.counts else values

    def row(self, rng, counts):
        if not counts:
            return tuple(m.value(rng) for m in self.members) if self.members else random_letter(rng, self.letter)
        row = [self.row(rng, counts[1:]) for _ in range(counts[0])]
        return b"".join(row) if self.kind == "l" and self.letter == "c" and len(counts) == 1 else row


def random_message(rng):
    """Of either byte order, as if this were another machine."""
    items = [Item(rng, 0) for _ in range(rng.randrange(1, 6))]
    aioipc._NATIVE = rng.choice("<>")
    values = [i.value(rng) for i in items]
    return aioipc.Message("".join(i.text() for i in items), *values), values


def same(a, b):
    """As ==, but a NaN is itself."""
    return repr(a) == repr(b)


def generate(conn, seed, count):
    rng = random.Random(int(seed))
    for n in range(int(count)):
        m, values = random_message(rng)
        conn.send_message(m)
        back = conn.recv(timeout=60)
        if back != m or not same(list(back.values), values):
            sys.exit(f"{n}: {m.format}: {values!r} came back as {back.format}: {back.values!r}")


def judge(conn):
    for m in conn:
        conn.send("A(s)", [aioipc._check_image(image) for image in m.unpack("A(B)")[0]])


def what_is_wrong(address, listen):
    try:
        aioipc._read_address(address, bool(listen))
    except ValueError as e:
        return str(e)
    return ""


def addresses(conn):
    for m in conn:
        listen, texts = m.unpack("iA(s)")
        conn.send("A(s)", [what_is_wrong(text, listen) for text in texts])


def answer(m):
    """The same message, made anew; the descriptors that came are sent along."""
    fds = [m.take_fd() for _ in range(m.fds)]
    try:
        return aioipc.Message.of_bytes(m.payload, fds) if m.format is None else aioipc.Message(m.format, *m.values, fds=fds)
    finally:
        for fd in fds:
            os.close(fd)


def echo(conn):
    for m in conn:
        conn.send_message(answer(m))


async def echo_async(conn):
    async for m in conn:
        await conn.send_message(answer(m))


def reply(m):
    """What to say to the call of a number: a refusal, an answer, or nothing."""
    (n,) = m.unpack("i")
    return n, (errno.EDOM, "below 0") if n < 0 else None


def outcome_of(n, e):
    if isinstance(e, aioipc.Refused):
        return n, -e.error, e.text
    return n, -errno.ETIMEDOUT, "too late"


def calls(conn):
    for m in conn:
        n, refusal = reply(m)
        if not m.is_call:
            try:
                (got,) = conn.call("i", n, timeout=0.05 if n < 0 else 60).unpack("i")
                conn.send("iis", n, got, "answer")
            except (aioipc.Refused, TimeoutError) as e:
                conn.send("iis", *outcome_of(n, e))
        elif refusal:
            conn.refuse(m, *refusal)
        elif n:
            conn.answer(m, "i", 2 * n)
        del m  # or the one that is dropped lives until the next one comes


async def call_back(conn, n):
    try:
        (got,) = (await asyncio.wait_for(conn.call("i", n), 0.05 if n < 0 else 60)).unpack("i")
        await conn.send("iis", n, got, "answer")
    except (aioipc.Refused, asyncio.TimeoutError) as e:
        await conn.send("iis", *outcome_of(n, e))


async def calls_async(conn):
    tasks = []
    async for m in conn:
        n, refusal = reply(m)
        if not m.is_call:
            tasks.append(asyncio.ensure_future(call_back(conn, n)))
        elif refusal:
            conn.refuse(m, *refusal)
        elif n:
            await conn.answer(m, "i", 2 * n)
        del m
    await asyncio.gather(*tasks)


def what_became(conn):
    texts = []
    try:
        for m in conn:
            texts.append(m.payload + b"\0")
            conn.send_message(m)
        error = 0
    except OSError as e:
        error = e.errno or errno.EIO
    why = conn.why
    conn.abort()
    return b"".join(texts), error, why


def serve(conn, address):
    with aioipc.Listener(address, limits_at(address)) as listener:
        conn.send("s", listener.address)
        for _ in conn:  # one for each who comes
            conn.send("Bis", *what_became(listener.accept()))


def limits_at(address):
    return LIMITS if address.startswith("unix:") else NO_FDS


def limits_of(end):
    return LIMITS if end._carrier.receives_fds else NO_FDS


def listen(conn, address):
    with aioipc.Listener(address, limits_at(address)) as listener:
        conn.send("s", listener.address)
        with listener.accept() as peer:
            echo(peer)


async def listen_async(conn, address):
    async with aioipc.Listener(address, limits_at(address)) as listener:
        await conn.send("s", listener.address)
        async for peer in listener:
            async with peer:
                await echo_async(peer)
            break


def connect(conn, address):
    with aioipc.connect(address, 60, limits_at(address)) as peer:
        echo(peer)


async def connect_async(conn, address):
    async with await aioipc.connect_async(address, limits_at(address)) as peer:
        await echo_async(peer)


def die(conn):
    conn.send("s", "last words")
    os.kill(os.getpid(), signal.SIGKILL)


def leave(conn):
    conn.send("s", "last words")
    os._exit(0)


def end(conn):
    try:
        for _ in conn:
            pass
    except aioipc.PeerLost:
        os._exit(3)
    except aioipc.ProtocolError:
        os._exit(4)


async def end_async(conn):
    try:
        async for _ in conn:
            pass
    except aioipc.PeerLost:
        os._exit(3)
    except aioipc.ProtocolError:
        os._exit(4)


PLAIN = {"calls": calls, "echo": echo, "judge": judge, "generate": generate, "addresses": addresses, "serve": serve, "connect": connect,
         "listen": listen, "die": die, "leave": leave, "end": end}
ASYNC = {"calls": calls_async, "echo": echo_async, "connect": connect_async, "listen": listen_async, "end": end_async}


async def main_async(what, *words):
    end = aioipc.inherited("peer")
    async with end.open_async(limits_of(end)) as conn:
        await ASYNC[what](conn, *words)


def main(what, *words):
    if what == "asyncio":
        asyncio.run(main_async(*words))
        return
    end = aioipc.inherited("peer")
    with end.open(limits_of(end)) as conn:
        PLAIN[what](conn, *words)


if __name__ == "__main__":
    main(*sys.argv[1:])
