import collections, functools, json, re, struct, subprocess, sys, threading, zlib

class Node:
    __slots__ = ("key", "left", "right")
    def __init__(self, key):
        self.key, self.left, self.right = key, None, None

def insert(node, key):
    if node is None:
        return Node(key)
    if key < node.key:
        node.left = insert(node.left, key)
    elif key > node.key:
        node.right = insert(node.right, key)
    return node

def walk(node):
    if node:
        yield from walk(node.left)
        yield node.key
        yield from walk(node.right)

root = None
for i in range(500):
    root = insert(root, i * 7919 % 1009)
print(sum(walk(root)), sorted({k % 17 for k in walk(root)})[:5])

@functools.lru_cache(None)
def ways(n, coins=(1, 2, 5, 10, 20, 50)):
    return 1 if n == 0 else sum(ways(n - c) for c in coins if c <= n)
print(ways(60), 3 ** 200 % 10 ** 9, f"{2 / 3:.6f} {255:#x} {'ab':>5}")
print(collections.Counter(re.findall(r"\w+", "a b a c b a " * 30)).most_common(2), re.sub(r"(\d+)", lambda m: str(int(m[1]) * 2), "a1b22"))
try:
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("outer") from error
except ValueError as error:
    print(repr(error), repr(error.__cause__))
text = json.dumps({"list": list(range(20)), "nested": {"pi": 3.14159, "null": None}}, sort_keys=True)
print(json.loads(text)["list"][-1], zlib.crc32(zlib.compress(text.encode() * 50)), struct.pack("<IhB", 1, -2, 3).hex())
results = []
threads = [threading.Thread(target=lambda n=n: results.append(sum(k * k for k in range(n * 500)))) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sorted(results), subprocess.run(["echo", "child"], capture_output=True).stdout)
print("to standard error", file=sys.stderr)
sys.exit(6)
