"""A private Apache with mod_fragile for the runners: started natively or under any command, talked to over loopback,
and taken down with everything it started."""

import http.client
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODULES = "/usr/lib/apache2/modules"
LONG = "A" * 3000
# name, URL of the attack, how the child dies natively
ATTACKS = {
    "heap-overflow": ("/fragile/sign?name=" + LONG, "Segmentation fault"),
    "null-dereference": ("/fragile/price?item=toga", "Segmentation fault"),
    "stack-smash": ("/fragile/agent?name=" + LONG, "Abort"),
}
# The same pages, asked for as they are meant to be.
DECENT = ["/fragile/ok?name=marcus", "/fragile/sign?name=marcus%20tullius", "/fragile/price?item=shield",
          "/fragile/agent?name=Mozilla"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Apache:
    """Started by `with`. `prefix` goes before the server's command line, such as testudo run ... --."""

    def __init__(self, module, prefix=()):
        self.module, self.prefix, self.port = pathlib.Path(module), list(prefix), free_port()

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="testudo-apache-"))
        self.folder.chmod(0o755)
        shutil.copy(self.module, self.folder / "mod_fragile.so")  # the children's user may not reach the build
        identity = "User www-data\nGroup www-data" if os.geteuid() == 0 and has_user("www-data") else ""
        text = (ROOT / "examples" / "apache.conf.in").read_text()
        for key, value in {"PORT": self.port, "FOLDER": self.folder, "MODULES": MODULES, "IDENTITY": identity,
                           "FRAGILE": self.folder / "mod_fragile.so"}.items():
            text = text.replace(f"@{key}@", str(value))
        (self.folder / "apache.conf").write_text(text)
        self.output = open(self.folder / "output", "wb")
        command = [*map(str, self.prefix), "/usr/sbin/apache2", "-D", "FOREGROUND", "-f", self.folder / "apache.conf"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                        start_new_session=True)
        if not self.wait_ready():
            text = self.errors() + (self.folder / "output").read_text(errors="replace")
            self.__exit__()
            raise RuntimeError(f"apache did not start: {text}")
        return self

    def wait_ready(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if self.get("/fragile/ok")[0] == 200:
                return True
            time.sleep(0.05)
        return False

    def get(self, path):
        """Returns (status, body, pid of the child); status None when the connection broke."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), int(answer.headers.get("X-Fragile-Child") or 0)
        except (OSError, http.client.HTTPException):
            return None, "", 0
        finally:
            connection.close()

    def states(self, wanted=2, tries=200):
        """Each child's tally, by pid: asks until `wanted` children have answered."""
        seen = {}
        for _ in range(tries):
            status, body, child = self.get("/fragile/state")
            if status == 200:
                seen[child] = body
            if len(seen) >= wanted:
                break
        return seen

    def errors(self):
        log = self.folder / "error.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def has_user(name):
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False
