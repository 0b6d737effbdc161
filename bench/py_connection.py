#!/usr/bin/env python3
"""What a Python program would use: multiprocessing.connection, 64 bytes one way. Prints COUNT NANOSECONDS."""
import os
import sys
import time
from multiprocessing.connection import Client, Listener

SPAN = int(sys.argv[sys.argv.index("--ms") + 1]) / 1000 if "--ms" in sys.argv else 0.15
FAMILY = "AF_INET" if sys.argv[-1] == "small-tcp" else "AF_UNIX"


def write(address):
    until = time.monotonic() + SPAN
    with Client(address, FAMILY) as peer:
        while time.monotonic() < until:
            for _ in range(64):
                peer.send_bytes(b"x" * 64)


def read(peer):
    count, start = 0, time.monotonic_ns()
    try:
        while peer.recv_bytes():
            count += 1
    except EOFError:
        print(count, time.monotonic_ns() - start)


with Listener(("127.0.0.1", 0) if FAMILY == "AF_INET" else None, FAMILY) as listener:
    if os.fork() == 0:
        write(listener.address)
        os._exit(0)
    read(listener.accept())
    os.wait()
