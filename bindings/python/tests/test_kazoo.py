"""kazoo and the client in this process see each other's znodes and watches on one embedded server."""

import pytest
import zoarium
from conftest import eventually

kazoo_client = pytest.importorskip("kazoo.client")
kazoo_exceptions = pytest.importorskip("kazoo.exceptions")


@pytest.fixture
def kazoo(server, chroot):
    client = kazoo_client.KazooClient(server.address + chroot)
    client.start()
    yield client
    client.stop()
    client.close()


def test_each_reads_what_the_other_writes(zk, kazoo):
    zk.create("/ours", b"\0ours")
    kazoo.create("/theirs", b"theirs", ephemeral=True)
    data, stat = kazoo.get("/ours")
    assert data == b"\0ours" and tuple(stat) == tuple(zk.exists("/ours"))
    node = zk.get("/theirs")
    assert node.data == b"theirs" and node.stat.owner_session_id == kazoo.client_id[0]
    assert sorted(zk.get_children("/")) == sorted(kazoo.get_children("/")) == ["ours", "theirs"]
    assert kazoo.create("/s-", sequence=True) == "/s-0000000002"
    assert zk.create("/s-", sequence=True) == "/s-0000000003"
    with pytest.raises(zoarium.BadVersionError):
        zk.set("/theirs", b"", version=kazoo.set("/theirs", b"2").version + 1)
    kazoo.stop()
    assert zk.exists("/theirs") is None


def test_each_hears_of_what_the_other_does(zk, kazoo):
    ours, theirs = [], []
    watch = zk.watch("/", recursive=True)
    kazoo.exists("/a", watch=theirs.append)
    zk.exists("/a", watch=ours.append)
    kazoo.create("/a", b"x")
    eventually(lambda: ours and theirs)
    assert (ours[0].type, ours[0].state, ours[0].path) == (theirs[0].type, theirs[0].state, theirs[0].path)
    assert watch.get(10).type == "CREATED"
    kazoo.get_children("/a", watch=theirs.append)
    zk.create("/a/b")
    eventually(lambda: len(theirs) == 2)
    assert theirs[1].type == zoarium.EventType.CHILD and theirs[1].path == "/a"
    assert watch.get(10).path == "/a/b"


def test_acls_and_identities_are_the_same(zk, kazoo):
    from kazoo.security import make_digest_acl

    assert tuple(make_digest_acl("u", "p", all=True)) == tuple(zoarium.make_digest_acl("u", "p", all=True))
    zk.add_auth("digest", "u:p")
    zk.create("/mine", acl=[zoarium.make_digest_acl("u", "p", all=True)])
    with pytest.raises(kazoo_exceptions.NoAuthError):
        kazoo.get("/mine")
    kazoo.add_auth("digest", "u:p")
    assert kazoo.get("/mine")[0] == b""


def test_the_names_are_kazoos(zk, kazoo):
    import inspect

    import kazoo.exceptions

    # Not ours: what belongs to kazoo's own machinery.
    other = {"InvalidCallbackError", "APIError", "DataInconsistency", "RequestTimeoutError"}
    for name, theirs in vars(kazoo.exceptions).items():
        if isinstance(theirs, type) and name.endswith(("Error", "Loss", "Inconsistency")) and name not in other:
            if getattr(theirs, "code", None) is not None and theirs.__module__ == "kazoo.exceptions" and theirs.code:
                if not theirs.__subclasses__() and theirs.__name__ == name:
                    ours = getattr(zoarium, name, None)
                    assert ours is not None, name
    methods = ("create exists get get_children set delete get_acls set_acls sync reconfig ensure_path add_auth "
               "transaction add_listener remove_listener").split()
    for name in methods:
        theirs = list(inspect.signature(getattr(kazoo_client.KazooClient, name)).parameters)
        ours = list(inspect.signature(getattr(zoarium.Client, name)).parameters)
        assert ours[: len(theirs)] == theirs or set(theirs) <= set(ours) | {"scheme", "credential"}, name
        twin = f"{name}_async"
        if hasattr(kazoo_client.KazooClient, twin) and name != "add_auth":
            assert hasattr(zoarium.Client, twin), twin
