"""Peers of the tool that know nothing of the library: plain sockets, a terminal. test_tool_peers.sh runs the tests in here, each by its name."""

import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile

TOOL = os.environ["TOOL"]
LIMIT = 30 * max(1, float(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1")))

PREFACE = b"AIPC\1\0\0\0"
GOODBYE = struct.pack("<IBBH", 0, 3, 0, 0)


def frame(kind, payload, fds=0):
    return struct.pack("<IBBH", len(payload), kind, fds, 0) + payload


def start(*words, **keep):
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([TOOL, *words], **{**pipes, **keep})


def listen(address, *options, **keep):
    """A listener, and the address that it got."""
    p = start("listen", address, *options, **keep)
    line = p.stderr.readline().decode().split()
    assert line[:3] == ["aioipc:", "listening", "on"], line
    return p, line[3]


def finish(p, status):
    out, err = p.communicate(timeout=LIMIT)
    print((out or b"")[:2000], err[:2000], p.returncode)
    assert p.returncode == status, p.returncode
    return out, err


def connect(address):
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LIMIT)
        s.connect(address.replace("unix://", "").replace("unix:@", "\0"))
        return s
    host, port = address.replace("tcp://", "").rsplit(":", 1)
    return socket.create_connection((host, int(port)), LIMIT)


def server():
    s = socket.create_server(("127.0.0.1", 0))
    s.settimeout(LIMIT)
    return s, "tcp://127.0.0.1:%d" % s.getsockname()[1]


def accept(s):
    peer = s.accept()[0]
    peer.settimeout(LIMIT)
    return peer


def all_of(s):
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read(s, n):
    got = b""
    while len(got) < n:
        part = s.recv(n - len(got))
        assert part
        got += part
    return got


def abstract(name):
    return "unix:@aioipc-%s-%d" % (name, os.getpid())


def call_of(peer):
    """The number of the call that comes, and its image."""
    assert read(peer, 8) == PREFACE
    length, kind, _, _ = struct.unpack("<IBBH", read(peer, 8))
    assert kind == 4, kind
    payload = read(peer, length)
    return payload[:8], payload[8:]


INT_42 = bytes.fromhex("74706c000e000000") + b"i\0" + struct.pack("<i", 42)


def test_call_prints_the_answer():
    s, address = server()
    p = start("call", address, "si", "add", "-1")
    peer = accept(s)
    number, image = call_of(peer)
    assert image.endswith(b"add" + struct.pack("<i", -1)), image
    peer.sendall(PREFACE + frame(2, b"a message between") + frame(6, number + INT_42))
    assert all_of(peer) == GOODBYE
    peer.sendall(GOODBYE)
    peer.close()
    out, err = finish(p, 0)
    assert out == b"i 42\n" and err == b"", (out, err)


def test_call_tells_a_refusal():
    s, address = server()
    p = start("call", "--json", address, "s", "open")
    peer = accept(s)
    number, _ = call_of(peer)
    peer.sendall(PREFACE + frame(8, number + struct.pack("<I", 13) + b"not \033[31myou") + GOODBYE)
    peer.close()
    out, err = finish(p, 1)
    assert out == b"" and b"refuses: Permission denied: not ?[31myou" in err, err


def test_call_of_one_that_knows_no_calls():
    s, address = server()
    p = start("call", address, "s", "hello")
    peer = accept(s)
    call_of(peer)
    peer.close()
    _, err = finish(p, 1)
    assert b"no answer: the peer closed without goodbye; does it know calls?" in err, err


def test_call_gives_up_in_time():
    s, address = server()
    p = start("call", address, "--timeout", "0.2", "s", "hello")
    peer = accept(s)
    number, _ = call_of(peer)
    assert all_of(peer) == frame(9, number) + GOODBYE
    peer.close()
    _, err = finish(p, 1)
    assert b"no answer in time" in err, err


def test_lines_to_a_client():
    p, address = listen("tcp://127.0.0.1:0", "--lines=\\r\\n", "--once", stdin=subprocess.PIPE)
    s = connect(address)
    s.sendall(b"one\r\ntwo\nstill two\r\nthr")
    p.stdin.write(b"from\nthe tool")
    p.stdin.close()
    p.stdin = None
    assert all_of(s) == b"from\r\nthe tool\r\n"
    s.sendall(b"ee")
    s.close()
    out, _ = finish(p, 0)
    assert out == b"one\ntwo\\nstill two\nthree\n"


def test_lines_to_a_server():
    s, address = server()
    p = start("connect", address, "--lines=\\r\\n", stdin=subprocess.PIPE)
    peer = accept(s)
    peer.sendall(b"220 welcome\r\n")
    assert p.stdout.readline() == b"220 welcome\n"
    p.stdin.write(b"QUIT\n")
    p.stdin.close()
    p.stdin = None
    assert all_of(peer) == b"QUIT\r\n"
    peer.sendall(b"221 bye\r\n")
    peer.close()
    out, err = finish(p, 0)
    assert out == b"221 bye\n" and err == b"aioipc: %s: connected\n" % address.encode()


def test_terminals_are_safe():
    p, address = listen("tcp://127.0.0.1:0", "--lines", "--once")
    s = connect(address)
    s.sendall(b"\x1b]0;title\x07\ttab\\ \xc3\xa9 \xff \xc2\x9b2J \xe2\x80\xae\r\n")
    s.close()
    out, _ = finish(p, 0)
    assert out == b"\\x1b]0;title\\x07\ttab\\\\ \xc3\xa9 \\xff \\xc2\\x9b2J \\xe2\\x80\\xae\\r\n", out


def test_raw_is_raw():
    p, address = listen("tcp://127.0.0.1:0", "--lines", "--once", "--raw")
    s = connect(address)
    s.sendall(b"\x1b[1m\\\xff\r\n")
    s.close()
    out, _ = finish(p, 0)
    assert out == b"\x1b[1m\\\xff\r\n", out


def test_lines_may_be_long():
    p, address = listen("tcp://127.0.0.1:0", "--lines", "--once")
    s = connect(address)
    s.sendall(b"x" * 1000000)
    s.close()
    out, _ = finish(p, 0)
    assert len(out) == 1000001


def test_dump_ends_quietly_when_nobody_reads():
    capture = PREFACE + frame(2, b"x") * 10000
    r, w = os.pipe()
    os.close(r)
    with tempfile.NamedTemporaryFile() as f:
        f.write(capture)
        f.flush()
        p = start("dump", f.name, stdout=w)
        os.close(w)
        _, err = p.communicate(timeout=LIMIT)
    assert p.returncode == 0 and not err, (p.returncode, err)


def test_json_of_lines():
    p, address = listen("tcp://127.0.0.1:0", "--lines", "--once", "--json")
    s = connect(address)
    s.sendall("\"é\\\x1b\u202e\U0001f600\n".encode() + b"\xff\0\n")
    s.close()
    out, _ = finish(p, 0)
    one, two = out.splitlines()
    assert b"\x1b" not in one and "\u202e".encode() not in one
    assert json.loads(one) == {"line": "\"é\\\x1b\u202e\U0001f600"}
    assert json.loads(two) == {"line": {"hex": "ff00"}}


def test_garbage_is_told():
    p, address = listen(abstract("garbage"), "--count", "1")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3", PREFACE + b"\xff" * 8):
        s = connect(address)
        s.sendall(garbage)
        assert all_of(s) in (b"", PREFACE)
    s = connect(address)
    s.sendall(PREFACE + frame(2, b"good"))
    out, err = finish(p, 0)
    assert out == b'"good"\n' and err.count(b"the peer is bad: ") == 3


def test_a_lost_peer_is_told():
    p, address = listen(abstract("lost"), "--once")
    s = connect(address)
    s.sendall(PREFACE + frame(2, b"the last") + b"\x10\0")
    s.close()
    out, err = finish(p, 1)
    assert out == b'"the last"\n' and b"the peer is lost" in err


def test_a_lost_server_is_told():
    s, address = server()
    p = start("connect", address)
    accept(s).close()
    _, err = finish(p, 1)
    assert b"the peer is lost" in err


def test_a_lost_server_is_tried_again():
    s, address = server()
    p = start("connect", address, "--retry")
    for last in (False, True):
        peer = accept(s)
        peer.sendall(PREFACE + frame(2, b"here") + (GOODBYE if last else b""))
        if last:
            assert all_of(peer) in (b"", PREFACE + GOODBYE)
        peer.close()
    out, err = finish(p, 0)
    assert out == b'"here"\n"here"\n' and b"the peer is lost" in err


def test_others_wait_for_their_turn():
    p, address = listen(abstract("turns"), "--count", "3")
    peers = [connect(address) for i in range(3)]
    for i in (2, 1, 0):
        peers[i].sendall(PREFACE + frame(2, b"%d" % i) + GOODBYE)
    out, _ = finish(p, 0)
    assert out == b'"0"\n"1"\n"2"\n'


def test_what_one_peer_did_not_take_is_for_the_next():
    p, address = listen(abstract("next"), "--lines", "--count=1", stdin=subprocess.PIPE)
    connect(address).close()
    s = connect(address)
    p.stdin.write(b"one\ntwo\n")
    p.stdin.close()
    p.stdin = None
    assert all_of(s) == b"one\ntwo\n"
    s.sendall(b"thanks\n")
    assert finish(p, 0)[0] == b"thanks\n"


def says_nothing_yet(s):
    s.setblocking(False)
    try:
        return s.recv(100) is None
    except BlockingIOError:
        s.settimeout(LIMIT)
        return True


def test_an_empty_input_says_no_goodbye():
    p, address = listen(abstract("empty"), "--once")
    s = connect(address)
    s.sendall(PREFACE + frame(2, b"x"))
    assert p.stdout.readline() == b'"x"\n'
    assert says_nothing_yet(s)
    s.sendall(GOODBYE)
    assert all_of(s) == PREFACE + GOODBYE
    finish(p, 0)


def test_goodbye_waits_for_the_answers_that_were_asked_for():
    s, address = server()
    p = start("connect", address, "--send", "c", "x", "--count", "2")
    peer = accept(s)
    assert read(peer, 27)[-11:] == b"tpl\0\x0b\0\0\0c\0x"
    peer.sendall(PREFACE + frame(2, b"one"))
    assert p.stdout.readline() == b'"one"\n'
    assert says_nothing_yet(peer)
    peer.sendall(frame(2, b"two"))
    assert all_of(peer) == GOODBYE
    peer.close()
    finish(p, 0)


def test_descriptors_are_counted():
    p, address = listen(abstract("fds"), "--once")
    s = connect(address)
    socket.send_fds(s, [PREFACE + frame(2, b"two", 2)], [0, 1])
    s.sendall(frame(2, b"none") + GOODBYE)
    all_of(s)
    out, _ = finish(p, 0)
    assert out == b'"two" (descriptors: 2)\n"none"\n'


def test_a_reader_that_sleeps_is_felt():
    p, address = listen("tcp://127.0.0.1:0", "--lines", "--once")
    s = connect(address)
    s.settimeout(LIMIT / 60)
    line = b"x" * 999 + b"\n"
    sent = 0
    try:
        while sent < 100 << 20:
            sent += s.send(line[sent % 1000:])
    except socket.timeout:
        pass
    print(sent, "bytes were taken")
    assert sent < 64 << 20
    s.close()
    got = sum(len(part) for part in iter(lambda: p.stdout.read(65536), b""))
    assert got == sent or got == sent + 1
    finish(p, 0)


def test_a_file_is_sent_to_its_end():
    with tempfile.TemporaryFile() as f:
        f.write(b"0123456789\n" * 1000000)
        f.seek(0)
        p, address = listen(abstract("file"), "--lines", "--once", stdin=f)
        s = connect(address)
        s.shutdown(socket.SHUT_WR)
        assert len(all_of(s)) == 11000000
        finish(p, 0)


def test_a_terminal_is_not_waited_for():
    ours, theirs = pty.openpty()
    s, address = server()
    p = start("connect", address, stdin=theirs)
    os.close(theirs)
    os.write(ours, b"typed\n")
    peer = accept(s)
    want = PREFACE + frame(2, b"typed")
    assert read(peer, len(want)) == want
    peer.sendall(PREFACE + frame(2, b"answer") + GOODBYE)
    assert all_of(peer) == GOODBYE
    peer.close()
    out, _ = finish(p, 0)
    assert out == b'"answer"\n'
    os.close(ours)


def test_a_terminal_in_the_background_is_left_alone():
    """The tool runs in a group of its own that is not the terminal's: reading would stop it."""
    ours, theirs = pty.openpty()

    def own_session():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    shell = "%s listen %s --count 1 2>&1 & wait $!" % (TOOL, abstract("tty"))
    p = subprocess.Popen(["sh", "-m", "-c", shell], stdin=theirs, stdout=subprocess.PIPE, preexec_fn=own_session)
    os.close(theirs)
    address = p.stdout.readline().decode().split()[-1]
    s = connect(address)
    s.sendall(PREFACE + frame(2, b"heard"))
    out, _ = p.communicate(timeout=LIMIT)
    print(out)
    assert b'"heard"' in out and b"standard input" not in out and p.returncode == 0
    os.close(ours)


def on_terminal(address, **more):
    """What a terminal shows of a connect with what a peer says and what is typed."""
    ours, theirs = pty.openpty()
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **more}
    s, address = server()
    p = start("connect", address, "--time", stdin=theirs, stdout=theirs, env=env)
    os.close(theirs)
    peer = accept(s)
    peer.sendall(PREFACE + frame(2, b"answer") + GOODBYE)
    all_of(peer)
    peer.close()
    finish(p, 0)
    shown = os.read(ours, 4096)
    os.close(ours)
    return shown


def test_a_terminal_shows_who_said_what_in_colours():
    shown = on_terminal("colours")
    assert re.fullmatch(rb'\x1b\[2m[0-9:.]+\x1b\[0m \x1b\[36m<\x1b\[0m "answer"\r\n', shown), shown
    shown = on_terminal("no colours", NO_COLOR="1")
    assert re.fullmatch(rb'[0-9:.]+ < "answer"\r\n', shown), shown


def watched(folder, *words, **keep):
    """A program that keeps statistics in this folder."""
    return start(*words, env={**os.environ, "AIOIPC_STATS": folder}, **keep)


def look(folder, *options):
    """What top prints once."""
    return finish(start("top", folder, "--every", "0.05", "--count", "1", *options), 0)[0]


def test_top_tells_who_is_slow():
    s, address = server()
    with tempfile.TemporaryDirectory() as folder:
        p = watched(folder, "connect", address, "--bytes", stdin=subprocess.PIPE)
        peer = accept(s)  # and does not read
        os.set_blocking(p.stdin.fileno(), False)
        top = start("top", folder, "--json", "--every", "0.05")
        while True:
            try:
                p.stdin.write(b"x" * 100000)
            except BlockingIOError:
                pass
            seen = json.loads(top.stdout.readline())["processes"]
            rows = [row for process in seen for row in process["rows"]]
            slow = [row for row in rows if row["slow"] == "the peer does not read"]
            if slow:
                break
        assert slow[0]["kind"] == "connection" and slow[0]["held_out"] > 0, slow
        assert seen[0]["pid"] == p.pid and seen[0]["program"] == "aioipc" and not seen[0]["gone"], seen
        assert {"connection", "queue"} == {row["kind"] for row in rows}, rows
        assert re.search(rb"(?m)^ *%d connection +fd .* !the peer does not read; open" % p.pid, look(folder))
        top.terminate()
        finish(top, 0)
        p.kill()
        p.stdin = None
        finish(p, -signal.SIGKILL)
        assert re.search(rb"(?m)^ *%d process +aioipc .*gone" % p.pid, look(folder))
        peer.close()


def statistics(folder, p):
    """What the file of this program holds, once it is there."""
    path = os.path.join(folder, "aioipc.%d" % p.pid)
    while not os.path.exists(path) or b"aiorows1" not in open(path, "rb").read(8):
        pass
    return open(path, "rb").read()


def test_top_trusts_nothing_in_a_file():
    HEAD, ROW, NAME = 256, 256, 160
    with tempfile.TemporaryDirectory() as folder:
        p = watched(folder, "listen", abstract("trusts"), "-q", stdin=subprocess.PIPE)
        good = statistics(folder, p)
        p.terminate()
        finish(p, 0)
        assert os.listdir(folder) == []  # it took its file with it

        def put(n, *changes, length=None):
            data = bytearray(good)
            for at, what in changes:
                data[at : at + len(what)] = what
            with open(os.path.join(folder, "aioipc.%d" % n), "wb") as f:
                f.write(data[:length])

        def every_row(at, what):
            return [(HEAD + ROW * i + at, what) for i in range((len(good) - HEAD) // ROW)]

        put(1, length=0)
        put(2, length=HEAD - 1)
        put(3, length=HEAD + ROW + 7)
        put(4, (0, b"aiorows2"))
        put(5, (8, b"\xff" * 4))
        put(6, (12, b"\xff" * 4))
        put(7, (16, b"\xff" * 8))
        put(8, (40, b"\x1b[31m" * 20))
        put(9, (16, struct.pack("<q", os.getpid())), *every_row(NAME, b"\x1b[2J" * 24))
        for kind in range(1, 9):
            put(10 + kind, *every_row(0, struct.pack("<I", kind)), *every_row(24, b"\xff" * 136))
        os.mkfifo(os.path.join(folder, "aioipc.30"))
        for n in range(31, 50):
            with open(os.path.join(folder, "aioipc.%d" % n), "wb") as f:
                f.write(good[:8] + struct.pack("<II", 63, ROW) + os.urandom(len(good) - 16))
        out = look(folder)
        assert b"\x1b" not in out and b"\\x1b[2J" in out
        assert out.count(b"no statistics, or those of another version") == 3
        assert out.count(b"its sizes are not those of this version") == 2
        assert b"its file is cut short" in out and b"it is no file" in out and b"gone" in out
        seen = json.loads(look(folder, "--json"))["processes"]
        assert len(seen) == len(os.listdir(folder)), len(seen)


def test_a_terminal_shows_top():
    with tempfile.TemporaryDirectory() as folder:
        p = watched(folder, "listen", abstract("screen"), "-q", stdin=subprocess.PIPE)
        statistics(folder, p)
        for key, status in ((b"q", 0), (b"\x03", 130)):
            pid, ours = pty.fork()
            if pid == 0:
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
                os.environ["TERM"] = "xterm"
                os.execv(TOOL, [TOOL, "top", folder, "--every", "0.1"])
            shown = b""
            while b" queue " not in shown:
                shown += os.read(ours, 4096)
            assert shown.startswith(b"\x1b[?1049h"), shown
            os.write(ours, key)
            try:
                while True:
                    shown += os.read(ours, 4096)
            except OSError:
                pass
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
            assert shown.endswith(b"\x1b[?25h\x1b[?1049l"), shown
            os.close(ours)
        p.terminate()
        finish(p, 0)


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_a_hangup_that_is_ignored_ends_nothing():
    """As under nohup: the tap serves its client, the reader of a stream goes on until its time is over."""
    p = start("tap", abstract("tap"), abstract("nobody"), "--once", preexec_fn=ignore_hangup)
    assert b"listening" in p.stderr.readline()
    p.send_signal(signal.SIGHUP)
    client = connect(abstract("tap"))
    assert b"client 1: connected" in p.stderr.readline()
    assert b"nobody" in p.stderr.readline()
    client.close()
    finish(p, 0)
    p = start("stream", "redis+unix:///nowhere/s", "x", "--group", "g", "--timeout", "0.5", preexec_fn=ignore_hangup)
    assert b"No such file" in p.stderr.readline()
    p.send_signal(signal.SIGHUP)
    assert b"nothing came for 0.5 seconds" in finish(p, 1)[1]


def test_a_terminal_shows_how_far_the_input_is():
    ours, theirs = pty.openpty()
    s, address = server()
    p = start("connect", address, "--bytes", stdin=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    peer = accept(s)
    shown = b""
    while b"MiB read, " not in shown:
        p.stdin.write(b"x" * 100000)
        p.stdin.flush()
        read(peer, 100000)
        if select.select([ours], [], [], 0.05)[0]:
            shown += os.read(ours, 4096)
    p.stdin.close()
    p.stdin = None
    peer.close()
    p.communicate(timeout=LIMIT)
    os.close(ours)
    assert re.search(rb"\r\n[0-9.]+ MiB read, [0-9.]+ MiB/s", shown), shown


def test_silence_is_too_long():
    p = start("listen", abstract("nobody"), "--timeout", "0.05")
    _, err = finish(p, 1)
    assert b"nobody came for 0.05 seconds" in err
    s, address = server()
    p = start("connect", address, "--timeout=0.05")
    peer = accept(s)
    _, err = finish(p, 1)
    assert b"nothing came for 0.05 seconds" in err
    peer.close()


def test_silence_begins_with_the_last_that_was_sent():
    s, address = server()
    sends = start("connect", address, "--timeout=1", "--send", "s", "x", "--count=1")
    first = accept(s)
    is_silent = start("connect", address, "--timeout=1.7")
    second = accept(s)
    finish(is_silent, 1)
    assert sends.poll() == 1, sends.poll()
    finish(sends, 1)
    first.close()
    second.close()


def test_a_full_reader_does_not_hold_up_the_end():
    """Standard output is full and nobody reads: a signal still ends it."""
    p, address = listen("tcp://127.0.0.1:0", "--lines", "--once")
    s = connect(address)
    s.settimeout(LIMIT / 60)
    try:
        while True:
            s.send(b"x" * 999 + b"\n")
    except socket.timeout:
        pass
    p.send_signal(signal.SIGTERM)
    assert p.wait(LIMIT) == 0
    p.stdout.close()
    p.stderr.close()


def test_closed_streams_stay_closed():
    """Without standard streams no socket takes their numbers."""
    p = subprocess.Popen(["sh", "-c", '"$1" listen "$2" --once <&- 2>&1', "sh", TOOL, abstract("closed")],
                         stdout=subprocess.PIPE)
    address = p.stdout.readline().decode().split()[-1]
    s = connect(address)
    s.sendall(PREFACE + frame(2, b"x") + GOODBYE)
    all_of(s)
    out, _ = p.communicate(timeout=LIMIT)
    assert p.returncode == 0 and b'"x"' in out


def test_what_is_printed_can_be_sent():
    first = [["sBc", "a \"b\" \\\\ [ é", "\\x00\\xff", "]"], ["A(sf)s", "[", "\\[", "0.1", "", "1e-300", "]", "\\N"],
             ["S(c#i)#c##", "[", "\\x1b\\n", "1", "\\t\\r", "2", "]", "[", "x", "y", "]"]]
    p, address = listen(abstract("again"), "--count", "6")
    for words in first:
        assert start("connect", address, "--send", *words).wait(LIMIT) == 0
        line = p.stdout.readline().decode()
        again = [quoted or bare for quoted, bare in re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', line)]
        again = ["" if word == '""' else word for word in again]
        print(line, again)
        assert start("connect", address, "--send", *again).wait(LIMIT) == 0
        assert p.stdout.readline().decode() == line
    finish(p, 0)


if __name__ == "__main__":
    signal.alarm(int(4 * LIMIT))  # a test that hangs ends
    globals()["test_" + sys.argv[1]]()
