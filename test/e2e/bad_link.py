"""A link between two machines on which packets are lost, come twice, late, in another order or damaged.

The kernel's own way to do that (netem) is not in every kernel; a TUN device is. Each end is one in a
network namespace of its own, and a thread carries packets from one to the other as badly as it is told.
Chance is seeded. IPv4 only.
"""

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from dataclasses import dataclass

from namespaces import Namespaces, run_in

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
LATE_S = 0.02  # The longest that a packet which others overtake is held up.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Fate:
    """Of each packet, in either direction: chances from 0 to 1, and seconds."""
    lost: float = 0
    twice: float = 0
    overtaken: float = 0
    damaged: float = 0
    delay_s: float = 0
    back_only: bool = False  # Only what goes from the far end to the near one.


@contextlib.contextmanager
def inside(name):
    """This thread, and what it starts, in the network namespace of that name."""
    with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{name}") as wanted:
        _enter(wanted)
        try:
            yield
        finally:
            _enter(before)


def _enter(namespace):
    if _libc.setns(namespace.fileno(), 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class BadLink:
    """The ends are the namespaces `near` and `far`, with the addresses NEAR and FAR."""
    NEAR, FAR = "10.78.0.1", "10.78.0.2"

    def __init__(self, seed):
        self.fate = Fate()
        self._random = random.Random(seed)
        self._namespaces = Namespaces()
        self._ends, self._queue, self._order = [], [], itertools.count()
        self._stop_read, self._stop_write = os.pipe()
        self.near, self.far = (self._end(own, other) for own, other in
                               ((self.NEAR, self.FAR), (self.FAR, self.NEAR)))
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.write(self._stop_write, b"x")
        self._thread.join()
        for end in (*self._ends, self._stop_read, self._stop_write):
            os.close(end)
        self._namespaces.close()

    def _end(self, own, other):
        name = self._namespaces.add()
        with inside(name):
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", b"bad0", IFF_TUN | IFF_NO_PI))
        self._ends.append(tun)
        run_in(name, "ip", "address", "add", own, "peer", other, "dev", "bad0")
        run_in(name, "ip", "link", "set", "bad0", "up")
        return name

    def mtu(self, size):
        for name in (self.near, self.far):
            run_in(name, "ip", "link", "set", "bad0", "mtu", size)

    def _carry(self):
        """Until __exit__."""
        while True:
            wait = max(0, self._queue[0][0] - time.monotonic()) if self._queue else None
            readable, _, _ = select.select([*self._ends, self._stop_read], [], [], wait)
            if self._stop_read in readable:
                return
            for end in readable:
                with contextlib.suppress(BlockingIOError):
                    self._take(os.read(end, 65536), self._ends[end == self._ends[0]], end)
            while self._queue and self._queue[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(self._queue)
                with contextlib.suppress(OSError):  # Its queue is full: one more that is lost.
                    os.write(to, packet)

    def _take(self, packet, to, came_from):
        fate, chance = self.fate, self._random.random
        if fate.back_only and came_from == self._ends[0]:
            fate = Fate()
        if chance() < fate.lost:
            return
        if chance() < fate.damaged:
            at = self._random.randrange(len(packet))
            packet = packet[:at] + bytes([packet[at] ^ 1 << self._random.randrange(8)]) + packet[at + 1:]
        for _ in range(2 if chance() < fate.twice else 1):
            late = self._random.uniform(0, LATE_S) if chance() < fate.overtaken else 0
            due = time.monotonic() + fate.delay_s + late
            heapq.heappush(self._queue, (due, next(self._order), to, packet))
