# SPDX-License-Identifier: ISC
"""XCLIENT, as seen by a backend that takes it."""

from backend import Backend

OFFER = "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"
AGAIN = b"220 backend.example.org again\r\n"


def xclient_backend(offer=OFFER, **more):
    """A backend that offers this and greets anew when it is told of a client."""
    return Backend(keywords=["SIZE 1000000", offer, "8BITMIME"], replies={"XCLIENT": AGAIN}, **more)


def attributes(command):
    """What an XCLIENT command says."""
    verb, *words = command.decode().split(" ")
    assert verb == "XCLIENT"
    return dict(word.split("=", 1) for word in words)
