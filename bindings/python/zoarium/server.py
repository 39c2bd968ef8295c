"""A server in this process."""

from __future__ import annotations

import os
import sys
import weakref
from ctypes import byref, c_void_p, sizeof, string_at
from time import monotonic
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Union

from . import _abi, _inbox
from ._life import Life, life
from ._log import wire_logging
from .client import Client
from .errors import FORKED_SERVER, check, error_of, failure
from .types import ROLES, Status

if TYPE_CHECKING:
    from .aio import Opening

#: What a configuration key may be set to.
Setting = Union[str, int, bool, "os.PathLike[str]"]

#: Servers that have to be stopped at the interpreter's end.
_servers: weakref.WeakSet[Server] = weakref.WeakSet()


class Server:
    """A standalone server, serving clients when this returns.

    `data_dir` is where its data lie; without one it gets a temporary folder, which goes when it stops. `client_port` 0
    picks a free port. Everything else is a key of ``zoo.cfg``, as a keyword (``tickTime=2000``, or ``tick_time=2000``) or
    in `config`, which also takes keys with a dot in them; `config_file` is a ``zoo.cfg`` to begin with.

    >>> import zoarium
    >>> with zoarium.Server() as server, server.client() as zk:
    ...     zk.create("/hello", b"world")
    ...     zk.get("/hello").data
    '/hello'
    b'world'
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        client_port: int | None = None,
        *,
        config: Mapping[str, Setting] | None = None,
        config_file: str | os.PathLike[str] | None = None,
        members: object = None,
        **keys: Setting,
    ) -> None:
        self._handle = c_void_p()
        self._folder: str | None = None
        self._process = os.getpid()
        if members is not None:
            raise NotImplementedError("members: a member's configuration is a config_file; zoarium.testing.Ensemble is a whole ensemble")
        settings: dict[str, Setting] = {_camel(key): value for key, value in keys.items()}
        settings.update(config or {})
        if client_port is None and config_file is None:
            client_port = 0
        if client_port is not None:
            settings.setdefault("clientPort", client_port)
        if data_dir is None and config_file is None and "dataDir" not in settings:
            data_dir = self._folder = _temporary_folder()
        if data_dir is not None:
            settings["dataDir"] = os.fspath(data_dir)
        handle = c_void_p()
        wire_logging()
        try:
            self._start(settings, config_file, handle)
        except BaseException:
            self._remove_folder()
            raise
        self._take(handle)
        _servers.add(self)
        hook_multiprocessing()

    @staticmethod
    def _start(settings: dict[str, Setting], config_file: str | os.PathLike[str] | None, handle: c_void_p) -> None:
        config = make_config(settings, config_file)
        try:
            check(_abi.zoa_server_start(config, byref(handle)))
        finally:
            _abi.zoa_config_free(config)

    @classmethod
    def of_handle(cls, handle: c_void_p) -> Server:
        """A server that was started by the library's C interface; the handle becomes this object's."""
        server = cls.__new__(cls)
        server._folder = None
        server._process = os.getpid()
        server._take(handle)
        return server

    def _take(self, handle: c_void_p) -> None:
        self._handle = handle
        address: bytes = _abi.zoa_server_address(handle)
        #: Where clients connect, ``"127.0.0.1:40211"``.
        self.address: str = address.decode()

    @property
    def handle(self) -> c_void_p:
        """The library's handle, for programs that call its C interface themselves."""
        return self._handle

    @property
    def host(self) -> str:
        """The host of :attr:`address`."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port of :attr:`address`."""
        return int(self.address.rpartition(":")[2])

    def client(
        self,
        chroot: str | None = None,
        *,
        timeout: float = 10.0,
        resume: tuple[int, bytes] | None = None,
        auth_data: Iterable[tuple[str, str]] = (),
        reopen_after_fork: bool = False,
        new_session: bool = False,
    ) -> Client:
        """A client in this process, past the socket and nothing else. `timeout` is the session's, in seconds.

        `new_session` is that of :func:`connect`. In a forked child, `reopen_after_fork` makes it connect to this server over TCP when it is used.
        """
        client = Client(
            self,
            timeout=timeout,
            chroot=chroot,
            resume=resume,
            auth_data=auth_data,
            reopen_after_fork=reopen_after_fork,
            new_session=new_session,
        )
        # Its session has an id from the beginning, and whether one to resume still lives is known now.
        client.start()
        return client

    def aio_client(
        self,
        chroot: str | None = None,
        *,
        timeout: float = 10.0,
        resume: tuple[int, bytes] | None = None,
        auth_data: Iterable[tuple[str, str]] = (),
        new_session: bool = False,
    ) -> Opening:
        """The same for asyncio: ``async with server.aio_client() as zk``, or ``zk = await server.aio_client()``."""
        from .aio import Opening

        return Opening(self, 15.0, auth_data, timeout=timeout, chroot=chroot, read_only=False, resume=resume, new_session=new_session)

    def wait(self, timeout: float = 60.0) -> None:
        """Waits until clients are served: at once, unless it is a member of an ensemble, which needs a leader first."""
        deadline = _inbox.deadline_of(timeout)
        while True:
            left = deadline - monotonic()
            code = _abi.zoa_server_ready(self._handle, int(max(0, min(100, left * 1000))))
            if code != _abi.ZOA_TIMEOUT or left <= 0:
                return _check(code)

    def status(self) -> Status:
        """How it is, also when it has ended."""
        status = _abi.Status(struct_size=sizeof(_abi.Status))
        _check(_abi.zoa_server_status(self._handle, byref(status)))
        fields: list[Any] = [getattr(status, name) for name, *_ in _abi.Status._fields_[1:]]
        fields[0] = ROLES.get(status.role, str(status.role))
        return Status(*fields)

    def command(self, word: str) -> str:
        """The answer to a four-letter word such as ``"mntr"``, whether or not clients may ask for it."""
        text = c_void_p()
        _check(_abi.zoa_server_command(self._handle, word.encode(), byref(text)))
        try:
            return string_at(text.value or 0).decode()
        finally:
            _abi.zoa_text_free(text)

    def expire(self, session_id: int) -> None:
        """Ends a session as its timeout would, only now; its ephemeral znodes are gone on return.

        Raises :class:`SessionExpiredError` when there is no such session (any more).
        """
        _check(_abi.zoa_server_expire(self._handle, session_id))

    def disconnect(self, session_id: int) -> None:
        """Cuts the connection of a session, which lives on: its client is suspended and comes back by itself."""
        _check(_abi.zoa_server_disconnect(self._handle, session_id))

    def pause(self, seconds: float) -> None:
        """Has it answer nobody for a while, as a machine that swaps. Returns once that has begun; :meth:`stop` ends it early."""
        _check(_abi.zoa_server_pause(self._handle, int(seconds * 1000)))

    def stop(self, timeout: float = 10.0) -> None:
        """Stops it; sessions live on in the data, unless those are temporary. Stopping twice is fine."""
        if not self.is_ours():
            return
        deadline = _inbox.deadline_of(timeout)
        while True:
            left = deadline - monotonic()
            code = _abi.zoa_server_stop(self._handle, int(max(0, min(100, left * 1000))))
            if code != _abi.ZOA_TIMEOUT or left <= 0:
                break
        if code == _abi.ZOA_TIMEOUT:
            raise error_of(code, None, f"the server is still stopping after {timeout} s")
        self._remove_folder()
        if code:
            raise failure(code)

    def is_ours(self) -> bool:
        """Whether this process started it, and not the one it was forked from."""
        return self._process == os.getpid()

    def _remove_folder(self) -> None:
        folder, self._folder = self._folder, None
        if folder is None:
            return
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    os.unlink(entry.path)
            os.rmdir(folder)
        except OSError:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<zoarium.Server {self.address}>"

    def __del__(self, _life: Life = life) -> None:
        handle = self.__dict__.get("_handle")
        if handle and not _life.is_ending and self.is_ours():
            _abi.zoa_server_free(handle)
            self._remove_folder()


def running() -> list[Server]:
    """The servers of this process that somebody refers to."""
    return list(_servers)


def make_config(settings: Mapping[str, Setting], config_file: str | os.PathLike[str] | None = None) -> c_void_p:
    """The library's handle of these settings, to be freed."""
    config = c_void_p()
    check(_abi.zoa_config_new(byref(config)))
    try:
        if config_file is not None:
            check(_abi.zoa_config_load(config, os.fspath(config_file).encode()))
        for key, value in settings.items():
            check(_abi.zoa_config_set(config, key.encode(), _text(value).encode()))
    except BaseException:
        _abi.zoa_config_free(config)
        raise
    return config


def _camel(key: str) -> str:
    """A key as ``zoo.cfg`` spells it.

    >>> _camel("tick_time"), _camel("maxClientCnxns")
    ('tickTime', 'maxClientCnxns')
    """
    first, *others = key.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


def _text(value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else os.fspath(value)


def _temporary_folder() -> str:
    # The standard library's module for this takes longer to import than a server takes to start.
    for name in ("TMPDIR", "TEMP", "TMP"):
        parent = os.environ.get(name)
        if parent and os.path.isdir(parent):
            break
    else:
        parent = "/tmp"
    folder = os.path.join(os.path.abspath(parent), f"zoarium-{os.urandom(8).hex()}")
    os.mkdir(folder, 0o700)
    return folder


def _stop_all(_deadline: float) -> None:
    for server in list(_servers):
        try:
            server.stop(5.0)
        except Exception:
            pass


def _check(code: int) -> None:
    """As :func:`check`, for calls of a server that may be the parent's."""
    if code == _abi.ZOA_FORKED:
        raise error_of(code, None, FORKED_SERVER)
    check(code)


_is_hooked = 0


def hook_multiprocessing() -> None:
    """Children of ``multiprocessing`` end without ``atexit``; their servers are to be stopped all the same."""
    global _is_hooked
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _is_hooked != os.getpid():
        _is_hooked = os.getpid()
        util.Finalize(None, _inbox.end, exitpriority=0)


_inbox.at_exit.append(_stop_all)
