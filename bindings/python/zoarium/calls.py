"""A client's life, and how it calls the library."""

from __future__ import annotations

import sys
from _thread import get_ident
from ctypes import c_void_p
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Iterable, TypeVar

from . import _abi, _inbox
from ._life import life
from ._requests import Request
from .errors import LEFT_TO_EXPIRE, ForkedError, TimedOutError, ZoariumError, check, error_of, failure, last_error
from .session import Host, Listener, Session, Then
from .types import KazooState

if TYPE_CHECKING:
    from .futures import Future

T = TypeVar("T")
ClientT = TypeVar("ClientT", bound="Calls")
#: How long a thread waits in the library before it looks for Ctrl-C again, ms.
_SLICE_MS = 100
#: How long an answer may take past a deadline, while there is a connection, s.
_ANSWER = 1.0
_NEVER = float("inf")

_zoa_client_begin = _abi.zoa_client_begin
_zoa_result_free = _abi.zoa_result_free


class Calls(Session):
    """A client's life, how it calls the library, and what becomes of it in a forked child."""

    def __init__(
        self,
        target: Host | str,
        *,
        timeout: float = 10.0,
        chroot: str | None = None,
        read_only: bool = False,
        resume: tuple[int, bytes] | None = None,
        auth_data: Iterable[tuple[str, str]] = (),
        reopen_after_fork: bool = False,
        request_size_max: int = 0,
        new_session: bool = False,
    ) -> None:
        self._reopen_after_fork = reopen_after_fork
        super().__init__(
            target,
            _inbox.shared(),
            timeout=timeout,
            chroot=chroot,
            read_only=read_only,
            resume=resume,
            request_size_max=request_size_max,
            new_session=new_session,
        )
        self._auth_data = list(auth_data)
        for scheme, credential in self._auth_data:
            self._add_auth(scheme, credential)

    # ---- life ----

    def start(self, timeout: float = 15.0) -> None:
        """Waits until a server answers; :func:`connect` has done so. Raises :class:`TimedOutError`."""
        deadline = _inbox.deadline_of(timeout)
        while True:
            left = deadline - monotonic()
            code = _abi.zoa_client_wait(self._handle, int(max(0, min(_SLICE_MS, left * 1000))))
            if code != _abi.ZOA_TIMEOUT or left <= 0:
                break
        if code == _abi.ZOA_TIMEOUT:
            raise error_of(code, None, f"no server has answered in {timeout} s")
        check(code)
        # Listeners are told of what comes after this.
        self._last_state = self._last_state or KazooState.CONNECTED

    def stop(self) -> None:
        """As :meth:`close`."""
        self.close()

    def close(self, timeout: float = 2.0) -> None:
        """Ends the session, with its ephemeral znodes; waits for the server's answer up to `timeout` seconds.

        When it returns, all callbacks have run, unless it is called from one. Closing twice is fine. Where no server answers
        it is closed all the same, and the session is left to expire.
        """
        if self._closed:
            return
        self._closed = True
        if _inbox.is_ours(self._inbox):
            code = _abi.zoa_client_close(self._handle, int(timeout * 1000))
            if code not in (_abi.ZOA_OK, *LEFT_TO_EXPIRE):
                raise failure(code)
        self._after_end(timeout)

    def detach(self) -> tuple[int, bytes]:
        """Lets go of the session and leaves it alive; returns what ``resume=`` takes to take it over."""
        session = self._session()
        self._closed = True
        check(_abi.zoa_client_detach(self._handle))
        self._after_end(2.0)
        return session.id, bytes(session.password)

    def _after_end(self, limit: float) -> None:
        self._inbox.dispatch(limit)
        self._lose()
        _inbox.receivers.pop(self._state_key, None)

    def __enter__(self: ClientT) -> ClientT:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def add_listener(self, listener: Listener) -> None:
        """Has `listener` called with every new state, one of :class:`KazooState`, until it returns ``True``."""
        super().add_listener(listener)
        self._inbox.drain()

    # ---- calls ----

    def _do(self, request: Request[T]) -> T:
        """Carries a request out, waiting for it."""
        if request.watch is not None or request.recover is not None:
            return self._do_more(request)
        result = self._call(request)
        try:
            return request.convert(result)
        finally:
            _zoa_result_free(result)
            request.recycle()

    def _do_more(self, request: Request[T]) -> T:
        """The same where there is more to it than one call."""
        watch, recover, is_new = request.watch, request.recover, False
        if watch is not None:
            self._be_here()
            self._inbox.drain()
            is_new = self._arm(request)
        try:
            result = self._call(request)
        except BaseException as error:
            if is_new and watch is not None and not self._leaves_watch(request.op.kind, error):
                self._forget_once(request.watch_kind, request.path, watch)
            if recover is None or not isinstance(error, ZoariumError):
                raise
            failed = error
        else:
            try:
                return request.convert(result)
            finally:
                _zoa_result_free(result)
                request.recycle()
        return run(recover(self, failed))

    def _call(self, request: Request[Any]) -> int:
        """Runs an operation; returns its result, to be freed."""
        code = _zoa_client_begin(self._handle, request.op_ref, _SLICE_MS, request.result_ref, request.pending_ref)
        if code:
            self._go_on(code, request)
        return request.result.value  # type: ignore[return-value]

    def _go_on(self, code: int, request: Request[Any]) -> None:
        """Waits for what takes longer than a moment; raises what else a code means."""
        if code == _abi.ZOA_FORKED and self._may_reopen():
            self._reopen()
            code = _zoa_client_begin(self._handle, request.op_ref, _SLICE_MS, request.result_ref, request.pending_ref)
        said = None
        if code == _abi.ZOA_TIMEOUT and request.pending.value:
            pending = c_void_p(request.pending.value)
            request.pending.value = None
            try:
                # Between two waits the interpreter looks for signals.
                while code == _abi.ZOA_TIMEOUT:
                    code = _abi.zoa_pending_wait(pending, _SLICE_MS, request.result_ref)
                said = last_error() if code else None
            finally:
                _abi.zoa_pending_free(pending)
        if code:
            life.hold()
            raise error_of(code, request.path, *(said or last_error()))

    def _be_here(self) -> None:
        """Before a watch is set: in a forked child, begins anew or raises."""
        if not _inbox.is_ours(self._inbox):
            if not self._may_reopen():
                raise error_of(_abi.ZOA_FORKED)
            self._reopen()

    def _may_reopen(self) -> bool:
        return self._reopen_after_fork and not self._closed

    def _submit(self, request: Request[Any], then: Then) -> ZoariumError | None:
        if request.watch is not None:
            self._be_here()
        if not self._inbox.is_drained:
            self._inbox.drain()
        error = super()._submit(request, then)
        if isinstance(error, ForkedError) and self._may_reopen():
            self._reopen()
            return self._submit(request, then)
        return error

    def _submit_parts(self, parts: list[Request[Any]], then: Then) -> ZoariumError | None:
        self._inbox.drain()
        error = super()._submit_parts(parts, then)
        if isinstance(error, ForkedError) and self._may_reopen():
            self._reopen()
            return self._submit_parts(parts, then)
        return error

    def call_soon(self, function: Callable[[], object]) -> None:
        """Calls a function as if it were a callback: no other one runs meanwhile, what it begins is answered after it."""
        self._inbox.drain()
        super().call_soon(function)

    def _send(self, request: Request[T]) -> Future[T]:
        """Sends a request; what becomes of it is in the future."""
        from .futures import Future

        if self._reopen_after_fork and self._may_reopen():
            # A future waits at the queue that its answer comes through.
            self._be_here()
        future: Future[T] = Future(self._inbox)
        error = self._submit(request, future.settle)
        if error is not None:
            future.settle(None, error)
        return future

    def send_parts(self, parts: list[Request[Any]]) -> Future[list[Any]]:
        """Sends several requests as one."""
        from .futures import Future

        if self._reopen_after_fork and self._may_reopen():
            self._be_here()
        future: Future[list[Any]] = Future(self._inbox)
        error = self._submit_parts(parts, future.settle) if parts else None
        if error is not None or not parts:
            future.settle([], error)
        return future

    async def perform(self, request: Request[T], deadline: float = _NEVER) -> T:
        """Carries a request out, for recipes: a coroutine that waits in this thread, at most until the deadline."""
        if deadline == _NEVER:
            return self._do(request)
        left = max(0.0, deadline - monotonic())
        future = self._send(request)
        # An answer is not what the limit is for: even with none at all, what can be had at once is had.
        is_prompt = self.state != KazooState.SUSPENDED
        if not future.wait(max(left, _ANSWER) if is_prompt else left):
            # It has been sent and may yet be carried out: whoever called undoes it.
            raise TimedOutError("no answer in time")
        return future.result()

    async def create_chroot(self, acl: Iterable[Any] | None) -> None:
        """Creates the chroot with what is above it, waiting for it."""
        raise NotImplementedError

    def _add_auth(self, scheme: str, credential: str) -> None:
        name, secret = scheme.encode(), credential.encode()
        handle = self._handle
        interruptibly(lambda: _abi.zoa_client_add_auth(handle, name, secret, len(secret)))

    # ---- fork ----

    def _reopen(self) -> None:
        """Begins a session of this process's own. Watches and listeners of the parent's session stay behind."""
        where = self._target if isinstance(self._target, str) else self._target.address
        if not isinstance(self._target, str) and self._target.is_ours():
            self._begin(self._target, _inbox.shared(), None)
        else:
            self._begin(where, _inbox.shared(), None)
            self.start()
        self._last_state = None
        for scheme, credential in self._auth_data:
            self._add_auth(scheme, credential)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine all of whose waiting is done in this thread."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    # What it awaits on its way out would have to wait, too: it is not let to.
    wrong = TypeError("this waits for a client of asyncio: await it, with a recipe of zoarium.recipes.aio")
    while True:
        try:
            coroutine.throw(wrong)
        except StopIteration:
            raise wrong from None


def interruptibly(call: Callable[[], int], path: str | None = None) -> None:
    """Runs a call that waits without a limit so that Ctrl-C works on the main thread; raises what its code means."""
    threading = sys.modules.get("threading")
    if threading is None or get_ident() != threading.main_thread().ident or life.is_ending:
        check(call(), path)
        return
    said: list[tuple[int, tuple[str, int]]] = []

    def run() -> None:
        code = call()
        # What went wrong is known on the thread it went wrong on.
        said.append((code, last_error() if code else ("", 0)))

    thread = threading.Thread(target=run, name="zoarium-call", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # The interpreter is about to end and begins no threads any more.
        check(call(), path)
        return
    thread.join()
    code, failed = said[0]
    if code:
        raise error_of(code, path, *failed)
