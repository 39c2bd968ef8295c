"""How things end that nobody here ended, and what is said of it."""

import asyncio
import logging
import threading

import pytest
import zoarium
from conftest import eventually, run_python


def follow(watch, seen, ended):
    """Iterates over a watch on a thread of its own; `ended` gets how that ended."""

    def run():
        try:
            for event in watch:
                seen.append((event.type, event.path))
            ended.append(None)
        except zoarium.ZoariumError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_an_iterator_whose_session_expires_says_so_after_its_last_event(server, chroot, other):
    zk = server.client(chroot)
    watch = zk.watch("/", recursive=True)
    other.create("/a")
    server.expire(zk.session_id)
    seen, ended = [], []
    follow(watch, seen, ended).join(60)
    assert seen == [("CREATED", "/a")]
    assert isinstance(ended[0], zoarium.SessionExpiredError) and "the session has expired" in str(ended[0])
    # It is no accident of the first time.
    for call in (watch.get, lambda: next(watch)):
        with pytest.raises(zoarium.SessionExpiredError):
            call()


def test_an_iterator_that_waits_hears_of_the_end_whoever_caused_it(chroot):
    endings = {}
    for name in ("expire", "stop", "close", "watch"):
        with zoarium.Server() as server:
            zk = server.client()
            watch = zk.watch("/", recursive=True)
            seen, ended = [], []
            thread = follow(watch, seen, ended)
            zk.create("/a")
            eventually(lambda: seen)
            {
                "expire": lambda: server.expire(zk.session_id),
                "stop": server.stop,
                "close": zk.close,
                "watch": watch.close,
            }[name]()
            thread.join(60)
            endings[name] = type(ended[0])
    assert endings == {
        "expire": zoarium.SessionExpiredError,
        "stop": zoarium.ConnectionClosedError,
        "close": type(None),
        "watch": type(None),
    }


def test_an_asynchronous_iterator_says_so_too(server, chroot):
    async def main():
        zk = await server.aio_client(chroot)
        watch = zk.watch("/", recursive=True)
        await watch.begin()
        await zk.create("/a")
        server.expire(zk.session_id)
        seen = []
        with pytest.raises(zoarium.SessionExpiredError, match="the watch of / is over: the session has expired"):
            async for event in watch:
                seen.append(event.path)
        assert seen == ["/a"]
        await zk.close()

    asyncio.run(main())


def test_a_write_after_the_session_has_expired_did_not_happen(server, chroot):
    zk = server.client(chroot)
    server.expire(zk.session_id)
    eventually(lambda: zk.state == "LOST")
    future = zk.create_async("/a")
    several = zk.transaction()
    several.create("/a")
    calls = (lambda: zk.create("/a"), lambda: future.result(60), lambda: zk.add_auth("digest", "a:b"), several.commit)
    for call in calls:
        with pytest.raises(zoarium.SessionExpiredError) as caught:
            call()
        assert caught.value.outcome == zoarium.Outcome.NOT_DONE

    async def main():
        other = await server.aio_client(chroot)
        server.expire(other.session_id)
        while other.state != "LOST":
            await asyncio.sleep(0.001)
        with pytest.raises(zoarium.SessionExpiredError) as caught:
            await other.create("/a")
        assert caught.value.outcome == zoarium.Outcome.NOT_DONE
        await other.close()

    asyncio.run(main())


def test_what_may_have_been_sent_stays_unknown():
    assert zoarium.errors.error_of(-112).outcome == zoarium.Outcome.UNKNOWN
    assert zoarium.errors.error_of(-4).outcome == zoarium.Outcome.UNKNOWN


@pytest.mark.parametrize("over_tcp", [False, True])
def test_a_request_that_is_too_long_is_refused_with_its_size(server, over_tcp):
    zk = zoarium.connect(server.address, request_size_max=4096) if over_tcp else server.client()
    states = []
    zk.add_listener(states.append)
    with pytest.raises(zoarium.BadArgumentsError) as caught:
        zk.create("/large", bytes(2 << 20))
    limit = "request_size_max of 4096" if over_tcp else "jute.maxbuffer of 1048575"
    assert limit in str(caught.value) and "2097" in str(caught.value)
    assert caught.value.outcome == zoarium.Outcome.NOT_DONE
    assert zk.exists("/large") is None and not states
    zk.close()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("path", ["/", "/below/it"])
def test_ensure_path_creates_a_chroot_that_is_missing(server, chroot, depth, path):
    for kind in ("server", "option", "hosts", "async", "aio"):
        missing = chroot + f"/{kind}" * depth
        with server.client() as all:
            if kind == "hosts":
                zk = zoarium.connect(server.address + missing)
            elif kind == "option":
                zk = zoarium.connect(server.address, chroot=missing)
            elif kind != "aio":
                zk = server.client(missing)
            if kind == "aio":

                async def main():
                    async with server.aio_client(missing) as zk:
                        assert await zk.ensure_path(path)
                        assert await zk.exists(path)

                asyncio.run(main())
            else:
                assert (zk.ensure_path_async(path).result(60) if kind == "async" else zk.ensure_path(path)) is True
                assert zk.ensure_path(path) is True
                zk.close()
            assert all.exists((missing + path).rstrip("/"))


def test_makepath_creates_a_chroot_that_is_missing(server, chroot):
    with server.client(chroot + "/not/there") as zk:
        assert zk.create("/a", makepath=True) == "/a"
    with server.client(chroot + "/nor/this") as zk:
        assert zk.create_async("/a", makepath=True).result(60) == "/a"


def test_what_a_callback_raises_is_logged_with_its_traceback(zk, caplog):
    def fails(_event):
        raise ZeroDivisionError("on purpose")

    with caplog.at_level(logging.ERROR, logger="zoarium"):
        zk.watch("/a", fails)
        zk.create("/a")
        (record,) = eventually(lambda: caplog.records)
    assert record.name == "zoarium" and isinstance(record.exc_info[1], ZeroDivisionError)
    assert "in fails" in caplog.text


def test_without_any_configuration_it_is_printed():
    done = run_python(
        """
        import threading, zoarium
        with zoarium.Server() as server, server.client() as zk:
            told = threading.Event()
            def fails(event):
                told.set()
                raise ZeroDivisionError("on purpose")
            zk.watch("/a", fails)
            zk.create("/a")
            told.wait(60)
        """,
        check=False,
    )
    assert done.returncode == 0
    assert "a callback raised" in done.stderr and "ZeroDivisionError: on purpose" in done.stderr
