"""What the end-to-end runners share: finding the build, compiling their programs, running commands, counting.

A runner prints one line for each failed test (with --verbose for every one) and ends with
`NAME: N passed, N failed[, N skipped]`; its exit status is 1 when any failed."""

import argparse
import collections
import concurrent.futures
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Ran:
    """One finished command. `status` is as a shell gives it: 128 + N for death by signal N; None: timed out."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


def run(command, *, stdin=b"", cwd=None, env=None, timeout=120):
    """Runs a command in a session of its own, so that a hung one is ended with all its children."""
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}
    for name in ("TESTUDO_STEM", "TESTUDO_KNOBS", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    environment.update(env or {})
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, cwd=cwd, env=environment, start_new_session=True)
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        end_session(process)
        out, err = process.communicate()
        return Ran(None, out, err)
    status = process.returncode
    return Ran(128 - status if status < 0 else status, out, err)


def end_session(process):
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass


COMPILING = collections.defaultdict(threading.Lock)


def compile_program(output, sources, flags, compiler="gcc", depends=()):
    """Compiles unless `output` is newer than everything it is made from. Returns an error text or None. Tests of one program that run
    side by side compile it once."""
    with COMPILING[output]:
        return compile_once(output, sources, flags, compiler, depends)


def compile_once(output, sources, flags, compiler, depends):
    inputs = [pathlib.Path(source) for source in [*sources, *depends]]
    stamp = output.with_name(output.name + ".flags")
    wanted = " ".join([compiler, *flags])
    if output.exists() and stamp.exists() and stamp.read_text() == wanted:
        if all(source.stat().st_mtime <= output.stat().st_mtime for source in inputs):
            return None
    output.parent.mkdir(parents=True, exist_ok=True)
    libraries = [flag for flag in flags if flag.startswith("-l")]
    others = [flag for flag in flags if not flag.startswith("-l")]
    ran = run([compiler, *others, "-o", output, *sources, *libraries])
    if ran.status != 0:
        output.unlink(missing_ok=True)
        return ran.err.decode(errors="replace").strip()
    stamp.write_text(wanted)
    return None


class Suite:
    """Options, tally and the pool of two workers of one runner."""

    def __init__(self, name, description, options=None):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--build", default=str(ROOT / "build"), help="build directory (default: build)")
        parser.add_argument("--only", default="*", metavar="PATTERN", help="run only tests whose name matches")
        parser.add_argument("--jobs", type=int, default=2)
        parser.add_argument("--verbose", action="store_true", help="a line for every test, passed ones too")
        if options:
            options(parser)
        self.name, self.arguments = name, parser.parse_args()
        self.build = pathlib.Path(self.arguments.build).resolve()
        self.testudo = self.build / "testudo"
        self.work = self.build / "tests" / name
        self.passed = self.failed = self.skipped = 0
        self.names = set()

    def wants(self, name):
        pattern = self.arguments.only
        return fnmatch.fnmatchcase(name, pattern if re.search(r"[*?\[]", pattern) else f"*{pattern}*")

    def need_testudo(self):
        if not self.testudo.exists():
            print(f"{self.name}: {self.testudo} is missing: build it with make, or name the folder with --build", file=sys.stderr)
            raise SystemExit(3)

    def record(self, name, problem=None, skipped=False):
        if problem is None and skipped is False:
            self.passed += 1
            if self.arguments.verbose:
                print(f"ok    {name}", flush=True)
        elif skipped:
            self.skipped += 1
            print(f"skip  {name}: {skipped}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {name}: {problem}", flush=True)

    def run_all(self, tests):
        """`tests`: (name, function) pairs. The function returns None, a text that says what was wrong, or raises Skip."""
        chosen = [(name, function) for name, function in tests if self.wants(name)]
        with concurrent.futures.ThreadPoolExecutor(self.arguments.jobs) as pool:
            for name, future in [(name, pool.submit(function)) for name, function in chosen]:
                try:
                    self.record(name, future.result())
                except Skip as reason:
                    self.record(name, skipped=str(reason))
                except Exception as error:  # a broken test must not hide the others
                    self.record(name, f"{type(error).__name__}: {error}")

    def finish(self):
        tail = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.name}: {self.passed} passed, {self.failed} failed{tail}", flush=True)
        raise SystemExit(1 if self.failed or not self.passed + self.skipped else 0)


class Skip(Exception):
    """The machine lacks what the test needs."""


def have(program):
    return shutil.which(program) is not None


def short(data, limit=300):
    """Output for a message: one line, cut."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
    text = " | ".join(line for line in text.splitlines() if line.strip())
    return text if len(text) <= limit else text[: limit // 2] + " ... " + text[-limit // 2:]


def scratch(prefix):
    return tempfile.TemporaryDirectory(prefix=f"testudo-{prefix}-")
