#!/usr/bin/env python3
"""A parent in Python and its worker in C: the parent starts demos/python_worker, which computes for it over a socket pair.

    demos/python_parent.py [WORKER]

WORKER is the program that is started, demos/python_worker when nothing is said. The module aioipc is found in the sources, or in
the folder of this program.
"""
import os
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import aioipc  # noqa: E402


def say(text):
    print(f"[{os.getpid()}] parent, Python: {text}", flush=True)


def main():
    program = sys.argv[1] if sys.argv[1:] else "demos/python_worker"
    ours, theirs = aioipc.socketpair()
    worker = aioipc.spawn([program], ends={"jobs": theirs})  # "theirs" moves to the worker
    with ours.open() as jobs:
        for row in ([1, 2, 3], [], [0.5, -0.5]):
            jobs.send("sA(f)", "sum of squares", row)
            what, result = jobs.recv().unpack("sf")
            say(f"the {what} of {', '.join(map(str, row)) or 'nothing'} is {result:g}")
        jobs.write_eof()  # goodbye: the worker has no more jobs, and says its own
        for answer in jobs:
            say(f"an answer that nobody asked for: {answer}")
    say(f"the worker ended with status {worker.wait()}")


if __name__ == "__main__":
    main()
