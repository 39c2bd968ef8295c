"""The library's log lines in ``logging``."""

import logging

import pytest
import zoarium
from conftest import eventually, run_python


@pytest.fixture
def lines(caplog):
    """Everything from the level INFO up."""
    logger = logging.getLogger("zoarium")
    with caplog.at_level(logging.INFO, logger="zoarium"):
        zoarium.wire_logging()
        yield caplog
    logger.setLevel(logging.NOTSET)
    zoarium.wire_logging()


def named(records, words):
    return [record for record in records if record.name == "zoarium" and words in record.getMessage()]


def test_lines_arrive_with_their_level_and_where_they_come_from(lines):
    with zoarium.Server() as server, zoarium.connect(server.address) as zk:
        server.disconnect(zk.session_id)
        found = eventually(lambda: named(lines.records, "cut on request") and named(lines.records, "serves on"))
        assert found[0].levelno == logging.INFO and server.address in found[0].getMessage()
        assert found[0].target.startswith("zoarium")
        # They come through this package's own thread: a handler may do anything, and nobody waits for it.
        assert found[0].threadName == "zoarium"


def test_the_level_is_the_loggers(lines):
    logging.getLogger("zoarium").setLevel(logging.ERROR)
    zoarium.wire_logging()
    with zoarium.Server() as server, zoarium.connect(server.address):
        pass
    logging.getLogger("zoarium").setLevel(logging.INFO)
    with zoarium.Server() as server:
        # It follows when something is begun.
        eventually(lambda: named(lines.records, "serves on"))
        assert len(named(lines.records, "serves on")) == 1 and server.address in lines.text


def test_a_handler_may_use_the_library(lines, zk):
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            if not seen:
                seen.append(record)
                zk.create("/logged", record.getMessage().encode())

    handler = Handler()
    logging.getLogger("zoarium").addHandler(handler)
    try:
        with zoarium.Server():
            assert eventually(lambda: zk.exists("/logged"))
    finally:
        logging.getLogger("zoarium").removeHandler(handler)


def test_who_has_not_set_up_logging_hears_nothing():
    run_python(
        """
        import logging, zoarium
        logging.getLogger("zoarium").setLevel(logging.DEBUG)
        # That this key has no effect is a warning, which logging would print for want of a handler.
        with zoarium.Server(config={"admin.enableServer": True}) as server, zoarium.connect(server.address) as zk:
            server.disconnect(zk.session_id)
            zk.get("/")
        """
    )


def test_the_last_lines_are_told_at_the_interpreters_end():
    done = run_python(
        """
        import logging, zoarium
        logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
        server = zoarium.Server()
        """,
        check=False,
    )
    assert done.returncode == 0 and "zoarium INFO stopping at zxid" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_forked_child_is_silent_until_it_begins_something(lines):
    import os

    def work():
        before = len(lines.records)
        with zoarium.Server():
            eventually(lambda: named(lines.records[before:], "serves on"))

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_lines_that_nobody_takes_are_dropped_and_counted():
    done = run_python(
        """
        from ctypes import byref, c_void_p, c_size_t
        import zoarium
        from zoarium import _abi

        lines, queue, ran = [], c_void_p(), c_size_t()
        assert _abi.zoa_queue_new(byref(queue)) == 0
        log = _abi.LogFn(lambda level, module, line, key: lines.append((level, line.decode())))

        def run():
            assert _abi.zoa_queue_run(queue, 100_000, 0, byref(ran)) == 0
            return ran.value

        with zoarium.Server(maxClientCnxns=0) as server:
            assert _abi.zoa_log_to_queue(_abi.ZOA_LOG_DEBUG, queue, log, None) == 0
            # Two lines each: a session opened, a session closed.
            for _ in range(560):
                server.client().close()
            assert run() == 1000, ran.value
            lines.clear()
            server.client().close()
            run()
            assert lines[0][0] == _abi.ZOA_LOG_WARN and "lines were dropped" in lines[0][1], lines
            assert int(lines[0][1].split()[0]) >= 100 and "dropped" not in lines[1][1]
        assert _abi.zoa_log_to_queue(_abi.ZOA_LOG_DEBUG, None, log, None) == _abi.ZOA_NULL_ARGUMENT
        assert _abi.zoa_log_to_queue(99, queue, log, None) == _abi.ZOA_BAD_ARGUMENTS
        # Silence; what has come before is still handed out.
        assert _abi.zoa_log_to(_abi.ZOA_LOG_OFF, _abi.LogFn(), None) == 0
        run()
        with zoarium.Server():
            pass
        assert run() == 0
        _abi.zoa_queue_free(queue)
        """
    )
    assert done.returncode == 0
