#!/usr/bin/env python3
"""What a Python program would use: an asyncio.Queue of one place between two tasks. Prints COUNT NANOSECONDS."""
import asyncio
import sys
import time

SPAN = int(sys.argv[sys.argv.index("--ms") + 1]) / 1000 if "--ms" in sys.argv else 0.15


async def write(queue, until):
    while time.monotonic() < until:
        for _ in range(64):
            await queue.put(1)
    await queue.put(None)


async def read(queue):
    count, start = 0, time.monotonic_ns()
    while await queue.get():
        count += 1
    print(count, time.monotonic_ns() - start)


async def main():
    queue = asyncio.Queue(1)
    await asyncio.gather(write(queue, time.monotonic() + SPAN), read(queue))


asyncio.run(main())
