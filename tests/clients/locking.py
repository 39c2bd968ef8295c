"""Sessions that besides what those of `cluster.py` do hold a lock, count under it, and watch a znode.

The lock is an ephemeral znode. Who holds it reads a counter and writes one more without a version: an increment is lost if two
hold the lock at once, or if a write of a holder that has moved to another member takes effect behind its back.
"""

import time

import cluster

LOCK, GUARDED, WATCHED = "/lock", "/guarded", "/watched"


def prepare(members):
    """What these sessions write to."""
    from kazoo.client import KazooClient

    cluster.prepare(members)
    setup = KazooClient(hosts=members.hosts, timeout=20)
    setup.start(timeout=60)
    setup.create(GUARDED, b"0")
    setup.create(WATCHED, b"")
    setup.stop()
    setup.close()


class Session(cluster.Session):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.guarded = 0
        self.guarded_unknown = 0
        # Versions that the watch has shown since the session began.
        self.seen = []

    def connect(self):
        from kazoo.recipe.watchers import DataWatch

        super().connect()
        DataWatch(self.client, WATCHED, func=self.shown)

    def session(self):
        """The id of the session that it has now."""
        return (self.client.client_id or [None])[0]

    def shown(self, _, stat):
        if stat is not None:
            self.seen.append((self.session(), stat.version))

    def deeds(self):
        return [*super().deeds(), self.lock, self.touch]

    def touch(self, name):
        """Changes what all watch."""
        self.client.set_async(WATCHED, name.encode()).get(timeout=60)

    def lock(self, name):
        """Takes the lock if nobody has it, counts, and lets it go."""
        from kazoo.exceptions import NodeExistsError, NoNodeError

        session = self.session()
        try:
            self.client.create_async(LOCK, name.encode(), ephemeral=True).get(timeout=60)
        except NodeExistsError:
            try:
                # Its own, where the answer to the create or to the delete was lost: it is let go, and nothing is counted.
                if self.client.get_async(LOCK).get(timeout=60)[1].ephemeralOwner == session:
                    self.client.delete_async(LOCK).get(timeout=60)
            except NoNodeError:
                pass
            return
        value, _ = self.client.get_async(GUARDED).get(timeout=60)
        if self.session() != session:
            return
        self.guarded_unknown += 1
        self.client.set_async(GUARDED, str(int(value) + 1).encode()).get(timeout=60)
        self.guarded_unknown -= 1
        self.guarded += 1
        try:
            self.client.delete_async(LOCK).get(timeout=60)
        except NoNodeError:
            # It went with its session meanwhile.
            if self.session() == session:
                raise

    def check_watch(self, last):
        """What is wrong with what the watch has shown, once the last version was set."""
        end = time.monotonic() + 60
        while (not self.seen or self.seen[-1][1] < last) and time.monotonic() < end:
            time.sleep(0.02)
        wrong = []
        if not self.seen or self.seen[-1][1] != last:
            wrong.append(f"watches: session {self.number} was not shown version {last}, but {self.seen[-3:]}")
        for (session, before), (again, after) in zip(self.seen, self.seen[1:]):
            if session == again and after < before:
                wrong.append(f"watches: session {self.number} was shown version {after} after {before}")
        return wrong


def check(members, sessions):
    """The checks of `cluster.py`, and those of the lock and the watches: all sessions are alive, and no load is under way."""
    from kazoo.client import KazooClient

    setter = KazooClient(hosts=members.hosts, timeout=20)
    setter.start(timeout=60)
    last = setter.set(WATCHED, b"the end").version
    setter.stop()
    setter.close()
    wrong = [text for session in sessions for text in session.check_watch(last)]
    more, tree = cluster.check(members, sessions)
    wrong += more
    counted = int(tree[GUARDED][0])
    least = sum(one.guarded for one in sessions)
    most = least + sum(one.guarded_unknown for one in sessions)
    if not least <= counted <= most:
        wrong.append(f"locks: {least} to {most} were counted under the lock, and the counter is {counted}")
    if least == 0:
        wrong.append("locks: nobody ever had the lock")
    return wrong, tree
