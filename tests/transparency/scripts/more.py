"""What servers in Python use: processes, threads, signals, sockets, compression, digests, numbers, databases."""
import asyncio
import bz2
import collections
import concurrent.futures
import ctypes
import datetime
import decimal
import fractions
import hashlib
import json
import lzma
import multiprocessing
import os
import pickle
import random
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import xml.etree.ElementTree as tree
import zlib


def digests():
    data = random.Random(1).randbytes(100000)
    for name in sorted(("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b", "blake2s")):
        print(name, hashlib.new(name, data).hexdigest())
    for codec in (zlib, bz2, lzma):
        packed = codec.compress(data[:5000] * 20)
        print(codec.__name__, len(packed), codec.decompress(packed) == data[:5000] * 20)
    print(hashlib.scrypt(b"a", salt=b"b", n=64, r=8, p=1).hex(), hashlib.pbkdf2_hmac("sha256", b"a", b"b", 500).hex())


def numbers():
    decimal.getcontext().prec = 60
    print(decimal.Decimal(2).sqrt(), decimal.Decimal(1).exp(), fractions.Fraction(355, 113) ** 5, 3 ** 2000 % 10 ** 40, float.hex(0.1) + repr(1e300 * 1e10))
    print([struct.pack("<dfqH", 1.5, 2.5, -3, 4).hex(), round(2.675, 2), divmod(-7, 3), int("z" * 30, 36)])
    try:
        1 // 0
    except ZeroDivisionError as error:
        print(error)


def square(n):
    return n * n


def processes():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sum(pool.map(square, range(500))))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"from the child")
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.read(read, 100))
    print(subprocess.run(["sh", "-c", "cat; exit 3"], input=b"through a pipe", capture_output=True))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print(sum(pool.map(lambda n: zlib.crc32(bytes([n % 256]) * 5000), range(300))))


def signals():
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while len(seen) < 20:
        re.findall(r"(a|b)*c", "abababc" * 50)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("alarms", len(seen) >= 20)


def recursion(depth=0):
    try:
        return recursion(depth + 1)
    except RecursionError:
        return depth > 100


async def talk():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def ask(n):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"line %d\n" % n)
        line = await reader.read()
        writer.close()
        return line
    print(b"".join(await asyncio.gather(*(ask(n) for n in range(40)))))
    server.close()


def database():
    base = sqlite3.connect(":memory:")
    base.create_function("twice", 1, lambda x: x * 2)
    base.execute("create table t (a, b)")
    base.executemany("insert into t values (?, ?)", ((n, str(n) * 3) for n in range(500)))
    print(base.execute("select sum(twice(a)), max(b), count(distinct length(b)) from t").fetchall())


def others():
    root = tree.fromstring("<a><b x='1'>text</b>" + "<c/>" * 200 + "</a>")
    print(len(root), root[0].attrib, tree.tostring(root)[:30])
    print(pickle.loads(pickle.dumps(collections.Counter("abracadabra"))), json.loads(json.dumps({"x": [1.5, None, "\u00e4"]})))
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 50)(*[n * 37 % 50 for n in range(50)])
    ctypes.CDLL(None).qsort(values, 50, 4, compare(lambda a, b: a[0] - b[0]))
    print(list(values) == list(range(50)), datetime.date(2024, 2, 29) + datetime.timedelta(365))
    local, told = threading.local(), []

    def work(n):
        local.n = n
        told.append(local.n)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    print(sorted(told))


if __name__ == "__main__":
    for part in (digests, numbers, processes, signals, database, others):
        part()
        sys.stdout.flush()
    print(recursion())
    asyncio.run(talk())
