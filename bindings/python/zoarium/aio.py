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
from ctypes import byref, c_uint64, c_void_p
from functools import partial, wraps
from time import monotonic
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, TypeVar

from . import _abi, _inbox, _requests
from ._life import Life, life
from ._requests import Request, WatchCallback
from .errors import (
    LEFT_TO_EXPIRE,
    ConnectionClosedError,
    TimedOutError,
    ZoariumError,
    check,
    error_of,
    last_error,
    over,
)
from .offers import AioRecipes
from .operations import Operations
from .session import Host, Listener, Session, Then
from .transaction import ReadParts, WriteParts, blame
from .trying import PASSING, Attempts
from .types import ACL, KazooState, WatchedEvent

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    from .recipes.protocol import RecipeClient

    P = ParamSpec("P")

    def _fulfils(client: Client) -> RecipeClient:
        """What recipes need is there: mypy says so."""
        return client

T = TypeVar("T")
_NEVER = float("inf")
#: How long an answer may take past a deadline, while there is a connection, s.
_ANSWER = 1.0
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


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    """Something has come; its future may have been cancelled by now."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def awaited(make: Callable[Concatenate[Any, P], Request[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The method that carries an operation out when it is awaited."""

    @wraps(make)
    async def method(self: Client, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return await self._send(make(self, *arguments, **keywords))

    return method


class Client(AioRecipes, Session):
    """One session, used from one event loop. Begun by :meth:`Server.aio_client` or :func:`connect`.

    A task that is cancelled while it awaits an operation stops waiting; the request has been sent and may still be
    carried out. Arguments and results are those of :class:`zoarium.Client`.
    """

    def __init__(
        self,
        target: Host | str,
        *,
        timeout: float,
        chroot: str | None,
        read_only: bool,
        resume: tuple[int, bytes] | None,
        request_size_max: int = 0,
        new_session: bool = False,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        door = _doors.get(loop)
        if door is None:
            door = _doors[loop] = _Door(loop)
        self._door = door
        self._state_waiters: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
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
                new_session=new_session,
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

    def _adopt_soon(self, handle: c_void_p, key: int) -> None:
        self._loop.call_soon_threadsafe(self._adopt, handle, key)

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

    def _future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def _send(self, request: Request[T]) -> asyncio.Future[T]:
        future = self._future()
        error = self._submit(request, partial(_settle, future))
        if error is not None:
            raise error
        return future

    async def send_parts(self, parts: list[Request[Any]]) -> list[Any]:
        """Sends several requests as one."""
        if not parts:
            return []
        future = self._future()
        error = self._submit_parts(parts, partial(_settle, future))
        if error is not None:
            raise error
        found: list[Any] = await future
        return found

    async def perform(self, request: Request[T], deadline: float = _NEVER) -> T:
        """Carries a request out, at most until the deadline (of ``time.monotonic``)."""
        future = self._send(request)
        try:
            if deadline == _NEVER:
                return await future
            # An answer is not what the limit is for: even with none at all, what can be had at once is had.
            left = max(0.0, deadline - monotonic())
            await asyncio.wait([future], timeout=max(left, _ANSWER) if self.connected else left)
            if not future.done():
                raise TimedOutError("no answer in time")
            return future.result()
        finally:
            future.cancel()

    async def _set_watch(self, watch: Watch) -> int:
        """Has the library set a standing watch; returns its number."""
        for abandoned in self._take_abandoned():
            await self._end_watch(abandoned)
        raw, number = _requests.encode_path(watch.path), c_uint64()
        mode = _abi.ZOA_WATCH_RECURSIVE if watch.recursive else _abi.ZOA_WATCH_PERSISTENT
        await self._elsewhere(
            lambda: _abi.zoa_client_watch(self._handle, raw, mode, self._inbox.on_event, watch.key, byref(number)),
            watch.path,
        )
        return number.value

    async def _end_watch(self, number: int) -> None:
        try:
            await self._elsewhere(lambda: _abi.zoa_client_unwatch(self._handle, number))
        except Exception:
            # It has ended already, or the session or the connection has: nothing will come either way.
            pass

    # ---- what recipes need besides ----

    def in_callback(self) -> bool:
        """Never: what awaits keeps nobody from running."""
        return False

    def current(self) -> object:
        """Who is at it: the task."""
        return asyncio.current_task()

    def signal(self) -> LoopSignal:
        """Something to wait for."""
        return LoopSignal()

    def call_later(self, seconds: float, function: Callable[[], object]) -> asyncio.TimerHandle:
        """Calls a function on the loop after a while, unless that is cancelled."""
        return self._loop.call_later(seconds, function)

    async def stand(self, path: str, callback: WatchCallback, recursive: bool = False) -> Watch:
        """A standing watch with a callback."""
        watch = Watch(self, path, recursive, callback)
        await watch.begin()
        return watch

    async def unstand(self, watch: Watch) -> None:
        """Ends such a watch."""
        await watch.close()

    async def perform_parts(self, parts: list[Request[Any]]) -> list[Any]:
        """As :meth:`send_parts`."""
        return await self.send_parts(parts)

    # ---- the operations: what they are stands in the table ----

    create = awaited(Operations.create)
    ensure_path = awaited(Operations.ensure_path)
    exists = awaited(Operations.exists)
    get = awaited(Operations.get)
    get_children = awaited(Operations.get_children)
    set = awaited(Operations.set)
    delete = awaited(Operations.delete)
    get_acls = awaited(Operations.get_acls)
    set_acls = awaited(Operations.set_acls)
    sync = awaited(Operations.sync)
    reconfig = awaited(Operations.reconfig)
    get_config = awaited(Operations.get_config)
    who_am_i = awaited(Operations.who_am_i)
    get_ephemerals = awaited(Operations.get_ephemerals)
    get_all_children_number = awaited(Operations.get_all_children_number)

    async def add_auth(self, scheme: str, credential: str) -> bool:
        """Adds an identity to the session: scheme ``"digest"`` with ``"user:password"``, for one."""
        name, secret = scheme.encode(), credential.encode()
        await self._elsewhere(lambda: _abi.zoa_client_add_auth(self._handle, name, secret, len(secret)))
        if (scheme, credential) not in self._auth_data:
            self._auth_data.append((scheme, credential))
        return True

    async def create_chroot(self, acl: Iterable[ACL] | None) -> None:
        """Creates the chroot with what is above it, which is out of this session's reach."""
        target, chroot = self._whole_chroot()
        async with Opening(
            target, 15.0, self._auth_data, timeout=self._timeout, chroot=None, read_only=False, resume=None
        ) as above:
            await above.ensure_path(chroot, acl)

    def begin_chroot(self, acl: Iterable[ACL] | None, then: Then) -> None:
        """The same without waiting."""

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                self.call_soon(partial(then, None, error_of(_abi.ZOA_CLOSED)))
            else:
                self.call_soon(partial(then, None, task.exception()))

        task = self._loop.create_task(self.create_chroot(acl))
        # The loop itself does not keep it alive.
        self._tasks.add(task)
        task.add_done_callback(done)

    # ---- trying again ----

    async def retry(
        self,
        function: Callable[..., Awaitable[T]],
        *arguments: Any,
        attempts: int = 5,
        delay: float = 0.1,
        delay_max: float = 5.0,
        idempotent: bool | None = None,
        **keywords: Any,
    ) -> T:
        """Calls and awaits `function` until it succeeds, at most `attempts` times, while it fails for want of a connection.

        It is tried again in the same cases as by :meth:`zoarium.Client.retry`, and in no others.
        """
        plan = Attempts(Client, function, attempts, delay, delay_max, idempotent)
        while True:
            try:
                return await function(*arguments, **keywords)
            except PASSING as error:
                pause = plan.pause_after(error)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

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


class LoopSignal:
    """What tasks of one loop wait for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wakes all who wait, and who will."""
        self._event.set()

    def clear(self) -> None:
        """As if it had not been set."""
        self._event.clear()

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._event.is_set()

    async def wait(self, deadline: float = _NEVER) -> bool:
        """Waits for it; false when the deadline (of ``time.monotonic``) came first."""
        if deadline == _NEVER:
            return await self._event.wait()
        try:
            return await asyncio.wait_for(self._event.wait(), max(0.0, deadline - monotonic()))
        except asyncio.TimeoutError:
            return self._event.is_set()


class Watch:
    """A standing watch: an asynchronous iterator of events. No event is dropped; it ends with its session.

    Where that was not closed here, iterating raises why it ended: :class:`SessionExpiredError`, or
    :class:`ConnectionClosedError` when the server in this process has stopped.
    """

    def __init__(
        self, client: Client, path: str, recursive: bool, callback: WatchCallback | None = None
    ) -> None:
        self.path = path
        self.recursive = recursive
        self._client = client
        self._callback = callback
        self._events: deque[WatchedEvent] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._number = 0
        self._is_over = False
        self._why: ZoariumError | None = None
        self._beginning: asyncio.Task[None] | None = None
        self.key = _inbox.next_key()

    async def _begin(self) -> None:
        me = weakref.ref(self)

        def arrived(event: WatchedEvent) -> None:
            watch = me()
            if watch is not None:
                watch._arrived(event)

        _inbox.receivers[self.key] = arrived
        self._client.keep_watch(self)
        try:
            self._number = await self._client._set_watch(self)
        except BaseException:
            self.end()
            raise

    async def begin(self) -> None:
        """Sets the watch, if that has not been done."""
        if self._beginning is None:
            self._beginning = asyncio.ensure_future(self._begin())
        # Who is cancelled leaves the registration to end by itself.
        await asyncio.shield(self._beginning)

    def _arrived(self, event: WatchedEvent) -> None:
        if self._is_over:
            return
        if self._callback is not None:
            self._callback(event)
            return
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def end(self, why: ZoariumError | None = None) -> None:
        """Nothing more will come, for this reason; :meth:`close` also tells the server."""
        if not self._is_over:
            self._why = why
        self._is_over = True
        _inbox.receivers.pop(self.key, None)
        self._client.drop_watch(self)
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
                    await self._client._end_watch(number)
            finally:
                self.end()

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
            self._client.abandon(self._number)


class TransactionRequest(WriteParts):
    """Writes that all happen or none. As an ``async with`` block it commits at the end and raises a failure."""

    def __init__(self, owner: Client) -> None:
        super().__init__()
        self._owner = owner

    async def commit(self) -> list[Any]:
        """Sends it. One result for each operation; when it failed, all of them are exceptions."""
        return await self._owner.send_parts(self.take())

    async def __aenter__(self) -> TransactionRequest:
        return self

    async def __aexit__(self, kind: object, *_raised: object) -> None:
        if kind is None and not self.committed:
            failed = blame(await self.commit())
            if failed is not None:
                raise failed


class MultiRead(ReadParts):
    """Several reads of one moment, in one request."""

    def __init__(self, owner: Client) -> None:
        super().__init__()
        self._owner = owner

    async def commit(self) -> list[Any]:
        """Sends them. One result for each: a value, or an exception."""
        return await self._owner.send_parts(self.parts)


class Opening(Awaitable[Client]):
    """A client that is being opened: ``await`` it, or use it in ``async with``."""

    def __init__(
        self, target: Host | str, limit: float, auth_data: Iterable[tuple[str, str]], **options: Any
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
    new_session: bool = False,
) -> Opening:
    """A client over TCP: ``async with zoarium.aio.connect("h1:2181,h2/app") as zk``, or ``await`` it.

    The arguments are those of :func:`zoarium.connect`.
    """
    return Opening(
        hosts,
        connect_timeout,
        auth_data,
        timeout=timeout,
        chroot=chroot,
        read_only=read_only,
        resume=resume,
        request_size_max=request_size_max,
        new_session=new_session,
    )
