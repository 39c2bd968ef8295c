"""The library's log lines, in :mod:`logging`.

They take the same way as callbacks: the library puts them into a queue, and this package's thread hands them to the logger,
so that a slow handler holds nobody up. Whoever has not set up ``logging`` hears nothing of the library.
"""

from __future__ import annotations

import sys
from typing import Any

from . import _abi, _inbox
from .errors import check

#: Rust's levels as those of :mod:`logging`; trace has none of its own there.
LEVELS = {
    _abi.ZOA_LOG_ERROR: 40,
    _abi.ZOA_LOG_WARN: 30,
    _abi.ZOA_LOG_INFO: 20,
    _abi.ZOA_LOG_DEBUG: 10,
    _abi.ZOA_LOG_TRACE: 5,
}


class _Wire:
    """What is connected at the moment."""

    def __init__(self) -> None:
        self.level = _abi.ZOA_LOG_OFF
        self.inbox: _inbox.Inbox | None = None


_wire = _Wire()


def _emit(brought: Any) -> None:
    import logging

    level, module, line = brought
    logging.getLogger("zoarium").log(LEVELS.get(level, 20), "%s", line, extra={"target": module})


#: Where log lines go; one receiver for all of them.
_KEY = _inbox.next_key()


def _wanted() -> int:
    """The library's level for what the logger is set to now."""
    logging = sys.modules.get("logging")
    if logging is None:
        return _abi.ZOA_LOG_OFF
    logger = logging.getLogger("zoarium")
    if not logger.hasHandlers() or logger.disabled:
        # Where nobody set up logging, the library is a guest and says nothing.
        return _abi.ZOA_LOG_OFF
    level = logger.getEffectiveLevel()
    return max((ours for ours, theirs in LEVELS.items() if theirs >= level), default=_abi.ZOA_LOG_OFF)


def wire_logging() -> None:
    """Has the library's log lines arrive in the logger ``zoarium``, from the level up that it is set to now.

    That is done whenever a server or a client is begun; to be called when levels or handlers change afterwards. The part of
    the library that a line comes from is the record's attribute ``target``. Lines that wait for this package's thread
    beyond a thousand are dropped, and counted in the log.

    >>> import logging, zoarium
    >>> logging.getLogger("zoarium").setLevel(logging.INFO)
    >>> zoarium.wire_logging()
    >>> logging.getLogger("zoarium").setLevel(logging.NOTSET)
    """
    wanted = _wanted()
    if wanted == _wire.level or "zoa_log_to_queue" in _abi.MISSING:
        return
    if wanted == _abi.ZOA_LOG_OFF:
        check(_abi.zoa_log_to(_abi.ZOA_LOG_OFF, _abi.LogFn(), None))
    else:
        inbox = _inbox.shared()
        _inbox.receivers[_KEY] = _emit
        inbox.drain()
        check(_abi.zoa_log_to_queue(wanted, inbox.handle, inbox.on_log, _KEY))
        _wire.inbox = inbox
    _wire.level = wanted


def _end(_deadline: float) -> None:
    if _wire.level:
        _wire.level = _abi.ZOA_LOG_OFF
        _abi.zoa_log_to(_abi.ZOA_LOG_OFF, _abi.LogFn(), None)
        if _wire.inbox is not None:
            # The last lines are told of, since nobody else does that any more.
            _wire.inbox.run()
            _wire.inbox.dispatch(0.1)


def _forked() -> None:
    # The library begins silent in a forked child.
    _wire.level, _wire.inbox = _abi.ZOA_LOG_OFF, None


_inbox.in_child.append(_forked)
_inbox.at_last.append(_end)
