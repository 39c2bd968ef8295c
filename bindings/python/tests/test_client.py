"""Everyday operations of a client in this process."""

import pickle
import threading

import pytest
import zoarium
from conftest import eventually


def test_what_is_created_can_be_read_with_its_bytes_as_they_are(zk):
    assert zk.create("/a", b"\0\xffdata\0") == "/a"
    data, stat = zk.get("/a")
    assert data == b"\0\xffdata\0"
    assert stat.dataLength == stat.data_length == 7 and stat.version == 0
    assert stat.czxid == stat.creation_transaction_id == stat.mzxid == stat.pzxid
    assert stat.owner_session_id is None and stat.created == stat.ctime / 1000


def test_null_data_are_not_empty_data(zk):
    zk.create("/null", None)
    zk.create("/empty")
    assert zk.get("/null").data is None
    assert zk.get("/empty").data == b""
    zk.set("/empty", None)
    assert zk.get("/empty").data is None


@pytest.mark.parametrize("wrong", ["text", 7, ["x"]])
def test_data_are_never_encoded_silently(zk, wrong):
    with pytest.raises(TypeError):
        zk.create("/a", wrong)
    with pytest.raises(TypeError):
        zk.set("/", wrong)
    assert zk.create("/b", bytearray(b"bytes")) == "/b"


@pytest.mark.parametrize("path", ["/\x01", "/a/..", "/a/."])
def test_bad_paths_are_refused(zk, path):
    zk.create("/a")
    with pytest.raises(zoarium.BadArgumentsError):
        zk.create(path)
    with pytest.raises(zoarium.BadArgumentsError):
        zk.create_async(path).result(60)
    for method in (zk.get, zk.exists, zk.delete, zk.create, zk.get_children, zk.get_acls, zk.watch):
        with pytest.raises(zoarium.BadArgumentsError):
            method("/cut\0off")
    with pytest.raises(TypeError):
        zk.get(b"/bytes")


def test_a_slash_may_be_left_out_in_front_and_added_behind_as_in_kazoo(zk):
    zk.create("a")
    assert zk.exists("/a/") and zk.exists("a") and zk.exists("")


def test_modes_of_create(zk, other):
    assert zk.create("/s-", sequence=True) == "/s-0000000000"
    assert zk.create("/s-", sequence=True) == "/s-0000000001"
    zk.create("/d")
    assert zk.create("/d/", sequence=True) == "/d/0000000000"
    path, stat = zk.create("/e", ephemeral=True, include_data=True)
    assert path == "/e" and stat.ephemeralOwner == zk.session_id
    assert other.create("/es-", ephemeral=True, sequence=True).startswith("/es-")
    assert zk.get_ephemerals() == ["/e"] and zk.get_ephemerals("/x") == []
    zk.create("/c", container=True)
    with pytest.raises(zoarium.NoChildrenForEphemeralsError):
        zk.create("/e/child")
    with pytest.raises(zoarium.BadArgumentsError):
        zk.create("/t", ttl=1000, ephemeral=True)
    with pytest.raises(zoarium.NoNodeError) as caught:
        zk.create("/deep/er/down")
    assert caught.value.path == "/deep/er/down"
    assert zk.create("/deep/er/down", makepath=True) == "/deep/er/down"
    assert zk.get_all_children_number("/deep") == 2


def test_ttl_nodes_go(tmp_path):
    config = {"zookeeper.extendedTypesEnabled": True, "znode.container.checkIntervalMs": 50}
    with zoarium.Server(config=config) as server, server.client() as zk:
        zk.create("/t", ttl=20)
        eventually(lambda: zk.exists("/t") is None)


def test_every_failure_has_its_class_code_and_path(zk):
    zk.create("/a")
    for call, kind, code in (
        (lambda: zk.get("/b"), zoarium.NoNodeError, -101),
        (lambda: zk.create("/a"), zoarium.NodeExistsError, -110),
        (lambda: zk.set("/a", b"", version=7), zoarium.BadVersionError, -103),
        (lambda: zk.create("/a/.."), zoarium.BadArgumentsError, -8),
    ):
        with pytest.raises(kind) as caught:
            call()
        error = caught.value
        assert error.code == code and error.outcome == zoarium.Outcome.NOT_DONE
        assert isinstance(error, zoarium.ZoariumError) and error.path in str(error)
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and again.path == error.path and str(again) == str(error)
    zk.create("/a/b")
    with pytest.raises(zoarium.NotEmptyError):
        zk.delete("/a")
    assert zk.delete("/a", recursive=True) is True and zk.exists("/a") is None
    assert zoarium.ConnectionLoss().outcome == zoarium.Outcome.UNKNOWN


def test_acls_and_identities(zk, other):
    zk.add_auth("digest", "me:secret")
    assert zoarium.Id("digest", "me") in zk.who_am_i()
    zk.create("/mine", b"x", acl=zoarium.CREATOR_ALL_ACL)
    acls, stat = zk.get_acls("/mine")
    assert acls == [zoarium.make_digest_acl("me", "secret", all=True)] and stat.aversion == 0
    with pytest.raises(zoarium.NoAuthError):
        other.get("/mine")
    assert zk.set_acls("/mine", zoarium.OPEN_ACL_UNSAFE).acl_version == 1
    assert other.get("/mine").data == b"x"
    with pytest.raises(zoarium.InvalidACLError):
        zk.set_acls("/mine", [])


def test_a_transaction_happens_as_a_whole_or_not_at_all(zk):
    zk.create("/a")
    with zk.transaction() as t:
        t.check("/a", 0)
        t.set_data("/a", b"1")
        t.create("/a/s-", sequence=True)
    assert zk.get("/a").data == b"1" and zk.get_children("/a") == ["s-0000000000"]

    t = zk.transaction()
    t.create("/b", include_data=True)
    t.delete("/a/s-0000000000")
    t.set_data("/a", b"2")
    (path, created), deleted, stat = t.commit()
    assert path == "/b" and created.version == 0 and deleted is True and stat.version == 2

    t = zk.transaction()
    t.create("/c")
    t.check("/a", 0)
    t.delete("/b")
    kinds = [type(found) for found in t.commit()]
    assert kinds == [zoarium.RolledBackError, zoarium.BadVersionError, zoarium.RuntimeInconsistency]
    assert zk.exists("/c") is None
    with pytest.raises(ValueError):
        t.commit()

    with pytest.raises(zoarium.NoNodeError):
        with zk.transaction() as t:
            t.delete("/nobody")
    with pytest.raises(ZeroDivisionError):
        with zk.transaction() as t:
            t.delete("/b")
            1 / 0
    assert zk.exists("/b")
    assert zk.transaction().commit() == []


def test_reads_of_one_moment_have_a_result_each(zk):
    zk.create("/a", b"x")
    reads = zk.multi_read()
    reads.get("/a")
    reads.get_children("/a")
    reads.get("/b")
    node, children, missing = reads.commit()
    assert node.data == b"x" and children == [] and isinstance(missing, zoarium.NoNodeError)


def test_a_closed_client_says_so_and_takes_its_ephemerals_along(server, chroot, zk):
    with server.client(chroot) as other:
        other.create("/e", ephemeral=True)
        assert other.connected and other.state == zoarium.KazooState.CONNECTED
    assert zk.exists("/e") is None
    assert other.closed and other.state == zoarium.KazooState.LOST
    with pytest.raises(zoarium.ConnectionClosedError):
        other.get("/")
    with pytest.raises(zoarium.ConnectionClosedError):
        other.get_async("/").result(60)
    other.close()


def test_a_block_ends_quietly_where_no_server_can_be_asked():
    with zoarium.Server() as server:
        zk = zoarium.connect(server.address)
    with zk:
        assert eventually(lambda: zk.state != zoarium.KazooState.CONNECTED)
    assert zk.closed


def test_a_detached_session_can_be_resumed(server, chroot, zk):
    first = server.client(chroot)
    first.create("/e", ephemeral=True)
    id, password = first.detach()
    assert zk.exists("/e")
    with server.client(chroot, resume=(id, password)) as second:
        assert second.session_id == id and second.get_ephemerals() == ["/e"]
    assert zk.exists("/e") is None
    with pytest.raises(zoarium.SessionExpiredError):
        server.client(resume=(id, password))


def test_paths_are_below_the_chroot(server, chroot, zk):
    zk.create("/app")
    with server.client(chroot=f"{chroot}/app") as inner:
        events = []
        inner.watch("/", events.append, recursive=True)
        assert inner.create("/x/y", makepath=True) == "/x/y"
        assert zk.exists("/app/x/y") and inner.chroot == f"{chroot}/app"
        eventually(lambda: len(events) == 2)
        assert [event.path for event in events] == ["/x", "/x/y"]


def test_one_client_serves_many_threads(zk):
    zk.create("/n")

    def work(number):
        for at in range(50):
            zk.create(f"/n/{number}-{at}", b"x" * number)
            assert len(zk.get(f"/n/{number}-{at}").data) == number
            assert zk.set_async(f"/n/{number}-{at}", b"").result(60).version == 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(zk.get_children("/n")) == 400


def test_retry_repeats_only_what_did_not_happen_or_does_no_harm(zk):
    calls = []

    def fails(error, times):
        def call():
            calls.append(error)
            if len(calls) <= times:
                raise error
            return "done"

        return call

    assert zk.retry(fails(zoarium.ThrottledOpError(), 2), delay=0) == "done" and len(calls) == 3
    calls.clear()
    with pytest.raises(zoarium.ConnectionLoss):
        zk.retry(fails(zoarium.ConnectionLoss(), 1), delay=0)
    assert len(calls) == 1
    calls.clear()
    assert zk.retry(fails(zoarium.ConnectionLoss(), 4), delay=0, idempotent=True) == "done"
    calls.clear()
    with pytest.raises(zoarium.ConnectionLoss):
        zk.retry(fails(zoarium.ConnectionLoss(), 9), delay=0, idempotent=True, attempts=3)
    assert len(calls) == 3
    calls.clear()
    with pytest.raises(zoarium.NoNodeError):
        zk.retry(fails(zoarium.NoNodeError(), 1), idempotent=True)
    assert zk.retry(zk.get, "/").stat.cversion is not None
