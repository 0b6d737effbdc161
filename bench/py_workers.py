#!/usr/bin/env python3
"""What a Python program would use: pools of worker processes. A case is KIND-US-BYTES; prints COUNT NANOSECONDS."""
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

SPAN = int(sys.argv[sys.argv.index("--ms") + 1]) / 1000 if "--ms" in sys.argv else 0.15
KIND, US, SIZE = sys.argv[-1].split("-")
SPIN = (10000 if US == "10ms" else 1000 if US == "1ms" else 10) * 1000
BYTES = bytes(65536 if SIZE == "64k" else 64)
WORKERS = min(8, max(2, os.cpu_count()))


def work(data):
    until = time.thread_time_ns() + SPIN  # a processor that others have meanwhile does no work
    while time.thread_time_ns() < until:
        pass
    return data


def measure(results):
    """The first results come before the clock starts; then a chunk of jobs at a time, so that the end is soon."""
    for _ in results([BYTES] * 2 * WORKERS):
        pass
    count, start, chunk = 0, time.monotonic_ns(), max(WORKERS * 10, min(2000, int(SPAN * 1e9 / SPIN / 4)))
    while time.monotonic_ns() - start < SPAN * 1e9:
        for _ in results([BYTES] * chunk):
            count += 1
    print(count, time.monotonic_ns() - start)


if KIND == "executor":
    with ProcessPoolExecutor(WORKERS) as pool:
        measure(lambda jobs: pool.map(work, jobs))
else:
    with multiprocessing.Pool(WORKERS) as pool:
        measure(lambda jobs: pool.imap_unordered(work, jobs))
