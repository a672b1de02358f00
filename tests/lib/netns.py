# SPDX-License-Identifier: ISC
"""Network namespaces that are gone when the test ends: no names, no mounts.

    server, client = Namespace(), Namespace()
    server.join(client, "192.0.2.1/24", "192.0.2.50/24")
    proxy = server.run(start_it)            # programs and sockets that are made there live there
    sock = client.run(connect, address)     # and can be used from anywhere
"""

import ctypes
import os
import queue
import subprocess
import threading

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A thread that lives in a network of its own and runs what it is given."""

    def __init__(self):
        self._work = queue.Queue()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self.tid = self.run(threading.get_native_id)
        self.ip("link", "set", "lo", "up")

    def _live(self):
        failed = _libc.unshare(_CLONE_NEWNET) != 0 and OSError(ctypes.get_errno(), "unshare")
        while True:
            item = self._work.get()
            if item is None:
                return
            function, args, kwargs, answer = item
            try:
                if failed:
                    raise failed
                answer.put((function(*args, **kwargs), None))
            except BaseException as error:
                answer.put((None, error))

    def run(self, function, *args, **kwargs):
        answer = queue.Queue()
        self._work.put((function, args, kwargs, answer))
        result, error = answer.get()
        if error is not None:
            raise error
        return result

    def ip(self, *args):
        done = self.run(subprocess.run, ["ip", *map(str, args)], capture_output=True, text=True)
        assert done.returncode == 0, f"ip {' '.join(map(str, args))}: {done.stderr}"
        return done.stdout

    def join(self, other, *pairs, cable="cable"):
        """A cable between the two, with (own, other's) addresses on its ends."""
        self.ip("link", "add", cable, "type", "veth", "peer", "name", cable, "netns", other.tid)
        for own, far in pairs:
            flags = ["nodad"] if ":" in own else []
            self.ip("addr", "add", own, "dev", cable, *flags)
            other.ip("addr", "add", far, "dev", cable, *flags)
        self.ip("link", "set", cable, "up")
        other.ip("link", "set", cable, "up")

    def close(self):
        self._work.put(None)
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def why_impossible():
    """The reason for which there can be no namespaces here, or None."""
    return None if os.geteuid() == 0 else "needs root, for network namespaces"
