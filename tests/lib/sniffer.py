# SPDX-License-Identifier: ISC
"""What goes over a cable: every TCP segment that an interface of a namespace sees.

    with Sniffer(namespace, "cable") as cable:
        ...
        cable.bytes_of("192.0.2.7")     # all that was said to this host and by it
"""

import socket
import threading

_ETH_P_ALL = 3
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6


def _segment(frame):
    """(source, destination, payload) of a frame with TCP in it, or None."""
    kind = int.from_bytes(frame[12:14], "big")
    ip = frame[14:]
    if kind == _IPV4 and ip[9] == _TCP:
        header, total = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big")
        ends = [socket.inet_ntop(socket.AF_INET, ip[at:at + 4]) for at in (12, 16)]
    elif kind == _IPV6 and ip[6] == _TCP:
        header, total = 40, 40 + int.from_bytes(ip[4:6], "big")
        ends = [socket.inet_ntop(socket.AF_INET6, ip[at:at + 16]) for at in (8, 24)]
    else:
        return None
    tcp = ip[header:total]
    return (*ends, tcp[(tcp[12] >> 4) * 4:])


class Sniffer:
    def __init__(self, namespace, interface):
        self._sock = namespace.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW,
                                   socket.htons(_ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        self._sock.bind((interface, _ETH_P_ALL))
        self._sock.settimeout(0.2)
        self._said = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while True:
            try:
                found = _segment(self._sock.recv(1 << 17))
            except TimeoutError:
                if self._over.is_set():     # and nothing is waiting any more
                    return
                continue
            for end in found[:2] if found else ():
                self._said[end] = self._said.get(end, b"") + found[2]

    def bytes_of(self, host):
        return self._said.get(host, b"")

    def close(self):
        """Reads what is still waiting."""
        self._over.set()
        self._thread.join()
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
