# SPDX-License-Identifier: ISC
"""Fixtures of the interoperability tests: private roots with real programs in them."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

import clients  # noqa: E402
import ehlock  # noqa: E402
import roots as roots_module  # noqa: E402
from backend import Backend  # noqa: E402
from ehlock import Ehlock  # noqa: E402
from pytest_plugin import fresh_instances, pki  # noqa: E402,F401
from roots import Root  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for instance in ehlock.instances:
            report.sections.append(("ehlock", instance.report()))
        for name in getattr(item, "used_roots", []):
            for root in roots_module.instances:
                if root.name == name:
                    report.sections.append((f"root {name}", root.report()))


@pytest.fixture(scope="session")
def archives():
    """Where roots are kept between two of them; $EHLOCK_TEST_ROOTS, or forgotten at the end."""
    given = os.environ.get("EHLOCK_TEST_ROOTS")
    if given:
        Path(given).mkdir(parents=True, exist_ok=True)
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="ehlock-roots-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def roots(archives):
    """roots(name, packages): a new private root, which lives until the end of the module."""
    reason = roots_module.why_impossible()
    if reason:
        pytest.skip(reason)
    made = []

    def get(name, packages):
        made.append(Root(name, packages, archives))
        return made[-1].start()

    yield get
    for root in made:
        root.stop()


@pytest.fixture(scope="module")
def root_of(roots):
    """root_of(client): the root that has its packages, shared by all tests of a file."""
    made = {}

    def get(client):
        name = "clients" if client.packages is clients.PACKAGES else client.name
        if name not in made:
            made[name] = roots(name, client.packages)
        return made[name]

    return get


@pytest.fixture
def recorder():
    """A plaintext mail server that remembers every byte."""
    with Backend() as server:
        yield server


@pytest.fixture
def wrap(tmp_path, pki):  # noqa: F811
    """wrap(backend, **options) starts ehlock in front of a backend."""
    running = []

    def start(backend, leaf=None, **options):
        options = {"spareWorkers": 3, **options}
        proxy = Ehlock.wrap(tmp_path, backend.address, leaf or pki.ecdsa, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()
