#!/usr/bin/env python3
"""What a Python program would use: pools of worker processes. A case is KIND-US-BYTES; prints COUNT NANOSECONDS.

executor and pool give each job by itself, as the service that they are beside takes it: a worker that dies has one job. chunks gives 64 at a time,
which a pool does where it is told; they live and die together, and their results come when the last of them is done.
"""
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


def turn_round(n):
    """Work for a processor."""
    for _ in range(n):
        pass


def rounds(ns):
    """So many rounds take that long, when nobody is in the way."""
    least = ns * 1000
    for _ in range(50):
        began = time.thread_time_ns()
        turn_round(5000)
        least = min(least, time.thread_time_ns() - began)
    return 5000 * ns // least


ROUNDS = rounds(10000)


def work(data):
    """To ask that clock takes longer than a microsecond on some systems: a short job does not."""
    if SPIN <= 10000:
        turn_round(ROUNDS)
        return data
    until = time.thread_time_ns() + SPIN  # a processor that others have meanwhile does no work
    while time.thread_time_ns() < until:
        turn_round(ROUNDS)
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
        measure(lambda jobs: pool.imap_unordered(work, jobs, 64 if KIND == "chunks" else 1))
