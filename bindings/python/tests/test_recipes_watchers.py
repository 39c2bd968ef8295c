"""Watchers of data and children, and the cache of a subtree: the last state is always told, whatever breaks."""

import random
import threading

import pytest
import zoarium
from conftest import eventually
from recipe_kit import CHILDREN, Side, clients, kazoo_client, proxy  # noqa: F401
from zoarium.recipes import TreeEvent
from zoarium.testing import expire

# ---- data ------------------------------------------------------------------------------------------------------------


def test_a_data_watch_calls_at_once_and_after_each_change(clients):
    zk, other, told = clients(), clients(), []

    @zk.DataWatch("/a")
    def watch(data, stat):
        told.append((data, stat and stat.version))

    assert told == [(None, None)]
    other.create("/a", b"1")
    eventually(lambda: told[1:] == [(b"1", 0)])
    other.set("/a", b"2")
    eventually(lambda: told[2:] == [(b"2", 1)])
    other.delete("/a")
    eventually(lambda: told[3:] == [(None, None)])
    other.create("/a", b"3")
    eventually(lambda: told[4:] == [(b"3", 0)])
    # A child's creation is no change of data.
    other.create("/a/b")
    other.set("/a", b"4")
    eventually(lambda: told[5:] == [(b"4", 1)])


def test_a_function_of_three_arguments_gets_the_event(clients):
    zk, told = clients(), []
    zk.create("/a", b"1")
    zk.DataWatch("/a", lambda data, stat, event: told.append((data, event and event.type)))
    zk.set("/a", b"2")
    eventually(lambda: told == [(b"1", None), (b"2", "CHANGED")])


def test_returning_false_stops_it(clients):
    zk, told = clients(), []

    def stop_at_the_third(data, _stat):
        told.append(data)
        return len(told) < 3

    watch = zk.data_watch("/a", stop_at_the_third)
    zk.create("/a", b"1")
    eventually(lambda: len(told) == 2)
    zk.set("/a", b"2")
    eventually(lambda: watch.stopped)
    zk.set("/a", b"3")
    zk.sync("/")
    assert told == [None, b"1", b"2"]
    with pytest.raises(ValueError, match="has a function"):
        watch(print)
    # At once, too.
    assert zk.data_watch("/a", lambda data, stat: False).stopped


def test_a_function_that_raises_does_so_where_the_watcher_is_made(zk, reported):
    with pytest.raises(ZeroDivisionError):
        zk.data_watch("/a", lambda data, stat: 1 / 0)
    told = []

    @zk.data_watch("/a")
    def watch(data, stat):
        told.append(data)
        if data == b"bad":
            raise ValueError(data)

    zk.create("/a", b"bad")
    eventually(lambda: reported)
    zk.set("/a", b"good")
    # Later, it is reported, and the watcher goes on.
    eventually(lambda: told == [None, b"bad", b"good"])


def test_the_last_of_many_changes_is_always_told(clients):
    zk, other, told = clients(), clients(), []
    zk.create("/a", b"start")
    zk.data_watch("/a", lambda data, stat: told.append((data, stat.mzxid)))
    for number in range(300):
        other.set("/a", b"%d" % number)
    eventually(lambda: told[-1][0] == b"299")
    order = [zxid for _, zxid in told]
    assert order == sorted(set(order))


def test_a_function_may_use_the_client(clients):
    zk, told = clients(), []
    zk.create("/a", b"/b")
    zk.create("/b", b"1")
    zk.data_watch("/a", lambda data, stat: told.append(zk.get(data.decode()).data))
    zk.create("/c", b"2")
    zk.set("/a", b"/c")
    eventually(lambda: told == [b"1", b"2"])


def test_changes_while_the_function_runs_are_told_after_it(clients):
    zk, other, told = clients(), clients(), []
    zk.create("/a", b"0")
    inside, go_on = threading.Event(), threading.Event()

    def slow(data, stat):
        told.append(data)
        inside.set()
        assert go_on.wait(60)

    making = Side(zk.data_watch, "/a", slow)
    assert inside.wait(60)
    other.set("/a", b"1")
    other.set("/a", b"2")
    go_on.set()
    making.join()
    eventually(lambda: told == [b"0", b"2"])


def test_a_watcher_outlives_lost_connections(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        data, children = [], []
        zk.create("/a", b"0")
        far.data_watch("/a", lambda value, stat: data.append(value))
        far.children_watch("/", children.append)
        proxy.hold()
        eventually(lambda: not far.connected)
        zk.set("/a", b"1")
        zk.create("/b")
        assert (data, children) == ([b"0"], [["a"]])
        proxy.resume()
        eventually(lambda: data == [b"0", b"1"])
        eventually(lambda: sorted(children[-1]) == ["a", "b"])
        # And sees what comes after, and nothing twice.
        proxy.cut()
        far.start()
        zk.set("/a", b"2")
        zk.delete("/b")
        eventually(lambda: data == [b"0", b"1", b"2"])
        eventually(lambda: children[-1] == ["a"])
        assert len(children) == 3


def test_nothing_is_missed_while_connections_come_and_go(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        told = []
        zk.create("/a", b"start")
        far.data_watch("/a", lambda value, stat: told.append(value))
        for number in range(200):
            zk.set("/a", b"%d" % number)
            if number % 50 == 0:
                proxy.cut()
        eventually(lambda: told[-1] == b"199")
        far.start()


def test_a_session_that_is_over_stops_watchers(clients):
    zk = clients()
    data, children = zk.data_watch("/", lambda *_: None), zk.children_watch("/", lambda *_: None)
    expire(zk)
    eventually(lambda: data.stopped and children.stopped)


# ---- children --------------------------------------------------------------------------------------------------------


def test_a_children_watch_calls_at_once_and_after_each_change(clients):
    zk, other, told = clients(), clients(), []
    zk.create("/a")
    zk.ChildrenWatch("/a", lambda names: told.append(sorted(names)))
    assert told == [[]]
    other.create("/a/x")
    eventually(lambda: told == [[], ["x"]])
    other.create("/a/y")
    eventually(lambda: told == [[], ["x"], ["x", "y"]])
    # Neither data nor grandchildren are its business.
    other.set("/a/x", b"data")
    other.set("/a", b"data")
    other.create("/a/x/deep")
    other.delete("/a/y")
    eventually(lambda: len(told) == 4 and told[-1] == ["x"])


def test_a_children_watch_can_have_the_event_and_stops_with_its_znode(clients):
    zk, told = clients(), []
    assert zk.children_watch("/nothing", told.append).stopped and told == []
    zk.create("/a")
    watch = zk.children_watch("/a", send_event=True)

    @watch
    def children(names, event):
        told.append((names, event and event.type))
        return len(told) < 3

    zk.create("/a/x")
    eventually(lambda: told == [([], None), (["x"], "CHILD")])
    zk.delete("/a", recursive=True)
    eventually(lambda: watch.stopped)


# ---- the cache -------------------------------------------------------------------------------------------------------


def tree_of(zk, path="/"):
    """What there is, read plainly."""
    found = {}
    try:
        data, stat = zk.get(path)
        names = zk.get_children(path)
    except zoarium.NoNodeError:
        return found
    found[path] = (data, stat.mzxid, frozenset(names))
    for name in names:
        found.update(tree_of(zk, f"{path.rstrip('/')}/{name}"))
    return found


def cached(cache):
    return {
        path: (node.data, node.stat.mzxid, cache.get_children(path)) for path, node in list(cache._nodes.items())
    }


def test_a_cache_holds_the_subtree_when_it_has_been_loaded(clients):
    zk = clients()
    for path in ("/a/b/c", "/a/d", "/beside"):
        zk.create(path, path.encode(), makepath=True)
    with zk.tree_cache("/a") as cache:
        assert cache.initialized and len(cache) == 4
        assert cache.get_data("/a/b/c").data == b"/a/b/c" and cache.get_data("/a/b/c").path == "/a/b/c"
        assert cache.get_children("/a") == {"b", "d"} and cache.get_children("/a/d") == frozenset()
        assert cache.get_data("/beside") is None and cache.get_children("/a/x", "none") == "none"
        assert "/a/b" in cache and "/beside" not in cache
        assert cached(cache) == tree_of(zk, "/a")
    assert len(cache) == 0
    with pytest.raises(ValueError, match="closed"):
        cache.start()


def test_a_cache_follows_changes_and_tells_of_them(clients):
    zk, other, told = clients(), clients(), []
    cache = zk.tree_cache("/a")
    cache.listen(lambda event: told.append((event.event_type, event.event_data and event.event_data.path)))
    cache.start()
    assert cache.wait(60) and len(cache) == 0
    other.create("/a", b"1")
    other.create("/a/b", b"2")
    other.set("/a/b", b"3")
    eventually(lambda: cache.get_data("/a/b") is not None and cache.get_data("/a/b").data == b"3")
    other.delete("/a", recursive=True)
    eventually(lambda: len(told) >= 5 and told[-1] == (TreeEvent.NODE_REMOVED, "/a"))
    assert len(cache) == 0
    # Between a creation and its being read the znode may have changed once more, so the update need not be told.
    told = [entry for entry in told if entry[0] != TreeEvent.NODE_UPDATED]
    assert told == [
        (TreeEvent.INITIALIZED, None),
        (TreeEvent.NODE_ADDED, "/a"),
        (TreeEvent.NODE_ADDED, "/a/b"),
        (TreeEvent.NODE_REMOVED, "/a/b"),
        (TreeEvent.NODE_REMOVED, "/a"),
    ]
    cache.close()


def churn(zk, seed, count):
    """Random changes below /t."""
    dice = random.Random(seed)
    for number in range(count):
        path = "/t" + "".join(f"/{dice.randrange(3)}" for _ in range(dice.randrange(1, 4)))
        try:
            what = dice.randrange(4)
            if what < 2:
                zk.create(path, b"%d" % number, makepath=True)
            elif what == 2:
                zk.set(path, b"%d" % number)
            else:
                zk.delete(path, recursive=True)
        except (zoarium.NodeExistsError, zoarium.NoNodeError):
            pass


def test_a_cache_agrees_with_the_server_whatever_happens_while_it_loads(clients):
    zk = clients()
    churn(zk, 1, 100)
    writers = [Side(churn, clients(), seed, 150) for seed in (2, 3)]
    with zk.tree_cache("/t") as cache:
        for writer in writers:
            writer.join()
        other = clients()
        eventually(lambda: cached(cache) == tree_of(other, "/t"))


def test_what_listeners_are_told_adds_up_to_the_cache(clients):
    zk, copy, wrong = clients(), {}, []
    cache = zk.tree_cache("/t")

    @cache.listen
    def listener(event):
        kind, node = event
        if kind == TreeEvent.NODE_REMOVED:
            if copy.pop(node.path, None) is None:
                wrong.append(event)
        elif node is not None:
            if (node.path in copy) != (kind == TreeEvent.NODE_UPDATED):
                wrong.append(event)
            copy[node.path] = node.data

    with cache:
        churn(clients(), 4, 200)
        other = clients()
        eventually(lambda: copy == {path: found[0] for path, found in tree_of(other, "/t").items()})
    assert not wrong


def test_a_cache_is_right_again_after_a_lost_connection(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        churn(zk, 5, 60)
        zk.create("/t/gone/deep", makepath=True)
        zk.create("/t/again", b"old")
        told = []
        cache = far.tree_cache("/t")
        again = []

        @cache.listen
        def listener(event):
            told.append(event.event_type)
            if event.event_data and event.event_data.path == "/t/again":
                again.append((event.event_type, event.event_data.data))

        cache.start()
        assert cache.wait(60)
        proxy.hold()
        eventually(lambda: TreeEvent.CONNECTION_SUSPENDED in told)
        assert "/t/gone/deep" in cache
        churn(zk, 6, 60)
        zk.delete("/t/gone", recursive=True)
        zk.delete("/t/again")
        zk.create("/t/again", b"new")
        proxy.resume()
        eventually(lambda: cached(cache) == tree_of(zk, "/t"))
        # Another znode of that name, and not the old one changed.
        added, removed = TreeEvent.NODE_ADDED, TreeEvent.NODE_REMOVED
        assert again == [(added, b"old"), (removed, b"old"), (added, b"new")]
        assert TreeEvent.CONNECTION_RECONNECTED in told and told.count(TreeEvent.INITIALIZED) == 1
        # While it loads once more, and while connections come and go.
        writer = Side(churn, zk, 7, 200)
        while not writer.is_done:
            proxy.cut()
            far.start()
        writer.join()
        eventually(lambda: far.connected and cached(cache) == tree_of(zk, "/t"))
        far.start()
        cache.close()


def test_a_cache_that_loses_its_connection_while_it_loads_is_loaded_in_the_end(server, chroot, zk, proxy):
    for number in range(300):
        zk.create(f"/t/{number}", b"x" * 200, makepath=True)
    with zoarium.connect(proxy.address + chroot) as far:
        cache = far.tree_cache("/t")
        # A list of children in the middle of it.
        proxy.lose_reply(CHILDREN, 40)
        cache.start()
        proxy.await_loss()
        assert cache.wait(20)
        assert cached(cache) == tree_of(zk, "/t")
        far.start()
        cache.close()


def test_a_cache_tells_when_its_session_is_over(clients):
    zk, told = clients(), []
    cache = zk.tree_cache("/")
    cache.listen(lambda event: told.append(event.event_type))
    cache.start()
    assert cache.wait(60)
    expire(zk)
    eventually(lambda: told[-1] == TreeEvent.CONNECTION_LOST)
    # What it knew last is still there to be read.
    assert "/" in cache


def test_what_a_listener_raises_goes_to_the_fault_listeners(zk):
    faults = []
    cache = zk.tree_cache("/")
    cache.listen_fault(faults.append)
    cache.listen(lambda event: 1 / 0)
    with cache:
        assert faults and all(isinstance(fault, ZeroDivisionError) for fault in faults)


def test_znodes_that_may_not_be_read_are_left_out(server, chroot):
    with server.client(chroot) as zk:
        zk.add_auth("digest", "me:secret")
        zk.create("/t/open", makepath=True)
        zk.create("/t/closed", acl=zoarium.CREATOR_ALL_ACL)
        with server.client(chroot) as stranger:
            faults = []
            cache = stranger.tree_cache("/t")
            cache.listen_fault(faults.append)
            with cache:
                assert cache.get_children("/t") == {"open"}
                assert any(isinstance(fault, zoarium.NoAuthError) for fault in faults)
