"""Runs in a sidecar: a container that shares the network namespace of another one.

argv: what to do, and its arguments as JSON. Answers with one line of JSON behind a mark.

  divert {"key": …, "pairs": [[from, to], …]}   new TCP connections that leave this namespace for `from` go to `to`;
                                                what went to a `from` before follows; `from` and `to` the
                                                same: diverted no more; no pairs: all of the key go
  adopt  {}                                     says whether an earlier sidecar's diversions stand; if not, makes sure
                                                that this kernel can divert, before anything depends on it
  ask    {"address", "port", "path", …}         one HTTP request from here, past every diversion
  count  {"key": …}                             how many connections have been diverted for this key
  idle   {"limit": seconds}                     waits until nobody from outside is connected to what listens here
  serve  {}                                     the maintenance page, to everybody, until it is ended
  close  {"ports": […], "page", "retry_after"}  from now on new connections that leave this namespace for one of these
                                                ports get that page, wherever they go
  open   {}                                     they go where they are sent again
"""

import fcntl
import json
import os
import socket
import struct
import sys
import time

# --- Diversions: one nftables table of our own, written as a whole, so that each change is one transaction ---------

TABLE = b"viatique_deploy\0"
CHAIN = b"divert\0"
# Carried by our own probes, which are not to be diverted.
MARK = 0x7661
STATE = "/tmp/viatique-deploy-diversions.json"

NEW_TABLE, GET_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE, GET_RULE = 0xA00, 0xA01, 0xA02, 0xA03, 0xA06, 0xA07
BATCH_BEGIN, BATCH_END = 0x10, 0x11
REQUEST, ACKNOWLEDGE, DUMP, CREATE, APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
IPV4 = 2


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def nested(kind, *parts):
    return attribute(kind | 0x8000, b"".join(parts))


def number(kind, value):
    return attribute(kind, struct.pack(">I", value))


def expression(name, *data):
    return nested(1, attribute(1, name + b"\0"), nested(2, *data))


def compare(value, unequal=0):
    return expression(b"cmp", number(1, 1), number(2, unequal), nested(3, attribute(1, value)))


def of_others():
    """tcp, not ours."""
    return (
        expression(b"meta", number(1, 1), number(2, 16)),
        compare(b"\x06"),
        expression(b"meta", number(1, 1), number(2, 3)),
        compare(struct.pack("=I", MARK), unequal=1),
    )


def diversion(origin, target):
    """tcp, first packet of a connection, not ours, to `origin`: to `target`, same port."""
    return nested(
        4,
        *of_others(),
        expression(b"payload", number(1, 1), number(2, 1), number(3, 16), number(4, 4)),
        compare(socket.inet_aton(origin)),
        # SYN without ACK: a connection under way that the kernel meets in the middle is left alone.
        expression(b"payload", number(1, 1), number(2, 2), number(3, 13), number(4, 1)),
        expression(
            b"bitwise",
            number(1, 1),
            number(2, 1),
            number(3, 1),
            nested(4, attribute(1, b"\x12")),
            nested(5, attribute(1, b"\x00")),
        ),
        compare(b"\x02"),
        expression(b"counter"),
        expression(b"immediate", number(1, 1), nested(2, attribute(1, socket.inet_aton(target)))),
        expression(b"nat", number(1, 1), number(2, IPV4), number(3, 1)),
    )


def message(kind, flags, payload, family=IPV4, resource=0):
    body = struct.pack("=BBH", family, 0, socket.htons(resource)) + payload
    return struct.pack("=IHHII", 16 + len(body), kind, flags | REQUEST, 1, 0) + body


def exchange(messages):
    """Sends them as one; returns the error number of the acknowledged one."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    netlink.bind((0, 0))
    netlink.settimeout(5)
    netlink.send(b"".join(messages))
    worst = None
    while worst is None:
        answer = netlink.recv(65536)
        while len(answer) >= 20:
            length, kind = struct.unpack_from("=IH", answer)
            if kind == 2:
                code = -struct.unpack_from("=i", answer, 16)[0]
                worst = code if not worst else worst
            elif kind == GET_TABLE or kind == NEW_TABLE:
                worst = 0
            answer = answer[(length + 3) & ~3 :]
    netlink.close()
    return worst


def table_exists():
    return exchange([message(GET_TABLE, ACKNOWLEDGE, attribute(1, TABLE))]) == 0


def write_table(table, priority, rules):
    """As a whole, and as one transaction: no rules, no table. What its rules lead elsewhere leaves through the hook
    `output`, those of the lowest priority first, and all before the engine's own chain for its DNS."""
    # Made sure of first, so that it can be deleted whether it stood or not.
    steps = [(NEW_TABLE, CREATE, attribute(1, table)), (DELETE_TABLE, 0, attribute(1, table))]
    if rules:
        steps.append((NEW_TABLE, CREATE, attribute(1, table)))
        hook = nested(4, number(1, 3), attribute(2, struct.pack(">i", priority)))
        chain = attribute(1, table) + attribute(3, CHAIN) + hook + attribute(7, b"nat\0")
        steps.append((NEW_CHAIN, CREATE, chain))
        of_chain = attribute(1, table) + attribute(2, CHAIN)
        steps.extend((NEW_RULE, CREATE | APPEND, of_chain + rule) for rule in rules)
    kind, flags, payload = steps.pop()
    steps.append((kind, flags | ACKNOWLEDGE, payload))
    batch = [message(BATCH_BEGIN, 0, b"", 0, 10)]
    batch += [message(*step) for step in steps]
    batch.append(message(BATCH_END, 0, b"", 0, 10))
    code = exchange(batch)
    if code:
        raise OSError(code, os.strerror(code))


def write_diversions(state):
    rules = [
        diversion(origin, target) + attribute(7, key.encode())
        for key, pairs in state.items()
        for origin, target in pairs
    ]
    write_table(TABLE, -150, rules)


def merged(before, pairs):
    """A proxy may still know every address that was ever diverted: it goes where its target went. One that serves
    again is diverted no more."""
    if not pairs:
        return []
    now = dict(pairs)
    serving = set(now.values())
    kept = [
        [origin, now.get(target, target)]
        for origin, target in before
        if origin not in now and origin not in serving
    ]
    return kept + [[origin, target] for origin, target in pairs if origin != target]


def divert(arguments):
    with open(STATE, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        state = json.loads(text) if text else {}
        if arguments["key"] == "*":
            state = {}
        else:
            state[arguments["key"]] = merged(state.get(arguments["key"], []), arguments["pairs"])
        write_diversions(state)
        file.seek(0)
        file.truncate()
        json.dump(state, file)
    return {}


# --- The maintenance page --------------------------------------------------------------------------------------------

CLOSED_TABLE = b"viatique_deploy_closed\0"
PAGE = "/tmp/viatique-deploy-page.json"
PORT = "/tmp/viatique-deploy-page-port"


def to_page(port, page_port):
    """tcp, first packet of a connection, not ours, to this port: to the page."""
    return nested(
        4,
        *of_others(),
        expression(b"payload", number(1, 1), number(2, 2), number(3, 2), number(4, 2)),
        compare(struct.pack(">H", port)),
        expression(b"immediate", number(1, 1), nested(2, attribute(1, socket.inet_aton("127.0.0.1")))),
        expression(b"immediate", number(1, 2), nested(2, attribute(1, struct.pack(">H", page_port)))),
        expression(b"nat", number(1, 1), number(2, IPV4), number(3, 1), number(5, 2)),
    )


def write_closed(ports, page_port):
    # Before the diversions of a deploy, whatever these are.
    write_table(CLOSED_TABLE, -160, [to_page(port, page_port) for port in ports])


def serve(_arguments):
    import http.server

    class Page(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            with open(PAGE) as file:
                page = json.load(file)
            body = page["page"].encode()
            self.send_response(503)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", str(page["retry_after"]))
            self.send_header("Cache-Control", "no-store")
            # What a visitor sends is not read: another request must not begin in the middle of it.
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    with open(PORT + ".partial", "w") as file:
        file.write(str(server.server_address[1]))
    os.rename(PORT + ".partial", PORT)
    server.serve_forever()


def close(arguments):
    end = time.monotonic() + 10
    while not os.path.exists(PORT):
        if time.monotonic() >= end:
            return {"refused": "the maintenance page does not come up"}
        time.sleep(0.02)
    with open(PAGE, "w") as file:
        json.dump({"page": arguments["page"], "retry_after": arguments["retry_after"]}, file)
    with open(PORT) as file:
        write_closed(arguments["ports"], int(file.read()))
    return {}


def reopen(_arguments):
    write_closed([], 0)
    return {}


def attributes(data):
    """The attributes of a message, by kind, without the mark of those that hold others."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def elements(data):
    while len(data) >= 4:
        length, _ = struct.unpack_from("=HH", data)
        yield attributes(data[4:length])
        data = data[(length + 3) & ~3 :]


def count(arguments):
    """A chain of this kind meets the first packet of a connection only, so packets are connections."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    netlink.bind((0, 0))
    netlink.settimeout(5)
    netlink.send(message(GET_RULE, DUMP, attribute(1, TABLE)))
    total = 0
    while True:
        answer = netlink.recv(1 << 20)
        while len(answer) >= 16:
            length, kind = struct.unpack_from("=IH", answer)
            if kind != NEW_RULE:
                return {"connections": total}
            rule = attributes(answer[20:length])
            if rule.get(7) == arguments["key"].encode():
                for one in elements(rule[4]):
                    if one[1] == b"counter\0":
                        total += struct.unpack(">Q", attributes(one[2])[2])[0]
            answer = answer[(length + 3) & ~3 :]


def adopt(_arguments):
    stale = table_exists() and not os.path.exists(STATE)
    if not stale:
        divert({"key": "probe", "pairs": []})
    return {"stale": stale}


# --- Looking ---------------------------------------------------------------------------------------------------------


def ask(arguments):
    # Half of what starting this script costs, and most orders are others.
    import http.client

    limit = time.monotonic() + arguments["timeout"]
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    connection.settimeout(arguments["timeout"])
    try:
        connection.connect((arguments["address"], arguments["port"]))
    except OSError as error:
        return {"failed": f"{error.strerror or error}"}
    if arguments.get("path") is None:
        connection.close()
        return {"status": None, "body": ""}
    try:
        if arguments.get("tls"):
            import ssl

            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(connection, server_hostname=arguments.get("host"))
        client = http.client.HTTPConnection(arguments["address"], arguments["port"])
        client.sock = connection
        headers = dict(arguments.get("headers") or {})
        headers["Host"] = arguments.get("host") or arguments["address"]
        headers["Connection"] = "close"
        client.request("GET", arguments["path"], headers=headers)
        connection.settimeout(max(limit - time.monotonic(), 0.1))
        response = client.getresponse()
        return {"status": response.status, "body": response.read(65536).decode(errors="replace")}
    except (OSError, http.client.HTTPException) as error:
        return {"failed": f"after connecting: {error or type(error).__name__}"}


def table_of_sockets():
    """(state, local address, local port, remote address, remote port) of every TCP socket of this namespace."""
    for path, size in (("/proc/net/tcp", 4), ("/proc/net/tcp6", 16)):
        try:
            lines = open(path).read().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            _, local, remote, state = line.split()[:4]
            ends = []
            for end in (local, remote):
                digits, port = end.split(":")
                raw = b"".join(
                    struct.pack("=I", int(digits[i : i + 8], 16)) for i in range(0, len(digits), 8)
                )
                if size == 16 and raw[:12] == b"\0" * 10 + b"\xff\xff":
                    raw = raw[12:]
                text = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
                ends += [text, int(port, 16)]
            yield (int(state, 16), *ends)


LISTEN, CLOSED = 10, {6, 7}


def is_local(address):
    return address.startswith("127.") or address == "::1"


def visitors():
    """Connections that somebody from outside has, or is making, to what listens here."""
    seen = list(table_of_sockets())
    listening = {port for state, _, port, _, _ in seen if state == LISTEN}
    return sorted(
        {
            f"{remote}:{remote_port}"
            for state, _, port, remote, remote_port in seen
            if state != LISTEN and state not in CLOSED and port in listening and not is_local(remote)
        }
    )


def idle(arguments):
    end = time.monotonic() + arguments["limit"]
    quiet = 0
    while True:
        left = visitors()
        # Twice in a row: a connection can be in neither table while it changes hands.
        quiet = 0 if left else quiet + 1
        if quiet == 2 or time.monotonic() >= end:
            return {"left": left}
        time.sleep(0.02)


VERBS = {
    "divert": divert,
    "adopt": adopt,
    "ask": ask,
    "count": count,
    "idle": idle,
    "serve": serve,
    "close": close,
    "open": reopen,
}

if __name__ == "__main__":
    try:
        answer = VERBS[sys.argv[1]](json.loads(sys.argv[2]))
    except OSError as error:
        answer = {"refused": f"{error.strerror or error}"}
    print("viatique-deploy:" + json.dumps(answer))
