# SPDX-License-Identifier: ISC
"""What every conftest.py here shares: the test PKI, and the program's log when a test fails.

A conftest.py takes it by
    from pytest_plugin import fresh_instances, pki, pytest_runtest_makereport
"""

import pytest

import ehlock
from pki import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(autouse=True)
def fresh_instances():
    ehlock.instances.clear()
    yield
    for instance in ehlock.instances:
        instance.kill()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for instance in ehlock.instances:
            report.sections.append(("ehlock", instance.report()))
