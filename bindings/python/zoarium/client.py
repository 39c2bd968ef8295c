"""The client: blocking and asynchronous methods for every operation."""

from __future__ import annotations

from functools import partial, wraps
from time import sleep
from typing import TYPE_CHECKING, Any, Callable, Iterable, TypeVar

from ._requests import Request
from .calls import run
from .offers import Recipes
from .operations import Operations
from .session import Then
from .transaction import MultiRead, TransactionRequest
from .trying import PASSING, Attempts
from .types import ACL
from .watching import Watching

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    from .futures import Future

    from .recipes.protocol import RecipeClient

    P = ParamSpec("P")

    def _fulfils(client: Client) -> RecipeClient:
        """What recipes need is there: mypy says so."""
        return client

T = TypeVar("T")


def blocking(make: Callable[Concatenate[Any, P], Request[T]]) -> Callable[Concatenate[Any, P], T]:
    """The method that carries an operation out and waits for it."""

    @wraps(make)
    def method(self: Client, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return self._do(make(self, *arguments, **keywords))

    return method


def sending(make: Callable[Concatenate[Any, P], Request[T]]) -> Callable[Concatenate[Any, P], Future[T]]:
    """The method that sends an operation and returns a future of what becomes of it."""

    @wraps(make)
    def method(self: Client, /, *arguments: P.args, **keywords: P.kwargs) -> Future[T]:
        return self._send(make(self, *arguments, **keywords))

    method.__name__ = f"{make.__name__}_async"
    method.__doc__ = f"As :meth:`{make.__name__}`, sent at once."
    return method


class Client(Recipes, Watching):
    """One session: with a server in this process (:meth:`Server.client`) or over TCP (:func:`connect`).

    Any thread may use it, and so may its callbacks. It is a context manager that closes it at the end; a client that
    nobody refers to any more is closed, too. The names of methods and their arguments are kazoo's where kazoo has them.
    """

    # ---- the operations: what they are stands in the table ----

    create = blocking(Operations.create)
    create_async = sending(Operations.create)
    ensure_path = blocking(Operations.ensure_path)
    ensure_path_async = sending(Operations.ensure_path)
    exists = blocking(Operations.exists)
    exists_async = sending(Operations.exists)
    get = blocking(Operations.get)
    get_async = sending(Operations.get)
    get_children = blocking(Operations.get_children)
    get_children_async = sending(Operations.get_children)
    set = blocking(Operations.set)
    set_async = sending(Operations.set)
    delete = blocking(Operations.delete)
    delete_async = sending(Operations.delete)
    get_acls = blocking(Operations.get_acls)
    get_acls_async = sending(Operations.get_acls)
    set_acls = blocking(Operations.set_acls)
    set_acls_async = sending(Operations.set_acls)
    sync = blocking(Operations.sync)
    sync_async = sending(Operations.sync)
    reconfig = blocking(Operations.reconfig)
    reconfig_async = sending(Operations.reconfig)
    get_config = blocking(Operations.get_config)
    get_config_async = sending(Operations.get_config)
    who_am_i = blocking(Operations.who_am_i)
    who_am_i_async = sending(Operations.who_am_i)
    get_ephemerals = blocking(Operations.get_ephemerals)
    get_ephemerals_async = sending(Operations.get_ephemerals)
    get_all_children_number = blocking(Operations.get_all_children_number)
    get_all_children_number_async = sending(Operations.get_all_children_number)

    def transaction(self) -> TransactionRequest:
        """Several writes of which all happen, or none."""
        return TransactionRequest(self)

    def multi_read(self) -> MultiRead:
        """Several reads of one moment."""
        return MultiRead(self)

    def add_auth(self, scheme: str, credential: str) -> bool:
        """Adds an identity to the session: scheme ``"digest"`` with ``"user:password"``, for one.

        Raises :class:`AuthFailedError`, which ends the session.
        """
        self._add_auth(scheme, credential)
        if (scheme, credential) not in self._auth_data:
            self._auth_data.append((scheme, credential))
        return True

    # ---- what takes a session above the chroot ----

    async def create_chroot(self, acl: Iterable[ACL] | None) -> None:
        """Creates the chroot with what is above it, which is out of this session's reach."""
        target, chroot = self._whole_chroot()
        above = Client(target, timeout=self._timeout)
        try:
            above.start()
            for scheme, credential in self._auth_data:
                above.add_auth(scheme, credential)
            above.ensure_path(chroot, acl)
        finally:
            above.close()

    def begin_chroot(self, acl: Iterable[ACL] | None, then: Then) -> None:
        """The same without waiting: it takes another session, for which a callback must not wait."""
        import threading

        def work() -> None:
            try:
                run(self.create_chroot(acl))
            except BaseException as error:
                self.call_soon(partial(then, None, error))
            else:
                self.call_soon(partial(then, None, None))

        threading.Thread(target=work, name="zoarium-call", daemon=True).start()

    # ---- trying again ----

    def retry(
        self,
        function: Callable[..., T],
        *arguments: Any,
        attempts: int = 5,
        delay: float = 0.1,
        delay_max: float = 5.0,
        idempotent: bool | None = None,
        **keywords: Any,
    ) -> T:
        """Calls `function` until it succeeds, at most `attempts` times, while it fails for want of a connection.

        It is tried again only when the failure says that nothing has happened (``error.outcome``), or when trying twice
        does no harm: that is known of this client's reads, of ``sync``, ``ensure_path`` and ``add_auth``; of anything
        else say so with ``idempotent=True``. A ``create`` whose connection was lost may have created the znode: a second
        one would fail with :class:`NodeExistsError`, or create a second sequential znode. That cannot be repaired here,
        so the error is yours: look, then decide. Other failures (:class:`NoNodeError` …) are never tried again.
        """
        plan = Attempts(Client, function, attempts, delay, delay_max, idempotent)
        while True:
            try:
                return function(*arguments, **keywords)
            except PASSING as error:
                pause = plan.pause_after(error)
                if pause is None:
                    raise
            sleep(pause)


def connect(
    hosts: str,
    *,
    timeout: float = 10.0,
    connect_timeout: float = 15.0,
    chroot: str | None = None,
    read_only: bool = False,
    resume: tuple[int, bytes] | None = None,
    auth_data: Iterable[tuple[str, str]] = (),
    reopen_after_fork: bool = False,
    request_size_max: int = 0,
    new_session: bool = False,
) -> Client:
    """A client over TCP, to any ZooKeeper-compatible server, once one has answered.

    `hosts` is ZooKeeper's connect string, ``"h1:2181,h2:2181/app"``; `timeout` is the session's, in seconds. Raises
    :class:`TimedOutError` when no server has answered in `connect_timeout` seconds.

    With `new_session`, a session that has expired is followed by another one of the same client: listeners hear ``LOST``,
    and ``CONNECTED`` when it can be used; until then calls raise :class:`SessionExpiredError`. Ephemeral znodes, standing and
    one-shot watches are gone with the old session and are not made again; watchers and tree caches follow by themselves.

    A server closes the connection for a request above its ``jute.maxbuffer``, which no client can know: with
    `request_size_max`, in bytes, such a request is a :class:`BadArgumentsError` here, and nothing is sent.
    """
    client = Client(
        hosts,
        timeout=timeout,
        chroot=chroot,
        read_only=read_only,
        resume=resume,
        reopen_after_fork=reopen_after_fork,
        request_size_max=request_size_max,
        new_session=new_session,
    )
    try:
        client.start(connect_timeout)
        for scheme, credential in auth_data:
            client.add_auth(scheme, credential)
    except BaseException:
        client.close(0)
        raise
    return client
