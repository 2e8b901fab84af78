"""The programs of Debian that the transparency tests run, each with its input made from a fixed seed."""

import json
import os
import pathlib
import random
import shutil

SCRIPTS = pathlib.Path(__file__).resolve().parent / "scripts"
NEW_YEAR = 1704067200


class Case:
    """`command` runs in a folder that holds `inputs` (name: content) and the scripts it names. With `quick` it is part of
    the short run."""

    def __init__(self, name, command, *, inputs=(), stdin="", quick=False):
        self.name, self.command, self.inputs, self.stdin, self.quick = name, command, list(inputs), stdin, quick

    def missing(self):
        return None if shutil.which(self.command[0]) else f"{self.command[0]} is not installed"

    def lay_out(self, folder):
        for name in self.inputs:
            target = folder / name
            target.write_bytes((SCRIPTS / name).read_bytes() if (SCRIPTS / name).exists() else INPUTS[name]())
            target.chmod(0o644)
            os.utime(target, (NEW_YEAR, NEW_YEAR))

    def stdin_bytes(self):
        return INPUTS[self.stdin]() if self.stdin else b""


def prose(seed, words):
    generator = random.Random(seed)
    stock = ["".join(generator.choice("etaoinshrdlucmfwypvbgkqjxz") for _ in range(generator.randint(2, 9))) for _ in range(400)]
    lines, line = [], []
    for _ in range(words):
        line.append(stock[min(int(generator.expovariate(0.01)), 399)])
        if len(line) > generator.randint(6, 14):
            lines.append(" ".join(line))
            line = []
    return ("\n".join(lines) + "\n").encode()


def records(seed, count):
    generator = random.Random(seed)
    rows = [{"id": i, "name": f"n{generator.randrange(999)}", "price": round(generator.random() * 100, 2), "ok": generator.random() < 0.5,
             "tags": generator.sample(["red", "green", "blue", "äöü", "a\"b"], 2), "sub": {"x": generator.randrange(-50, 50), "y": None}}
            for i in range(count)]
    return "\n".join(json.dumps(row) for row in rows).encode() + b"\n"


def broken(data):
    return data[:2000] + bytes(byte ^ 0x55 for byte in data[2000:2040]) + data[2040:]


def compressed(how, data):
    import bz2
    import gzip
    import lzma
    return {"bz2": lambda: bz2.compress(data), "gz": lambda: gzip.compress(data, mtime=0), "xz": lambda: lzma.compress(data)}[how]()


INPUTS = {
    "prose.txt": lambda: prose(1, 40000),
    "short.txt": lambda: prose(2, 300),
    "noise.bin": lambda: random.Random(3).randbytes(120000),
    "zeros.bin": lambda: bytes(400000),
    "empty": lambda: b"",
    "prose.bz2": lambda: compressed("bz2", prose(1, 40000)),
    "prose.gz": lambda: compressed("gz", prose(1, 40000)),
    "prose.xz": lambda: compressed("xz", prose(1, 40000)),
    "broken.bz2": lambda: broken(compressed("bz2", prose(1, 40000))),
    "broken.gz": lambda: broken(compressed("gz", prose(1, 40000))),
    "cut.xz": lambda: compressed("xz", prose(1, 40000))[:5000],
    "records.json": lambda: records(4, 600),
    "bad.json": lambda: records(5, 3) + b'{"cut": [1, 2',
    "mixed.sql": lambda: (SCRIPTS / "mixed.sql").read_bytes(),
    "filter.jq": lambda: b'def f(n): if n == 0 then 1 else n * f(n - 1) end; [.[] | select(.ok) | {n: .name, f: f(.id % 8)}] | .[:20]',
}

CASES = [
    Case("bzip2-9", ["bzip2", "-9", "-k", "prose.txt", "zeros.bin"], inputs=["prose.txt", "zeros.bin"], quick=True),
    Case("bzip2-1-stdin", ["bzip2", "-1", "-c"], stdin="noise.bin"),
    Case("bzip2-small", ["bzip2", "-s", "-v", "short.txt", "empty"], inputs=["short.txt", "empty"]),
    Case("bzip2-test", ["bzip2", "-tvv", "prose.bz2"], inputs=["prose.bz2"]),
    Case("bzip2-broken", ["bzip2", "-d", "broken.bz2"], inputs=["broken.bz2"], quick=True),
    Case("bzip2-missing", ["bzip2", "none.txt"]),
    Case("bunzip2", ["bunzip2", "prose.bz2"], inputs=["prose.bz2"], quick=True),
    Case("gzip-9", ["gzip", "-9", "-v", "prose.txt", "zeros.bin", "noise.bin"], inputs=["prose.txt", "zeros.bin", "noise.bin"], quick=True),
    Case("gzip-1-stdin", ["gzip", "-1"], stdin="prose.txt"),
    Case("gzip-decompress", ["gzip", "-d", "-k", "prose.gz"], inputs=["prose.gz"], quick=True),
    Case("gzip-list", ["gzip", "-l", "prose.gz"], inputs=["prose.gz"]),
    Case("gzip-broken", ["gzip", "-t", "broken.gz"], inputs=["broken.gz"]),
    Case("xz-6", ["xz", "-6", "-k", "prose.txt"], inputs=["prose.txt"]),
    Case("xz-threads", ["xz", "-T2", "--block-size=64KiB", "-c", "prose.txt"], inputs=["prose.txt"]),
    Case("xz-decompress", ["xz", "-d", "prose.xz"], inputs=["prose.xz"]),
    Case("xz-cut", ["xz", "-t", "cut.xz"], inputs=["cut.xz"]),
    Case("jq-identity", ["jq", "-S", "."], stdin="records.json", quick=True),
    Case("jq-aggregate", ["jq", "-s", "-c", "group_by(.name) | map({name: .[0].name, n: length, sum: (map(.price) | add)}) | sort_by(-.n, .name) | .[:30]"],
         stdin="records.json", quick=True),
    Case("jq-paths", ["jq", "-c", "[paths(scalars)] | length, ([.tags[] | test(\"^[a-g]\")] | any), (.name | gsub(\"n(?<d>[0-9])\"; \"<\\(.d)>\"))"],
         stdin="records.json"),
    Case("jq-program", ["jq", "-s", "-f", "filter.jq"], inputs=["filter.jq"], stdin="records.json"),
    Case("jq-reduce", ["jq", "-n", "[limit(50; range(1000) | select(. % 7 == 3))] | reduce .[] as $x (0; . + $x * $x), (now | type), @base64 \"x\\(1 + 2)\", (\"a,b\" | split(\",\")), ([3, 1, 2] | sort | tojson), (try error(\"e\") catch .), input_line_number"]),
    Case("jq-bad", ["jq", "."], stdin="bad.json", quick=True),
    Case("jq-syntax", ["jq", ".["], stdin="records.json"),
    Case("lua", ["lua5.4", "mixed.lua"], inputs=["mixed.lua"], quick=True),
    Case("lua-error", ["lua5.4", "broken.lua"], inputs=["broken.lua"], quick=True),
    Case("sqlite", ["sqlite3", "test.db"], stdin="mixed.sql", quick=True),
    Case("sqlite-memory", ["sqlite3", "-header", "-box", ":memory:", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
                           "SELECT i % 9 AS k, count(*), total(i * 1.5), group_concat(i, '+') FROM n GROUP BY k"]),
    Case("perl", ["perl", "mixed.pl"], inputs=["mixed.pl", "list.txt"], quick=True),
    Case("perl-one-liner", ["perl", "-ne", "$h{length $_}++; END { print map { \"$_ $h{$_}\\n\" } sort { $a <=> $b } keys %h }", "prose.txt"], inputs=["prose.txt"]),
    Case("python", ["python3", "-S", "-E", "mixed.py"], inputs=["mixed.py"]),
    Case("openssl-digest", ["openssl", "dgst", "-sha256", "prose.txt", "noise.bin"], inputs=["prose.txt", "noise.bin"]),
    Case("openssl-cipher", ["openssl", "enc", "-aes-256-cbc", "-K", "00" * 32, "-iv", "11" * 16, "-base64", "-in", "short.txt"], inputs=["short.txt"]),
    Case("openssl-many", ["bash", "-c", "for c in aes-128-ctr aes-256-gcm chacha20 camellia-128-cbc aria-256-cbc des-ede3-cbc; do openssl enc -$c -K $(printf 5a%.0s {1..32}) -iv $(printf 11%.0s {1..16}) "
                          "-in prose.txt 2>&1 | sha256sum; done; for d in md5 sha1 sha512 sha3-256 blake2b512 sm3 ripemd160; do openssl dgst -$d noise.bin 2>&1; done; openssl prime 1000003; "
                          "openssl prime -generate -bits 64 | wc -c; openssl rand -hex 20 | wc -c; openssl genpkey -algorithm ed25519 -out k; openssl pkeyutl -sign -inkey k -rawin -in short.txt -out s; "
                          "openssl pkeyutl -verify -inkey k -rawin -in short.txt -sigfile s; openssl asn1parse -in k | cut -d: -f3- | grep -v DUMP; rm k s"],
         inputs=["prose.txt", "noise.bin", "short.txt"]),
    Case("python-more", ["/usr/bin/python3", "-E", "more.py"], inputs=["more.py"]),
    Case("sort", ["sort", "-k2", "-u", "prose.txt"], inputs=["prose.txt"], quick=True),
    Case("grep", ["grep", "-nEi", "([a-z])\\1.*[xyz]{2}", "prose.txt"], inputs=["prose.txt"]),
    Case("sed", ["sed", "-E", "s/([a-z]+) ([a-z]+)/\\2 \\1/g; 3,$ { /q/d }", "prose.txt"], inputs=["prose.txt"]),
    Case("awk", ["awk", "{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) if (n[w] > 50) print n[w], w | \"sort -rn\" }", "prose.txt"], inputs=["prose.txt"]),
    Case("tar", ["tar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf", "out.tar.gz", "prose.txt", "noise.bin"], inputs=["prose.txt", "noise.bin"]),
    Case("bash", ["bash", "-c", "f() { local i; for i in {1..200}; do echo $((i * $1 % 7)); done; }; f 3 | sort | uniq -c; x=(a b c); echo ${x[@]/b/z} ${#x[@]}; "
                  "trap 'echo trapped' EXIT; read -r l < prose.txt; echo \"${l^^}\"; (exit 4) || echo $?; [[ abc =~ b(.) ]] && echo ${BASH_REMATCH[1]}; exit 8"], inputs=["prose.txt"]),
]
