"""ZooKeeper's protocol, as bytes: what a client sends that is under nobody's control but ours.

Only the standard library is used. A connection here neither pings nor reconnects by itself.
"""

import socket
import struct
import time

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, SYNC = 1, 2, 3, 4, 5, 9
PING, MULTI, MULTI_READ, ALL_CHILDREN, CLOSE = 11, 14, 22, 104, -11
XID_PING = -2
EPHEMERAL = 1
READ, ALL = 1, 31
NO_PASSWORD = b"\0" * 16


class Gone(Exception):
    """The server closed the connection."""


class Expired(Exception):
    """The server does not know the session, or not any more."""


class Late(Exception):
    """No reply in time."""


def buffer(data):
    return struct.pack(">i", len(data)) + data


def text(value):
    return buffer(value.encode())


def acl(*entries):
    """An ACL of `(permissions, scheme, id)`; without any, what everybody may do everything with."""
    entries = entries or ((ALL, "world", "anyone"),)
    return struct.pack(">i", len(entries)) + b"".join(
        struct.pack(">i", permissions) + text(scheme) + text(name) for permissions, scheme, name in entries
    )


OPEN = acl()


def create(path, data=b"", flags=0, entries=OPEN):
    return text(path) + buffer(data) + entries + struct.pack(">i", flags)


def delete(path):
    return text(path) + struct.pack(">i", -1)


def set_data(path, data):
    return text(path) + buffer(data) + struct.pack(">i", -1)


def read(path):
    return text(path) + b"\0"


def multi(ops):
    """The body of a multi or multiRead of `(operation, body)`."""
    parts = [struct.pack(">i?i", op, False, -1) + body for op, body in ops]
    return b"".join(parts) + struct.pack(">i?i", -1, True, -1)


def frame(xid, op, body=b""):
    return struct.pack(">iii", 8 + len(body), xid, op) + body


def handshake(timeout_ms, session=0, password=NO_PASSWORD, read_only=False):
    payload = struct.pack(">iqiq", 0, 0, timeout_ms, session) + buffer(password) + bytes([read_only])
    return buffer(payload)


def parse_handshake(payload):
    """Granted timeout, session, password."""
    _, timeout_ms, session, length = struct.unpack(">iiqi", payload[:20])
    if timeout_ms <= 0 or session == 0:
        raise Expired()
    return timeout_ms, session, payload[20 : 20 + length]


def connect(port, source=None, wait=30, host="127.0.0.1"):
    """A TCP connection to `port`, from loopback address `source` if one is given."""
    link = socket.socket()
    link.settimeout(wait)
    if source:
        link.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        link.bind((source, 0))
    link.connect((host, port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


class Client:
    """One connection with a session. Replies are taken in order; watch events do not come, for none are set."""

    def __init__(self, port, timeout_ms=10_000, session=0, password=NO_PASSWORD, source=None, wait=90, host="127.0.0.1",
                 read_only=False):
        self.link = connect(port, source, wait, host)
        self.wait = wait
        self.xid = 0
        # The state that the last reply was of.
        self.zxid = 0
        self.input = bytearray()
        self.link.sendall(handshake(timeout_ms, session, password, read_only))
        self.timeout_ms, self.session, self.password = parse_handshake(self._frame(time.monotonic() + wait))

    def send(self, op, body=b""):
        self.xid += 1
        self.link.sendall(frame(self.xid, op, body))
        return self.xid

    def receive(self, wait=None):
        """Error code and body of the next reply."""
        payload = self._frame(time.monotonic() + (self.wait if wait is None else wait))
        self.zxid = struct.unpack(">q", payload[4:12])[0]
        return struct.unpack(">i", payload[12:16])[0], payload[16:]

    def call(self, op, body=b"", wait=None):
        self.send(op, body)
        return self.receive(wait)

    def demand(self, op, body=b""):
        """A call that has to succeed."""
        code, payload = self.call(op, body)
        if code != 0:
            raise RuntimeError(f"operation {op} was refused with {code}")
        return payload

    def _frame(self, deadline):
        while True:
            if len(self.input) >= 4:
                length = struct.unpack(">i", self.input[:4])[0]
                if len(self.input) >= 4 + length:
                    payload = bytes(self.input[4 : 4 + length])
                    del self.input[: 4 + length]
                    return payload
            left = deadline - time.monotonic()
            if left <= 0:
                raise Late()
            self.link.settimeout(left)
            try:
                chunk = self.link.recv(1 << 20)
            except TimeoutError:
                raise Late() from None
            except OSError as error:
                raise Gone(str(error)) from None
            if not chunk:
                raise Gone("closed by the server")
            self.input += chunk

    def close(self):
        try:
            self.call(CLOSE, wait=5)
        except (Gone, Late, OSError):
            pass
        self.link.close()

    def drop(self):
        """Ends the connection and not the session."""
        self.link.close()

    def fill(self, parent, count, flags=0, per_multi=500, on_the_way=8, folder_size=1000):
        """Creates `count` znodes below `parent`, in folders if they are not ephemeral."""
        due = 0
        for first in range(0, count, per_multi):
            ops = []
            for number in range(first, min(first + per_multi, count)):
                folder = f"{parent}/{number // folder_size:04}"
                if number % folder_size == 0:
                    ops.append((CREATE, create(folder)))
                ops.append((CREATE, create(f"{folder}/{number:06}", flags=flags)))
            self.send(MULTI, multi(ops))
            due += 1
            while due > (on_the_way if first + per_multi < count else 0):
                code, _ = self.receive()
                if code != 0:
                    raise RuntimeError(f"filling was refused with {code}")
                due -= 1
