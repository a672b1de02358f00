# SPDX-License-Identifier: ISC
"""What goes over a cable: every TCP segment that an interface of a namespace sees.

    with Sniffer(namespace, "cable") as cable:
        ...
        cable.bytes_of("192.0.2.7")     # all that was said to this host and by it

Each direction of each connection is put together by itself, so that no answer divides a line. What was
sent twice is there twice.
"""

import socket
import struct
import threading

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33       # more than net.core.rmem_max, for root
_ETH_P_ALL = 3
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6


def _segment(frame):
    """((address, port) of source and of destination, payload) of a frame with TCP in it, or None."""
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
    ports = [int.from_bytes(tcp[at:at + 2], "big") for at in (0, 2)]
    return (*zip(ends, ports), tcp[(tcp[12] >> 4) * 4:])


class Sniffer:
    def __init__(self, namespace, interface):
        self._sock = namespace.run(socket.socket, socket.AF_PACKET, socket.SOCK_RAW,
                                   socket.htons(_ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 * 1024 * 1024)
        self._sock.bind((interface, _ETH_P_ALL))
        self._sock.settimeout(0.05)
        self._said = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while True:
            try:
                frame, (interface, _, kind, *_) = self._sock.recvfrom(1 << 17)
            except TimeoutError:
                if self._over.is_set():     # and nothing is waiting any more
                    return
                continue
            if interface == "lo" and kind == socket.PACKET_OUTGOING:    # comes in as well
                continue
            found = _segment(frame)
            if found:
                self._said.setdefault(found[:2], bytearray()).extend(found[2])

    def bytes_of(self, host):
        """One direction after the other, each at the beginning of a line."""
        return b"\n".join(bytes(said) for ends, said in list(self._said.items())
                          if host in (ends[0][0], ends[1][0]))

    def close(self):
        """Reads what is still waiting; silence proves nothing if the kernel had no room for a frame."""
        self._over.set()
        self._thread.join()
        counted = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._sock.close()
        assert struct.unpack("II", counted)[1] == 0, "frames were lost"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
