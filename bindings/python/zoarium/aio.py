"""Clients for asyncio: every operation can be awaited, and everything runs on the event loop's own thread.

The loop polls the descriptor of a queue of the library's; there is no thread between the two.

>>> import asyncio, zoarium
>>> async def main(server):
...     async with server.aio_client() as zk:
...         await zk.create("/hello", b"world")
...         return (await zk.get("/hello")).data
>>> with zoarium.Server() as server:
...     asyncio.run(main(server))
b'world'
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from ctypes import byref, c_uint64
from functools import partial
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable, Generator, Iterable, Literal, TypeVar, overload

from . import _abi, _inbox, _requests
from ._life import Life, life
from ._requests import Convert, Part, Slot, of_parts, of_result, slot_for
from .errors import (
    LEFT_TO_EXPIRE,
    ConnectionClosedError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    ZoariumError,
    check,
    error_of,
    failure,
    last_error,
    over,
)
from .session import Listener, Session, WatchCallback
from .transaction import ReadParts, WriteParts, blame
from .types import ACL, Id, KazooState, Node, WatchedEvent, ZnodeStat

if TYPE_CHECKING:
    from .server import Server

T = TypeVar("T")
__all__ = ["Client", "MultiRead", "Opening", "TransactionRequest", "Watch", "connect"]


class _Door:
    """One loop's queue, open while clients use it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.inbox = _inbox.Inbox()
        self.clients = 0
        self._loop = weakref.ref(loop)
        loop.add_reader(self.inbox.descriptor, self.ready)

    def ready(self) -> None:
        """Runs what waits, a batch at a time: the descriptor stays readable while there is more."""
        self.inbox.run()
        self.inbox.dispatch()

    def leave(self) -> None:
        """One client less."""
        self.clients -= 1
        if self.clients == 0:
            loop = self._loop()
            if loop is not None:
                _doors.pop(loop, None)
                if not loop.is_closed():
                    loop.remove_reader(self.inbox.descriptor)
            self.inbox.free()


_doors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Door] = weakref.WeakKeyDictionary()
_inbox.in_child.append(_doors.clear)


def _settle(future: asyncio.Future[T], convert: Convert[T], path: str | None, result: int) -> None:
    """A result has come; its future may have been cancelled by now."""
    if future.done():
        _abi.zoa_result_free(result)
        return
    try:
        future.set_result(of_result(result, convert, path))
    except Exception as error:
        future.set_exception(error)


def _settle_parts(future: asyncio.Future[list[Any]], parts: list[Part], result: int) -> None:
    try:
        if future.done():
            return
        if _abi.zoa_result_part(result, 0):
            future.set_result(of_parts(result, parts))
        else:
            future.set_exception(_requests.result_error(result, _abi.zoa_result_code(result), None))
    except Exception as error:
        future.set_exception(error)
    finally:
        _abi.zoa_result_free(result)


class Client(Session):
    """One session, used from one event loop. Begun by :meth:`Server.aio_client` or :func:`connect`.

    A task that is cancelled while it awaits an operation stops waiting; the request has been sent and may still be
    carried out. Arguments and results are those of :class:`zoarium.Client`.
    """

    def __init__(
        self,
        target: Server | str,
        *,
        timeout: float,
        chroot: str | None,
        read_only: bool,
        resume: tuple[int, bytes] | None,
        request_size_max: int = 0,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        door = _doors.get(loop)
        if door is None:
            door = _doors[loop] = _Door(loop)
        self._door = door
        self._state_waiters: list[asyncio.Future[None]] = []
        self._auth_data: list[tuple[str, str]] = []
        door.clients += 1
        try:
            super().__init__(
                target,
                door.inbox,
                timeout=timeout,
                chroot=chroot,
                read_only=read_only,
                resume=resume,
                request_size_max=request_size_max,
            )
        except BaseException:
            door.leave()
            raise

    # ---- life ----

    async def _connected(self, limit: float) -> None:
        """Waits until a server answers."""
        deadline = _inbox.deadline_of(limit)
        while True:
            code = _abi.zoa_client_wait(self._handle, 0)
            if code != _abi.ZOA_TIMEOUT:
                check(code)
                # Listeners are told of what comes after this.
                self._last_state = self._last_state or KazooState.CONNECTED
                return
            left = deadline - self._loop.time()
            if left <= 0:
                raise error_of(code, None, f"no server has answered in {limit} s")
            waiter = self._loop.create_future()
            self._state_waiters.append(waiter)
            await asyncio.wait([waiter], timeout=left)

    def _tell(self, state: str) -> None:
        for waiter in self._state_waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._state_waiters.clear()
        super()._tell(state)

    def add_listener(self, listener: Listener) -> None:
        """Has `listener` called on the loop with every new state, until it returns ``True``."""
        super().add_listener(listener)

    async def close(self, timeout: float = 2.0) -> None:
        """Ends the session, with its ephemeral znodes. Whatever is awaited ends in :class:`ConnectionClosedError`.

        Where no server answers it is closed all the same, and the session is left to expire.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if _inbox.is_ours(self._inbox):
                await self._elsewhere(lambda: _abi.zoa_client_close(self._handle, int(timeout * 1000)), closes=True)
        finally:
            # What had to be called back was put into the inbox while the library closed it.
            self._inbox.dispatch()
            self._lose()
            _inbox.receivers.pop(self._state_key, None)
            self._door.leave()

    async def stop(self) -> None:
        """As :meth:`close`."""
        await self.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await asyncio.shield(self.close())

    async def _elsewhere(self, call: Callable[[], int], path: str | None = None, closes: bool = False) -> None:
        """Runs a call that waits on another thread; raises what its code means."""

        def run() -> tuple[int, tuple[str, int]]:
            code = call()
            return code, last_error() if code else ("", 0)

        code, said = await self._loop.run_in_executor(None, run)
        if code and not (closes and code in LEFT_TO_EXPIRE):
            raise error_of(code, path, *said)

    def __del__(self, _life: Life = life, _receivers: dict[int, Any] = _inbox.receivers) -> None:
        super().__del__()
        # Collected unclosed, on whatever thread that happens.
        if "_handle" in self.__dict__ and not self._closed and not _life.is_ending and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._door.leave)

    # ---- calls ----

    def _send(self, slot: Slot, convert: Convert[T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        key = _inbox.next_key()
        _inbox.receivers[key] = partial(_settle, future, convert, slot.path)
        code = _abi.zoa_client_submit(self._handle, slot.op_ref, self._inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            raise failure(code, slot.path)
        slot.recycle()
        return future

    async def _do(self, slot: Slot, convert: Convert[T]) -> T:
        return await self._send(slot, convert)

    async def _do_watched(self, slot: Slot, convert: Convert[T], watch: WatchCallback | None, kind: str) -> T:
        if watch is None:
            return await self._send(slot, convert)
        path, operation = slot.path, slot.op.kind
        key, is_new = self._once_key(kind, path, watch)
        try:
            return await self._send(_requests.watched(operation, path, self._inbox.on_event, key), convert)
        except BaseException as error:
            # A watch for the creation of what is not there is one, too; and who is cancelled may have set it.
            is_set = isinstance(error, asyncio.CancelledError) or (
                operation == _abi.ZOA_OP_EXISTS and isinstance(error, NoNodeError)
            )
            if is_new and not is_set:
                self._forget_once(kind, path, watch)
            raise

    async def _multi(self, parts: list[Part]) -> list[Any]:
        if not parts:
            return []
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        key = _inbox.next_key()
        _inbox.receivers[key] = partial(_settle_parts, future, parts)
        array = _requests.op_array(parts)
        code = _abi.zoa_client_submit_multi(self._handle, array, len(parts), self._inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            raise failure(code)
        return await future

    # ---- the operations ----

    @overload
    async def create(
        self,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        include_data: Literal[False] = False,
        ttl: int = 0,
        container: bool = False,
    ) -> str: ...

    @overload
    async def create(
        self,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        *,
        include_data: Literal[True],
        ttl: int = 0,
        container: bool = False,
    ) -> tuple[str, ZnodeStat]: ...

    async def create(
        self,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        include_data: bool = False,
        ttl: int = 0,
        container: bool = False,
    ) -> str | tuple[str, ZnodeStat]:
        """Creates a znode and returns its path, or path and stat with `include_data`."""
        convert: Convert[Any] = _requests.created_with_stat if include_data else _requests.created

        def slot() -> Slot:
            return _requests.create(path, value, acl, ephemeral, sequence, ttl, container)

        if makepath:
            try:
                return await self._send(slot(), convert)
            except NoNodeError:
                await self.ensure_path("/" + path.strip("/").rpartition("/")[0], acl)
        return await self._send(slot(), convert)

    async def ensure_path(self, path: str, acl: Iterable[ACL] | None = None) -> bool:
        """Creates a znode and its parents where they are missing, the client's chroot among them."""
        names = [name for name in path.split("/") if name]
        acl = None if acl is None else list(acl)
        target, chroot = self._whole_chroot()
        paths = ["/" + "/".join(names[: at + 1]) for at in range(len(names))]
        if chroot:
            paths.insert(0, "/")
        for is_last in (not chroot, True):
            # One session's requests are carried out in order: the parents are there when their children come.
            sent = [self.create(path, b"", acl) for path in paths]
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
            failed = [
                outcome
                for outcome in outcomes
                if isinstance(outcome, BaseException) and not isinstance(outcome, NodeExistsError)
            ]
            if not failed:
                break
            if is_last or not isinstance(failed[0], NoNodeError):
                raise failed[0]
            # What is above the chroot is out of this session's reach.
            async with Opening(
                target, 15.0, self._auth_data, timeout=self._timeout, chroot=None, read_only=False, resume=None
            ) as above:
                await above.ensure_path(chroot, acl)
        return True

    async def exists(self, path: str, watch: WatchCallback | None = None) -> ZnodeStat | None:
        """The stat of a znode, ``None`` where there is none. `watch` is called once on the loop, when that changes."""
        try:
            return await self._do_watched(slot_for(_abi.ZOA_OP_EXISTS, path), _requests.stat, watch, "data")
        except NoNodeError:
            return None

    async def get(self, path: str, watch: WatchCallback | None = None) -> Node:
        """Data and stat of a znode. `watch` is called once on the loop, when they change or the znode goes."""
        return await self._do_watched(slot_for(_abi.ZOA_OP_GET, path), _requests.node, watch, "data")

    @overload
    async def get_children(
        self, path: str, watch: WatchCallback | None = None, include_data: Literal[False] = False
    ) -> list[str]: ...

    @overload
    async def get_children(
        self, path: str, watch: WatchCallback | None = None, *, include_data: Literal[True]
    ) -> tuple[list[str], ZnodeStat]: ...

    async def get_children(
        self, path: str, watch: WatchCallback | None = None, include_data: bool = False
    ) -> list[str] | tuple[list[str], ZnodeStat]:
        """The names of a znode's children; with its stat, when `include_data` is true."""
        convert: Convert[Any] = _requests.names_with_stat if include_data else _requests.names
        slot = slot_for(_abi.ZOA_OP_CHILDREN, path)
        return await self._do_watched(slot, convert, watch, "child")

    async def set(self, path: str, value: bytes | None, version: int = -1) -> ZnodeStat:
        """Replaces a znode's data, if its version is `version` (-1: any), and returns its stat."""
        return await self._do(_requests.set_data(path, value, version), _requests.stat)

    async def delete(self, path: str, version: int = -1, recursive: bool = False) -> bool:
        """Deletes a znode, if its version is `version` (-1: any); with `recursive`, everything below it first."""
        while recursive:
            try:
                for child in await self.get_children(path):
                    try:
                        await self.delete(f"{path.rstrip('/')}/{child}", recursive=True)
                    except NoNodeError:
                        pass
                return await self._do(_requests.delete(path, version), _requests.nothing)
            except NotEmptyError:
                # Somebody created a child meanwhile.
                continue
        return await self._do(_requests.delete(path, version), _requests.nothing)

    async def get_acls(self, path: str) -> tuple[list[ACL], ZnodeStat]:
        """The ACL and stat of a znode."""
        return await self._do(slot_for(_abi.ZOA_OP_ACL, path), _requests.acls)

    async def set_acls(self, path: str, acls: Iterable[ACL], version: int = -1) -> ZnodeStat:
        """Replaces a znode's ACL, if its ACL version is `version` (-1: any)."""
        return await self._do(_requests.set_acls(path, acls, version), _requests.stat)

    async def sync(self, path: str = "/") -> str:
        """Waits until this server has caught up with the leader."""
        await self._do(slot_for(_abi.ZOA_OP_SYNC, path), _requests.nothing)
        return path

    async def reconfig(
        self,
        joining: str | None = None,
        leaving: str | None = None,
        new_members: str | None = None,
        from_config: int = -1,
    ) -> Node:
        """Changes the ensemble; returns the new configuration."""
        return await self._do(_requests.reconfig(joining, leaving, new_members, from_config), _requests.node)

    async def add_auth(self, scheme: str, credential: str) -> bool:
        """Adds an identity to the session: scheme ``"digest"`` with ``"user:password"``, for one."""
        name, secret = scheme.encode(), credential.encode()
        await self._elsewhere(lambda: _abi.zoa_client_add_auth(self._handle, name, secret, len(secret)))
        if (scheme, credential) not in self._auth_data:
            self._auth_data.append((scheme, credential))
        return True

    async def who_am_i(self) -> list[Id]:
        """The session's identities."""
        return await self._do(slot_for(_abi.ZOA_OP_WHO_AM_I, "/"), _requests.identities)

    async def get_ephemerals(self, path: str = "/") -> list[str]:
        """The paths of this session's ephemeral znodes that begin with `path`."""
        return await self._do(slot_for(_abi.ZOA_OP_EPHEMERALS, path), _requests.names)

    async def get_all_children_number(self, path: str) -> int:
        """How many znodes there are below a path, at any depth."""
        return await self._do(slot_for(_abi.ZOA_OP_COUNT, path), _requests.count)

    def transaction(self) -> TransactionRequest:
        """Several writes of which all happen, or none."""
        return TransactionRequest(self)

    def multi_read(self) -> MultiRead:
        """Several reads of one moment."""
        return MultiRead(self)

    def watch(self, path: str, *, recursive: bool = False) -> Watch:
        """A standing watch of a znode, which need not exist, and with `recursive` of all below it.

        It begins when it is first awaited: at the top of ``async for``, or of ``async with``, which also ends it::

            async with zk.watch("/jobs", recursive=True) as events:
                async for event in events:
                    ...
        """
        return Watch(self, path, recursive)


class Watch:
    """A standing watch: an asynchronous iterator of events. No event is dropped; it ends with its session.

    Where that was not closed here, iterating raises why it ended: :class:`SessionExpiredError`, or
    :class:`ConnectionClosedError` when the server in this process has stopped.
    """

    def __init__(self, client: Client, path: str, recursive: bool) -> None:
        self.path = path
        self.recursive = recursive
        self._client = client
        self._events: deque[WatchedEvent] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._number = 0
        self._is_over = False
        self._why: ZoariumError | None = None
        self._beginning: asyncio.Task[None] | None = None
        self.key = _inbox.next_key()

    async def _begin(self) -> None:
        client = self._client
        raw, number = _requests.encode_path(self.path), c_uint64()
        mode = _abi.ZOA_WATCH_RECURSIVE if self.recursive else _abi.ZOA_WATCH_PERSISTENT
        me = weakref.ref(self)

        def arrived(event: WatchedEvent) -> None:
            watch = me()
            if watch is not None:
                watch._arrived(event)

        _inbox.receivers[self.key] = arrived
        client._watches[self.key] = self
        try:
            for abandoned in [client._abandoned.pop() for _ in range(len(client._abandoned))]:
                await self._end_number(abandoned)
            await client._elsewhere(
                lambda: _abi.zoa_client_watch(
                    client._handle, raw, mode, client._inbox.on_event, self.key, byref(number)
                ),
                self.path,
            )
        except BaseException:
            self._end()
            raise
        self._number = number.value

    async def _end_number(self, number: int) -> None:
        try:
            await self._client._elsewhere(lambda: _abi.zoa_client_unwatch(self._client._handle, number))
        except Exception:
            # It has ended already, or the session or the connection has: nothing will come either way.
            pass

    async def begin(self) -> None:
        """Sets the watch, if that has not been done."""
        if self._beginning is None:
            self._beginning = asyncio.ensure_future(self._begin())
        # Who is cancelled leaves the registration to end by itself.
        await asyncio.shield(self._beginning)

    def _arrived(self, event: WatchedEvent) -> None:
        if not self._is_over:
            self._events.append(event)
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _end(self, why: ZoariumError | None = None) -> None:
        if not self._is_over:
            self._why = why
        self._is_over = True
        _inbox.receivers.pop(self.key, None)
        self._client._watches.pop(self.key, None)
        self._wake()

    async def get(self) -> WatchedEvent:
        """The next event. When the watch is over and all have been taken it raises :class:`SessionExpiredError` if that is
        why, :class:`ConnectionClosedError` otherwise."""
        await self.begin()
        while not self._events:
            if self._is_over:
                raise over(self.path, self._why)
            waiter = self._client._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        return self._events.popleft()

    async def close(self) -> None:
        """Ends the watch; events that nobody has taken yet may still be taken."""
        if self._beginning is not None and not self._is_over:
            try:
                await asyncio.shield(self._beginning)
                self._number, number = 0, self._number
                if number and not self._client.closed:
                    await self._end_number(number)
            finally:
                self._end()

    def __aiter__(self) -> AsyncIterator[WatchedEvent]:
        return self

    async def __anext__(self) -> WatchedEvent:
        try:
            return await self.get()
        except ConnectionClosedError:
            if self._why is not None:
                raise
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Watch:
        await self.begin()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.close()

    def __del__(self, _receivers: dict[int, Any] = _inbox.receivers) -> None:
        # A loop that was left: the server is told when there is time, what comes until then goes nowhere.
        if self._number and not self._is_over:
            _receivers.pop(self.key, None)
            self._client._abandoned.append(self._number)


class TransactionRequest(WriteParts[Client]):
    """Writes that all happen or none. As an ``async with`` block it commits at the end and raises a failure."""

    async def commit(self) -> list[Any]:
        """Sends it. One result for each operation; when it failed, all of them are exceptions."""
        return await self._owner._multi(self._take())

    async def __aenter__(self) -> TransactionRequest:
        return self

    async def __aexit__(self, kind: object, *_raised: object) -> None:
        if kind is None and not self.committed:
            failed = blame(await self.commit())
            if failed is not None:
                raise failed


class MultiRead(ReadParts[Client]):
    """Several reads of one moment, in one request."""

    async def commit(self) -> list[Any]:
        """Sends them. One result for each: a value, or an exception."""
        return await self._owner._multi(self._parts)


class Opening(Awaitable[Client]):
    """A client that is being opened: ``await`` it, or use it in ``async with``."""

    def __init__(
        self, target: Server | str, limit: float, auth_data: Iterable[tuple[str, str]], **options: Any
    ) -> None:
        self._target = target
        self._limit = limit
        self._auth_data = list(auth_data)
        self._options = options
        self._client: Client | None = None

    async def _open(self) -> Client:
        client = Client(self._target, **self._options)
        try:
            await client._connected(self._limit)
            for scheme, credential in self._auth_data:
                await client.add_auth(scheme, credential)
        except BaseException:
            await asyncio.shield(client.close(0))
            raise
        return client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self._open()
        return self._client

    async def __aexit__(self, *raised: object) -> None:
        if self._client is not None:
            await self._client.__aexit__(*raised)


def connect(
    hosts: str,
    *,
    timeout: float = 10.0,
    connect_timeout: float = 15.0,
    chroot: str | None = None,
    read_only: bool = False,
    resume: tuple[int, bytes] | None = None,
    auth_data: Iterable[tuple[str, str]] = (),
    request_size_max: int = 0,
) -> Opening:
    """A client over TCP: ``async with zoarium.aio.connect("h1:2181,h2/app") as zk``, or ``await`` it."""
    return Opening(
        hosts,
        connect_timeout,
        auth_data,
        timeout=timeout,
        chroot=chroot,
        read_only=read_only,
        resume=resume,
        request_size_max=request_size_max,
    )
