#!/usr/bin/env python3
"""python/aioipc.py by itself: what its users notice that a peer does not see. Standard library only; prints TAP."""
import asyncio
import errno
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import aioipc  # noqa: E402
from aioipc import FormatError, Goodbye, Limits, Message, PeerLost, ProtocolError  # noqa: E402


def pair(**limits):
    a, b = aioipc.socketpair()
    return a.open(Limits(**limits)), b.open(Limits(**limits))


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class Messages(unittest.TestCase):
    def test_what_the_manual_shows(self):
        if sys.byteorder == "little":
            self.assertEqual(Message("s", "hello").payload.hex(), "74706c02130000007300" "0600000068656c6c6f")
            self.assertEqual(Message("A(i)", [7, 7]).payload.hex(), "74706c0019000000412869290002000000" "0700000007000000")

    def test_values_come_back(self):
        for format, values in (
            ("", ()), ("c", (b"x",)), ("c#", (b"abc",)), ("c##", ([b"ab", b"cd"],)), ("c###", ([[b"ab"], [b"cd"]],)),
            ("i##", ([[1, 2, 3], [4, 5, 6]],)), ("A(c)", (b"abc",)), ("A(i#)", ([[1, 2], [3, 4]],)), ("S(i)", ((1,),)),
            ("S(is)##", ([[(1, "a"), (2, None)]],)), ("A(iA(s))", ([(1, []), (2, ["x", ""])],)), ("A(A(A(i)))", ([[], [[], [1]]],)),
            ("A(B)", ([b"", b"x"],)), ("s", ("\udcff\u20ac",)),
        ):
            with self.subTest(format):
                self.assertEqual(Message(format, *values).values, values)

    def test_stored_images(self):
        stored = Message("isA(u)", 42, "text", [1, 2]).payload
        self.assertEqual((42, "text", [1, 2]), Message.of_image(stored).unpack("isA(u)"))
        for bad in b"", b"tpl", stored[:-1], stored + b"x":
            with self.assertRaises(ValueError):
                Message.of_image(bad)

    def test_what_is_taken_for_what(self):
        self.assertEqual(Message("A(i)A(i)", (1, 2), range(3)).values, ([1, 2], [0, 1, 2]))
        self.assertEqual(Message("BB", bytearray(b"x"), memoryview(b"y")).values, (b"x", b"y"))
        self.assertEqual(Message("f", 3).values, (3.0,))
        self.assertEqual(Message("S(ii)", [1, 2]).values, ((1, 2),))

    def test_wrong_formats(self):
        for format in ("x", "i(", "A", "A(", "A()", "A(i", "S(A(i))", "S(S(i))", "S(B)", "B#", "A(i)#", "#", "i###########", ")", "i)",
                       "A(" * 65 + "i" + ")" * 65, "\u00e4"):
            with self.subTest(format), self.assertRaises(FormatError):
                Message(format, 1)

    def test_wrong_values(self):
        for format, values in (
            ("i", ()), ("i", (1, 2)), ("i", ("x",)), ("i", (1 << 31,)), ("u", (-1,)), ("j", (40000,)), ("i", (1.5,)), ("s", (b"x",)),
            ("s", ("a\0b",)), ("s", ("\ud800",)), ("c", ("x",)), ("c", (b"",)), ("c", (b"xy",)), ("B", ("x",)), ("f", ("x",)), ("i#", ([],)),
            ("i#", (5,)), ("i##", ([[1], [2, 3]],)), ("S(ii)", ((1,),)), ("S(i)", (1,)), ("A(i)", (5,)), ("A(i)", ("ab",)),
            ("A(i#)", ([[1], [2, 3]],)), ("A(ii)", ([(1,)],)), ("c#", ("ab",)), ("c#", ([1, 300],)), ("A(c)", ([b"a"],)), ("i", (None,)),
        ):
            with self.subTest(f"{format} {values}"), self.assertRaises(FormatError):
                Message(format, *values)

    def test_the_words_name_the_place(self):
        with self.assertRaisesRegex(FormatError, r"c#: bytes is due, not \[1, 300\]"):
            Message("ic#", 1, [1, 300])
        with self.assertRaisesRegex(FormatError, "'is' has 2 values, 1 were given"):
            Message("is", 1)
        with self.assertRaisesRegex(FormatError, "the message is 'is', 'si' was due"):
            Message("is", 1, "x").unpack("si")

    def test_descriptors_are_closed_with_the_message(self):
        r, w = os.pipe()
        m = Message("", fds=[w])
        os.close(w)
        fd = m.take_fd()
        with self.assertRaises(LookupError):
            m.take_fd()
        with Message("", fds=[fd]):
            os.close(fd)
        self.assertEqual(os.read(r, 1), b"")
        os.close(r)


class Calls(unittest.TestCase):
    def beside(self, body):
        t = threading.Thread(target=body)
        t.start()
        self.addCleanup(t.join)
        return t

    def test_answered_refused_dropped(self):
        a, b = pair()

        def serve():
            for m in b:
                (n,) = m.unpack("i")
                if n > 0:
                    b.answer(m, "i", 2 * n)
                    b.answer(m, "i", 0)
                elif n < 0:
                    b.refuse(m, errno.EDOM, "below\x1b 0")
                del m

        t = self.beside(serve)
        self.assertEqual(a.call("i", 21).values, (42,))
        for n, error, text in ((-1, errno.EDOM, "below? 0"), (0, errno.ENOMSG, "the message of the call was freed without an answer")):
            with self.assertRaises(aioipc.Refused) as e:
                a.call("i", n)
            self.assertEqual((e.exception.error, e.exception.text), (error, text))
        a.close()
        t.join()
        b.close()

    def test_messages_meanwhile_are_kept(self):
        a, b = pair()
        t = self.beside(lambda: self.assertEqual(a.call("i", 1).values, (2,)))
        call = b.recv()
        self.assertTrue(call.is_call and call.is_wanted)
        b.send("s", "one")
        b.send("s", "two")
        b.answer(call, "i", 2)
        self.assertFalse(call.is_wanted)
        t.join()
        self.assertEqual([a.recv().values, a.recv().values], [("one",), ("two",)])
        self.assertFalse(Message("i", 1).is_call)
        self.assertRaises(ValueError, b.answer, Message("i", 1), "")
        a.abort()
        b.abort()

    def test_a_late_call_is_told_to_the_peer(self):
        a, b = pair()
        self.assertRaises(TimeoutError, a.call, "i", 1, timeout=0.01)
        call = b.recv()
        a.send("s", "behind it")
        self.assertEqual(b.recv().values, ("behind it",))
        self.assertFalse(call.is_wanted)
        b.answer(call, "i", 1)
        b.send("s", "nothing came")
        self.assertEqual(a.recv().values, ("nothing came",))
        a.abort()
        b.abort()

    def test_the_end_ends_calls(self):
        for end, error in ((lambda c: c.close(), BrokenPipeError), (lambda c: c.abort(), PeerLost)):
            a, b = pair()
            seen = []

            def call():
                try:
                    a.call("i", 1)
                except OSError as e:
                    seen.append(type(e))

            t = self.beside(call)
            kept = b.recv()
            end(b)
            t.join()
            self.assertEqual(seen, [error])
            kept.close()
            a.abort()

    def test_one_who_receives_reads_for_all(self):
        a, b = pair()
        got, done = [], []
        receiver = self.beside(lambda: got.extend(m.values for m in a))

        def serve():
            for m in b:
                b.send("s", "message")
                b.answer(m, "i", 7)

        server = self.beside(serve)
        callers = [self.beside(lambda: done.append(a.call("i", 1).values)) for _ in range(20)]
        for t in callers:
            t.join()
        self.assertEqual(done, [(7,)] * 20)
        a.write_eof()
        server.join()
        b.close()
        receiver.join()
        self.assertEqual(got, [("message",)] * 20)
        a.abort()

    def test_asyncio(self):
        async def both():
            one, other = aioipc.socketpair()
            async with one.open_async() as a, other.open_async() as b:
                async def serve():
                    kept = []
                    async for m in b:
                        (n,) = m.unpack("i")
                        if n < 0:
                            kept.append(m)
                        else:
                            await b.answer(m, "i", n + 1)
                    return [m.is_wanted for m in kept]

                task = asyncio.ensure_future(serve())
                answers = await asyncio.gather(*[a.call("i", n) for n in range(100)])
                self.assertEqual([m.values[0] for m in answers], list(range(1, 101)))
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(a.call("i", -1), 0.01)
                self.assertEqual((await a.call("i", 5)).values, (6,))
                await a.close()
                self.assertEqual(await task, [False])

        asyncio.run(both())


class Ends(unittest.TestCase):
    def test_used_once(self):
        a, b = aioipc.socketpair()
        a.open().abort()
        for use in (a.open, a.release):
            self.assertRaises(ValueError, use)
        b.close()
        b.close()
        self.assertRaises(ValueError, b.open)

    def test_only_streams(self):
        s, t = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with s, t:
            with self.assertRaises(OSError) as e:
                aioipc.End(s.fileno(), s.fileno())
            self.assertEqual(e.exception.errno, errno.EPROTOTYPE)

    def test_a_pipe_has_one_direction(self):
        r, w = (end.open() for end in aioipc.pipe())
        with r, w:
            for wrong in (lambda: r.send("i", 1), w.recv):
                with self.assertRaises(OSError) as e:
                    wrong()
                self.assertEqual(e.exception.errno, errno.EBADF)
            w.send("i", 1)
            self.assertEqual(r.recv().values, (1,))

    def test_a_forked_child_has_none(self):
        a, b = pair()
        other = aioipc.pipe()
        fds = [a.fileno(), b.fileno(), other[0]._carrier.r, other[1]._carrier.w]
        pid = os.fork()
        if pid == 0:
            os._exit(any(is_open(fd) for fd in fds))
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertTrue(all(is_open(fd) for fd in fds))
        a.abort()
        self.assertRaises(PeerLost, b.recv)
        b.abort()

    def test_descriptors_on_their_way_are_not_lost_with_a_connection(self):
        before = len(os.listdir("/proc/self/fd"))
        r, w = os.pipe()
        a, b = pair(fds=1)
        with self.assertRaises(TimeoutError):
            while True:
                a.send_bytes(bytes(100000), timeout=0)
        with self.assertRaises(TimeoutError):
            a.send("", fds=[w], timeout=0)
        a._queue(Message("", fds=[w]))
        os.close(w)
        pid = os.fork()
        if pid == 0:
            os._exit(len(os.listdir("/proc/self/fd")) - before - 1)  # but the pipe
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        del a, b
        self.assertEqual(os.read(r, 1), b"")
        os.close(r)

    def test_released_ones_are_left_alone(self):
        r, w = aioipc.duplex()[0].release()
        pid = os.fork()
        if pid == 0:
            os._exit(not (is_open(r) and is_open(w) and os.get_blocking(w)))
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        os.close(r)
        os.close(w)


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import aioipc
try:
    aioipc.inherited("none")
except FileNotFoundError:
    pass
with aioipc.inherited("a").open() as a, aioipc.inherited("b.2").open() as b:
    for m in a:
        b.send_message(m)
"""


class Programs(unittest.TestCase):
    def test_ends_move_to_a_program(self):
        (a, x), (y, b) = aioipc.socketpair(), aioipc.pipe()
        y, b = y, b
        child = aioipc.spawn([sys.executable, "-ISc", CHILD, os.path.dirname(aioipc.__file__)], {"a": x, "b.2": b})
        self.assertRaises(ValueError, x.open)
        with a.open() as a, y.open() as y:
            a.send("si", "one", 1)
            a.write_eof()
            self.assertEqual([m.values for m in y], [("one", 1)])
        self.assertEqual(child.wait(), 0)

    def test_no_program(self):
        a, b = aioipc.socketpair()
        with a, b:
            self.assertRaises(FileNotFoundError, aioipc.spawn, ["/nowhere/at-all"], {"a": b})
            self.assertRaises(PermissionError, aioipc.spawn, ["/etc/passwd"], {"a": b})
            self.assertRaises(ValueError, aioipc.spawn, ["true"], {"a name": b})
            b.open().abort()

    def test_another_process_is_not_believed(self):
        a, b = aioipc.socketpair()
        fd = b._carrier.r
        st = os.fstat(fd)
        slot = f"x,{fd},{fd},{st.st_dev},{st.st_ino},{st.st_dev},{st.st_ino}"
        with a, b:
            for text in ("", "1:" + slot, f"{os.getpid()}", f"{os.getpid()}:x,{fd}", f"{os.getpid()}x:{slot}"):
                self.assertEqual(aioipc._read_ends(text), {}, text)
            wrong = aioipc._read_ends(f"{os.getpid()}:x,{fd},{fd},{st.st_dev},{st.st_ino + 1},{st.st_dev},{st.st_ino};y,1000000,-1,1,1,0,0")
            self.assertEqual(wrong, {"x": None, "y": None})


class Plain(unittest.TestCase):
    def test_time_limits(self):
        a, b = pair()
        with a, b:
            self.assertRaises(TimeoutError, a.recv, 0)
            self.assertRaises(TimeoutError, a.recv, 0.01)
            b.send("i", 1)
            self.assertEqual(a.recv(0).values, (1,))

    def test_sent_whole_or_not_at_all(self):
        a, b = pair()
        sent = 0
        with self.assertRaises(TimeoutError):
            while True:
                a.send("iB", sent, bytes(50000), timeout=0.02)
                sent += 1
        self.assertGreater(sent, 1)
        a_end = threading.Thread(target=a.close, args=(60,))
        a_end.start()
        self.assertEqual([m.values[0] for m in b], list(range(sent)))
        a_end.join()
        b.abort()

    def test_two_that_send_at_once_get_through(self):
        a, b = pair()
        n, data = 12, bytes(60000)  # more than the system takes, less than an inbox

        def run(c):
            for _ in range(n):
                c.send_bytes(data, timeout=60)
            return [len(c.recv(60).payload) for _ in range(n)]
        other = threading.Thread(target=run, args=(a,))
        other.start()
        self.assertEqual(run(b), [60000] * n)
        other.join()
        a.abort()
        b.abort()

    def test_what_came_before_the_goodbye_is_received(self):
        a, b = pair()
        a.send("i", 1)
        a.close()
        self.assertEqual(b.recv().values, (1,))
        for _ in range(2):
            self.assertRaises(Goodbye, b.recv)
        self.assertEqual((b.cause, b.why), (aioipc.Cause.CLEAN, "the peer said goodbye"))
        with self.assertRaises(BrokenPipeError):
            b.send("i", 2)
        b.abort()

    def test_an_exception_in_the_block_aborts(self):
        a, b = pair()
        with self.assertRaises(KeyError):
            with a:
                a.send("i", 1)
                raise KeyError
        b.recv()
        with self.assertRaises(PeerLost) as e:
            b.recv()
        self.assertEqual(e.exception.errno, errno.ECONNRESET)
        self.assertRaises(ValueError, a.recv)
        self.assertRaises(ValueError, a.send, "i", 1)
        b.abort()

    def test_half_closed(self):
        a, b = pair()
        a.send("i", 1)
        a.write_eof()
        self.assertRaises(BrokenPipeError, a.send, "i", 2)
        self.assertEqual([m.values for m in b], [(1,)])
        b.send("i", 3)
        self.assertEqual(a.recv().values, (3,))
        b.close()
        self.assertRaises(Goodbye, a.recv)
        a.close()

    def test_limits(self):
        a, b = pair(message=100)
        with self.assertRaises(OSError) as e:
            a.send_bytes(bytes(101))
        self.assertEqual(e.exception.errno, errno.EMSGSIZE)
        a.send_bytes(bytes(100))
        self.assertEqual(len(b.recv().payload), 100)
        a.limits = Limits()
        a.send_bytes(bytes(101))
        with self.assertRaises(ProtocolError) as e:
            b.recv()
        self.assertEqual((e.exception.errno, e.exception.strerror), (errno.EMSGSIZE, "frame of 101 bytes, limit 100"))
        a.abort()
        b.abort()

    def test_descriptors_need_leave_and_a_unix_socket(self):
        a, b = pair()
        with open("/dev/null") as f:
            a.send("i", 1, fds=[f])
        self.assertRaises(ProtocolError, b.recv)
        b.abort()
        a.abort()
        x, y = aioipc.duplex()
        self.assertRaises(OSError, x.open, Limits(fds=1))
        with y.open() as c:
            self.assertRaises(OSError, c.send, "", fds=[0])

    def test_no_number_is_left_for_a_descriptor(self):
        import resource
        a, b = pair(fds=4)
        a.send("", fds=[0, 0, 0])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = len(os.listdir("/proc/self/fd"))
        fill = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, hard))
        try:
            while True:
                try:
                    fill.append(os.dup(0))
                except OSError:
                    break
            with self.assertRaises(OSError) as e:
                b.recv()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in fill:
                os.close(fd)
        self.assertEqual((e.exception.errno, b.cause), (errno.EMFILE, aioipc.Cause.FAILED))
        self.assertNotIsInstance(e.exception, (ProtocolError, ConnectionError))
        a.abort()
        b.abort()

    def test_a_hostile_length_allocates_nothing(self):
        a, b = aioipc.socketpair()
        raw, _ = a.release()
        with b.open(Limits(message=1 << 30)) as c:
            os.write(raw, b"AIPC\1\0\0\0" + (1 << 30).to_bytes(4, "little") + b"\2\0\0\0" + b"x")
            self.assertRaises(TimeoutError, c.recv, 0.05)
            self.assertLess(sys.getsizeof(c._in.buf), 1 << 20)
            os.close(raw)
            self.assertRaises(PeerLost, c.recv)

    def test_ctrl_c_in_a_send_loses_no_frame_boundary(self):
        a, b = pair()
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with self.assertRaises(KeyboardInterrupt):
            while True:
                a.send_bytes(bytes(50000))
        ending = threading.Thread(target=a.close, args=(60,))
        ending.start()
        self.assertEqual({len(m.payload) for m in b}, {50000})
        ending.join()
        b.abort()


class Async(unittest.TestCase):
    def test_both_ways_and_the_end(self):
        async def main():
            x, y = aioipc.socketpair()
            async with x.open_async() as a, y.open_async() as b:
                async def echo():
                    async for m in b:
                        await b.send_message(m)
                    await b.close()
                echoing = asyncio.ensure_future(echo())
                for n in range(300):
                    await a.send("i", n)
                await a.write_eof()
                self.assertEqual([m.values[0] async for m in a], list(range(300)))
                await echoing
        asyncio.run(main())

    def test_a_cancelled_call_has_lost_nothing(self):
        async def main():
            x, y = aioipc.socketpair()
            async with x.open_async() as a, y.open_async() as b:
                for _ in range(3):
                    with self.assertRaises(asyncio.TimeoutError):
                        await asyncio.wait_for(a.recv(), 0.01)
                await b.send("i", 1)
                self.assertEqual((await a.recv()).values, (1,))
                sent = 0
                with self.assertRaises(asyncio.TimeoutError):
                    while True:
                        await asyncio.wait_for(a.send("iB", sent, bytes(100000)), 0.2)
                        sent += 1
                self.assertLess(a._out.size, (1 << 20) + 100000)
                sending = asyncio.ensure_future(a.write_eof())
                self.assertEqual([m.values[0] async for m in b], list(range(sent)))
                await sending
        asyncio.run(main())

    def test_one_receives_at_a_time_and_abort_wakes_all(self):
        async def main():
            x, y = aioipc.socketpair()
            a = x.open_async()
            receiving = asyncio.ensure_future(a.recv())
            await asyncio.sleep(0)
            with self.assertRaises(RuntimeError):
                await a.recv()
            a.abort()
            with self.assertRaises(ValueError):
                await receiving
            y.close()
        asyncio.run(main())

    def test_a_sender_learns_that_its_peer_is_gone(self):
        async def main():
            x, y = aioipc.socketpair()
            a = x.open_async()
            with self.assertRaises(BrokenPipeError):
                for n in range(100):  # more than an outbox: it waits
                    await a.send_bytes(bytes(100000))
                    if n == 0:
                        asyncio.get_running_loop().call_later(0.05, y.close)
            with self.assertRaises(BrokenPipeError):
                await a.close()
        asyncio.run(main())

    def test_a_fast_peer_leaves_room_for_others(self):
        async def main():
            x, y = aioipc.socketpair()
            a, b = x.open_async(), y.open_async()
            for n in range(1000):
                await a.send("i", n)
            turns = 0

            async def other():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)
            task = asyncio.ensure_future(other())
            for n in range(1000):
                await b.recv()
            task.cancel()
            self.assertGreater(turns, 10)
            a.abort()
            b.abort()
        asyncio.run(main())

    def test_tcp_says_all_before_it_closes(self):
        async def main():
            async with aioipc.Listener("tcp://127.0.0.1:0") as listener:
                a = await aioipc.connect_async(listener.address)
                b = await listener.accept_async()
                await b.send("s", "unread")
                await a.send_bytes(bytes(500000))
                closing = asyncio.ensure_future(a.close())
                self.assertEqual([len(m.payload) async for m in b], [500000])
                await b.close()
                await closing
        asyncio.run(main())


class Addresses(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "s")

    def tearDown(self):
        self.assertEqual(os.listdir(self.folder), [])
        os.rmdir(self.folder)

    def test_a_socket_file_has_its_mode_and_goes_away(self):
        mask = os.umask(0o077)
        try:
            with aioipc.Listener("unix://" + self.path, mode=0o660) as listener:
                self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o660)
                self.assertEqual((listener.address, listener.port), ("unix://" + self.path, 0))
                with self.assertRaises(OSError) as e:
                    aioipc.Listener("unix://" + self.path)
                self.assertEqual(e.exception.errno, errno.EADDRINUSE)
                self.assertRaises(TimeoutError, listener.accept, 0)
        finally:
            os.umask(mask)

    def test_a_dead_socket_is_replaced_and_a_file_is_not(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.path)
        with aioipc.Listener("unix://" + self.path) as listener, aioipc.connect(listener.address) as c:
            c.send("i", 1)
            with listener.accept() as peer:
                self.assertEqual(peer.peer_cred()[0], os.getpid())
        with open(self.path, "w"):
            pass
        self.assertRaises(OSError, aioipc.Listener, "unix://" + self.path)
        os.unlink(self.path)

    def test_nobody_listens(self):
        self.assertRaises(FileNotFoundError, aioipc.connect, "unix://" + self.path)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.assertRaises(ConnectionRefusedError, aioipc.connect, f"tcp://127.0.0.1:{s.getsockname()[1]}", 60)

    def test_a_full_listener_is_waited_for(self):
        with aioipc.Listener("unix://" + self.path, backlog=1) as listener:
            waiting = []
            with self.assertRaises(TimeoutError):
                while True:
                    waiting.append(aioipc.connect(listener.address, 0.05))
            for c in waiting:
                c.abort()


class Result(unittest.TestResult):
    """TAP."""

    def report(self, test, what="ok", error=None):
        print(f"{what} {self.testsRun} - {test.id().replace('__main__.', '').replace('.test', ':').replace('_', ' ')}", flush=True)
        if error:
            text = self._exc_info_to_string(error, test)
            print("".join(f"# {line}\n" for line in text.splitlines()), end="", flush=True)

    def addSuccess(self, test):
        self.report(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(test, "not ok", err)

    def addError(self, test, err):
        super().addError(test, err)
        self.report(test, "not ok", err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            super().addFailure(subtest, err)
            print(f"# {subtest}: {err[1]!r}", flush=True)
            self.bad_subtest = True


if __name__ == "__main__":
    before = set(os.listdir("/proc/self/fd"))
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    if sys.argv[1:]:
        suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:], sys.modules["__main__"])
    result = Result()
    result.bad_subtest = False
    suite.run(result)
    print(f"{'not ' if result.bad_subtest else ''}ok {result.testsRun + 1} - every case of every table")
    left = set(os.listdir("/proc/self/fd")) - before
    print(f"{'not ' if left else ''}ok {result.testsRun + 2} - no descriptor is left")
    print(f"1..{result.testsRun + 2}")
