//! This server's watch registrations: path and connection → what is watched. Never replicated, gone with the connection.
//!
//! ZooKeeper keeps two tables, data and child, each with modes. A persistent watch lies in both, a recursive one in the
//! data table, so one byte of flags per (path, watcher) says it all.
//!
//! Source: ZooKeeper 3.9 `WatchManager`, `DataTree`.

use crate::failpoint::{self, Failpoint};
use hashbrown::HashTable;

use crate::hash::Keys;
use crate::meter;

/// A watching connection, by its slot. The engine drops all of a slot's watches before it gives the slot to another.
pub type Watcher = u32;

/// What one connection watches at one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Modes(u8);

impl Modes {
    /// One-shot, data table: creation, deletion, data.
    pub const DATA: Modes = Modes(1);
    /// One-shot, child table: children, deletion.
    pub const CHILD: Modes = Modes(2);
    /// Stays; all four kinds of event.
    pub const PERSISTENT: Modes = Modes(4);
    /// Stays; creation, deletion and data of the path and everything below it.
    pub const RECURSIVE: Modes = Modes(8);

    const ANY: Modes = Modes(15);
    const IN_DATA_TABLE: Modes = Modes(1 | 4 | 8);
    const IN_CHILD_TABLE: Modes = Modes(2 | 4);

    fn meets(self, other: Modes) -> bool {
        self.0 & other.0 != 0
    }

    /// How many of ZooKeeper's two tables hold it.
    fn tables(self) -> usize {
        usize::from(self.meets(Modes::IN_DATA_TABLE)) + usize::from(self.meets(Modes::IN_CHILD_TABLE))
    }
}

/// Which watches `checkWatches` and `removeWatches` mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchKind {
    /// One-shot child watches.
    Children,
    /// One-shot data and exist watches.
    Data,
    /// All.
    Any,
    /// Persistent ones.
    Persistent,
    /// Persistent recursive ones.
    Recursive,
}

impl WatchKind {
    /// From its number on the wire.
    pub fn from_i32(kind: i32) -> Option<WatchKind> {
        Some(match kind {
            1 => WatchKind::Children,
            2 => WatchKind::Data,
            3 => WatchKind::Any,
            4 => WatchKind::Persistent,
            5 => WatchKind::Recursive,
            _ => return None,
        })
    }

    fn modes(self) -> Modes {
        match self {
            WatchKind::Children => Modes::CHILD,
            WatchKind::Data => Modes::DATA,
            WatchKind::Any => Modes::ANY,
            WatchKind::Persistent => Modes::PERSISTENT,
            WatchKind::Recursive => Modes::RECURSIVE,
        }
    }
}

#[derive(Default)]
struct WatchedPath {
    path: Box<str>,
    /// Sorted by watcher.
    watches: Vec<(Watcher, Modes)>,
}

/// All registrations of this server.
///
/// 1. An entry is in `table` exactly while somebody watches its path.
/// 2. `by_watcher[w]` names every entry that holds `w`; it may name others too, left over from removed watches.
pub struct Watches {
    entries: Vec<WatchedPath>,
    free: Vec<u32>,
    table: HashTable<u32>,
    keys: Keys,
    by_watcher: Vec<Watched>,
    /// Entries of both tables, as ZooKeeper counts them.
    count: usize,
    data_count: usize,
    recursive_count: usize,
    /// Of the paths in `table`.
    path_bytes: usize,
}

#[derive(Default, Clone)]
struct Watched {
    entries: Vec<u32>,
    /// Paths really watched, and their bytes.
    live: usize,
    live_bytes: usize,
}

impl Watched {
    fn lose(&mut self, path: &str) {
        self.live = self.live.saturating_sub(1);
        self.live_bytes = self.live_bytes.saturating_sub(path.len());
    }
}

impl Watches {
    /// No watches. `seed` keys the table of paths.
    pub fn new(seed: [u64; 2]) -> Watches {
        Watches {
            entries: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            keys: Keys(seed),
            by_watcher: Vec::new(),
            count: 0,
            data_count: 0,
            recursive_count: 0,
            path_bytes: 0,
        }
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether a change may concern somebody who watches an ancestor.
    pub fn has_recursive(&self) -> bool {
        self.recursive_count > 0
    }

    /// Registrations in both tables.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Registrations in the data table, what `wchs` reports.
    pub fn data_count(&self) -> usize {
        self.data_count
    }

    /// Paths `watcher` watches.
    pub fn paths_of(&self, watcher: Watcher) -> usize {
        self.by_watcher.get(watcher as usize).map_or(0, |watched| watched.live)
    }

    /// Bytes of all watched paths, each counted once.
    pub fn path_bytes(&self) -> usize {
        self.path_bytes
    }

    /// Bytes of the paths `watcher` watches.
    pub fn path_bytes_of(&self, watcher: Watcher) -> usize {
        self.by_watcher.get(watcher as usize).map_or(0, |watched| watched.live_bytes)
    }

    /// Registers `modes` at `path`; what is there already stays.
    pub fn add(&mut self, watcher: Watcher, path: &str, modes: Modes) {
        let index = match self.find(path) {
            Some(index) => index,
            None => self.insert_entry(path),
        };
        let watches = &mut self.entries[index as usize].watches;
        let before = match watches.binary_search_by_key(&watcher, |watch| watch.0) {
            Ok(at) => {
                let before = watches[at].1;
                watches[at].1 = Modes(before.0 | modes.0);
                before
            }
            Err(at) => {
                watches.insert(at, (watcher, modes));
                if self.by_watcher.len() <= watcher as usize {
                    self.by_watcher.resize(watcher as usize + 1, Watched::default());
                }
                let watched = &mut self.by_watcher[watcher as usize];
                watched.live += 1;
                watched.live_bytes += path.len();
                watched.entries.push(index);
                // Names of removed watches must not pile up on a connection that sets and spends watches for ever.
                if watched.entries.len() > 2 * watched.live + 64 {
                    self.compact(watcher);
                }
                Modes::default()
            }
        };
        self.recount(before, Modes(before.0 | modes.0));
    }

    /// Whether `watcher` has a watch of that kind at `path`.
    pub fn contains(&self, watcher: Watcher, path: &str, kind: WatchKind) -> bool {
        self.modes_at(watcher, path).meets(kind.modes())
    }

    /// Removes what `kind` says; false if there was nothing.
    pub fn remove(&mut self, watcher: Watcher, path: &str, kind: WatchKind) -> bool {
        let Some(index) = self.find(path) else { return false };
        if !self.modes_at(watcher, path).meets(kind.modes()) {
            return false;
        }
        self.strip(index, watcher, kind.modes());
        true
    }

    /// Removes everything of a connection that ends.
    pub fn remove_watcher(&mut self, watcher: Watcher) {
        let Some(watched) = self.by_watcher.get_mut(watcher as usize) else { return };
        for index in std::mem::take(watched).entries {
            self.strip(index, watcher, Modes::ANY);
        }
        self.by_watcher[watcher as usize] = Watched::default();
    }

    /// Who is to hear of a creation, deletion or new data at `path`, each once. One-shot data watches are spent.
    pub fn trigger_data(&mut self, path: &str, hits: &mut Vec<Watcher>) {
        self.spend(path, Modes::IN_DATA_TABLE, Modes::DATA, hits);
        if self.recursive_count > 0 {
            let mut below = path;
            while below.len() > 1 && !(failpoint::on(Failpoint::RecursiveForgotten) && below != path) {
                let slash = below.rfind('/').unwrap_or(0);
                below = if slash == 0 { "/" } else { &below[..slash] };
                if let Some(index) = self.find(below) {
                    let watches = &self.entries[index as usize].watches;
                    hits.extend(watches.iter().filter(|w| w.1.meets(Modes::RECURSIVE)).map(|w| w.0));
                }
            }
            hits.sort_unstable();
            hits.dedup();
        }
    }

    /// Who is to hear of changed children at `path`, or of its deletion through a child watch. One-shot child watches
    /// are spent.
    pub fn trigger_child(&mut self, path: &str, hits: &mut Vec<Watcher>) {
        self.spend(path, Modes::IN_CHILD_TABLE, Modes::CHILD, hits);
    }

    /// What is watched at `path` by anybody: bit 0 the data table, bit 1 the child table.
    pub fn bits(&self, path: &str) -> u8 {
        let Some(index) = self.find(path) else { return 0 };
        let all = self.entries[index as usize].watches.iter().fold(0, |all, watch| all | watch.1.0);
        u8::from(Modes(all).meets(Modes::IN_DATA_TABLE)) | (u8::from(Modes(all).meets(Modes::IN_CHILD_TABLE)) << 1)
    }

    /// Every path with a data watch and its watchers, in no order: for `wchp`, `wchc`, `wchs`.
    pub fn data_watches(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = Watcher>)> {
        self.table.iter().filter_map(|&index| {
            let entry = &self.entries[index as usize];
            let mut watchers = entry.watches.iter().filter(|w| w.1.meets(Modes::IN_DATA_TABLE)).map(|w| w.0).peekable();
            watchers.peek().is_some().then_some((&*entry.path, watchers))
        })
    }

    fn modes_at(&self, watcher: Watcher, path: &str) -> Modes {
        let Some(index) = self.find(path) else { return Modes::default() };
        let watches = &self.entries[index as usize].watches;
        watches.binary_search_by_key(&watcher, |watch| watch.0).map_or(Modes::default(), |at| watches[at].1)
    }

    fn find(&self, path: &str) -> Option<u32> {
        meter::steps(1 + path.len() / 32);
        if self.table.is_empty() {
            return None;
        }
        let hash = self.keys.text(path);
        self.table.find(hash, |&index| &*self.entries[index as usize].path == path).copied()
    }

    fn insert_entry(&mut self, path: &str) -> u32 {
        let entry = WatchedPath { path: path.into(), watches: Vec::with_capacity(1) };
        self.path_bytes += path.len();
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("the limit on watches is below 2^32")
            }
        };
        let hash = self.keys.text(path);
        let (entries, keys) = (&self.entries, self.keys);
        self.table.insert_unique(hash, index, |&other| keys.text(&entries[other as usize].path));
        index
    }

    fn drop_entry_if_unwatched(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        if entry.watches.is_empty() {
            let hash = self.keys.text(&entry.path);
            if let Ok(found) = self.table.find_entry(hash, |&other| other == index) {
                found.remove();
                self.path_bytes -= entry.path.len();
                *entry = WatchedPath::default();
                self.free.push(index);
            }
        }
    }

    /// Takes `modes` from `watcher` at an entry that may or may not hold it.
    fn strip(&mut self, index: u32, watcher: Watcher, modes: Modes) {
        let watches = &mut self.entries[index as usize].watches;
        let Ok(at) = watches.binary_search_by_key(&watcher, |watch| watch.0) else { return };
        let before = watches[at].1;
        let after = Modes(before.0 & !modes.0);
        if after == Modes::default() {
            watches.remove(at);
            if watches.len() * 4 < watches.capacity() {
                watches.shrink_to_fit();
            }
            if let Some(watched) = self.by_watcher.get_mut(watcher as usize) {
                watched.lose(&self.entries[index as usize].path);
            }
        } else {
            watches[at].1 = after;
        }
        self.recount(before, after);
        self.drop_entry_if_unwatched(index);
    }

    fn spend(&mut self, path: &str, wanted: Modes, one_shot: Modes, hits: &mut Vec<Watcher>) {
        let Some(index) = self.find(path) else { return };
        let mut watches = std::mem::take(&mut self.entries[index as usize].watches);
        watches.retain_mut(|(watcher, modes)| {
            if !modes.meets(wanted) {
                return true;
            }
            hits.push(*watcher);
            let before = *modes;
            *modes = Modes(before.0 & !one_shot.0);
            if failpoint::on(Failpoint::OneShotStays) {
                *modes = before;
            }
            self.recount(before, *modes);
            let stays = *modes != Modes::default();
            if !stays && let Some(watched) = self.by_watcher.get_mut(*watcher as usize) {
                watched.lose(path);
            }
            stays
        });
        self.entries[index as usize].watches = watches;
        self.drop_entry_if_unwatched(index);
    }

    fn recount(&mut self, before: Modes, after: Modes) {
        self.count = self.count + after.tables() - before.tables();
        let data = |modes: Modes| usize::from(modes.meets(Modes::IN_DATA_TABLE));
        self.data_count = self.data_count + data(after) - data(before);
        let recursive = |modes: Modes| usize::from(modes.meets(Modes::RECURSIVE));
        self.recursive_count = self.recursive_count + recursive(after) - recursive(before);
    }

    fn compact(&mut self, watcher: Watcher) {
        let watched = &mut self.by_watcher[watcher as usize];
        let entries = &self.entries;
        watched.entries.sort_unstable();
        watched.entries.dedup();
        watched
            .entries
            .retain(|&index| entries[index as usize].watches.binary_search_by_key(&watcher, |watch| watch.0).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(watches: &mut Watches, path: &str) -> Vec<Watcher> {
        let mut hits = Vec::new();
        watches.trigger_data(path, &mut hits);
        hits
    }

    fn child(watches: &mut Watches, path: &str) -> Vec<Watcher> {
        let mut hits = Vec::new();
        watches.trigger_child(path, &mut hits);
        hits
    }

    #[test]
    fn a_one_shot_watch_is_spent_by_its_event() {
        // G-06
        let mut watches = Watches::new([1, 2]);
        watches.add(1, "/a", Modes::DATA);
        watches.add(1, "/a", Modes::DATA);
        assert_eq!(child(&mut watches, "/a"), [] as [Watcher; 0]);
        assert_eq!(data(&mut watches, "/a"), [1]);
        assert_eq!(data(&mut watches, "/a"), [] as [Watcher; 0]);
        assert!(watches.is_empty());
        assert_eq!((watches.count(), watches.paths_of(1)), (0, 0));
    }

    #[test]
    fn several_ways_of_watching_give_one_event() {
        // SC-60
        let mut watches = Watches::new([1, 2]);
        watches.add(7, "/", Modes::RECURSIVE);
        watches.add(7, "/a", Modes::RECURSIVE);
        watches.add(7, "/a/b", Modes::DATA);
        watches.add(7, "/a/b", Modes::PERSISTENT);
        assert_eq!(data(&mut watches, "/a/b"), [7]);
        assert_eq!(data(&mut watches, "/a/b"), [7], "the persistent one is still there");
        assert_eq!(child(&mut watches, "/a/b"), [7]);
        assert_eq!(child(&mut watches, "/a"), [] as [Watcher; 0], "a recursive watch never sees children");
        assert_eq!(data(&mut watches, "/z/y"), [7], "the root's recursive watch covers everything");
    }

    #[test]
    fn removal_takes_what_its_kind_says() {
        let mut watches = Watches::new([1, 2]);
        watches.add(1, "/a", Modes::DATA);
        watches.add(1, "/a", Modes::CHILD);
        watches.add(1, "/a", Modes::PERSISTENT);
        watches.add(2, "/a", Modes::RECURSIVE);
        assert_eq!(watches.count(), 3);
        assert!(!watches.remove(2, "/a", WatchKind::Data));
        assert!(watches.remove(1, "/a", WatchKind::Children));
        assert!(!watches.contains(1, "/a", WatchKind::Children));
        assert!(watches.contains(1, "/a", WatchKind::Data));
        assert!(watches.remove(1, "/a", WatchKind::Any));
        assert!(!watches.contains(1, "/a", WatchKind::Any));
        assert!(watches.remove(2, "/a", WatchKind::Recursive));
        assert!(watches.is_empty());
    }

    #[test]
    fn a_connection_takes_its_watches_along() {
        // SC-59
        let mut watches = Watches::new([1, 2]);
        for i in 0..1000 {
            watches.add(1, &format!("/n{i}"), Modes::DATA);
            watches.add(2, &format!("/n{i}"), Modes::PERSISTENT);
        }
        data(&mut watches, "/n5");
        watches.add(1, "/n5", Modes::CHILD);
        watches.remove_watcher(1);
        assert_eq!(watches.paths_of(1), 0);
        assert_eq!(watches.count(), 2000);
        watches.remove_watcher(2);
        assert!(watches.is_empty());
        assert_eq!(watches.count(), 0);
    }

    #[test]
    fn spent_watches_leave_no_trace_on_a_connection() {
        // S-44
        let mut watches = Watches::new([1, 2]);
        for _ in 0..10_000 {
            watches.add(3, "/a", Modes::DATA);
            assert_eq!(data(&mut watches, "/a"), [3]);
        }
        assert!(watches.by_watcher[3].entries.len() <= 128);
        assert_eq!(watches.entries.len(), 1);
    }

    #[test]
    fn kinds_have_their_numbers_of_the_wire() {
        let kinds = [WatchKind::Children, WatchKind::Data, WatchKind::Any, WatchKind::Persistent, WatchKind::Recursive];
        for (number, kind) in (1..).zip(kinds) {
            assert_eq!(WatchKind::from_i32(number), Some(kind));
        }
        for number in [i32::MIN, -1, 0, 6, i32::MAX] {
            assert_eq!(WatchKind::from_i32(number), None);
        }
    }

    /// What is watched, as plainly as it can be said.
    #[derive(Default)]
    struct Plain(std::collections::BTreeMap<(String, Watcher), u8>);

    const DATA: u8 = 1;
    const CHILD: u8 = 2;
    const PERSISTENT: u8 = 4;
    const RECURSIVE: u8 = 8;

    impl Plain {
        fn at(&self, path: &str, mask: u8) -> Vec<Watcher> {
            self.0.iter().filter(|((p, _), modes)| p == path && **modes & mask != 0).map(|((_, w), _)| *w).collect()
        }

        fn take(&mut self, path: &str, watcher: Option<Watcher>, modes: u8) {
            for ((p, w), kept) in &mut self.0 {
                if p == path && watcher.is_none_or(|one| one == *w) {
                    *kept &= !modes;
                }
            }
            self.0.retain(|_, modes| *modes != 0);
        }

        fn compare(&self, watches: &Watches, paths: &[&str]) {
            let table = |mask: u8| self.0.values().filter(|modes| **modes & mask != 0).count();
            let (data, child) = (table(DATA | PERSISTENT | RECURSIVE), table(CHILD | PERSISTENT));
            assert_eq!((watches.count(), watches.data_count()), (data + child, data));
            assert_eq!(watches.has_recursive(), table(RECURSIVE) > 0);
            assert_eq!(watches.is_empty(), self.0.is_empty());
            let watched: std::collections::BTreeSet<&str> = self.0.keys().map(|(path, _)| &path[..]).collect();
            assert_eq!(watches.path_bytes(), watched.iter().map(|path| path.len()).sum::<usize>());
            let mut listed: Vec<(&str, Vec<Watcher>)> =
                watches.data_watches().map(|(path, watchers)| (path, watchers.collect())).collect();
            listed.sort();
            let expected = watched.iter().map(|path| (*path, self.at(path, DATA | PERSISTENT | RECURSIVE)));
            assert_eq!(listed, expected.filter(|(_, watchers)| !watchers.is_empty()).collect::<Vec<_>>());
            for watcher in 0..5 {
                let of: Vec<&String> = self.0.keys().filter(|(_, w)| *w == watcher).map(|(path, _)| path).collect();
                assert_eq!(watches.paths_of(watcher), of.len());
                assert_eq!(watches.path_bytes_of(watcher), of.iter().map(|path| path.len()).sum::<usize>());
                for path in paths {
                    for (kind, mask) in [
                        (WatchKind::Children, CHILD),
                        (WatchKind::Data, DATA),
                        (WatchKind::Any, 15),
                        (WatchKind::Persistent, PERSISTENT),
                        (WatchKind::Recursive, RECURSIVE),
                    ] {
                        let there = self.at(path, mask).contains(&watcher);
                        assert_eq!(watches.contains(watcher, path, kind), there, "{watcher} {path} {kind:?}");
                    }
                }
            }
            for path in paths {
                let bit = |mask: u8| u8::from(!self.at(path, mask).is_empty());
                let bits = bit(DATA | PERSISTENT | RECURSIVE) | bit(CHILD | PERSISTENT) << 1;
                assert_eq!(watches.bits(path), bits, "{path}");
            }
        }
    }

    #[test]
    fn any_order_of_adding_removing_and_firing_ends_like_the_plain_list() {
        // Z-15, S-44
        let paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/z"];
        let (mut watches, mut plain) = (Watches::new([1, 2]), Plain::default());
        let mut state = 7u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % limit
        };
        for _ in 0..3000 {
            let (path, watcher) = (paths[below(6) as usize], below(4) as Watcher);
            match below(12) {
                0..5 => {
                    let mode = 1 << below(4);
                    watches.add(watcher, path, Modes(mode));
                    *plain.0.entry((path.to_owned(), watcher)).or_default() |= mode;
                }
                5..7 => {
                    let mut expected = plain.at(path, DATA | PERSISTENT | RECURSIVE);
                    for above in paths.iter().filter(|p| **p == "/" || path.starts_with(&format!("{p}/"))) {
                        expected.extend(plain.at(above, RECURSIVE));
                    }
                    expected.sort_unstable();
                    expected.dedup();
                    assert_eq!(data(&mut watches, path), expected);
                    plain.take(path, None, DATA);
                }
                7..9 => {
                    assert_eq!(child(&mut watches, path), plain.at(path, CHILD | PERSISTENT));
                    plain.take(path, None, CHILD);
                }
                9..11 => {
                    let number = 1 + below(5) as i32;
                    let mask = [CHILD, DATA, 15, PERSISTENT, RECURSIVE][number as usize - 1];
                    let there = plain.at(path, mask).contains(&watcher);
                    assert_eq!(watches.remove(watcher, path, WatchKind::from_i32(number).unwrap()), there);
                    plain.take(path, Some(watcher), mask);
                }
                _ => {
                    watches.remove_watcher(watcher);
                    plain.0.retain(|(_, w), _| *w != watcher);
                }
            }
            plain.compare(&watches, &paths);
        }
        assert_eq!(watches.entries.len(), paths.len(), "entries are used again");
    }

    #[test]
    fn bits_tell_which_tables_watch_a_path() {
        let mut watches = Watches::new([1, 2]);
        assert_eq!(watches.bits("/a"), 0);
        watches.add(1, "/a", Modes::CHILD);
        assert_eq!(watches.bits("/a"), 2);
        watches.add(2, "/a", Modes::RECURSIVE);
        assert_eq!(watches.bits("/a"), 3);
    }
}
