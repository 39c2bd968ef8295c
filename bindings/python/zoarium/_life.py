"""Whether the interpreter is ending, and what that means for threads it has left running."""

from __future__ import annotations

from _thread import get_ident
from time import sleep


class Life:
    """One per process. An object, because modules may be empty by the time finalisers ask."""

    def __init__(self) -> None:
        self.is_ending = False
        #: Threads that see the end through: the one that ends the interpreter, and this package's own.
        self.enders: set[int] = set()

    def begin_to_end(self) -> None:
        """From now on clients and servers are closed by us, not by the program."""
        self.enders.add(get_ident())
        self.is_ending = True

    def hold(self) -> None:
        """Called where a failure is about to be raised.

        A daemon thread that works on while the interpreter ends did not close its client, nor delete the ephemeral
        znodes that went with it; it would only print its astonishment. As the interpreter itself does with such threads,
        it is kept where it is.
        """
        while self.is_ending and get_ident() not in self.enders:
            sleep(3600)


life = Life()
