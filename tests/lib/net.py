# SPDX-License-Identifier: ISC
"""Sockets, free ports and waiting for events with a deadline."""

import os
import random
import socket
import struct
import time

# How long anything may take before a test gives up; only a failing test ever waits that long.
DEADLINE = float(os.environ.get("EHLOCK_TEST_DEADLINE", "20"))

# Ports below the range from which the kernel takes those of outgoing connections: nobody can
# snatch one between our look and the program's bind.
_PORTS = range(15000, 32000)
_random = random.Random(os.getpid() ^ time.time_ns())
_given = set()


def free_port(host="127.0.0.1"):
    """A TCP port that nobody uses and that this process has not given out before."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(2000):
        port = _random.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port")


def text_of(address):
    """An address as the configuration writes it: HOST:PORT or a path."""
    if isinstance(address, str):
        return address
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family_of(address):
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def connect(address, timeout=DEADLINE, source=None):
    """A connected stream socket without Nagle's delay."""
    sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        if source:
            sock.bind((source, 0))
        sock.connect(address)
        nodelay(sock)
    except OSError:
        sock.close()
        raise
    return sock


def listen(address, backlog=1024):
    sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    if isinstance(address, str):
        os.chmod(address, 0o666)    # for a program that has given up its rights
    sock.listen(backlog)
    return sock


def nodelay(sock):
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(sock):
    """Close so that the peer sees RST, not FIN."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait_until(condition, what, timeout=DEADLINE):
    """Wait until condition() is true and return its value; fail naming what was awaited."""
    end = time.monotonic() + timeout
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
