"""Servers of Debian, each driven by the same requests natively and under supervision: what they answer, the status they
end with and what they leave behind is compared. They listen on a free port of the loopback interface."""

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time

from runner import Ran, end_session

STARTING_S, STOPPING_S, ANSWER_S, TRIES = 60, 30, 30, 3


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)


def read_all(connection):
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


class Server:
    """`layout(folder, port)` writes the configuration and gives the command; `drive(port, folder)` yields what is to be
    compared; the server is stopped by a signal to the process that `pid_file` names, or to the one that was started."""

    quick = False

    def __init__(self, name, program, layout, drive, *, pid_file=None, stop=signal.SIGTERM, root=False, reports_allowed=False):
        self.name, self.program, self.layout, self.drive = f"server-{name}", program, layout, drive
        self.pid_file, self.stop, self.root, self.reports_allowed = pid_file, stop, root, reports_allowed

    def missing(self):
        if self.root and os.geteuid() != 0:
            return "needs root"
        return None if shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin") else f"{self.program} is not installed"

    def play(self, prefix, folder, environment):
        for left in range(TRIES)[::-1]:
            port = free_port()
            folder.chmod(0o755)
            command = self.layout(folder, port)
            log = folder / "log.err"
            with open(log, "wb") as err:
                process = subprocess.Popen([str(word) for word in [*prefix, *command]], cwd=folder, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                           env={**environment, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(folder)},
                                           start_new_session=True)
            try:
                if self.wait_ready(process, port, folder):
                    break
            except BaseException:
                end_session(process)
                raise
            end_session(process)
            process.wait()
            if not left:
                return Ran(process.returncode, b"never listened", log.read_bytes())
        try:
            told = b"".join(self.said(part, port) for part in self.drive(port, folder))
            os.kill(self.main_process(process, folder), self.stop)
            try:
                status = process.wait(timeout=STOPPING_S)
            except subprocess.TimeoutExpired:
                status, told = None, told + b"did not stop\n"
        finally:
            end_session(process)
            process.wait()
        ran = Ran(128 - status if status is not None and status < 0 else status, told, b"")
        ran.log = log.read_bytes()
        return ran

    def said(self, part, port):
        data = part if isinstance(part, bytes) else str(part).encode()
        return re.sub(rb"(?<![0-9A-Za-z])%d(?![0-9A-Za-z])" % port, b"PORT", data) + b"\n"  # not within a dump in hexadecimal

    def main_process(self, process, folder):
        if self.pid_file:
            return int((folder / self.pid_file).read_text())
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[0]) if children else process.pid

    def wait_ready(self, process, port, folder):
        end = time.monotonic() + STARTING_S
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError):
                connect(port).close()
                if not self.pid_file or (folder / self.pid_file).exists():
                    return True
            time.sleep(0.05)
        return False


# ---- redis ------------------------------------------------------------------------------------------------------------

REDIS_COMMANDS = [
    "PING", "SET a 1", "INCRBY a 41", "GET a", "APPEND a xyz", "STRLEN a", "GETRANGE a 1 -2", "SETRANGE a 20 end", "SETBIT bits 1000 1", "BITCOUNT bits",
    "BITPOS bits 1", "INCRBYFLOAT f 10.25", "MSET k1 v1 k2 v2 k3 v3", "MGET k1 k2 k3 none", "RPUSH l c a d b e", "SORT l ALPHA DESC", "LINSERT l BEFORE d x",
    "LRANGE l 0 -1", "LPOS l d", "SADD s 5 3 9 1", "SADD t 3 4 9", "SINTERCARD 2 s t", "SORT s", "HSET h f1 v1 f2 v2 f3 3", "HINCRBY h f3 4", "HGETALL h",
    "ZADD z 1 one 2 two 3 three 2.5 half", "ZRANGE z 0 -1 WITHSCORES", "ZRANGEBYSCORE z (1 2.5", "ZRANK z half", "ZINCRBY z 10 one", "ZPOPMIN z", "XADD x 1-1 a b",
    "XADD x 1-2 c d", "XRANGE x - +", "XGROUP CREATE x g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS x >", "PFADD hll a b c d e a", "PFCOUNT hll",
    "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "GEODIST geo Palermo Catania km", "GEOHASH geo Palermo", "OBJECT ENCODING l",
    "DUMP z", "TYPE x", "EXPIRE a 1000", "PERSIST a", "RENAME k1 k9", "EXISTS k1 k9", "COPY h h2", "HLEN h2", "MULTI", "INCR a2", "LPUSH l z", "EXEC", "NOSUCH x", "INCR k2",
    "DBSIZE", "DEBUG DIGEST", "LATENCY RESET", "CONFIG GET maxmemory-policy", "FLUSHALL", "DBSIZE"]
REDIS_SCRIPT = ("local t = {} for i = 1, tonumber(ARGV[1]) do redis.call('RPUSH', KEYS[1], i * i % 97) t[#t + 1] = tostring(i) end "
                "return {redis.call('LLEN', KEYS[1]), table.concat(t, ','), cjson.encode({1, 'a', {x = 2}}), redis.sha1hex('abc'), struct.pack('>I4', 77)}")


def resp(*words):
    words = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Redis:
    def __init__(self, port):
        self.connection = connect(port)
        self.file = self.connection.makefile("rb")

    def read(self):
        line = self.file.readline()
        if line[:1] == b"$" and int(line[1:]) >= 0:
            return line + self.file.read(int(line[1:]) + 2)
        if line[:1] == b"*" and int(line[1:]) > 0:
            return line + b"".join(self.read() for _ in range(int(line[1:])))
        return line

    def __call__(self, *words):
        self.connection.sendall(resp(*words))
        return self.read()


def redis_layout(folder, port):
    (folder / "redis.conf").write_text(f"port {port}\nbind 127.0.0.1\ndaemonize no\npidfile {folder}/redis.pid\nlogfile {folder}/redis.log\ndir {folder}\n"
                                       "save \"\"\nappendonly yes\nauto-aof-rewrite-percentage 0\nenable-debug-command local\nlist-max-listpack-size 4\nhash-max-listpack-entries 8\nhz 50\n")
    return ["redis-server", "redis.conf"]


def redis_drive(port, folder):
    redis, other = Redis(port), Redis(port)
    for command in REDIS_COMMANDS[:-2]:
        yield redis(*command.split())
    yield redis("EVAL", REDIS_SCRIPT, "1", "made", "300")
    yield redis("EVAL", "return redis.error_reply('no ' .. KEYS[1])", "1", "way")
    yield redis("EVAL", "local x = nil; return x.y", "0")
    redis.connection.sendall(b"".join(resp("SET", f"key:{i}", "v" * (i * 37 % 3000)) for i in range(2000)))
    yield b"".join(redis.read() for _ in range(2000))
    redis.connection.sendall(b"".join(resp("HSET", f"hash:{i % 50}", f"f{i}", str(i)) for i in range(2000)))
    yield b"".join(redis.read() for _ in range(2000))
    yield other("SUBSCRIBE", "news"), redis("PUBLISH", "news", "hello"), other.read()
    yield redis("DEBUG", "DIGEST")
    for name, field in (("BGSAVE", b"rdb_bgsave_in_progress:0"), ("BGREWRITEAOF", b"aof_rewrite_in_progress:0")):
        yield redis(name)
        end = time.monotonic() + ANSWER_S
        while field not in redis("INFO", "persistence") and time.monotonic() < end:
            time.sleep(0.05)
        yield re.findall(rb"(?:rdb_last_bgsave|aof_last_bgrewrite)_status:\w+", redis("INFO", "persistence"))
    yield redis("DEBUG", "RELOAD"), redis("DEBUG", "DIGEST"), redis("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), redis("DBSIZE")
    yield redis("FLUSHALL"), redis("DBSIZE")
    yield sorted(path.name for path in folder.glob("*.rdb"))


# ---- nginx --------------------------------------------------------------------------------------------------------------

NGINX_CONFIGURATION = """daemon off; pid nginx.pid; worker_processes 2; error_log error.log notice;
events {{ worker_connections 64; }}
http {{
    types {{ text/html html; text/plain txt; }} default_type application/octet-stream;
    access_log access.log; gzip on; gzip_min_length 100; gzip_types text/plain; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    limit_req_zone $binary_remote_addr zone=one:1m rate=1000r/s;
    map $arg_kind $chosen {{ default none; ~^a(?<rest>.*) "begins with a, then $rest"; b second; }}
    server {{
        listen 127.0.0.1:{port}; root {folder}/site; server_tokens off; error_page 404 /missing.html;
        location /map {{ return 200 "$chosen $request_method $arg_kind\\n"; }}
        location /old {{ rewrite ^/old/(.*)$ /new/$1 permanent; }}
        location /through/ {{ proxy_pass http://127.0.0.1:{port}/; proxy_set_header X-Seen yes; limit_req zone=one burst=50; }}
        location /denied {{ deny all; }}
        location /ssi {{ ssi on; }}
        location /filtered/ {{ alias {folder}/site/; sub_filter lorem IPSUM; sub_filter_types *; }}
        location /list/ {{ autoindex on; autoindex_format json; }}
    }}
}}
"""


def nginx_layout(folder, port):
    site = folder / "site"
    for name, data in {"index.html": "<h1>welcome</h1>\n", "text.txt": "lorem ipsum dolor\n" * 500, "big.bin": bytes(range(256)) * 2000, "missing.html": "nothing\n",
                       "ssi/page.html": "<!--#set var=\"a\" value=\"b\" --><!--#echo var=\"a\" --><!--#include virtual=\"/index.html\" -->\n", "list/one.txt": "1", "list/two.txt": "22"}.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        os.utime(path, (1704067200, 1704067200))
    (folder / "nginx.conf").write_text(NGINX_CONFIGURATION.format(port=port, folder=folder))
    folder.chmod(0o777)
    return ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "error.log"]


def http_answer(connection, method, path, body=None, headers=()):
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    data = answer.read()
    kept = sorted((name, "".join(sorted(value)) if name == "Allow" else value) for name, value in answer.getheaders() if name not in ("Date", "Server"))  # Apache's order of methods is random
    return f"{method} {path}: {answer.status} {kept} {len(data)} ".encode() + data


def http_drive(port, requests):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    for request in requests:
        yield http_answer(connection, *request)
    connection.close()
    for raw in (b"GET /index.html HTTP/1.0\r\n\r\n", b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
                b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\nHEAD /text.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"):
        with connect(port) as plain:
            plain.sendall(raw)
            yield re.sub(rb"Date: .*\r\n", b"", read_all(plain))


NGINX_REQUESTS = [("GET", "/"), ("GET", "/text.txt", None, {"Accept-Encoding": "gzip"}.items()), ("HEAD", "/big.bin"), ("GET", "/big.bin", None, {"Range": "bytes=1000-1999,-5"}.items()),
                  ("GET", "/big.bin", None, {"Range": "bytes=100-199"}.items()), ("GET", "/none"), ("GET", "/map?kind=abc"), ("POST", "/map?kind=b", b"x" * 50000), ("GET", "/old/page?x=1"),
                  ("GET", "/through/text.txt"), ("GET", "/through/through/map?kind=b"), ("GET", "/denied"), ("GET", "/ssi/page.html"), ("GET", "/filtered/text.txt"), ("GET", "/list/"),
                  ("GET", "/../etc/passwd"), ("GET", "/%2e%2e/index.html"), ("DELETE", "/index.html"), ("GET", "/text.txt", None, {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}.items())]


def nginx_drive(port, folder):
    # A multipart answer carries a boundary of its own count, which two workers share out as they like.
    for part in http_drive(port, NGINX_REQUESTS):
        yield re.sub(rb"(boundary=|--)\d{20}", rb"\1N", part)
    os.kill(int((folder / "nginx.pid").read_text()), signal.SIGHUP)
    time.sleep(0.5)
    yield from http_drive(port, NGINX_REQUESTS[:1] * 20)


# ---- apache ---------------------------------------------------------------------------------------------------------------

APACHE_MODULES = ["authn_core", "authn_file", "authz_core", "authz_user", "authz_host", "auth_basic", "access_compat", "alias", "autoindex", "cgid", "deflate", "dir", "env", "expires",
                  "filter", "headers", "include", "mime", "negotiation", "proxy", "proxy_http", "ratelimit", "reqtimeout", "rewrite", "setenvif", "socache_shmcb", "ssl", "substitute",
                  "unique_id", "vhost_alias"]


APACHE_SIZES = {"event": "MinSpareThreads 2\nMaxSpareThreads 60\nThreadsPerChild 8", "prefork": "MinSpareServers 2"}


def apache_layout(mpm):
    def layout(folder, port):
        modules = pathlib.Path("/usr/lib/apache2/modules")
        www = folder / "www"
        (www / "list").mkdir(parents=True, exist_ok=True)
        (www / "cgi").mkdir(exist_ok=True)
        files = {"index.html": b"<h1>front</h1>\n", "text.txt": b"some words of text\n" * 3000, "big.bin": bytes(range(256)) * 4000, "page.shtml": b'<!--#set var="a" value="b" --><!--#echo var="a" -->'
                 b'<!--#include virtual="/text.txt?x" --><!--#if expr="v(\'QUERY_STRING\') =~ /x/" -->yes<!--#endif -->', "page.html.en": b"english", "page.html.de": b"deutsch",
                 "list/b": b"2", "list/a": b"1", "cgi/echo": b"#!/bin/sh\necho Content-Type: text/plain\necho\necho $REQUEST_METHOD $QUERY_STRING $CONTENT_LENGTH\nexec cat\n"}
        for name, data in files.items():
            (www / name).write_bytes(data)
            os.utime(www / name, (1704067200, 1704067200))
        (www / "cgi/echo").chmod(0o755)
        openssl_layout(folder, port)
        (folder / "users").write_text("marcus:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\n")  # test
        loads = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in [f"mpm_{mpm}", *APACHE_MODULES] if (modules / f"mod_{name}.so").exists())
        (folder / "apache.conf").write_text(f"""ServerRoot {folder}\nPidFile {folder}/apache.pid\nListen 127.0.0.1:{port}\nServerName localhost\n{loads}
            {"User www-data" if os.geteuid() == 0 else ""}\n{"Group www-data" if os.geteuid() == 0 else ""}\nDefaultRuntimeDir {folder}\nScriptSock {folder}/cgisock\nErrorLog {folder}/error.log\nLogLevel error
            DocumentRoot {www}\nTypesConfig /etc/mime.types\nStartServers 2\n{APACHE_SIZES[mpm]}\nMaxRequestWorkers 16\nGracefulShutdownTimeout 10\nDirectoryIndex index.html
            <Directory {www}>\nOptions +Indexes +Includes +MultiViews +ExecCGI\nAllowOverride None\nRequire all granted\n</Directory>\nScriptAlias /cgi/ {www}/cgi/\nAddOutputFilter INCLUDES .shtml
            AddType text/html .shtml\nAddLanguage en .en\nAddLanguage de .de\nAddOutputFilterByType DEFLATE text/plain\nFileETag MTime Size\nIndexOptions FancyIndexing IgnoreCase\nServerTokens Prod
            RewriteEngine on\nRewriteRule ^/old/(.*)$ /text.txt?was=$1 [R=302,L]\nRewriteCond %{{QUERY_STRING}} kind=([a-z]+)\nRewriteRule ^/map$ /list/%1 [L]
            ProxyPass /through/ http://127.0.0.1:{port}/ connectiontimeout=20 timeout=30\nHeader set X-Kept \"%{{HTTP_HOST}}e\"\nExpiresActive off
            <Location /private>\nAuthType Basic\nAuthName here\nAuthUserFile {folder}/users\nRequire valid-user\n</Location>\nAlias /private {www}/list
            <Location /filtered>\nAddOutputFilterByType SUBSTITUTE text/plain\nSubstitute s/words/stones/\n</Location>\nAlias /filtered {www}\nRedirect gone /gone\n""")
        folder.chmod(0o777)
        return ["apache2", "-D", "FOREGROUND", "-f", folder / "apache.conf"]
    return layout


APACHE_REQUESTS = [("GET", "/"), ("GET", "/text.txt", None, {"Accept-Encoding": "gzip"}.items()), ("HEAD", "/big.bin"), ("GET", "/big.bin", None, {"Range": "bytes=100-199"}.items()), ("GET", "/none"),
                   ("GET", "/map?kind=b"), ("GET", "/old/page?x=1"), ("GET", "/through/text.txt"), ("GET", "/through/through/map?kind=a"), ("GET", "/page.shtml?x"), ("GET", "/list/?C=N;O=D"),
                   ("GET", "/page.html.de"), ("GET", "/cgi/echo?a=1"), ("POST", "/cgi/echo", b"y" * 70000), ("GET", "/cgi/none"), ("GET", "/private/a"),
                   ("GET", "/private/a", None, {"Authorization": "Basic bWFyY3VzOnRlc3Q="}.items()), ("GET", "/private/a", None, {"Authorization": "Basic bWFyY3VzOm5v"}.items()),
                   ("GET", "/filtered/text.txt"), ("GET", "/gone"), ("DELETE", "/index.html"), ("GET", "/%2e%2e/x"),
                   ("GET", "/text.txt", None, {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}.items()), ("GET", "/index.html", None, {"If-Match": '"no"'}.items())]


def apache_drive(port, folder):
    yield from http_drive(port, APACHE_REQUESTS)
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S) for _ in range(6)]
    for round in range(30):
        yield http_answer(connections[round % 6], *APACHE_REQUESTS[round % 12])
    for connection in connections:
        connection.close()
    os.kill(int((folder / "apache.pid").read_text()), signal.SIGUSR1)
    time.sleep(1)
    yield from http_drive(port, APACHE_REQUESTS[:8])


# ---- memcached ------------------------------------------------------------------------------------------------------------


def memcached_drive(port, folder):
    with connect(port) as one, connect(port) as two:
        ask = b"".join(b"set k%d %d 0 %d\r\n%s\r\n" % (i, i, i * 31 % 4000, b"v" * (i * 31 % 4000)) for i in range(500))
        ask += b"".join(b"get k%d k%d none\r\n" % (i, i * 7 % 500) for i in range(500))
        ask += (b"set n 0 0 2\r\n41\r\nincr n 1\r\ndecr n 50\r\nincr k3 1\r\nappend n 0 0 1\r\n7\r\nprepend n 0 0 1\r\n8\r\nget n\r\nadd n 0 0 1\r\nx\r\nreplace q 0 0 1\r\nx\r\n"
                b"touch n 100\r\ngat 100 n\r\ndelete n\r\ndelete n\r\nget n\r\ncas z 0 0 1 5\r\nx\r\nset t 0 -1 1\r\ny\r\nget t\r\nnonsense\r\nget\r\nset x 0 0 abc\r\nverbosity 0\r\n"
                b"mset m 3 T90\r\nabc\r\nmget m v t f\r\nmg m v f\r\nms m S3\r\nxyz\r\nms m 2\r\nab\r\nmg m v\r\nmd m\r\nmn\r\n") + b"set big 0 0 2000000\r\n" + b"b" * 2000000 + b"\r\n"
        ask += b"flush_all\r\nget k1\r\nversion\r\nquit\r\n"
        one.sendall(ask[:100000])
        two.sendall(b"get k1\r\nset other 1 0 5\r\nhello\r\nget other\r\nquit\r\n")
        yield re.sub(rb"^VALUE k1.*?END\r\n|^END\r\n", b"", read_all(two), flags=re.S)
        one.sendall(ask[100000:])
        yield read_all(one)


def memcached_layout(folder, port):
    folder.chmod(0o777)
    return ["memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "3", "-m", "64", "-P", folder / "memcached.pid", *(["-u", "nobody"] if os.geteuid() == 0 else [])]


# ---- named ------------------------------------------------------------------------------------------------------------------

ZONE = """$TTL 300
@ IN SOA ns.example. admin.example. 1 3600 600 86400 300
@ IN NS ns
ns IN A 192.0.2.1
www IN A 192.0.2.2
www IN A 192.0.2.3
alias IN CNAME www
mail IN MX 10 ns
text IN TXT "some text" "and more"
six IN AAAA 2001:db8::1
*.wild IN A 192.0.2.9
sub IN NS ns.sub
ns.sub IN A 192.0.2.53
_s._tcp IN SRV 1 2 80 www
""" + "".join(f"h{i} IN A 198.51.100.{i % 250}\n" for i in range(400))


def named_layout(folder, port):
    (folder / "zone").write_text(ZONE)
    (folder / "named.conf").write_text(f"""options {{ directory "{folder}"; pid-file "{folder}/named.pid"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;
        session-keyfile none; rrset-order {{ order fixed; }}; dnssec-validation no; empty-zones-enable no; notify no; allow-transfer {{ any; }}; minimal-responses no; hostname none; version "none"; }};
        controls {{ }}; logging {{ category default {{ null; }}; }};
        zone "example" {{ type primary; file "{folder}/zone"; }};\n""")
    folder.chmod(0o777)
    return ["named", "-f", "-c", folder / "named.conf", "-n", "2", *(["-u", "bind"] if os.geteuid() == 0 else [])]


def question(number, name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"
    return struct.pack(">6H", number, 0, 1, 0, 0, 0) + labels + struct.pack(">2H", kind, 1)


def named_drive(port, folder):
    asked = [("example", 6), ("www.example", 1), ("alias.example", 1), ("mail.example", 15), ("text.example", 16), ("six.example", 28), ("a.b.wild.example", 1), ("x.sub.example", 1),
             ("none.example", 1), ("_s._tcp.example", 33), ("WWW.eXample", 255), ("other", 1), ("example", 2), ("version.bind", 16)] + [(f"h{i}.example", 1) for i in range(0, 400, 7)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(ANSWER_S)
        udp.connect(("127.0.0.1", port))
        answer = b"\0\0\0\2"
        while answer[3] & 15 == 2:  # it listens before the zone is read
            udp.send(question(99, "example", 6))
            answer = udp.recv(65536)
        for number, (name, kind) in enumerate(asked):
            udp.send(question(number, name, kind))
            yield udp.recv(65536).hex()
        for broken in (b"", b"\1\2\3", question(9, "www.example", 1)[:-3], struct.pack(">6H", 7, 0x2800, 0, 0, 0, 0)):
            udp.send(broken)
        udp.send(question(77, "ns.example", 1))
        while (got := udp.recv(65536))[:2] != b"\0\x4d":
            yield got.hex()
        yield got.hex()
    for number, (name, kind) in enumerate([("www.example", 255), ("example", 252)]):  # one a connection: it may answer the second first
        with connect(port) as tcp:
            ask = question(number, name, kind)
            tcp.sendall(struct.pack(">H", len(ask)) + ask)
            tcp.shutdown(socket.SHUT_WR)
            yield read_all(tcp).hex()


# ---- sshd -------------------------------------------------------------------------------------------------------------------


def sshd_layout(folder, port):
    pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        if not (folder / name).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True, stdin=subprocess.DEVNULL)
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "sshd.conf").write_text(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/sshd.pid\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
                                      "UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\nPrintMotd no\nLogLevel ERROR\n")
    return ["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd.conf"]


def sshd_drive(port, folder):
    options = ["-F", "none", "-i", folder / "user", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
               "-o", "ConnectTimeout=30", "-o", "IdentitiesOnly=yes"]

    def run(command, stdin=b""):
        ran = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, timeout=ANSWER_S, cwd=folder)
        return f"{ran.returncode} ".encode() + ran.stdout + b"|" + ran.stderr
    ssh = ["ssh", *options, "-p", port, "root@127.0.0.1"]
    yield run([*ssh, "echo hello; id -un; exit 3"])
    yield run([*ssh, "sha256sum; echo to stderr >&2"], bytes(range(256)) * 4000)
    yield run([*ssh, "-o", "Ciphers=chacha20-poly1305@openssh.com", "seq 1 5000"])
    yield run([*ssh, "-o", "Ciphers=aes256-gcm@openssh.com", "-C", "seq 1 5000"])
    yield run([*ssh, "kill -TERM $$"])
    yield run([*ssh, "-o", "IdentityFile=none", "-o", "PubkeyAuthentication=no", "true"])
    (folder / "sent").write_bytes(bytes(range(256)) * 1000)
    yield run(["scp", *options, "-P", port, "sent", f"root@127.0.0.1:{folder}/received"])
    yield (folder / "received").read_bytes() == (folder / "sent").read_bytes() if (folder / "received").exists() else "nothing received"


# ---- openssl and python ---------------------------------------------------------------------------------------------------------


def openssl_layout(folder, port):
    if not (folder / "key.pem").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "3", "-subj", "/CN=localhost"],
                       cwd=folder, check=True, capture_output=True)
    (folder / "page").write_bytes(b"the quick brown fox\n" * 4000)
    return ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "cert.pem", "-key", "key.pem", "-WWW", "-quiet"]


def openssl_drive(port, folder):
    for version, ciphers in ((ssl.TLSVersion.TLSv1_3, None), (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305"), (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384"),
                             (ssl.TLSVersion.TLSv1_2, "AES128-SHA256"), (ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES128-GCM-SHA256")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(folder / "cert.pem")
        context.check_hostname = False
        context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        for name in ("page", "none"):
            with connect(port) as plain, context.wrap_socket(plain) as secure:
                secure.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
                data = b""
                with contextlib.suppress(ssl.SSLError):
                    data = read_all(secure)
                yield f"{secure.version()} {secure.cipher()} ".encode() + re.sub(rb"[0-9A-F]{16}:error", b"error", data)
    with connect(port) as plain:
        plain.sendall(b"this is no handshake\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            yield read_all(plain)
    time.sleep(0.1)


def python_layout(folder, port):
    (folder / "files").mkdir(exist_ok=True)
    for name, data in {"a.txt": b"one\n" * 900, "b.html": b"<p>two</p>", "index/page": b"3"}.items():
        (folder / "files" / name).parent.mkdir(exist_ok=True)
        (folder / "files" / name).write_bytes(data)
        os.utime(folder / "files" / name, (1704067200, 1704067200))
    return ["/usr/bin/python3", "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", folder / "files"]


def python_drive(port, folder):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    for request in [("GET", "/a.txt"), ("GET", "/b.html"), ("GET", "/"), ("GET", "/index"), ("HEAD", "/a.txt"), ("GET", "/none"), ("POST", "/a.txt", b"x"), ("GET", "/index/")]:
        yield http_answer(connection, *request)
        connection.close()


SERVERS = [
    Server("redis", "redis-server", redis_layout, redis_drive, pid_file="redis.pid"),
    Server("nginx", "nginx", nginx_layout, nginx_drive, pid_file="nginx.pid", stop=signal.SIGQUIT),
    # Stopped gracefully: at a hasty end its main thread closes the workers' sockets without asking whether they are still there.
    Server("apache-event", "apache2", apache_layout("event"), apache_drive, pid_file="apache.pid", stop=signal.SIGWINCH),
    Server("apache-prefork", "apache2", apache_layout("prefork"), apache_drive, pid_file="apache.pid"),
    Server("memcached", "memcached", memcached_layout, memcached_drive, pid_file="memcached.pid"),
    Server("named", "named", named_layout, named_drive, pid_file="named.pid"),
    Server("sshd", "sshd", sshd_layout, sshd_drive, pid_file="sshd.pid", root=True),
    Server("openssl", "openssl", openssl_layout, openssl_drive),
    Server("python", "/usr/bin/python3", python_layout, python_drive),
]
