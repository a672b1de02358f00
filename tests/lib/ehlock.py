# SPDX-License-Identifier: ISC
"""The program under test: configured, started, watched, stopped.

    with Ehlock.wrap(tmp_path, backend.address, pki.ecdsa, tlsLevel="encrypt") as proxy:
        with Client(proxy.address) as client: ...
        assert proxy.summary()["outcome"] == "done"
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import procfs
from net import DEADLINE, free_port, text_of, wait_until

ROOT = Path(__file__).resolve().parents[2]
_SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:"
                        r"|ERROR: .*Sanitizer")
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')

# What ran during the present test: its logs are printed when the test fails (pytest_plugin.py).
instances = []


def program():
    """The program's path: $EHLOCK, or the one that was built in build/."""
    return Path(os.environ.get("EHLOCK", ROOT / "build" / "ehlock")).resolve()


def sanitized():
    """True for a build with sanitizers, which is several times slower and needs more memory."""
    return b"__asan_init" in program().read_bytes()


def environment(extra=None):
    env = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    # The leak checker traces its parent, which no jail allows.
    env.setdefault("ASAN_OPTIONS", "detect_leaks=0:quarantine_size_mb=16")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    env.update(extra or {})
    return env


def run(*args, timeout=DEADLINE, env=None, cwd=None):
    """Run the program to its end; gives subprocess.CompletedProcess with text output."""
    return subprocess.run([str(program()), *map(str, args)], capture_output=True, text=True,
                          errors="backslashreplace", timeout=timeout, env=environment(env), cwd=cwd)


def options_text(options):
    """Lines NAME = VALUE; a list repeats the name, None leaves it out."""
    lines = []
    for name, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is None:
                continue
            if isinstance(one, bool):
                one = "yes" if one else "no"
            lines.append(f"{name} = {one}")
    return "".join(line + "\n" for line in lines)


def section(name, **options):
    return f"[{name}]\n" + options_text(options)


def global_part(**options):
    return options_text({"foreground": True, "debug": "info", "TIMEOUTdrain": 2, **options})


def parse_pairs(text):
    """The pairs of a summary line; anything else behind the first pair is an error."""
    text = text[text.index("service="):]
    rest = _PAIR.sub("", text).strip()
    assert not rest, f"not key=value: {rest!r} in {text!r}"
    pairs = {}
    for name, value in _PAIR.findall(text):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        pairs[name] = value
    return pairs


def processes():
    """pid -> (parent, title) of everything that runs."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            found[int(entry.name)] = (int(parent), title.strip())
    return found


class Ehlock:
    """One running program. Give the whole text of the configuration, or use wrap()."""

    def __init__(self, directory, text, args=(), env=None, command=None, pass_fds=()):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.text = text
        self.config = self.directory / f"ehlock-{len(instances)}-{time.monotonic_ns()}.conf"
        self.config.write_text(text)
        self.args = [str(arg) for arg in args]
        self.command = command or []
        self.pass_fds = pass_fds
        self.env = env
        self.address = None
        self.lines = []
        self.process = None
        self._reader = None
        instances.append(self)

    @classmethod
    def wrap(cls, directory, backend, leaf, globals_=None, name="smtp", **options):
        """One service in front of one backend; options override or, with None, remove defaults."""
        address = ("127.0.0.1", free_port())
        settings = {
            "accept": text_of(address),
            "connect": text_of(backend),
            "protocol": "smtp",
            "cert": leaf and leaf.cert,
            "key": leaf and leaf.key,
            **options,
        }
        proxy = cls(directory, global_part(**(globals_ or {})) + section(name, **settings))
        proxy.address = address
        return proxy

    # -- life

    def start(self, wait=True):
        self.process = subprocess.Popen(
            [*self.command, str(program()), *self.args, str(self.config)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=environment(self.env), pass_fds=self.pass_fds, start_new_session=True)
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        if wait:
            wait_until(lambda: self._says("ready") or self.process.poll() is not None,
                       "the program says ready\n" + self.log, 3 * DEADLINE)
            assert self._says("ready"), f"ended at start ({self.process.returncode}):\n{self.log}"
        return self

    def _collect(self):
        for line in self.process.stderr:
            self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))

    def _says(self, word):
        return any(word in line for line in self.lines)

    def stop(self, signum=signal.SIGTERM, timeout=DEADLINE, leave=()):
        """End it in the ordinary way; whatever is not a clean end is a failure. Those in `leave` are
        not of the program, though its children."""
        if self.process is None:
            return
        family = {self.process.pid, *self.descendants()} - set(leave)
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout:g} s of signal {signum}\n{self.log}")
        self._reader.join(timeout)
        wait_until(lambda: not [pid for pid in family if pid in processes()
                                and "ehlock" in processes()[pid][1]],
                   "every process of the program is gone")
        status, self.process = self.process.returncode, None
        assert status == 0, f"exit status {status}\n{self.log}"
        self.check_health()

    def kill(self):
        """The end without manners, for cleaning up."""
        if self.process is None:
            return
        family = [*self.descendants(), self.process.pid]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self._reader.join(2)
        self.process = None

    def check_health(self):
        """No sanitizer spoke and no worker crashed."""
        bad = [line for line in self.lines if _SANITIZER.search(line)]
        assert not bad, f"sanitizer report:\n{self.log}"
        crashed = [line for line in self.lines
                   if re.search(r"signal (4|6|7|8|11|31)\b|SIG(SEGV|ABRT|SYS|BUS|ILL|FPE)"
                                r"|Segmentation|Bad system call|Aborted", line)]
        assert not crashed, f"a process crashed:\n{self.log}"

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.kill()
            print(self.report(), file=sys.stderr)
            return
        self.stop()

    # -- the configuration

    def rewrite(self, text):
        """Another configuration, for the next reload."""
        self.text = text
        fresh = self.config.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.config)

    def reload(self, text=None, timeout=DEADLINE):
        """Have it read again; waits until the log tells what has come of it, and gives that line."""
        if text is not None:
            self.rewrite(text)
        before = self.count_log(r"reloaded[:,]")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.count_log(r"reloaded[:,]") > before, "the reload", timeout)
        return [line for line in list(self.lines) if re.search(r"reloaded[:,]", line)][before]

    # -- what can be seen of it

    @property
    def log(self):
        return "\n".join(self.lines)

    def report(self, most=80):
        """The configuration and the log, of a long one its two ends."""
        lines = list(self.lines)
        if len(lines) > most:
            lines[most // 2:-most // 2] = [f"[{len(lines) - most} lines left out]"]
        log = "\n".join(lines)
        return f"--- {self.config}\n{self.text}--- log\n{log}\n---"

    def wait_log(self, pattern, timeout=DEADLINE):
        """Wait for a log line that the regular expression matches; gives the match."""
        def look():
            for line in list(self.lines):
                match = re.search(pattern, line)
                if match:
                    return match
            return None
        return wait_until(look, f"log line {pattern!r}\n{self.log}", timeout)

    def count_log(self, pattern):
        return sum(1 for line in list(self.lines) if re.search(pattern, line))

    def summaries(self):
        return [parse_pairs(line) for line in list(self.lines)
                if " outcome=" in line and "service=" in line]

    def summary(self, number=1, timeout=DEADLINE):
        """The number-th session's summary, counted from 1; waits until it is there."""
        wait_until(lambda: len(self.summaries()) >= number, f"summary line {number}", timeout)
        return self.summaries()[number - 1]

    @property
    def pid(self):
        return self.process.pid

    def descendants(self):
        everything = processes()
        family, grown = {self.process.pid}, True
        while grown:
            more = {pid for pid, (parent, _) in everything.items() if parent in family} - family
            family |= more
            grown = bool(more)
        return sorted(family - {self.process.pid})

    def _titled(self, word):
        everything = processes()
        return [pid for pid in self.descendants()
                if pid in everything and f"ehlock: {word}" in everything[pid][1]]

    def keepers(self):
        return self._titled("keeper")

    def resolvers(self):
        return self._titled("resolver")

    def zygotes(self, service=""):
        """Not their children, which have that title, too, until they are in their jail."""
        titled, everything = self._titled(f"zygote {service}".strip()), processes()
        return [pid for pid in titled if pid in everything and everything[pid][0] not in titled]

    def workers(self, service=""):
        return self._titled(f"worker {service}".strip())

    def wait_workers(self, number, service=""):
        """Exactly that many, each of them with its walls; gives them."""
        def look():
            found = self.workers(service)
            return found if len(found) == number else None
        return wait_until(look, f"{number} workers\n{self.log}")

    def zombies(self):
        """Those that have ended and that nobody has asked for yet."""
        return [pid for parent in [self.pid, *self.zygotes()] for pid in procfs.zombies(parent)]
