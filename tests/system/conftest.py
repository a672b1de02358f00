# SPDX-License-Identifier: ISC
"""Fixtures of the system tests: a backend, and the program in front of it."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import ehlock  # noqa: E402
from backend import Backend  # noqa: E402
from ehlock import Ehlock  # noqa: E402
from pytest_plugin import fresh_instances, pki, pytest_runtest_makereport  # noqa: E402,F401

# Sanitizers need what a sandbox forbids, so that build has none and nothing to test here.
collect_ignore = ["test_walls.py", "test_security_page.py"] if ehlock.sanitized() else []


@pytest.fixture
def backend():
    with Backend() as server:
        yield server


@pytest.fixture
def wrap(tmp_path, pki):  # noqa: F811
    """wrap(backend, **options) starts the program in front of a backend (or an address)."""
    running = []

    def start(backend, leaf=None, **options):
        address = getattr(backend, "address", backend)
        # Few spare workers make a start cheap; the default number has its own test.
        options = {"spareWorkers": 3, **options}
        proxy = Ehlock.wrap(tmp_path, address, leaf or pki.ecdsa, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()


@pytest.fixture
def public_dir():
    """A directory that the unprivileged processes can reach, as they cannot tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="ehlock-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
