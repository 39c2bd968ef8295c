"""Clients that do nothing wrong, beside an attack: each kind in a process of its own, so that the attacker's work is not
measured."""

import multiprocessing
import selectors
import socket
import struct
import time

import raw

PROBE_EVERY = 0.01


class Beside:
    """A function running in another process; `stop` returns what it found."""

    def __init__(self, function, *arguments):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_run, args=(function, theirs, *arguments), daemon=True)
        self.process.start()

    def await_ready(self):
        """Waits until it says that it is ready; returns what it says."""
        return self._take(120)

    def stop(self):
        if self.process.is_alive():
            self.pipe.send("stop")
        found = self._take(120)
        self.process.join(10)
        self.process.kill()
        return found

    def _take(self, wait):
        if not self.pipe.poll(wait):
            self.process.kill()
            raise RuntimeError("a client beside the attack does not answer")
        found = self.pipe.recv()
        if isinstance(found, Exception):
            raise found
        return found


def _run(function, pipe, *arguments):
    try:
        pipe.send(function(pipe, *arguments))
    except Exception as error:  # whatever it is, the test is to say so
        pipe.send(RuntimeError(f"{function.__name__}: {type(error).__name__}: {error}"))


def probe(pipe, port, timeout_ms, size):
    """One session that reads a znode every now and then, or sets `size` bytes of it. Keeps its session as clients do."""
    client = raw.Client(port, timeout_ms)
    if size:
        client.call(raw.CREATE, raw.create("/honest", bytes(size)))
    request = (raw.SET_DATA, raw.set_data("/honest", bytes(size))) if size else (raw.EXISTS, raw.read("/"))
    longest, lost, refused, asked = 0.0, 0, 0, 0
    pipe.send("ready")
    while not pipe.poll():
        begun = time.monotonic()
        try:
            client.send(*request)
            while True:
                try:
                    code, _ = client.receive(wait=0.25)
                    refused += code != 0
                    asked += 1
                    break
                except raw.Late:
                    if pipe.poll():
                        break
        except (raw.Gone, OSError):
            client, gone = _come_again(pipe, port, client)
            lost += gone
        longest = max(longest, time.monotonic() - begun)
        time.sleep(PROBE_EVERY)
    return {"longest": longest, "lost": lost, "refused": refused, "asked": asked}


def _come_again(pipe, port, client):
    """Another connection for the client's session, or for a new one when that has ended; and whether it has."""
    session, password, lost = client.session, client.password, 0
    while not pipe.poll():
        try:
            return raw.Client(port, client.timeout_ms, session, password, wait=5), lost
        except raw.Expired:
            session, password, lost = 0, raw.NO_PASSWORD, 1
        except (raw.Gone, raw.Late, OSError):
            time.sleep(0.1)
    return client, lost


class Member:
    """One session of a swarm."""

    def __init__(self, timeout_ms):
        self.timeout_ms = timeout_ms
        self.session, self.password = 0, raw.NO_PASSWORD
        self.link = None
        self.live = False
        self.dead = False
        self.input = bytearray()
        self.heard = self.pinged = self.retry_at = 0.0
        self.awaits = 0

    def begin(self, port, selector, now):
        self.live, self.input, self.awaits = False, bytearray(), 0
        self.link = socket.socket()
        self.link.setblocking(False)
        self.link.connect_ex(("127.0.0.1", port))
        self.heard = self.pinged = now
        selector.register(self.link, selectors.EVENT_WRITE, self)

    def end(self, selector):
        if self.link is not None:
            selector.unregister(self.link)
            self.link.close()
            self.link = None
        self.live = False

    def ping(self, now):
        self.link.send(raw.frame(raw.XID_PING, raw.PING))
        self.pinged = now
        self.awaits += 1

    def take(self, found):
        """Takes in what came; counts replies."""
        while len(self.input) >= 4:
            length = struct.unpack(">i", self.input[:4])[0]
            if len(self.input) < 4 + length:
                return
            payload = bytes(self.input[4 : 4 + length])
            del self.input[: 4 + length]
            if self.live:
                self.awaits -= 1
                continue
            try:
                self.timeout_ms, self.session, self.password = raw.parse_handshake(payload)
                self.live = True
            except raw.Expired:
                found["lost"] += 1
                self.dead = True


def swarm(pipe, port, count, timeout_ms, gives_up, patience):
    """`count` sessions that ping; `gives_up`: each takes another connection after two thirds of its timeout in silence, as
    ZooKeeper's clients do. Says how many could be opened, then how many were lost."""
    selector = selectors.DefaultSelector()
    members = [Member(timeout_ms) for _ in range(count)]
    found = {"opened": 0, "closed": 0, "lost": 0, "alive": 0}
    begun = time.monotonic()
    for member in members:
        member.begin(port, selector, begun)
    opening, ending, deadline = True, False, begun + patience
    while True:
        for key, mask in selector.select(0.02):
            _serve(key.data, mask, selector, found)
        now = time.monotonic()
        for member in members:
            _tend(member, port, selector, now, gives_up and not opening)
        alive = sum(member.live for member in members)
        if opening and (alive == count or now > deadline):
            opening = False
            found["opened"] = alive
            found["seconds"] = now - begun
            pipe.send(dict(found))
            # What was refused at the door is counted there.
            members = [member for member in members if member.session]
            found["closed"] = 0
        if not opening and not ending and pipe.poll():
            ending, deadline = True, now + 15
            for member in filter(lambda member: member.live, members):
                _try(member.ping, now, member=member, selector=selector, found=found)
        if ending:
            answered = sum(member.live and member.awaits == 0 for member in members)
            if answered + sum(member.dead for member in members) == len(members) or now > deadline:
                found["alive"] = answered
                found["lost"] = len(members) - answered
                return found


def _try(action, *arguments, member, selector, found):
    try:
        action(*arguments)
    except BlockingIOError:
        pass
    except OSError:
        _lost_connection(member, selector, found)


def _lost_connection(member, selector, found):
    found["closed"] += 1
    member.end(selector)
    member.retry_at = time.monotonic() + 0.2


def _serve(member, mask, selector, found):
    if member.link is None:
        return
    try:
        if mask & selectors.EVENT_WRITE:
            member.link.send(raw.handshake(member.timeout_ms, member.session, member.password))
            selector.modify(member.link, selectors.EVENT_READ, member)
        if mask & selectors.EVENT_READ:
            chunk = member.link.recv(65536)
            if not chunk:
                return _lost_connection(member, selector, found)
            member.input += chunk
            member.heard = time.monotonic()
            member.take(found)
            if member.dead:
                member.end(selector)
    except BlockingIOError:
        pass
    except OSError:
        _lost_connection(member, selector, found)


def _tend(member, port, selector, now, gives_up):
    if member.dead:
        return
    timeout = member.timeout_ms / 1000
    if member.link is None:
        if member.session and now >= member.retry_at:
            member.begin(port, selector, now)
    elif gives_up and now - member.heard > timeout * 2 / 3:
        member.end(selector)
        member.retry_at = now
    elif member.live and now - member.pinged > timeout / 3:
        try:
            member.ping(now)
        except OSError:
            pass


def newcomers(pipe, port, every, source):
    """A new session every now and then, closed at once; counts those that did not come about."""
    found = {"tried": 0, "failed": 0, "longest": 0.0}
    pipe.send("ready")
    while not pipe.poll():
        begun = time.monotonic()
        found["tried"] += 1
        try:
            raw.Client(port, source=source, wait=15).close()
        except (raw.Gone, raw.Late, raw.Expired, OSError):
            found["failed"] += 1
        found["longest"] = max(found["longest"], time.monotonic() - begun)
        time.sleep(every)
    return found
