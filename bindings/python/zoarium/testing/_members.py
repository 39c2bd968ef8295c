"""What ensembles have in common, however their members run."""

from __future__ import annotations

from typing import Iterable, TypeVar

from ..client import Client, connect

_Self = TypeVar("_Self", bound="Members")


class Members:
    """So many members of one ensemble, for a ``with`` statement, and clients of them."""

    #: The members' numbers.
    members: range
    _timeout: float

    @property
    def address(self) -> str:
        """A connect string of all members."""
        raise NotImplementedError

    def address_of(self, member: int) -> str:
        """Where clients of one member connect; the same each time it runs."""
        raise NotImplementedError

    @property
    def running(self) -> list[int]:
        """The members that run, paused ones among them."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends all members, and removes their data if those are temporary. Stopping twice is fine."""
        raise NotImplementedError

    def client(
        self,
        chroot: str | None = None,
        *,
        member: int | None = None,
        timeout: float = 10.0,
        resume: tuple[int, bytes] | None = None,
        auth_data: Iterable[tuple[str, str]] = (),
        new_session: bool = False,
    ) -> Client:
        """A client of all members, or of one, over TCP."""
        return connect(
            self.address if member is None else self.address_of(member),
            timeout=timeout,
            connect_timeout=self._timeout,
            chroot=chroot,
            resume=resume,
            auth_data=auth_data,
            new_session=new_session,
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<zoarium.testing.{name} {self.address}, {len(self.running)} of {len(self.members)} run>"
