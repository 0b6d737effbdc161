# SPDX-License-Identifier: ISC
"""A peer of aioipc in Python: typed messages between processes, in plain code and in asyncio.

The C library aioipc connects processes by pipes, socket pairs and addresses. This file speaks the same bytes,
aioipc-wire(7), with nothing but the standard library of Python 3.9 or later; copy it to where your program is. It is for
connections of messages; those of lines and bytes are what Python's own streams are for.

A parent that starts a program in C, and talks to it::

    import aioipc

    ours, theirs = aioipc.socketpair()
    worker = aioipc.spawn(["./worker"], ends={"jobs": theirs})
    with ours.open() as jobs:
        jobs.send("si", "square", 7)
        word, number = jobs.recv().unpack("si")
    worker.wait()

The same in asyncio::

    async with ours.open_async() as jobs:
        await jobs.send("si", "square", 7)
        word, number = (await jobs.recv()).unpack("si")

A call is a message that the peer is to answer, as aiocall(3) has it; both sides may call, and any number may wait at once::

    (root,) = jobs.call("si", "root", 49, timeout=1).unpack("i")

    for m in jobs:
        if m.is_call:
            jobs.answer(m, "i", 7)      # or jobs.refuse(m, errno.EDOM, "no root"), which is a Refused for who called

What it promises:

* A message arrives once, whole and in order, or the caller is told why it did not. :class:`Goodbye` says that the peer ended
  in order, :class:`PeerLost` that it is gone without a word, :class:`ProtocolError` that it said what no peer says. Other
  errors, plain ``OSError``, are this process's own: no descriptor left, no memory.
* Nothing grows without a limit: see :class:`Limits`. Who sends to a peer that does not read waits.
* A call ends once: answered, refused, late, cancelled, or with its connection. One whose message is closed or collected
  unanswered is refused.
* Whatever a peer sends ends its own connection at most. Each message of values is checked before anybody sees it.

Formats are those of aiomsg(3), and these are their values in Python:

====== ===========================================  =======================================================
format a value                                      and back
====== ===========================================  =======================================================
c      bytes, one of them                           the same
j v    int, 16 bits, with and without sign          int
i u    int, 32 bits                                 int
I U    int, 64 bits                                 int
f      float                                        float
s      str without NUL, or None                     the same; bytes that are no UTF-8 as os.fsdecode() does
B      bytes, or what has its buffer                bytes
x#     a sequence, of which each has one length     list; of c, bytes. i## is a list of lists
S(..)  a tuple of the members                       tuple
S(..)# a sequence of them                           list of tuples
A(x)   a sequence                                   list; of c, bytes
A(..)  a sequence of tuples, when it has several    list of tuples
====== ===========================================  =======================================================

A connection is for one thread that sends and one that receives; an :class:`AsyncConnection` for the loop that it was opened in.
After ``os.fork()`` the parent's ends, connections and listeners are closed in the child: so the end of a stream means that the
peer is gone, and never comes late because a child holds a copy. Ends move to programs that :func:`spawn` starts.
"""

from __future__ import annotations

import array
import asyncio
import collections
import contextlib
import enum
import errno
import fcntl
import functools
import os
import re
import select
import shutil
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
import weakref
from dataclasses import dataclass
from typing import (
    Any, AsyncIterator, Callable, Deque, Dict, Iterable, Iterator, List, Mapping, NoReturn, Optional, Sequence, Set, Tuple, Type,
    Union,
)

__all__ = [
    "AsyncConnection", "Cause", "Connection", "End", "FormatError", "Goodbye", "Limits", "Listener", "Message", "PeerLost",
    "ProtocolError", "Refused", "connect", "connect_async", "duplex", "inherited", "pipe", "socketpair", "spawn",
]

__version__ = "0.2.0"


class Goodbye(EOFError):
    """The peer said goodbye: everything it had to say was received."""


class PeerLost(ConnectionError):
    """The peer is gone without goodbye: it died, gave up, or can't be reached any more."""


class ProtocolError(OSError):
    """The peer said what no peer says. ``errno`` is EPROTO (its frames), EBADMSG (a message) or EMSGSIZE (over the limit)."""


class Refused(Exception):
    """The peer refused a call: ``error``, an errno or a number that both sides agreed on, and ``text``, which may be empty."""

    def __init__(self, error: int, text: str = ""):
        super().__init__(error, text)
        self.error = error
        self.text = text

    def __str__(self) -> str:
        return f"{self.text or 'refused'} (error {self.error})"


class FormatError(ValueError):
    """Not a format, values that do not fit it, or a message of another format than was asked for."""


class Cause(enum.Enum):
    """How a connection ended."""

    CLEAN = "clean"    #: the peer said goodbye
    LOST = "lost"      #: the peer is gone without goodbye
    BAD = "bad"        #: the peer broke the protocol
    LOCAL = "local"    #: closed or aborted here
    FAILED = "failed"  #: no fault of the peer's: this process or its system could not go on


@dataclass(frozen=True)
class Limits:
    """What a connection holds at most, in bytes, and the descriptors that the peer may send."""

    message: int = 16 << 20  #: one message, each way; at most 1 GiB
    inbox: int = 1 << 20     #: received while a send waits, and not yet asked for
    outbox: int = 1 << 20    #: waiting to be written; an empty one takes one message of any legal size
    fds: int = 0             #: descriptors in one message from the peer, at most 253; 0: it may send none

    def __post_init__(self) -> None:
        if not 0 < self.message <= 1 << 30 or self.inbox <= 0 or self.outbox <= 0:
            raise ValueError("limits are over 0, that of a message at most 1 GiB")
        if not 0 <= self.fds <= _FDS_MOST:
            raise ValueError("0 to 253 descriptors")


_FDS_MOST = 253
_owned: weakref.WeakSet[Any] = weakref.WeakSet()  # what has descriptors, which a forked child is not to hold
_Fd = Union[int, Any]  # Any: what has fileno()


# Formats: their grammar, and a tree of what is in one. Each kind of item checks, reads and writes its own part of an image.
# What a peer sent is only read after it was checked.

_LETTERS = {"c": 1, "j": 2, "v": 2, "i": 4, "u": 4, "I": 8, "U": 8, "f": 8, "s": 4}
_STRUCT = {"c": "c", "j": "h", "v": "H", "i": "i", "u": "I", "I": "q", "U": "Q", "f": "d", "s": "I"}
_ARRAYS_MOST = 64
_HASHES_MOST = 10
_INT32_MAX = (1 << 31) - 1
_UINT32_MAX = (1 << 32) - 1
_NATIVE = "<" if sys.byteorder == "little" else ">"
_WORD = {order: struct.Struct(order + "I") for order in "<>"}

_CUT_SHORT = "tpl image: shorter than its values"
_TOO_LONG = "tpl image: longer than its values"
_BAD_STRING = "tpl image: NUL inside a string"
_WRONG_FLAG = "tpl image: the flag for strings is wrong"


class _Bad(Exception):
    """An image is not one; says why."""


class _Reading:
    """A place in an image, and what its head says."""

    __slots__ = ("data", "at", "end", "order", "word", "counts", "least")

    def __init__(self, data: bytes, at: int, order: str, counts: Sequence[int]):
        self.data = data
        self.at = at
        self.end = len(data)
        self.order = order
        self.word = _WORD[order]
        self.counts = counts                 # one for each '#' of the format
        self.least: Dict[_Array, int] = {}   # bytes that an element takes at least

    def take_word(self) -> int:
        if self.end - self.at < 4:
            raise _Bad(_CUT_SHORT)
        word: int = self.word.unpack_from(self.data, self.at)[0]
        self.at += 4
        return word

    def pass_by(self, n: int) -> None:
        if self.end - self.at < n:
            raise _Bad(_CUT_SHORT)
        self.at += n

    def take(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n:self.at]


class _Writing:
    """An image that is made: its values so far, and the counts of its '#', 0 while nothing told one."""

    __slots__ = ("out", "counts")

    def __init__(self, hashes: int):
        self.out = bytearray()
        self.counts = [0] * hashes


class _Item:
    """One item of a format. The '#' behind it are those of the format from ``first`` on, ``hashes`` of them."""

    __slots__ = ("first", "hashes", "text")
    fixed = True  # takes as many bytes whatever its values are

    def __init__(self, text: str, first: int = 0, hashes: int = 0):
        self.text = text
        self.first = first
        self.hashes = hashes

    def dimensions(self, counts: Sequence[int]) -> Sequence[int]:
        return counts[self.first:self.first + self.hashes]

    def times(self, counts: Sequence[int]) -> int:
        product = 1
        for count in self.dimensions(counts):
            product *= count
        return product

    def least(self, counts: Sequence[int]) -> int:
        """How many bytes it takes in an image at least, of a fixed one exactly."""
        raise NotImplementedError

    def check(self, r: _Reading) -> None:
        raise NotImplementedError

    def read(self, r: _Reading) -> Any:
        raise NotImplementedError

    def write(self, w: _Writing, value: Any) -> None:
        raise NotImplementedError

    def mismatch(self, due: str, value: Any) -> NoReturn:
        shown = repr(value)
        raise FormatError(f"{self.text}: {due} is due, not {shown if len(shown) < 60 else shown[:57] + '...'}")

    def flatten(self, w: _Writing, value: Any) -> Sequence[Any]:
        """Value for value what ``#`` says of; tells or compares the counts."""
        level: Sequence[Any] = [value]
        for i in range(self.first, self.first + self.hashes):
            rows = [self.sequence(row) for row in level]
            count = w.counts[i] or (len(rows[0]) if rows else 0)
            if not 0 < count <= _INT32_MAX or any(len(row) != count for row in rows):
                self.mismatch(f"a sequence of {count}" if count else "a sequence that is not empty", value)
            w.counts[i] = count
            level = rows[0] if len(rows) == 1 else [one for row in rows for one in row]
        return level

    def sequence(self, value: Any) -> Sequence[Any]:
        if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, (list, tuple, collections.abc.Sequence, array.array)):
            self.mismatch("a sequence", value)
        return value

    def shape(self, flat: List[Any], counts: Sequence[int]) -> Any:
        """The reverse of flatten()."""
        for count in reversed(self.dimensions(counts)[1:]):
            flat = [flat[i:i + count] for i in range(0, len(flat), count)]
        return flat if self.hashes else flat[0]


class _Number(_Item):
    """j v i u I U f"""

    __slots__ = ()

    def least(self, counts: Sequence[int]) -> int:
        return _LETTERS[self.text[0]] * self.times(counts)

    def check(self, r: _Reading) -> None:
        r.pass_by(self.least(r.counts))

    def read(self, r: _Reading) -> Any:
        return self.shape(self.read_flat(r, self.times(r.counts)), r.counts)

    def read_flat(self, r: _Reading, n: int) -> List[Any]:
        letter = self.text[0]
        values = struct.unpack_from(f"{r.order}{n}{_STRUCT[letter]}", r.data, r.at)
        r.at += n * _LETTERS[letter]
        return list(values)

    def write(self, w: _Writing, value: Any) -> None:
        self.write_flat(w, self.flatten(w, value) if self.hashes else (value,))

    def write_flat(self, w: _Writing, values: Sequence[Any]) -> None:
        try:
            w.out += struct.pack(f"{_NATIVE}{len(values)}{_STRUCT[self.text[0]]}", *values)
        except (struct.error, OverflowError, TypeError) as e:
            raise FormatError(f"{self.text}: {e}") from None


class _Char(_Item):
    """c, and rows of it, which are bytes"""

    __slots__ = ()

    def least(self, counts: Sequence[int]) -> int:
        return self.times(counts)

    def check(self, r: _Reading) -> None:
        r.pass_by(self.times(r.counts))

    def read(self, r: _Reading) -> Any:
        flat = r.take(self.times(r.counts))
        if self.hashes < 2:
            return flat
        row = self.dimensions(r.counts)[-1]
        rows: Any = [flat[i:i + row] for i in range(0, len(flat), row)]
        for count in reversed(self.dimensions(r.counts)[1:-1]):
            rows = [rows[i:i + count] for i in range(0, len(rows), count)]
        return rows

    def sequence(self, value: Any) -> Sequence[Any]:
        return value if isinstance(value, (bytes, bytearray)) else super().sequence(value)

    def write(self, w: _Writing, value: Any) -> None:
        if self.hashes:
            flat = self.flatten(w, value)
            if not all(type(one) is int and 0 <= one < 256 for one in flat):
                self.mismatch("bytes", value)
            w.out += bytes(flat)
        elif isinstance(value, (bytes, bytearray)) and len(value) == 1:
            w.out += value
        else:
            self.mismatch("one byte, such as b'x',", value)


class _String(_Item):
    """s"""

    __slots__ = ()
    fixed = False

    def least(self, counts: Sequence[int]) -> int:
        return 4 * self.times(counts)

    def check(self, r: _Reading) -> None:
        for _ in range(self.times(r.counts)):  # each takes 4 bytes: no more turns than the image has bytes
            n = r.take_word()
            if n > 1:
                r.pass_by(n - 1)
                if r.data.find(b"\0", r.at - n + 1, r.at) >= 0:
                    raise _Bad(_BAD_STRING)

    def read(self, r: _Reading) -> Any:
        return self.shape([self.read_one(r) for _ in range(self.times(r.counts))], r.counts)

    def read_one(self, r: _Reading) -> Optional[str]:
        n = r.take_word()
        return r.take(n - 1).decode("utf-8", "surrogateescape") if n else None

    def write(self, w: _Writing, value: Any) -> None:
        for one in self.flatten(w, value) if self.hashes else (value,):
            self.write_one(w, one)

    def write_one(self, w: _Writing, value: Any) -> None:
        if value is None:
            w.out += bytes(4)
            return
        if not isinstance(value, str) or "\0" in value:
            self.mismatch("a str without NUL, or None,", value)
        try:
            text = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as e:
            raise FormatError(f"{self.text}: {e}") from None
        w.out += _WORD[_NATIVE].pack(_fit(len(text) + 1)) + text


class _Bytes(_Item):
    """B"""

    __slots__ = ()
    fixed = False

    def least(self, counts: Sequence[int]) -> int:
        return 4

    def check(self, r: _Reading) -> None:
        r.pass_by(r.take_word())

    def read(self, r: _Reading) -> Any:
        return r.take(r.take_word())

    def write(self, w: _Writing, value: Any) -> None:
        try:
            data = value if isinstance(value, bytes) else memoryview(value).cast("B")
        except TypeError:
            self.mismatch("bytes", value)
        w.out += _WORD[_NATIVE].pack(_fit(len(data)))
        w.out += data


class _Group(_Item):
    """Brackets: what is in them, one after the other."""

    __slots__ = ("members", "fixed")

    def __init__(self, text: str, members: Sequence[_Item], first: int = 0, hashes: int = 0):
        super().__init__(text, first, hashes)
        self.members = members
        self.fixed = all(m.fixed for m in members)

    def least_of_one(self, counts: Sequence[int]) -> int:
        return sum(m.least(counts) for m in self.members)

    def read_one(self, r: _Reading) -> Tuple[Any, ...]:
        return tuple([m.read(r) for m in self.members])

    def write_one(self, w: _Writing, value: Any) -> None:
        if not isinstance(value, (tuple, list)) or len(value) != len(self.members):
            self.mismatch(f"a tuple of {len(self.members)}", value)
        for m, one in zip(self.members, value):
            m.write(w, one)


class _Struct(_Group):
    """S(..)"""

    __slots__ = ()

    def least(self, counts: Sequence[int]) -> int:
        return self.least_of_one(counts) * self.times(counts)

    def check(self, r: _Reading) -> None:
        if self.fixed:
            r.pass_by(self.least(r.counts))
            return
        for _ in range(self.times(r.counts)):
            for m in self.members:
                m.check(r)

    def read(self, r: _Reading) -> Any:
        return self.shape([self.read_one(r) for _ in range(self.times(r.counts))], r.counts)

    def write(self, w: _Writing, value: Any) -> None:
        for one in self.flatten(w, value) if self.hashes else (value,):
            self.write_one(w, one)


class _Array(_Group):
    """A(..)"""

    __slots__ = ("fixed_elements",)

    def __init__(self, text: str, members: Sequence[_Item]):
        super().__init__(text, members)
        self.fixed_elements = self.fixed
        self.fixed = False

    def least(self, counts: Sequence[int]) -> int:
        return 4

    def check(self, r: _Reading) -> None:
        n = r.take_word()
        least = r.least.get(self)
        if least is None:
            least = r.least[self] = self.least_of_one(r.counts)
        if n > (r.end - r.at) // least:
            raise _Bad("tpl image: more elements than bytes")
        if self.fixed_elements:
            r.at += n * least
            return
        for _ in range(n):
            for m in self.members:
                m.check(r)

    def read(self, r: _Reading) -> Any:
        n = r.take_word()
        only = self.members[0]
        if len(self.members) > 1:
            return [self.read_one(r) for _ in range(n)]
        if not only.hashes and isinstance(only, _Number):
            return only.read_flat(r, n)
        if not only.hashes and isinstance(only, _Char):
            return r.take(n)
        return [only.read(r) for _ in range(n)]

    def write(self, w: _Writing, value: Any) -> None:
        only = self.members[0]
        if len(self.members) == 1 and isinstance(only, _Char) and not only.hashes:
            if not isinstance(value, (bytes, bytearray)):
                self.mismatch("bytes", value)
            w.out += _WORD[_NATIVE].pack(_fit(len(value))) + value
            return
        self.sequence(value)
        w.out += _WORD[_NATIVE].pack(_fit(len(value)))
        if len(self.members) > 1:
            for one in value:
                self.write_one(w, one)
        elif isinstance(only, _Number) and not only.hashes:
            only.write_flat(w, value)
        else:
            for one in value:
                only.write(w, one)


def _fit(n: int) -> int:
    if n > _UINT32_MAX:
        raise OSError(errno.EMSGSIZE, "a message has less than 4 GiB")
    return n


class _Format:
    """A format that was read: its items, and whether they have an 's'."""

    __slots__ = ("text", "items", "hashes", "strings", "fixed", "_at", "_arrays")

    def __init__(self, text: str):
        self.text = text
        self.hashes = 0
        self._at = self._arrays = 0
        self.items = self._scan(0, False)
        if self._at < len(text):
            raise FormatError(f"not a format, at the {text[self._at]!r} of place {self._at + 1}: {text[:200]!r}")
        self.strings = "s" in text

    def _wrong(self) -> NoReturn:
        raise FormatError(f"not a format, at place {self._at + 1}: {self.text[:200]!r}")

    def _take_hashes(self) -> int:
        start = self._at
        while self.text.startswith("#", self._at):
            self._at += 1
        n = self._at - start
        if n > _HASHES_MOST:
            self._wrong()
        self.hashes += n
        return n

    def _scan(self, depth: int, in_struct: bool) -> List[_Item]:
        """The items up to a ')' or the end."""
        items: List[_Item] = []
        shared: Dict[str, _Item] = {}  # a letter alone is the same wherever it stands
        while self._at < len(self.text):
            letter = self.text[self._at]
            if letter == ")":
                break
            start, first = self._at, self.hashes
            if letter in _LETTERS:
                self._at += 1
                hashes = self._take_hashes() if self.text.startswith("#", self._at) else 0
                make = {"c": _Char, "s": _String}.get(letter, _Number)
                if hashes:
                    items.append(make(self.text[start:self._at], first, hashes))
                else:
                    items.append(shared.get(letter) or shared.setdefault(letter, make(letter)))
            elif letter == "B" and not in_struct:
                self._at += 1
                items.append(_Bytes("B"))
            elif letter in "AS" and not in_struct:
                items.append(self._scan_group(letter, depth))
            else:
                self._wrong()
        if depth and self._at == len(self.text):
            self._wrong()
        return items

    def _scan_group(self, letter: str, depth: int) -> _Item:
        start = self._at
        self._arrays += letter == "A"
        if not self.text.startswith("(", start + 1) or self._arrays > _ARRAYS_MOST:
            self._wrong()
        self._at += 2
        members = self._scan(depth + 1, letter == "S")
        if not members:
            self._wrong()
        self._at += 1
        if letter == "A":
            return _Array(self.text[start:self._at], members)
        first = self.hashes
        hashes = self._take_hashes()
        return _Struct(self.text[start:self._at], members, first, hashes)


_read_short_format = functools.lru_cache(maxsize=512)(_Format)


def _read_format(text: str) -> _Format:
    return _read_short_format(text) if len(text) <= 100 else _Format(text)


def _open_image(data: bytes) -> Tuple[_Format, _Reading]:
    """Everything in front of the values. Raises :class:`_Bad`."""
    if len(data) < 9 or data[:3] != b"tpl":
        raise _Bad("not a tpl image")
    if data[3] & ~3:
        raise _Bad("tpl image: unknown flags")
    order = ">" if data[3] & 1 else "<"
    if _WORD[order].unpack_from(data, 4)[0] != len(data):
        raise _Bad("tpl image: its length is not the frame's")
    nul = data.find(b"\0", 8)
    if nul < 0:
        raise _Bad("tpl image: its format has no end")
    try:
        f = _read_format(data[8:nul].decode("latin-1"))
    except FormatError:
        raise _Bad("tpl image: not a format") from None
    if f.strings != bool(data[3] & 2):
        raise _Bad(_WRONG_FLAG)
    at = nul + 1 + 4 * f.hashes
    if at > len(data):
        raise _Bad(_CUT_SHORT)
    return f, _Reading(data, at, order, struct.unpack_from(f"{order}{f.hashes}I", data, nul + 1))


def _possible_counts(items: Iterable[_Item], counts: Sequence[int]) -> bool:
    """No tpl has a product of counts of 0, or over 31 bits, on the way either."""
    for item in items:
        product = 1
        for count in item.dimensions(counts):
            product *= count
            if not 0 < product <= _INT32_MAX:
                return False
        if isinstance(item, _Group) and not _possible_counts(item.members, counts):
            return False
    return True


def _check_image(data: bytes) -> str:
    """What is wrong with an image that a peer sent, in the words of the C library; "" when it is well. No values are made of it."""
    try:
        f, r = _open_image(data)
        if f.hashes and not _possible_counts(f.items, r.counts):
            raise _Bad("tpl image: impossible count of #")
        for item in f.items:
            item.check(r)
        if r.at != r.end:
            raise _Bad(_TOO_LONG)
    except _Bad as e:
        return str(e)
    return ""


def _make_image(text: str, values: Sequence[Any]) -> bytes:
    f = _read_format(text)
    if len(values) != len(f.items):
        raise FormatError(f"{text[:200]!r} has {len(f.items)} values, {len(values)} were given")
    w = _Writing(f.hashes)
    for item, value in zip(f.items, values):
        item.write(w, value)
    counts = [count or 1 for count in w.counts]  # of an array without elements
    if not _possible_counts(f.items, counts):
        raise FormatError(f"{text[:200]!r}: too many values for #")
    name = text.encode("ascii")
    length = _fit(8 + len(name) + 1 + 4 * f.hashes + len(w.out))
    flags = (_NATIVE == ">") | (2 if f.strings else 0)
    head = b"tpl" + bytes((flags,)) + _WORD[_NATIVE].pack(length) + name + b"\0"
    return b"".join((head, struct.pack(f"{_NATIVE}{f.hashes}I", *counts), w.out))


class Message:
    """One message: typed values, or plain bytes; maybe with descriptors.

    The descriptors that nobody took are closed with it: by :meth:`close`, at the end of a ``with``, or when it is collected.
    """

    __slots__ = ("payload", "format", "_values", "_fds", "_called", "__weakref__")

    payload: bytes          #: the plain bytes, or the tpl image
    format: Optional[str]   #: such as "si"; None of plain bytes

    def __init__(self, format: str, *values: Any, fds: Iterable[_Fd] = ()):
        """A message of values. It holds duplicates of ``fds``. FormatError."""
        self._fds: List[int] = []
        self._called: Optional[_Called] = None
        self.format = format
        self.payload = _make_image(format, values)
        self._values: Optional[Tuple[Any, ...]] = None
        self._add_fds(fds)

    @classmethod
    def of_bytes(cls, data: Any, fds: Iterable[_Fd] = ()) -> Message:
        """A message of plain bytes."""
        m = cls._of_payload(bytes(data), None, [])
        m._add_fds(fds)
        return m

    @classmethod
    def of_image(cls, image: bytes) -> Message:
        """A typed message of an image that was stored: the ``payload`` of another one. ValueError: it is none."""
        wrong = _check_image(image)
        if wrong:
            raise ValueError(wrong)
        return cls._of_payload(bytes(image), image[8 : image.index(b"\0", 8)].decode("ascii"), [])

    @classmethod
    def _of_payload(cls, payload: bytes, format: Optional[str], fds: List[int]) -> Message:
        m = cls.__new__(cls)
        m.payload = payload
        m.format = format
        m._values = None
        m._fds = fds
        m._called = None
        return m

    def _add_fds(self, fds: Iterable[_Fd]) -> None:
        for one in fds:
            if len(self._fds) == _FDS_MOST:
                raise OSError(errno.EMSGSIZE, "more than 253 descriptors")
            self._fds.append(os.dup(one if isinstance(one, int) else one.fileno()))

    @property
    def values(self) -> Tuple[Any, ...]:
        """The values; they are made at the first question. FormatError: these are plain bytes."""
        if self._values is None:
            if self.format is None:
                raise FormatError("a message of plain bytes has no values")
            f, r = _open_image(self.payload)
            self._values = tuple([item.read(r) for item in f.items])
        return self._values

    def unpack(self, format: str) -> Tuple[Any, ...]:
        """The values of a message that has this very format. FormatError: it has another."""
        if self.format != format:
            has = "plain bytes" if self.format is None else repr(self.format[:200])
            raise FormatError(f"the message is {has}, {format!r} was due")
        return self.values

    @property
    def fds(self) -> int:
        """How many descriptors it still holds."""
        return len(self._fds)

    def take_fd(self) -> int:
        """The first descriptor that is left, which is the caller's from now on. LookupError: none is."""
        if not self._fds:
            raise LookupError("the message holds no descriptor")
        return self._fds.pop(0)

    @property
    def is_call(self) -> bool:
        """Did it come as a call, which is to be answered: by :meth:`Connection.answer`, ``answer_message`` or ``refuse``?"""
        return self._called is not None

    @property
    def is_wanted(self) -> bool:
        """Does the peer still wait for the answer to this call?"""
        return self._called is not None and self._called.is_open

    def close(self) -> None:
        """Closes the descriptors that are left. A call that was not answered is refused then, with ENOMSG."""
        _close_all(self._fds)
        if self._called is not None:
            self._called.drop()

    def __enter__(self) -> Message:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and (self.format, self.payload) == (other.format, other.payload)

    def __hash__(self) -> int:
        return hash((self.format, self.payload))

    def __repr__(self) -> str:
        what = f"{len(self.payload)} bytes" if self.format is None else f"{self.format!r}, {len(self.payload)} bytes"
        return f"<aioipc.Message {what}{f', {self.fds} descriptors' if self._fds else ''}>"


def _close_all(fds: List[int]) -> None:
    while fds:
        with contextlib.suppress(OSError):
            os.close(fds.pop())


# The stream of one direction: a preface and frames. Bytes only; a connection moves them.

_PREFACE = b"AIPC\1\0\0\0"
_HEADER = struct.Struct("<IBBH")
_KIND_TPL, _KIND_BYTES, _KIND_GOODBYE = 1, 2, 3
_KIND_CALL, _KIND_CALL_BYTES, _KIND_ANSWER, _KIND_ANSWER_BYTES, _KIND_REFUSAL, _KIND_CANCEL = range(4, 10)
_KIND_HELLO, _KIND_TAKEN = 16, 18  # of links that confirm messages
_CALL_ID = struct.Struct("<Q")     # in front of what kinds 4 to 9 carry; and of a refusal, the error behind it
_ERROR = struct.Struct("<I")
_LABELS = {kind: 12 if kind == _KIND_REFUSAL else 8 for kind in range(_KIND_CALL, _KIND_CANCEL + 1)}
_CALLS_MOST = 16384  # that wait for their answers, each way
_KIND_GRANT = 128  # how many messages in memory the peer takes: none are sent here
_KIND_MAY_SKIP = 128  # from here on, who does not know one skips it
_READ = 64 << 10
_READ_LARGE = 1 << 20

# What breaks a connection and blames the peer, or what is between it and us.
_LOSSES = {
    errno.ECONNRESET: "connection reset by the peer",
    errno.EPIPE: "connection reset by the peer",
    errno.ECONNABORTED: "the connection was aborted",
    errno.ECONNREFUSED: "the peer refused the connection",
    errno.ETIMEDOUT: "the connection timed out: the peer does not answer any more",
    errno.EHOSTUNREACH: "no route to the peer",
    errno.EHOSTDOWN: "the peer's host is down",
    errno.ENETUNREACH: "no route to the peer's network",
    errno.ENETDOWN: "the network is down",
    errno.ENETRESET: "the network dropped the connection",
}


class _Called:
    """A call of the peer's, and how it is answered: once."""

    __slots__ = ("id", "out", "calls", "is_open")

    def __init__(self, id: int, out: _Output, calls: Dict[int, _Called]):
        self.id = id
        self.out = out
        self.calls = calls
        self.is_open = True
        calls[id] = self

    def end(self) -> bool:
        """It is answered, or not wanted any more. False: it was so before."""
        was, self.is_open = self.is_open, False
        if was:
            self.calls.pop(self.id, None)
        return was

    def reopen(self) -> None:
        """Its answer was not sent after all, and the peer has not used its number again."""
        self.is_open = self.calls.setdefault(self.id, self) is self

    def drop(self) -> None:
        if self.end():
            self.out.owe(_KIND_REFUSAL, _refusal(self.id, errno.ENOMSG, "the message of the call was freed without an answer"))


class _Flight:
    """A call of ours that has not ended. ``wake`` is called when it has."""

    __slots__ = ("id", "done", "answer", "error", "wake")

    def __init__(self, id: int, wake: Callable[[], object]):
        self.id = id
        self.done = False
        self.answer: Optional[Message] = None
        self.error: Optional[BaseException] = None
        self.wake = wake

    def end(self, answer: Optional[Message], error: Optional[BaseException]) -> None:
        self.answer = answer
        self.error = error
        self.done = True
        self.wake()

    def result(self) -> Message:
        if self.error is not None:
            raise self.error
        assert self.answer is not None
        return self.answer


def _refusal(id: int, error: int, text: str) -> bytes:
    return _CALL_ID.pack(id) + _ERROR.pack(error) + text.encode("utf-8", "surrogateescape").replace(b"\0", b"?")


def _tamed(text: bytes) -> str:
    """What could play with a terminal is '?', as aiomsg_error(3) has it."""
    return "".join(c if c.isprintable() else "?" for c in text.decode("utf-8", "replace"))


class _Input:
    """The splitter: bytes and descriptors in, messages out. What answers a call goes to who called."""

    def __init__(self, limits: Limits, out: Optional[_Output] = None):
        self.limits = limits
        self.out = out                # the way back of calls
        self.called: Dict[int, _Called] = {}
        self.flights: Dict[int, _Flight] = {}
        self.buf = bytearray()
        self.pos = 0
        self.skip = 0                 # bytes of a frame that is to be ignored
        self.came = 0
        self.prefaced = self.goodbye = self.eof = False
        self.fds: List[int] = []      # came, and no message has them yet
        self.cause: Optional[Cause] = None
        self.end: Tuple[Type[BaseException], Tuple[Any, ...]] = (Goodbye, ())
        self.why = ""
        _owned.add(self)

    def held(self) -> int:
        return len(self.buf) - self.pos

    def feed(self, data: bytes, fds: List[int]) -> None:
        if self.pos:
            del self.buf[:self.pos]
            self.pos = 0
        self.buf += data
        self.came += len(data)
        self.eof = not data
        if len(self.fds) + len(fds) > 2 * self.limits.fds:
            _close_all(fds)
            self.finish(Cause.BAD, errno.EPROTO, "more descriptors than frames and limit allow")
        self.fds += fds

    def wanted(self) -> int:
        """How many bytes to read: no more than the large message that is on its way still has."""
        if self.prefaced and self.held() >= 8 and not self.skip:
            missing: int = 8 + _HEADER.unpack_from(self.buf, self.pos)[0] - self.held()
            return max(min(missing, _READ_LARGE), 4096)
        return _READ

    def finish(self, cause: Cause, number: int = 0, why: str = "") -> None:
        """The end, for good; the first one counts."""
        if self.cause is not None:
            return
        self.cause = cause
        self.why = why
        kind: Type[BaseException] = {
            Cause.CLEAN: Goodbye, Cause.LOST: PeerLost, Cause.BAD: ProtocolError, Cause.LOCAL: ValueError, Cause.FAILED: OSError,
        }[cause]
        self.end = (kind, (number, why) if number else (why,))
        self.drop()
        flights, self.flights = list(self.flights.values()), {}
        for flight in flights:
            broken = cause in (Cause.CLEAN, Cause.LOCAL)
            flight.end(None, BrokenPipeError(errno.EPIPE, why) if broken else kind(number, why))
        for called in list(self.called.values()):
            if cause is not Cause.CLEAN:
                called.end()

    def begin_call(self, wake: Callable[[], object]) -> _Flight:
        """A number that nobody guesses."""
        if len(self.flights) >= _CALLS_MOST:
            raise BlockingIOError(errno.EAGAIN, f"{_CALLS_MOST} calls wait for their answers")
        while True:
            flight = _Flight(int.from_bytes(os.urandom(8), "little"), wake)
            if self.flights.setdefault(flight.id, flight) is flight:
                return flight

    def broke(self, e: OSError) -> None:
        """Reading failed."""
        number = e.errno or errno.EIO
        if number in _LOSSES:
            self.finish(Cause.LOST, errno.ECONNRESET if number == errno.EPIPE else number, _LOSSES[number])
        else:
            self.finish(Cause.FAILED, number, os.strerror(number))

    def drop(self) -> None:
        self.buf = bytearray()
        self.pos = self.skip = 0
        _close_all(self.fds)

    def close(self) -> None:
        _close_all(self.fds)

    __del__ = close

    def next(self) -> Optional[Message]:
        """The next message, or None: more bytes are needed. Raises the end."""
        m = self._split() if self.cause is None else None
        if m is None and self.cause is not None:
            kind, args = self.end
            raise kind(*args)
        return m

    def _bad(self, number: int, why: str) -> None:
        self.finish(Cause.BAD, number, why)

    def _split(self) -> Optional[Message]:
        while self.cause is None:
            n = min(self.skip, self.held())
            self.skip -= n
            self.pos += n
            if self.goodbye and self.held():
                self._bad(errno.EPROTO, "bytes after the goodbye")
            elif not self.prefaced and not self._take_preface():
                break
            elif self.skip or self.goodbye or self.held() < 8:
                break
            elif self._check_header():
                length, kind, nfds, _ = _HEADER.unpack_from(self.buf, self.pos)
                if kind == _KIND_GOODBYE or kind >= _KIND_MAY_SKIP:
                    self.goodbye = kind == _KIND_GOODBYE
                    self.pos += 8
                    self.skip = length
                elif self.held() - 8 < length:
                    break
                else:
                    m = self._take(length, kind, nfds)
                    if m is not None:
                        return m
        self._starved()
        return None

    def _take_preface(self) -> bool:
        n = min(self.held(), 8)
        start = self.buf[self.pos:self.pos + n]
        if start[:4] != _PREFACE[:min(n, 4)]:
            self._bad(errno.EPROTO, "the peer does not speak aioipc: no preface")
        elif n > 4 and start[4] != _PREFACE[4]:
            self._bad(errno.EPROTO, f"the peer speaks version {start[4]}, this library {_PREFACE[4]}")
        elif start != _PREFACE[:n]:
            self._bad(errno.EPROTO, "the peer's preface has unknown flags")
        elif n == 8:
            self.pos += 8
            self.prefaced = True
        return self.prefaced

    def _check_header(self) -> bool:
        length, kind, nfds, zero = _HEADER.unpack_from(self.buf, self.pos)
        if zero:
            self._bad(errno.EPROTO, "frame header with unknown flags")
        elif _KIND_HELLO <= kind <= _KIND_TAKEN:
            self._bad(errno.EPROTO, "the peer wants messages confirmed, and only links do that")
        elif kind == 0 or _KIND_CANCEL < kind < _KIND_MAY_SKIP:
            self._bad(errno.EPROTO, f"frame of unknown kind {kind}")
        elif length < _LABELS.get(kind, 0):
            self._bad(errno.EPROTO, f"frame of kind {kind} and only {length} bytes")
        elif length - _LABELS.get(kind, 0) > self.limits.message:
            self._bad(errno.EMSGSIZE, f"frame of {length} bytes, limit {self.limits.message}")
        elif nfds > self.limits.fds:
            self._bad(errno.EPROTO, f"frame with {nfds} descriptors, {self.limits.fds} are allowed")
        elif kind >= _KIND_MAY_SKIP and nfds:
            self._bad(errno.EPROTO, "frame to be skipped has descriptors")
        elif kind == _KIND_GRANT and length != 8:
            self._bad(errno.EPROTO, f"grant of {length} bytes")
        elif kind == _KIND_CANCEL and length > _LABELS[kind]:
            self._bad(errno.EPROTO, "cancel with a payload")
        elif kind in (_KIND_REFUSAL, _KIND_CANCEL) and nfds:
            self._bad(errno.EPROTO, "refusal or cancel with descriptors")
        elif kind == _KIND_GOODBYE and (length or nfds):
            self._bad(errno.EPROTO, "goodbye with a payload")
        return self.cause is None

    def _take(self, length: int, kind: int, nfds: int) -> Optional[Message]:
        label = min(_LABELS.get(kind, 0), _CALL_ID.size)
        id = _CALL_ID.unpack_from(self.buf, self.pos + 8)[0] if label else 0
        payload = bytes(memoryview(self.buf)[self.pos + 8 + label:self.pos + 8 + length])
        self.pos += 8 + length
        if kind in (_KIND_REFUSAL, _KIND_CANCEL):
            self._take_word(id, kind, payload)
            return None
        typed = kind in (_KIND_TPL, _KIND_CALL, _KIND_ANSWER)
        wrong = _check_image(payload) if typed else ""
        if not wrong and len(self.fds) < nfds:
            wrong = "frame without the descriptors that it announced"
        if wrong:
            self._bad(errno.EBADMSG, wrong)
            return None
        format = payload[8:payload.index(b"\0", 8)].decode("ascii") if typed else None
        m = Message._of_payload(payload, format, self.fds[:nfds])
        del self.fds[:nfds]
        if kind in (_KIND_CALL, _KIND_CALL_BYTES):
            return self._take_call(id, m)
        if label:
            self._end_flight(id, m, None)
            return None
        return m

    def _take_call(self, id: int, m: Message) -> Optional[Message]:
        if self.out is None:  # there is no way back
            return m
        if id in self.called:
            self._bad(errno.EPROTO, "a call with the number of one that waits for its answer")
            return None
        if len(self.called) >= _CALLS_MOST:
            self.out.owe(_KIND_REFUSAL, _refusal(id, errno.EAGAIN, "too many calls wait for their answers"))
            return None
        m._called = _Called(id, self.out, self.called)
        return m

    def _take_word(self, id: int, kind: int, payload: bytes) -> None:
        """A refusal, or a cancel."""
        if kind == _KIND_CANCEL:
            if id in self.called:
                self.called[id].end()
            return
        error = _ERROR.unpack_from(payload)[0]
        if not 0 < error <= _INT32_MAX:
            self._bad(errno.EPROTO, "refusal without an error")
        else:
            self._end_flight(id, None, Refused(error, _tamed(payload[4:])))

    def _end_flight(self, id: int, answer: Optional[Message], error: Optional[BaseException]) -> None:
        """What belongs to no call of ours is ignored."""
        flight = self.flights.pop(id, None)
        if flight is not None:
            flight.end(answer, error)

    def _fds_due(self) -> int:
        """How many descriptors the frame that is here in part may have."""
        if self.skip or not self.held():
            return 0
        if not self.prefaced or self.held() < 8:
            return _FDS_MOST
        due: int = _HEADER.unpack_from(self.buf, self.pos)[2]
        return due

    def _starved(self) -> None:
        """Nothing more can be split from what is there."""
        if self.cause is not None:
            return
        if self.fds and self.came > 8 and len(self.fds) > self._fds_due():
            self._bad(errno.EPROTO, "descriptors that no frame announced")
        elif self.goodbye and not self.skip:
            self.finish(Cause.CLEAN, 0, "the peer said goodbye")
        elif self.eof:
            self.finish(Cause.LOST, errno.ECONNRESET, "the peer closed without goodbye")


class _Piece:
    """Bytes that wait to be written, and the descriptors that go with their first one."""

    __slots__ = ("view", "fds", "begun", "is_message")

    def __init__(self, data: bytes, fds: List[int], is_message: bool):
        self.view = memoryview(data)
        self.fds = fds
        self.begun = False
        self.is_message = is_message


class _Output:
    """The queue of what waits to be written, in order."""

    def __init__(self) -> None:
        self.pieces: Deque[_Piece] = collections.deque()
        self.owed: Deque[Tuple[int, bytes]] = collections.deque()  # refusals and cancels, from any thread
        self.on_owed: Callable[[], object] = lambda: None
        self.size = 0
        self.prefaced = self.goodbye = False
        _owned.add(self)

    def add(self, kind: int, payload: bytes, fds: List[int]) -> _Piece:
        if not self.prefaced:
            self.prefaced = True
            self._push(_Piece(_PREFACE, [], False))
        return self._push(_Piece(_HEADER.pack(len(payload), kind, len(fds), 0) + payload, fds, kind not in (_KIND_GOODBYE, _KIND_CANCEL)))

    def owe(self, kind: int, payload: bytes) -> None:
        self.owed.append((kind, payload))
        self.on_owed()

    def pay(self) -> None:
        while self.owed and not self.goodbye:
            self.add(*self.owed.popleft(), [])

    def _push(self, piece: _Piece) -> _Piece:
        self.pieces.append(piece)
        self.size += len(piece.view)
        return piece

    def wrote(self, n: int) -> None:
        self.size -= n
        while n:
            first = self.pieces[0]
            _close_all(first.fds)
            first.begun = True
            took = min(n, len(first.view))
            first.view = first.view[took:]
            n -= took
            if not first.view:
                self.pieces.popleft()

    def take_back(self, piece: _Piece) -> bool:
        """Nothing of it has left: then it is not sent."""
        if piece.begun or piece not in self.pieces:
            return False
        self.pieces.remove(piece)
        self.size -= len(piece.view)
        _close_all(piece.fds)
        return True

    def drop(self) -> None:
        self.close()
        self.pieces.clear()
        self.owed.clear()
        self.size = 0

    def close(self) -> None:
        for piece in self.pieces:
            _close_all(piece.fds)

    __del__ = close


# Descriptors: who owns them, and how bytes are moved.

def _close_in_child() -> None:
    global _inherited, _inherited_lock
    for one in list(_owned):
        one.close()
    _inherited, _inherited_lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_close_in_child)


class _Carrier:
    """A descriptor to read from and one to write to, -1 for none; of a socket the same. Never blocks."""

    def __init__(self, r: int, w: int):
        for fd in {r, w} - {-1}:
            os.set_inheritable(fd, False)
        self.r, self.w = r, w
        self._read_socket = self._socket_of(r)
        self._write_socket = self._read_socket if r == w else self._socket_of(w)
        _owned.add(self)

    @staticmethod
    def _socket_of(fd: int) -> Optional[socket.socket]:
        if fd == -1:
            return None
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.set_blocking(fd, False)
            return None
        s = socket.socket(fileno=fd)
        if s.type != socket.SOCK_STREAM:
            s.detach()
            raise OSError(errno.EPROTOTYPE, "ends are streams, not sockets of packets")
        s.setblocking(False)
        return s

    def passes_fds(self, s: Optional[socket.socket]) -> bool:
        return s is not None and s.family == socket.AF_UNIX

    @property
    def receives_fds(self) -> bool:
        return self.passes_fds(self._read_socket)

    @property
    def sends_fds(self) -> bool:
        return self.passes_fds(self._write_socket)

    @property
    def either_socket(self) -> Optional[socket.socket]:
        return self._read_socket or self._write_socket

    def read(self, n: int, with_fds: bool) -> Tuple[bytes, List[int]]:
        """What there is, b"" at the end. BlockingIOError: nothing yet."""
        if self._read_socket is None:
            return os.read(self.r, n), []
        if not with_fds:
            return self._read_socket.recv(n), []
        return self._read_with_fds(self._read_socket, n)

    @staticmethod
    def _read_with_fds(s: socket.socket, n: int) -> Tuple[bytes, List[int]]:
        fds = array.array("i")
        data, control, flags, _ = s.recvmsg(n, socket.CMSG_SPACE(_FDS_MOST * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
        for level, kind, block in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(block[:len(block) - len(block) % fds.itemsize])
        if flags & socket.MSG_CTRUNC:
            _close_all(list(fds))
            raise OSError(errno.EMFILE, "this process has no number left for a descriptor that came")
        return data, list(fds)

    def write(self, buffers: List[memoryview], fds: List[int]) -> int:
        if self._write_socket is None:
            return os.writev(self.w, buffers)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        return self._write_socket.sendmsg(buffers, control, socket.MSG_NOSIGNAL)

    def shut_sending(self) -> None:
        if self._write_socket is not None and self.r == self.w:
            with contextlib.suppress(OSError):
                self._write_socket.shutdown(socket.SHUT_WR)
            return
        self._close_one(self.w, self._write_socket)
        self.w, self._write_socket = -1, None

    def all_arrived(self) -> bool:
        """Has the peer's system everything that was written?"""
        if self.w == -1 or self._write_socket is None:
            return True
        left = array.array("i", [1])
        try:
            fcntl.ioctl(self.w, termios.TIOCOUTQ, left)
        except OSError:
            return False
        return left[0] == 0

    @staticmethod
    def _close_one(fd: int, s: Optional[socket.socket]) -> None:
        with contextlib.suppress(OSError):
            if s is not None:
                s.close()
            elif fd != -1:
                os.close(fd)

    def release(self) -> Tuple[int, int]:
        r, w = self.r, self.w
        for s in {self._read_socket, self._write_socket} - {None}:
            s.detach()  # type: ignore[union-attr]
        self._read_socket = self._write_socket = None
        self.r = self.w = -1
        _owned.discard(self)
        return r, w

    def close(self) -> None:
        r, w, rs, ws = self.r, self.w, self._read_socket, self._write_socket
        self.r = self.w = -1
        self._read_socket = self._write_socket = None
        _owned.discard(self)
        self._close_one(r, rs)
        if w != r:
            self._close_one(w, ws)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self.close()


class End:
    """One end of a pipe or socket pair, not open yet: it can be opened here, or move to a program that :func:`spawn` starts.

    ``End(r, w)`` takes charge of descriptors that there are already; -1 for none, a socket is both.
    """

    def __init__(self, r: int, w: int):
        if r == w == -1:
            raise ValueError("an end has a descriptor at least")
        self._carrier: Optional[_Carrier] = _Carrier(r, w)

    @classmethod
    def of_socket(cls, s: socket.socket) -> End:
        """Takes charge of a connected socket; ``s`` is closed for its old owner."""
        fd = s.detach()
        return cls(fd, fd)

    def _take(self) -> _Carrier:
        carrier, self._carrier = self._carrier, None
        if carrier is None:
            raise ValueError("this end was opened, moved or closed already")
        return carrier

    def open(self, limits: Limits = Limits()) -> Connection:
        """A connection for plain code. The end is used up."""
        return Connection(self._take(), limits)

    def open_async(self, limits: Limits = Limits()) -> AsyncConnection:
        """A connection for the asyncio loop that runs. The end is used up."""
        return AsyncConnection(self._take(), limits)

    def release(self) -> Tuple[int, int]:
        """The descriptors to read from and to write to, the caller's from now on. They are blocking, as new ones are."""
        r, w = self._take().release()
        for fd in {r, w} - {-1}:
            os.set_blocking(fd, True)
        return r, w

    def close(self) -> None:
        """Closes an end that nobody uses."""
        if self._carrier is not None:
            self._take().close()

    def __enter__(self) -> End:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        c = self._carrier
        return f"<aioipc.End {'used up' if c is None else f'{c.r}, {c.w}'}>"


def socketpair() -> Tuple[End, End]:
    """Two ends that are connected both ways, by a socket pair: descriptors can be sent over it."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return End.of_socket(a), End.of_socket(b)


def pipe() -> Tuple[End, End]:
    """An end to read from, and the one to write to."""
    r, w = os.pipe()
    return End(r, -1), End(-1, w)


def duplex() -> Tuple[End, End]:
    """Two ends that are connected both ways, by two pipes."""
    (r1, w1), (r2, w2) = os.pipe(), os.pipe()
    return End(r1, w2), End(r2, w1)


# Ends that programs are given: AIOIPC_ENDS in the environment is "PID:NAME,r,w,rdev,rino,wdev,wino;NAME,...".

_ENDS_ENTRY = "AIOIPC_ENDS"
_ENDS_MOST = 64
_SLOT = re.compile(r"([A-Za-z0-9_.-]{1,63}),(-?\d{1,9}),(-?\d{1,9}),(\d{1,20}),(\d{1,20}),(\d{1,20}),(\d{1,20})\Z")
_inherited: Optional[Dict[str, Optional[End]]] = None
_inherited_lock = threading.Lock()


def inherited(name: str) -> End:
    """The end that the program which started this one gave under this name, once.

    The first call takes charge of all of them: make it before anything else is started. FileNotFoundError: there is none, or it was
    taken. OSError (EBADF): the descriptor is not what the parent sent.
    """
    global _inherited
    with _inherited_lock:
        if _inherited is None:
            _inherited = _read_ends(os.environ.get(_ENDS_ENTRY, ""))
        if name not in _inherited:
            raise FileNotFoundError(errno.ENOENT, "no end of this name was given to this process, or it was taken", name)
        end = _inherited[name]
        if end is None:
            raise OSError(errno.EBADF, "the descriptor is not what the parent sent", name)
        del _inherited[name]
        return end


def _read_ends(text: str) -> Dict[str, Optional[End]]:
    pid, colon, slots = text.partition(":")
    ends: Dict[str, Optional[End]] = {}
    if not colon or pid != str(os.getpid()) or (os.getuid(), os.getgid()) != (os.geteuid(), os.getegid()):
        return ends
    for slot in slots.split(";")[:_ENDS_MOST]:
        found = _SLOT.match(slot)
        if not found:
            break
        r, w, rdev, rino, wdev, wino = (int(n) for n in found.groups()[1:])
        try:
            same = _is_file(r, rdev, rino) and _is_file(w, wdev, wino)
            ends.setdefault(found[1], End(r, w) if same else None)
        except (OSError, ValueError):
            ends.setdefault(found[1], None)
    return ends


def _is_file(fd: int, dev: int, ino: int) -> bool:
    if fd == -1:
        return True
    st = os.fstat(fd)
    return (st.st_dev, st.st_ino) == (dev, ino)


# The child's process id is not known before it is there; the shell knows its own, and becomes the program.
_STARTER = ["/bin/sh", "-c", f'{_ENDS_ENTRY}="$$:${_ENDS_ENTRY}" exec "$@"', "sh"]


def spawn(args: Sequence[str], ends: Mapping[str, End], env: Optional[Mapping[str, str]] = None,
          **options: Any) -> subprocess.Popen[Any]:
    """Starts a program, which finds these ends by aioend_inherited(3), in Python by :func:`inherited`. They move: they are
    closed here, and used up.

    ``options`` are those of :class:`subprocess.Popen`, without ``shell`` and ``executable``. When it fails the ends are where they
    were. FileNotFoundError, PermissionError: the program can't be executed.
    """
    program = os.fspath(args[0])
    path = (os.environ if env is None else env).get("PATH", os.defpath)
    if shutil.which(program, path=path) is None and not options.get("cwd"):
        missing = not os.path.exists(program)
        number = errno.ENOENT if missing else errno.EACCES
        raise OSError(number, os.strerror(number), program)
    if len(ends) > _ENDS_MOST:
        raise ValueError(f"at most {_ENDS_MOST} ends have names")
    slots, fds = [], []
    for name, end in ends.items():
        if end._carrier is None:
            raise ValueError(f"the end {name!r} was opened, moved or closed already")
        slots.append(_write_slot(name, end._carrier))
        fds += [fd for fd in (end._carrier.r, end._carrier.w) if fd != -1]
    environment = dict(os.environ if env is None else env)
    environment[_ENDS_ENTRY] = ";".join(slots)
    carriers = [end._carrier for end in ends.values() if end._carrier is not None]
    for carrier in carriers:
        _owned.discard(carrier)  # or a preexec_fn would find them closed
    try:
        child = subprocess.Popen([*_STARTER, *args], env=environment, pass_fds=tuple(set(fds)), **options)
    except BaseException:
        _owned.update(carriers)
        raise
    for end in ends.values():
        end.close()
    return child


def _write_slot(name: str, c: _Carrier) -> str:
    st = [os.fstat(fd) if fd != -1 else None for fd in (c.r, c.w)]
    files = [f"{s.st_dev},{s.st_ino}" if s else "0,0" for s in st]
    slot = ",".join([name, str(c.r), str(c.w), *files])
    if not _SLOT.match(slot):
        raise ValueError(f"{name!r} is no name of an end: up to 63 letters, digits, '_', '-' and '.'")
    return slot


# Connections. What both kinds have in common knows no way to wait.

_CLOSE_SECONDS = 10.0


class _Common:
    def __init__(self, carrier: _Carrier, limits: Limits):
        if limits.fds and not carrier.receives_fds:
            carrier.close()
            raise OSError(errno.EOPNOTSUPP, "descriptors travel over unix sockets only")
        self.limits = limits
        self._carrier = carrier
        self._out = _Output()
        self._in = _Input(limits, self._out if carrier.w != -1 else None)
        self._inbox: Deque[Message] = collections.deque()  # came while a call waited for its answer
        self._stowed = 0
        self._closed = False                        # here
        self._lost = False                          # a message that was taken did not leave
        self._send_error: Optional[OSError] = None  # nothing can be sent any more

    @property
    def cause(self) -> Optional[Cause]:
        """How it ended; None while it has not."""
        return Cause.LOCAL if self._closed and self._in.cause is None else self._in.cause

    @property
    def why(self) -> str:
        """In words why it ended, or why nothing can be sent any more; "" while that is not so."""
        if self._in.cause is None and self._send_error is not None:
            return str(self._send_error.strerror)
        return self._in.why

    def fileno(self) -> int:
        """The descriptor that is read, or else written: for poll only."""
        return self._carrier.r if self._carrier.r != -1 else self._carrier.w

    def peer_cred(self) -> Tuple[int, int, int]:
        """Process id, user id and group id of who made the other end of a unix socket."""
        s = self._carrier.either_socket
        if s is None or s.family != socket.AF_UNIX:
            raise OSError(errno.EOPNOTSUPP, "only the peer of a unix socket is known")
        pid, uid, gid = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid, gid

    def abort(self) -> None:
        """Drops what is queued and closes at once; the peer is told that this side is lost."""
        self._closed = True
        self._out.drop()
        self._in.finish(Cause.LOCAL, 0, "closed here")
        self._carrier.close()

    def _check_receiving(self) -> None:
        if self._closed:
            raise ValueError("the connection is closed")
        if self._carrier.r == -1:
            raise OSError(errno.EBADF, "this end only writes")

    def _check_sending(self) -> None:
        if self._closed:
            raise ValueError("the connection is closed")
        if self._send_error is not None:
            raise type(self._send_error)(*self._send_error.args)
        if self._out.goodbye:
            raise BrokenPipeError(errno.EPIPE, "goodbye was said here")
        if self._carrier.w == -1:
            raise OSError(errno.EBADF, "this end only reads")

    def _check_message(self, m: Message) -> None:
        self._check_sending()
        if len(m.payload) > self.limits.message:
            raise OSError(errno.EMSGSIZE, f"message of {len(m.payload)} bytes, limit {self.limits.message}")
        if m.fds and not self._carrier.sends_fds:
            raise OSError(errno.EOPNOTSUPP, "descriptors travel over unix sockets only")

    def _is_full(self, m: Message) -> bool:
        return bool(self._out.size) and self._out.size + 8 + len(m.payload) > self.limits.outbox

    def _queue(self, m: Message, typed: int = _KIND_TPL, label: bytes = b"") -> _Piece:
        """As that kind, or as the next one, which is its kind of plain bytes."""
        return self._out.add(typed + (m.format is None), label + m.payload, [os.dup(fd) for fd in m._fds])

    def _check_calling(self, m: Message) -> None:
        self._check_receiving()
        self._check_message(m)
        if self._in.cause is Cause.CLEAN:
            raise BrokenPipeError(errno.EPIPE, self._in.why)

    def _begin_answer(self, call: Message) -> Optional[_Called]:
        """What to answer now; None: nobody wants it any more."""
        called = call._called
        if called is None:
            raise ValueError("this message is no call")
        if called.out is not self._out:
            raise OSError(errno.ESTALE, "the call came by another connection")
        self._check_sending()
        return called if called.end() else None

    def _stow(self, m: Message) -> None:
        self._inbox.append(m)
        self._stowed += len(m.payload)

    def _unstow(self) -> Message:
        m = self._inbox.popleft()
        self._stowed -= len(m.payload)
        return m

    def _queue_goodbye(self) -> None:
        self._out.pay()
        if not self._out.goodbye and self._carrier.w != -1 and self._send_error is None:
            self._out.add(_KIND_GOODBYE, b"", [])
            self._out.goodbye = True

    def _fill(self) -> bool:
        """Reads once. False: nothing is there yet."""
        try:
            self._in.feed(*self._carrier.read(self._in.wanted(), bool(self.limits.fds)))
        except BlockingIOError:
            return False
        except OSError as e:
            self._in.broke(e)
        return True

    def _write_some(self) -> bool:
        """Writes what the kernel takes. True: all has left."""
        if self._out.owed and self._send_error is None and self._carrier.w != -1:
            self._out.pay()
        while self._out.pieces:
            first = self._out.pieces[0]
            views = [first.view]
            for piece in list(self._out.pieces)[1:16] if len(self._out.pieces) > 1 else ():
                if piece.fds:
                    break
                views.append(piece.view)
            try:
                self._out.wrote(self._carrier.write(views, first.fds))
            except BlockingIOError:
                return False
            except OSError as e:
                self._write_failed(e)
                return True
        if self._out.goodbye and self._carrier.w != -1:
            self._carrier.shut_sending()
        return True

    def _write_failed(self, e: OSError) -> None:
        """EPIPE alone says that the peer reads no more; what it sent before comes yet."""
        self._lost |= any(piece.is_message for piece in self._out.pieces)
        self._out.drop()
        number = e.errno or errno.EIO
        if number == errno.EPIPE:
            self._send_error = BrokenPipeError(errno.EPIPE, "the peer closed its reading end")
        elif number in _LOSSES:
            self._send_error = BrokenPipeError(errno.EPIPE, _LOSSES[number])
            self._in.eof = True
            self._in.broke(e)
        else:
            self._send_error = OSError(number, os.strerror(number))

    def _raise_send_error(self) -> None:
        if self._send_error is not None:
            raise type(self._send_error)(*self._send_error.args)

    def _is_undelivered(self) -> bool:
        """Is there a reason not to close yet? TCP throws away what was sent if input is left: there it is read to its end."""
        if self._send_error is not None:
            return False
        if self._out.pieces:
            return True
        c = self._carrier
        tcp = c.r != -1 and c.r == c.w and c.either_socket is not None and c.either_socket.family != socket.AF_UNIX
        return tcp and not self._in.eof and self._in.cause is None

    def _discard_input(self) -> bool:
        """Reads once and forgets it; what the peer says does not count any more, only that it ends."""
        try:
            data, fds = self._carrier.read(_READ, bool(self.limits.fds))
            _close_all(fds)
            self._in.eof = not data
        except BlockingIOError:
            return False
        except OSError:
            self._in.eof = True
        return True

    def _end_close(self, late: bool) -> None:
        """Everything was done that could be in time."""
        delivered = not self._out.pieces and (not late or self._carrier.all_arrived())
        error = self._send_error if self._lost else None
        self.abort()
        if error is not None:
            raise type(error)(*error.args)
        if not delivered:
            raise TimeoutError(errno.ETIMEDOUT, "not everything had left in time")


class _Deadline:
    """Seconds from now, None for ever."""

    def __init__(self, seconds: Optional[float]):
        self._at = None if seconds is None else time.monotonic() + seconds

    def left(self) -> Optional[float]:
        return None if self._at is None else max(self._at - time.monotonic(), 0.0)

    def poll(self, fds: Mapping[int, int]) -> Dict[int, int]:
        """What happened; TimeoutError, but only when nothing was there at that moment."""
        poller = select.poll()
        for fd, events in fds.items():
            poller.register(fd, events)
        left = self.left()
        happened = dict(poller.poll(None if left is None else int(left * 1000) + (left > 0)))
        if not happened and self.left() == 0.0:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return happened

    def acquire(self, lock: threading.Lock) -> None:
        left = self.left()
        if not lock.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX)):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


class Connection(_Common):
    """An open connection, for plain code. Every call that waits takes ``timeout`` in seconds, None waits for ever; TimeoutError
    says that nothing was lost.

    ``with`` closes it at its end: in order, or, when an exception leaves the block, by :meth:`abort`. ``for m in connection`` ends
    with the peer's goodbye, and raises what else ended it.
    """

    def __init__(self, carrier: _Carrier, limits: Limits):
        super().__init__(carrier, limits)
        self._sending = threading.Lock()
        self._receiving = threading.Lock()

    def send(self, format: str, *values: Any, fds: Iterable[_Fd] = (), timeout: Optional[float] = None) -> None:
        """Sends a message of values, with duplicates of ``fds``. It is taken whole or not at all, and handed to the system before the
        call returns; when the time is up in the middle of it, the rest leaves with the next call. While it waits it reads what the
        peer says, up to the limit of the inbox. BrokenPipeError: the peer is gone. FormatError; OSError (EMSGSIZE)."""
        with Message(format, *values, fds=fds) as m:
            self.send_message(m, timeout)

    def send_bytes(self, data: Any, fds: Iterable[_Fd] = (), timeout: Optional[float] = None) -> None:
        """Sends a message of plain bytes."""
        with Message.of_bytes(data, fds) as m:
            self.send_message(m, timeout)

    def send_message(self, m: Message, timeout: Optional[float] = None) -> None:
        """Sends a message that there is already; it may be sent again."""
        self._send(m, _KIND_TPL, b"", _Deadline(timeout))

    def _send(self, m: Message, typed: int, label: bytes, deadline: _Deadline) -> None:
        deadline.acquire(self._sending)
        try:
            self._check_message(m)
            while self._is_full(m) and not self._write_some():
                self._await_room(deadline)
            self._raise_send_error()
            self._write_piece(self._queue(m, typed, label), deadline)
        finally:
            self._sending.release()

    def call(self, format: str, *values: Any, fds: Iterable[_Fd] = (), timeout: Optional[float] = None) -> Message:
        """Sends a call of these values, and waits for its answer. Refused: the peer's error and words. TimeoutError, and the peer is
        told that nobody wants the answer any more. BrokenPipeError, PeerLost: the connection ended before the answer came. Messages that
        come meanwhile are for :meth:`recv`; when as many as the inbox takes are left there, an answer behind them does not come
        through. Any number of threads may call at once."""
        with Message(format, *values, fds=fds) as m:
            return self.call_message(m, timeout)

    def call_message(self, m: Message, timeout: Optional[float] = None) -> Message:
        """Sends a message that there is already as a call, and waits for its answer."""
        deadline = _Deadline(timeout)
        news = threading.Event()
        self._check_calling(m)
        flight = self._in.begin_call(news.set)
        sent = False
        try:
            self._send(m, _KIND_CALL, _CALL_ID.pack(flight.id), deadline)
            sent = True
            self._await_answer(flight, news, deadline)
        except BaseException:
            if self._in.flights.pop(flight.id, None) is not None and sent:
                self._out.owe(_KIND_CANCEL, _CALL_ID.pack(flight.id))
                self._write_owed()
            raise
        return flight.result()

    def _write_owed(self) -> None:
        """Another thread that sends does it else."""
        if self._sending.acquire(blocking=False):
            try:
                self._write_some()
            finally:
                self._sending.release()

    def _await_answer(self, flight: _Flight, news: threading.Event, deadline: _Deadline) -> None:
        """One thread reads for all. When it stops, the others hear, and one of them goes on."""
        while not flight.done:
            news.clear()
            crowded = False
            if flight.done:
                return
            reads = self._receiving.acquire(blocking=False)
            if reads:
                try:
                    crowded = self._read_until_over(flight, deadline)
                finally:
                    self._stop_receiving(flight)
            if (crowded or not reads) and not news.wait(deadline.left()) and not flight.done:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def _read_until_over(self, flight: _Flight, deadline: _Deadline) -> bool:
        """True: too much is left for recv() to take."""
        while not flight.done:
            if self._stowed >= self.limits.inbox:
                return True
            try:
                m = self._in.next()
            except (EOFError, OSError, ValueError):
                if flight.done:
                    break
                raise
            if m is not None:
                self._stow(m)
            elif not flight.done and not self._fill():
                self._await_input(deadline)
        return False

    def _stop_receiving(self, but: Optional[_Flight] = None) -> None:
        self._receiving.release()
        for flight in list(self._in.flights.values()):
            if flight is not but:
                flight.wake()

    def answer(self, call: Message, format: str, *values: Any, fds: Iterable[_Fd] = (), timeout: Optional[float] = None) -> None:
        """Answers a call that came by this connection; one that was answered, or is not wanted any more, is not answered again."""
        with Message(format, *values, fds=fds) as m:
            self.answer_message(call, m, timeout)

    def answer_message(self, call: Message, m: Message, timeout: Optional[float] = None) -> None:
        """Answers a call with a message that there is already."""
        called = self._begin_answer(call)
        if called is None:
            return
        try:
            self._send(m, _KIND_ANSWER, _CALL_ID.pack(called.id), _Deadline(timeout))
        except BaseException:
            called.reopen()
            raise

    def refuse(self, call: Message, error: int, text: str = "") -> None:
        """Answers a call with an error above 0 and words. It leaves with what is sent or received next, if not at once."""
        if not 0 < error <= _INT32_MAX:
            raise ValueError("the error of a refusal is above 0")
        called = self._begin_answer(call)
        if called is not None:
            self._out.owe(_KIND_REFUSAL, _refusal(called.id, error, text))
            self._write_owed()

    def _write_piece(self, piece: _Piece, deadline: _Deadline) -> None:
        try:
            while not self._write_some():
                self._await_room(deadline)
        except TimeoutError:
            if self._out.take_back(piece):
                raise
        except BaseException:  # Ctrl-C: nobody could tell whether it was sent
            self._out.take_back(piece)
            raise
        self._raise_send_error()

    def _await_room(self, deadline: _Deadline) -> None:
        """Two that send to each other at once would wait for ever if neither read."""
        fds = {self._carrier.w: select.POLLOUT}
        reads = self._may_stow() and self._receiving.acquire(blocking=False)
        try:
            if reads:
                fds[self._carrier.r] = fds.get(self._carrier.r, 0) | select.POLLIN
            happened = deadline.poll(fds)
            if reads and happened.get(self._carrier.r, 0) & ~select.POLLOUT:
                self._fill()
        finally:
            if reads:
                self._receiving.release()

    def _may_stow(self) -> bool:
        i = self._in
        return self._carrier.r != -1 and i.cause is None and not i.eof and not i.fds and i.held() < self.limits.inbox

    def recv(self, timeout: Optional[float] = None) -> Message:
        """The next message. Goodbye: the peer has said all. PeerLost, ProtocolError: it has not."""
        deadline = _Deadline(timeout)
        deadline.acquire(self._receiving)
        try:
            self._check_receiving()
            if self._inbox:
                return self._unstow()
            while True:
                m = self._in.next()
                if m is not None:
                    return m
                if not self._fill():
                    self._await_input(deadline)
        finally:
            self._stop_receiving()

    def _await_input(self, deadline: _Deadline) -> None:
        """Also writes what an earlier send had no time for."""
        fds = {self._carrier.r: select.POLLIN}
        writes = bool(self._out.pieces or self._out.owed) and self._sending.acquire(blocking=False)
        try:
            if writes and not self._write_some():
                fds[self._carrier.w] = fds.get(self._carrier.w, 0) | select.POLLOUT
            deadline.poll(fds)
            if writes:
                self._write_some()
        finally:
            if writes:
                self._sending.release()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        try:
            return self.recv()
        except Goodbye:
            raise StopIteration from None

    def write_eof(self, timeout: Optional[float] = None) -> None:
        """Says goodbye for this direction; the other one goes on."""
        deadline = _Deadline(timeout)
        deadline.acquire(self._sending)
        try:
            if not self._out.goodbye:
                self._check_sending()
                self._queue_goodbye()
            while not self._write_some():
                self._await_room(deadline)
            self._raise_send_error()
        finally:
            self._sending.release()

    def close(self, timeout: Optional[float] = _CLOSE_SECONDS) -> None:
        """Says goodbye, and waits until the peer's system has all that was sent; over TCP until the peer has ended too.
        TimeoutError: not everything left in time, and the peer is told that this side is lost. BrokenPipeError: the peer was gone
        before. Closed in any case."""
        if self._closed:
            return
        deadline = _Deadline(timeout)
        late = False
        try:
            self._queue_goodbye()
            self._in.drop()
            while not self._write_some() or self._is_undelivered():
                self._await_end(deadline)
        except TimeoutError:
            late = True
        except BaseException:
            self.abort()
            raise
        self._end_close(late)

    def _await_end(self, deadline: _Deadline) -> None:
        c = self._carrier
        fds = {c.w: select.POLLOUT} if self._out.pieces else {}
        reads = c.r != -1 and not self._in.eof and self._in.cause is None
        if reads:
            fds[c.r] = fds.get(c.r, 0) | select.POLLIN
        happened = deadline.poll(fds)
        if reads and happened.get(c.r, 0) & ~select.POLLOUT:
            self._discard_input()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class AsyncConnection(_Common):
    """An open connection, for the asyncio loop that it was opened in. ``asyncio.wait_for()`` gives a call its time limit: a call
    that is cancelled has lost nothing.

    ``async with`` closes it at its end: in order, or, when an exception leaves the block, by :meth:`abort`. ``async for m in
    connection`` ends with the peer's goodbye, and raises what else ended it.
    """

    def __init__(self, carrier: _Carrier, limits: Limits):
        super().__init__(carrier, limits)
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._room: Set[asyncio.Future[None]] = set()  # who waits until something was written
        self._input: Optional[asyncio.Future[None]] = None
        self._writing = False                          # the loop watches for room
        self._in_row = 0                               # messages since the loop last had its turn
        self._receives = False                         # a task is in recv()
        self._curious: Set[asyncio.Future[None]] = set()  # calls, and who receives while a call reads
        me = weakref.ref(self)

        def on_owed() -> None:
            conn = me()
            if conn is not None and not conn._loop.is_closed():
                conn._loop.call_soon_threadsafe(conn._write_on)

        self._out.on_owed = on_owed

    async def send(self, format: str, *values: Any, fds: Iterable[_Fd] = ()) -> None:
        """Queues a message of values, with duplicates of ``fds``, and writes what the system takes; the rest leaves by itself. It
        is taken whole or not at all, and waits while the outbox is full. BrokenPipeError: the peer is gone. FormatError; OSError
        (EMSGSIZE)."""
        with Message(format, *values, fds=fds) as m:
            await self.send_message(m)

    async def send_bytes(self, data: Any, fds: Iterable[_Fd] = ()) -> None:
        """Sends a message of plain bytes."""
        with Message.of_bytes(data, fds) as m:
            await self.send_message(m)

    async def send_message(self, m: Message) -> None:
        """Sends a message that there is already; it may be sent again."""
        await self._send(m, _KIND_TPL, b"")
        await self._be_fair()

    async def _send(self, m: Message, typed: int, label: bytes) -> None:
        async with self._sending:
            self._check_message(m)
            while self._is_full(m):
                await self._written()
                self._check_message(m)
            self._queue(m, typed, label)
            self._write_on()
            self._raise_send_error()

    async def call(self, format: str, *values: Any, fds: Iterable[_Fd] = ()) -> Message:
        """Sends a call of these values, and waits for its answer. Refused: the peer's error and words. BrokenPipeError, PeerLost: the
        connection ended before the answer came. A call that is cancelled is told to the peer. Messages that come meanwhile are for
        :meth:`recv`; when as many as the inbox takes are left there, an answer behind them does not come through. Any number of tasks
        may call at once."""
        with Message(format, *values, fds=fds) as m:
            return await self.call_message(m)

    async def call_message(self, m: Message) -> Message:
        """Sends a message that there is already as a call, and waits for its answer."""
        self._check_calling(m)
        flight = self._in.begin_call(self._tell)
        sent = False
        try:
            await self._send(m, _KIND_CALL, _CALL_ID.pack(flight.id))
            sent = True
            while not flight.done:
                await self._read_on(flight)
        except BaseException:
            if self._in.flights.pop(flight.id, None) is not None and sent:
                self._out.owe(_KIND_CANCEL, _CALL_ID.pack(flight.id))
            raise
        finally:
            self._tell()
        return flight.result()

    async def _read_on(self, flight: _Flight) -> None:
        """One task reads for all. When it stops, the others hear, and one of them goes on."""
        if self._receives or self._input is not None or self._stowed >= self.limits.inbox:
            await self._news()
            return
        try:
            m = self._in.next()
        except (EOFError, OSError, ValueError):
            if flight.done:
                return
            raise
        if m is not None:
            self._stow(m)
            self._tell()
            await self._be_fair()
        elif not flight.done and not self._fill():
            await self._readable()

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._curious.add(waiter)
        try:
            await waiter
        finally:
            self._curious.discard(waiter)

    def _tell(self) -> None:
        for waiter in self._curious:
            if not waiter.done():
                waiter.set_result(None)

    async def answer(self, call: Message, format: str, *values: Any, fds: Iterable[_Fd] = ()) -> None:
        """Answers a call that came by this connection; one that was answered, or is not wanted any more, is not answered again."""
        with Message(format, *values, fds=fds) as m:
            await self.answer_message(call, m)

    async def answer_message(self, call: Message, m: Message) -> None:
        """Answers a call with a message that there is already."""
        called = self._begin_answer(call)
        if called is None:
            return
        try:
            await self._send(m, _KIND_ANSWER, _CALL_ID.pack(called.id))
        except BaseException:
            called.reopen()
            raise

    def refuse(self, call: Message, error: int, text: str = "") -> None:
        """Answers a call with an error above 0 and words. It leaves by itself."""
        if not 0 < error <= _INT32_MAX:
            raise ValueError("the error of a refusal is above 0")
        called = self._begin_answer(call)
        if called is not None:
            self._out.owe(_KIND_REFUSAL, _refusal(called.id, error, text))

    def _write_on(self) -> None:
        """As much as the system takes; the loop goes on with the rest."""
        done = self._closed or self._write_some()
        if done and self._writing:
            self._writing = False
            if self._carrier.w != -1:
                self._loop.remove_writer(self._carrier.w)
        elif not done and not self._writing:
            self._writing = True
            self._loop.add_writer(self._carrier.w, self._write_on)
        for waiter in self._room:
            if not waiter.done():
                waiter.set_result(None)

    async def _written(self) -> None:
        """Something was written, or nothing can be any more."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._room.add(waiter)
        try:
            await waiter
        finally:
            self._room.discard(waiter)

    async def flush(self) -> None:
        """Waits until everything queued is handed to the system."""
        self._check_closed()
        while self._out.pieces:
            await self._written()
            self._check_closed()
        self._raise_send_error()

    def _check_closed(self) -> None:
        if self._closed:
            raise ValueError("the connection is closed")

    async def _be_fair(self) -> None:
        """Others on the loop have their turn, however fast the peer is."""
        self._in_row += 1
        if self._in_row >= 64:
            self._in_row = 0
            await asyncio.sleep(0)

    async def recv(self) -> Message:
        """The next message. Goodbye: the peer has said all. PeerLost, ProtocolError: it has not. RuntimeError: another task
        receives."""
        if self._receives:
            raise RuntimeError("another task receives from this connection")
        self._check_receiving()
        await self._be_fair()
        self._receives = True
        try:
            return await self._next()
        finally:
            self._receives = False
            self._tell()

    async def _next(self) -> Message:
        while True:
            if self._inbox:
                return self._unstow()
            if self._input is not None:  # a call reads
                await self._news()
                continue
            m = self._in.next()
            if m is not None:
                return m
            if not self._fill():
                await self._readable()

    async def _readable(self) -> None:
        fd = self._carrier.r
        self._in_row = 0
        self._input = waiter = self._loop.create_future()
        self._loop.add_reader(fd, self._wake_reader)
        try:
            await waiter
        finally:
            self._input = None
            if self._carrier.r == fd:
                self._loop.remove_reader(fd)

    def _wake_reader(self) -> None:
        if self._input is not None and not self._input.done():
            self._input.set_result(None)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.recv()
        except Goodbye:
            raise StopAsyncIteration from None

    async def write_eof(self) -> None:
        """Says goodbye for this direction; the other one goes on."""
        async with self._sending:
            if not self._out.goodbye:
                self._check_sending()
                self._queue_goodbye()
            self._write_on()
        while self._out.pieces:
            await self._written()
        self._raise_send_error()

    def abort(self) -> None:
        """Drops what is queued and closes at once; the peer is told that this side is lost. Who waits here is told too."""
        if not self._closed and not self._loop.is_closed():
            if self._writing:
                self._loop.remove_writer(self._carrier.w)
            if self._input is not None and self._carrier.r != -1:
                self._loop.remove_reader(self._carrier.r)
        self._writing = False
        super().abort()
        self._wake_reader()
        for waiter in self._room:
            if not waiter.done():
                waiter.set_result(None)

    async def close(self, timeout: Optional[float] = _CLOSE_SECONDS) -> None:
        """Says goodbye, and waits until the peer's system has all that was sent; over TCP until the peer has ended too.
        TimeoutError: not everything left in time, and the peer is told that this side is lost. BrokenPipeError: the peer was gone
        before. Closed in any case."""
        if self._closed:
            return
        if self._input is not None:
            self.abort()
            raise RuntimeError("another task receives from this connection")
        late = False
        try:
            await asyncio.wait_for(self._say_all(), timeout)
        except asyncio.TimeoutError:
            late = True
        except BaseException:
            self.abort()
            raise
        if not self._closed:
            self._end_close(late)

    async def _say_all(self) -> None:
        self._queue_goodbye()
        self._in.drop()
        self._write_on()
        while not self._closed and self._is_undelivered():
            reads = self._carrier.r != -1 and not self._in.eof and self._in.cause is None
            if not reads:
                await self._written()
            elif not self._discard_input():
                await self._readable()
            else:
                await self._be_fair()

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        if kind is None:
            await self.close()
        else:
            self.abort()


# Addresses, as the library writes them: tcp://host:port, unix:///path, unix:@name.

_HOST = re.compile(r"[A-Za-z0-9._-]*\Z")
_PATH_MOST = 107
_TCP_USER_TIMEOUT = 18  # of Linux


@dataclass(frozen=True)
class _Address:
    host: str = ""                 # of tcp, without brackets; "*": all of this machine's
    port: int = 0
    path: Union[str, bytes] = ""   # of unix; bytes that begin with NUL: an abstract name

    @property
    def is_tcp(self) -> bool:
        return not self.path


def _read_address(text: str, listen: bool) -> _Address:
    if text.startswith("tcp://"):
        return _read_tcp(text[6:], listen)
    if text.startswith("unix:@"):
        return _read_unix(text[5:], True)
    if text.startswith("unix:///"):
        return _read_unix(text[7:], False)
    raise ValueError("neither tcp://host:port nor unix:///path nor unix:@name (nor ring: for unix:, nor tls: for tcp:)")


def _read_tcp(text: str, listen: bool) -> _Address:
    brackets = text.startswith("[")
    if brackets and "]" not in text:
        raise ValueError("a bracket is not closed")
    host, found, port = text[1:].partition("]") if brackets else text.rpartition(":")
    if brackets:
        found, port = port[:1], port[1:]
    if found != ":":
        raise ValueError("no port")
    if len(os.fsencode(host)) > 255:
        raise ValueError("the host is too long")
    _check_host(host, brackets, listen)
    if not port or not port.isascii() or not port.isdigit():
        raise ValueError("the port is not a number")
    if len(port) > 5 or int(port) > 65535:
        raise ValueError("the port is over 65535")
    if int(port) == 0 and not listen:
        raise ValueError("port 0 is only to listen on")
    return _Address(host, int(port))


def _check_host(host: str, brackets: bool, listen: bool) -> None:
    if brackets:
        try:
            socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        except (OSError, ValueError):
            raise ValueError("no IPv6 address in the brackets") from None
    elif not host:
        raise ValueError("no host")
    elif host == "*":
        if not listen:
            raise ValueError("host * is only to listen on")
    elif ":" in host:
        raise ValueError("an IPv6 address goes in brackets")
    elif not _HOST.match(host):
        raise ValueError("a character that no host name has")


def _read_unix(text: str, abstract: bool) -> _Address:
    name = os.fsencode(text)
    if b"\0" in name:
        raise ValueError("a NUL in an address")
    if len(name) > _PATH_MOST:
        raise ValueError("the name is too long" if abstract else "the path is too long for a socket")
    if len(name) < 2:
        raise ValueError("no name" if abstract else "no path")
    return _Address(path=b"\0" + name[1:] if abstract else text)


def _write_address(s: socket.socket) -> str:
    name = s.getsockname()
    if s.family == socket.AF_UNIX:
        if isinstance(name, bytes):
            return "unix:@" + os.fsdecode(name[1:])
        return f"unix://{name}"
    host, port = name[:2]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _tune(s: socket.socket) -> None:
    """As the library does: messages leave at once, and a peer that is gone is noticed."""
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6), (socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, 300000),
    ):
        with contextlib.suppress(OSError):
            s.setsockopt(level, option, value)


def _meets_itself(s: socket.socket) -> bool:
    """Where nobody listens, a socket may get that very port for itself."""
    return s.family != socket.AF_UNIX and s.getsockname() == s.getpeername()


def _connected(s: socket.socket) -> End:
    if _meets_itself(s):
        s.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    if s.family != socket.AF_UNIX:
        _tune(s)
    return End.of_socket(s)


def _try_unix(path: Union[str, bytes]) -> Optional[socket.socket]:
    """None: the listener has no place now."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.setblocking(False)
    try:
        s.connect(path)
    except BlockingIOError:
        s.close()
        return None
    except BaseException:
        s.close()
        raise
    return s


def connect(address: str, timeout: Optional[float] = None, limits: Limits = Limits()) -> Connection:
    """Connects to a listener, tries once. ``timeout`` in seconds, which the system's look-up of a name may exceed. ValueError: not an
    address to connect to. OSError: as connect(2) and getaddrinfo(3)."""
    a = _read_address(address, False)
    deadline = _Deadline(timeout)
    if a.is_tcp:
        s = socket.create_connection((a.host, a.port), deadline.left())
        return _connected(s).open(limits)
    while True:
        found = _try_unix(a.path)
        if found is not None:
            return _connected(found).open(limits)
        if deadline.left() == 0.0:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        time.sleep(0.01)


async def connect_async(address: str, limits: Limits = Limits()) -> AsyncConnection:
    """The same in asyncio; asyncio.wait_for() gives it a time limit."""
    a = _read_address(address, False)
    if a.is_tcp:
        return _connected(await _connect_tcp(a)).open_async(limits)
    while True:
        found = _try_unix(a.path)
        if found is not None:
            return _connected(found).open_async(limits)
        await asyncio.sleep(0.01)


async def _connect_tcp(a: _Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    error: Optional[OSError] = None
    for family, kind, protocol, _, name in await loop.getaddrinfo(a.host, a.port, type=socket.SOCK_STREAM):
        s: Optional[socket.socket] = None
        try:
            s = socket.socket(family, kind, protocol)
            s.setblocking(False)
            await loop.sock_connect(s, name)
            return s
        except OSError as e:
            error = e
            if s is not None:
                s.close()
        except BaseException:
            if s is not None:
                s.close()
            raise
    raise error or OSError(errno.ENOENT, "no such host")


class Listener:
    """Listens at an address; each peer that comes is a connection. A context manager, and an iterator in both worlds.

    A socket in the file system is made with ``mode``, takes the place of a dead one, and is removed at the end. tcp://\\*:port
    listens at all addresses of this machine, port 0 at any free one: ``address`` tells which. ValueError: not an address to listen
    on. OSError (EADDRINUSE): somebody listens there, or what is there is no socket.
    """

    def __init__(self, address: str, limits: Limits = Limits(), mode: int = 0o600, backlog: int = 4096):
        self._limits = limits
        self._made: Optional[Tuple[str, int, int]] = None
        self._pid = os.getpid()
        a = _read_address(address, True)
        self._socket = self._listen_tcp(a, backlog) if a.is_tcp else self._listen_unix(a.path, mode, backlog)
        self._socket.setblocking(False)
        self.address = _write_address(self._socket)
        _owned.add(self)

    @staticmethod
    def _listen_tcp(a: _Address, backlog: int) -> socket.socket:
        found = socket.getaddrinfo(None if a.host == "*" else a.host, a.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        four = [one for one in found if one[0] == socket.AF_INET]
        six = [one for one in found if one[0] == socket.AF_INET6]
        error: OSError = OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        for family, kind, protocol, _, name in six[:1] + four[:1] if a.host == "*" else four[:1] or six[:1]:
            try:
                s = socket.socket(family, kind, protocol)
            except OSError as e:
                error = e
                continue
            try:
                _tune(s)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, a.host != "*")
                s.bind(name)
                s.listen(backlog)
                return s
            except OSError as e:
                s.close()
                error = e
                if e.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
        raise error

    def _listen_unix(self, path: Union[str, bytes], mode: int, backlog: int) -> socket.socket:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if isinstance(path, bytes):
                s.bind(path)
                s.listen(backlog)
            else:
                with _lock_of(path):
                    self._bind_file(s, path, mode)
                    s.listen(backlog)
            return s
        except BaseException:
            s.close()
            raise

    def _bind_file(self, s: socket.socket, path: str, mode: int) -> None:
        os.fchmod(s.fileno(), mode)  # from the start nobody else can connect
        try:
            s.bind(path)
        except OSError as e:
            if e.errno != errno.EADDRINUSE or not _is_dead(path):
                raise
            os.unlink(path)
            s.bind(path)
        os.chmod(path, mode)  # the user's mask took bits away
        st = os.lstat(path)
        self._made = (path, st.st_dev, st.st_ino)

    @property
    def port(self) -> int:
        """Of tcp; 0 of others."""
        return int(self._socket.getsockname()[1]) if self._socket.family != socket.AF_UNIX else 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def _try_accept(self) -> Optional[End]:
        try:
            s, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        if s.family != socket.AF_UNIX:
            _tune(s)
        return End.of_socket(s)

    def accept(self, timeout: Optional[float] = None) -> Connection:
        """The next peer. TimeoutError."""
        deadline = _Deadline(timeout)
        while True:
            end = self._try_accept()
            if end is not None:
                return end.open(self._limits)
            deadline.poll({self._socket.fileno(): select.POLLIN})

    async def accept_async(self) -> AsyncConnection:
        """The next peer, in asyncio; for one task at a time."""
        loop = asyncio.get_running_loop()
        while True:
            end = self._try_accept()
            if end is not None:
                return end.open_async(self._limits)
            waiter: asyncio.Future[None] = loop.create_future()
            fd = self._socket.fileno()
            loop.add_reader(fd, lambda w=waiter: w.done() or w.set_result(None))
            try:
                await waiter
            finally:
                loop.remove_reader(fd)

    def __iter__(self) -> Iterator[Connection]:
        while True:
            yield self.accept()

    async def __aiter__(self) -> AsyncIterator[AsyncConnection]:
        while True:
            yield await self.accept_async()

    def close(self) -> None:
        """Listens no more; its file is removed."""
        _owned.discard(self)
        made, self._made = self._made, None
        if made is not None and self._pid == os.getpid():
            path, dev, ino = made
            with contextlib.suppress(OSError), _lock_of(path):
                st = os.lstat(path)
                if (st.st_dev, st.st_ino) == (dev, ino):
                    os.unlink(path)
        self._socket.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _is_dead(path: str) -> bool:
    """Is it a socket that nobody has any more? One of another type is asked: what lives refuses that, and does not notice."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


@contextlib.contextmanager
def _lock_of(path: str) -> Iterator[None]:
    """The library's lock on a path: of two that find the same dead socket only one replaces it."""
    name = path + ".aioipc-lock"
    for _ in range(5000):
        try:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as e:
            if e.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise
            yield  # another user's protects nobody
            return
        try:
            if _has_lock(fd, name):
                break
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        time.sleep(0.001)
    else:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
        os.close(fd)


def _has_lock(fd: int, name: str) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here, there = os.fstat(fd), os.lstat(name)
    except (BlockingIOError, FileNotFoundError):
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
