# SPDX-License-Identifier: ISC
"""The load generator and the cheap backend of tests/bench, beside the program under test.

    with Sink() as sink, proxy in front of sink.address:
        with Load(port, clients=8, seconds=20) as load:
            ...                             # while it runs
        load.result["failed"]
"""

import json
import subprocess

import ehlock
import net


def tool(name):
    """The path of bench-NAME; built when it is not there."""
    path = ehlock.program().parent / "tests" / "bench" / f"bench-{name}"
    if not path.exists():
        subprocess.run(["ninja", "-C", ehlock.program().parent, f"tests/bench/bench-{name}"],
                       check=True, stdout=subprocess.DEVNULL)
    return str(path)


class Sink:
    """A mail server that forgets everything, in one process."""

    def __enter__(self):
        self.address = ("127.0.0.1", net.free_port())
        self.process = subprocess.Popen([tool("sink"), str(self.address[1])],
                                        env=ehlock.environment())

        def answers():
            assert self.process.poll() is None, "bench-sink has ended"
            try:
                net.connect(self.address).close()
                return True
            except OSError:
                return False
        net.wait_until(answers, "bench-sink answers")
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()


class Load:
    """Sessions with STARTTLS and one message each; options are those of bench-load."""

    def __init__(self, port, **options):
        words = [word for name, value in options.items()
                 for word in ([f"--{name}"] if value is True else [f"--{name}", str(value)])]
        self.command = [tool("load"), *words, str(port)]
        self.result = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=ehlock.environment())
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.process.kill()
        out, err = self.process.communicate()
        if kind is None:
            assert out.startswith("{"), f"bench-load said nothing: {err}"
            self.result = json.loads(out)

    @property
    def runs(self):
        return self.process.poll() is None
