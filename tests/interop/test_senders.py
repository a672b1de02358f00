# SPDX-License-Identifier: ISC
"""Real mail servers that deliver through ehlock, and verify whom they deliver to."""

import pytest

import mtas
import senders
from clients import HOSTNAME, IMPLICIT, STARTTLS, TRUST, Job
from messages import LINES, SENDER, assert_same, message, received_text
from roots import NAME
from senders import RCPT


@pytest.fixture(scope="module", params=senders.ALL, ids=lambda kind: kind.name)
def installed(request, roots):
    """One sending server and the root with its packages."""
    return request.param, roots(request.param.name, request.param.packages)


@pytest.fixture
def sender(installed, request, pki):
    """sender(proxy, way): the server, configured to deliver through the proxy."""
    kind, root = installed
    request.node.used_roots = [root.name]

    def configured(proxy, way=STARTTLS, ca=None):
        file = root.write("/srv/ca.pem", (ca or pki.ca).read_bytes())
        return kind(root, Job(proxy.address[1], way, file, message(LINES)))

    return configured


@pytest.mark.parametrize("way", [STARTTLS, IMPLICIT])
def test_queued_message_is_delivered_byte_for_byte_and_verified(way, sender, wrap, recorder):
    proxy = wrap(recorder, implicitTls=way == IMPLICIT)
    with sender(proxy, way) as mta:
        mta.submit()
        mta.wait_says(mta.sent)
        assert mta.says(mta.verified), "its own log says that the certificate was verified"
    assert len(recorder.messages) == 1
    arrived = recorder.messages[0]
    assert arrived.sender.split()[0] == f"FROM:<{SENDER}>".encode()
    assert [rcpt.split()[0] for rcpt in arrived.rcpts] == [f"TO:<{RCPT}>".encode()]
    assert_same(received_text(arrived), mta.job.message, mta.added)
    summary = proxy.summary()
    assert (summary["tls"], summary["accepted"]) == ("TLS1.3", "1")


@pytest.mark.parametrize("check", [TRUST, HOSTNAME])
def test_message_stays_in_the_queue_where_the_certificate_is_wrong(check, sender, wrap, recorder,
                                                                   pki):
    proxy = wrap(recorder, leaf=pki.second if check == HOSTNAME else None)
    with sender(proxy, ca=pki.other_ca if check == TRUST else None) as mta:
        mta.submit()
        mta.wait_says(mta.refused)
        assert not mta.says(mta.sent) and not mta.says(mta.verified)
    assert not recorder.messages
    assert proxy.summary()["mail"] == "0"


@pytest.fixture(scope="module")
def postfix_root(roots):
    return roots("posttls-finger", mtas.Postfix.packages)


@pytest.fixture
def finger(postfix_root, request, pki):
    """finger(proxy): what posttls-finger says at level secure. It sends no message. It asks the DNS
    for addresses, which there is none of here, and so it is given the address and the name."""
    def run(proxy, ca=None, *options):
        request.node.used_roots = [postfix_root.name]
        file = postfix_root.write("/srv/ca.pem", (ca or pki.ca).read_bytes())
        done = postfix_root.run("posttls-finger", "-c", "-l", "secure", "-F", file, "-L", "summary",
                                *options, f"[127.0.0.1]:{proxy.address[1]}", NAME,
                                check=False)
        return done.stdout.decode()

    return run


@pytest.mark.parametrize("way", [STARTTLS, IMPLICIT])
def test_posttls_finger_verifies_the_certificate(way, finger, wrap, recorder):
    proxy = wrap(recorder, implicitTls=way == IMPLICIT)
    said = finger(proxy, None, *(["-w"] if way == IMPLICIT else []))
    assert "Verified TLS connection established to 127.0.0.1" in said
    assert proxy.summary()["outcome"] == "done"


@pytest.mark.parametrize("check", [TRUST, HOSTNAME])
def test_posttls_finger_does_not_verify_a_wrong_certificate(check, finger, wrap, recorder, pki):
    proxy = wrap(recorder, leaf=pki.second if check == HOSTNAME else None)
    said = finger(proxy, pki.other_ca if check == TRUST else None)
    assert "TLS connection established" in said and "Verified" not in said
