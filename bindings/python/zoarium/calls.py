"""A client's life, and how it calls the library."""

from __future__ import annotations

import sys
from _thread import get_ident
from ctypes import c_void_p
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Iterable, TypeVar

from . import _abi, _inbox, _requests
from ._life import life
from ._requests import Convert, Part, Slot, of_parts, op_array
from .errors import LEFT_TO_EXPIRE, check, error_of, failure, last_error
from .session import Listener, Session
from .types import KazooState

if TYPE_CHECKING:
    from .futures import Future
    from .server import Server

T = TypeVar("T")
ClientT = TypeVar("ClientT", bound="Calls")
#: How long a thread waits in the library before it looks for Ctrl-C again, ms.
_SLICE_MS = 100

_zoa_client_begin = _abi.zoa_client_begin
_zoa_result_free = _abi.zoa_result_free

class Calls(Session):
    """A client's life, how it calls the library, and what becomes of it in a forked child."""

    def __init__(
        self,
        target: Server | str,
        *,
        timeout: float = 10.0,
        chroot: str | None = None,
        read_only: bool = False,
        resume: tuple[int, bytes] | None = None,
        auth_data: Iterable[tuple[str, str]] = (),
        reopen_after_fork: bool = False,
        request_size_max: int = 0,
    ) -> None:
        self._auth_data = list(auth_data)
        self._reopen_after_fork = reopen_after_fork
        super().__init__(
            target,
            _inbox.shared(),
            timeout=timeout,
            chroot=chroot,
            read_only=read_only,
            resume=resume,
            request_size_max=request_size_max,
        )
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

    def _call(self, slot: Slot) -> int:
        """Runs an operation; returns its result, to be freed."""
        code = _zoa_client_begin(self._handle, slot.op_ref, _SLICE_MS, slot.result_ref, slot.pending_ref)
        if code:
            self._go_on(code, slot)
        return slot.result.value  # type: ignore[return-value]

    def _go_on(self, code: int, slot: Slot) -> None:
        """Waits for what takes longer than a moment; raises what else a code means."""
        if code == _abi.ZOA_FORKED and self._may_reopen():
            self._reopen()
            code = _zoa_client_begin(self._handle, slot.op_ref, _SLICE_MS, slot.result_ref, slot.pending_ref)
        said = None
        if code == _abi.ZOA_TIMEOUT and slot.pending.value:
            pending = c_void_p(slot.pending.value)
            slot.pending.value = None
            try:
                # Between two waits the interpreter looks for signals.
                while code == _abi.ZOA_TIMEOUT:
                    code = _abi.zoa_pending_wait(pending, _SLICE_MS, slot.result_ref)
                said = last_error() if code else None
            finally:
                _abi.zoa_pending_free(pending)
        if code:
            life.hold()
            raise error_of(code, slot.path, *(said or last_error()))

    def _be_here(self) -> None:
        """Before a watch is set: in a forked child, begins anew or raises."""
        if not _inbox.is_ours(self._inbox):
            if not self._may_reopen():
                raise error_of(_abi.ZOA_FORKED)
            self._reopen()

    def _may_reopen(self) -> bool:
        return self._reopen_after_fork and not self._closed

    def _do(self, slot: Slot, convert: Convert[T]) -> T:
        result = self._call(slot)
        try:
            return convert(result)
        finally:
            _zoa_result_free(result)
            slot.recycle()

    def _send(self, slot: Slot, convert: Convert[T]) -> Future[T]:
        from .futures import Future

        inbox = self._inbox
        if not inbox.is_drained:
            inbox.drain()
        future: Future[T] = Future(inbox, convert, slot.path)
        key = _inbox.next_key()
        _inbox.receivers[key] = future._arrived
        code = _abi.zoa_client_submit(self._handle, slot.op_ref, inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            if code == _abi.ZOA_FORKED and self._may_reopen():
                self._reopen()
                return self._send(slot, convert)
            future._failed(failure(code, slot.path))
        slot.recycle()
        return future

    def _multi(self, parts: list[Part]) -> list[Any]:
        if not parts:
            return []
        return self._multi_async(parts).result()

    def _multi_async(self, parts: list[Part]) -> Future[list[Any]]:
        from .futures import Future

        inbox = self._inbox
        inbox.drain()
        future: Future[list[Any]] = Future(inbox, _requests.nothing, None)  # type: ignore[arg-type]
        if not parts:
            future._result = []
            future._finish()
            return future
        key = _inbox.next_key()

        def arrived(result: int) -> None:
            try:
                if _abi.zoa_result_part(result, 0):
                    future._result = of_parts(result, parts)
                else:
                    # The server never said what became of the parts.
                    code = _abi.zoa_result_code(result)
                    future._exception = _requests.result_error(result, code, None)
            except BaseException as error:
                future._exception = error
            finally:
                _zoa_result_free(result)
            future._finish()

        _inbox.receivers[key] = arrived
        array = op_array(parts)
        code = _abi.zoa_client_submit_multi(self._handle, array, len(parts), inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            if code == _abi.ZOA_FORKED and self._may_reopen():
                self._reopen()
                return self._multi_async(parts)
            future._failed(failure(code))
        return future

    def _add_auth(self, scheme: str, credential: str) -> None:
        name, secret = scheme.encode(), credential.encode()
        handle = self._handle
        interruptibly(lambda: _abi.zoa_client_add_auth(handle, name, secret, len(secret)))

    # ---- fork ----

    def _reopen(self) -> None:
        """Begins a session of this process's own. Watches and listeners of the parent's session stay behind."""
        where = self._target if isinstance(self._target, str) else self._target.address
        if not isinstance(self._target, str) and self._target._is_ours():
            self._begin(self._target, _inbox.shared(), None)
        else:
            self._begin(where, _inbox.shared(), None)
            self.start()
        self._last_state = None
        for scheme, credential in self._auth_data:
            self._add_auth(scheme, credential)


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
