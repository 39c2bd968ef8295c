"""What the tests of recipes share: clients of both kinds, kazoo's clients, and a connection that breaks on demand."""

import contextlib
import socket
import struct
import subprocess
import sys
import threading

import pytest
import zoarium

DELETE, SET, CHILDREN, MULTI, CREATE = 2, 5, 12, 14, 15


@pytest.fixture(scope="session")
def quick_server():
    """A server whose sessions may be short."""
    with zoarium.Server(tickTime=100) as server:
        yield server


@pytest.fixture(params=["in this process", "over TCP"])
def clients(request, server, chroot):
    """Makes clients with one root, all in this process or all over TCP."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            if request.param == "over TCP":
                return stack.enter_context(zoarium.connect(server.address, chroot=chroot, **options))
            return stack.enter_context(server.client(chroot, **options))

        yield make


@pytest.fixture
def kazoo_client(server, chroot):
    """kazoo's client with the same root."""
    client = pytest.importorskip("kazoo.client").KazooClient(server.address + chroot)
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture
def proxy(server):
    with Proxy(server.address) as proxy:
        yield proxy


class Proxy:
    """Stands between clients and a server, and knows enough of the protocol to lose one certain reply."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs = []
        self._held = False
        self._lose, self._drop = [], None
        self._lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_raised):
        self.resume()
        self._listener.close()
        self.cut()

    def lose_reply(self, opcode, number=1):
        """The next request of this kind, or a later one, is carried out; instead of its reply the connection ends."""
        self._lost.clear()
        self._lose = [opcode] * number

    def lose_request(self, opcode):
        """The next request of this kind never arrives: the connection ends before."""
        self._lost.clear()
        self._drop = opcode

    def await_loss(self):
        assert self._lost.wait(60), "no such request came"

    def cut(self):
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _end(*pair)

    def hold(self):
        """Ends the connections, and lets no new one live."""
        self._held = True
        self.cut()

    def resume(self):
        self._held = False

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._held:
                client.close()
                continue
            server = socket.create_connection(self._server)
            with self._lock:
                is_held = self._held
                if not is_held:
                    self._pairs.append((client, server))
            if is_held:
                # Since it was accepted.
                _end(client, server)
                continue
            losing = set()
            for pump in (self._requests, self._replies):
                threading.Thread(target=pump, args=(client, server, losing), daemon=True).start()

    def _requests(self, client, server, losing):
        for number, frame in enumerate(_frames(client)):
            if number:
                xid, opcode = struct.unpack_from(">ii", frame, 4)
                if opcode == self._drop:
                    self._drop = None
                    self._lost.set()
                    break
                if opcode in self._lose[:1]:
                    self._lose.pop()
                    if not self._lose:
                        losing.add(xid)
            _send(server, frame)
        _end(client, server)

    def _replies(self, client, server, losing):
        for number, frame in enumerate(_frames(server)):
            if number and struct.unpack_from(">i", frame, 4)[0] in losing:
                self._lost.set()
                break
            _send(client, frame)
        _end(client, server)


def _frames(of):
    while True:
        try:
            head = of.recv(4, socket.MSG_WAITALL)
            if len(head) < 4:
                return
            size = struct.unpack(">i", head)[0]
            body = of.recv(size, socket.MSG_WAITALL) if size else b""
        except OSError:
            return
        if len(body) < size:
            return
        yield head + body


def _send(to, frame):
    with contextlib.suppress(OSError):
        to.sendall(frame)


def _end(*sockets):
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


class Side:
    """Something done in a thread, whose result or failure is asked for later."""

    def __init__(self, function, *arguments):
        self.result = self.error = None

        def run():
            try:
                self.result = function(*arguments)
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def is_done(self):
        return not self._thread.is_alive()

    def join(self, seconds=60):
        self._thread.join(seconds)
        assert self.is_done, "it hangs"
        if self.error is not None:
            raise self.error
        return self.result


def start_program(code, *arguments):
    """A Python program of its own; it says when it is ready by a line."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
