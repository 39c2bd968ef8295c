//! Quotas: limits and usage of subtrees, held as text in znodes below `/zookeeper/quota`.
//!
//! Clients define and remove them by ordinary creates and deletes. The usage changes whenever something below does: no
//! version moves, no event fires. It is kept as two numbers; the text is put together when somebody reads it. A text is
//! parsed at most twice after it was set, so what a write costs does not depend on what a quota's znodes hold.
//!
//! Source: ZooKeeper 3.9 `Quotas`, `StatsTrack`, `DataTree`, `ZooKeeperServer.checkQuota`.

use std::collections::BTreeMap;
use std::fmt::Write;

use hashbrown::HashTable;

use super::{NodeId, PathHash, Tree};
use crate::failpoint::{self, Failpoint};
use crate::meter;
use crate::path::{self, LIMITS_NAME, QUOTA, STATS_NAME};
use crate::records::ErrorCode;

/// Key of the soft limit on znodes, and of their number.
const COUNT: &str = "count";
/// Key of the soft limit on bytes of data, and of their number.
const BYTES: &str = "bytes";
const COUNT_HARD: &str = "countHardLimit";
const BYTES_HARD: &str = "byteHardLimit";

/// So many keys that mean nothing are written in order, each once; of more, all stay as they came.
const ORDERED_MAX: usize = 64;

/// Numbers by key, as limits and usage are written: `count=3,bytes=20=;byteHardLimit=20`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    numbers: QuotaNumbers,
    /// What follows `count` and `bytes` in the text.
    tail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct QuotaNumbers {
    count: i64,
    bytes: i64,
    count_hard: i64,
    bytes_hard: i64,
}

impl Default for QuotaNumbers {
    fn default() -> QuotaNumbers {
        QuotaNumbers { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 }
    }
}

/// The text of a limits or stats znode is not `key=number` pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unparsable;

impl Track {
    /// Reads the text of a limits or stats znode.
    ///
    /// # Errors
    /// [`Unparsable`] for a pair without number.
    pub fn parse(data: &[u8]) -> Result<Track, Unparsable> {
        meter::steps(data.len() / 32);
        let text = String::from_utf8_lossy(data);
        let text = text.trim_end_matches([',', ';']);
        let mut numbers = QuotaNumbers::default();
        let mut others = Others::default();
        // Several separators in a row are one; in front of the first pair there may be one.
        let pairs = text.strip_prefix([',', ';']).unwrap_or(text).split([',', ';']).filter(|pair| !pair.is_empty());
        for pair in pairs {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let value = value.parse().map_err(|_| Unparsable)?;
            match key {
                COUNT => numbers.count = value,
                BYTES => numbers.bytes = value,
                _ => others.add(key, value),
            }
            match key {
                COUNT_HARD => numbers.count_hard = value,
                BYTES_HARD => numbers.bytes_hard = value,
                _ => {}
            }
        }
        Ok(Track { numbers, tail: others.into_tail() })
    }

    /// The text as ZooKeeper writes it. The lone `=` before further keys keeps its old parsers content.
    pub fn to_text(&self) -> String {
        head(self.numbers.count, self.numbers.bytes) + &self.tail
    }

    /// Znodes: the soft limit, or their number. −1 when not given.
    pub fn count(&self) -> i64 {
        self.numbers.count
    }

    /// Bytes of data: the soft limit, or their number. −1 when not given.
    pub fn bytes(&self) -> i64 {
        self.numbers.bytes
    }

    /// The hard limit on znodes; −1 for none.
    pub fn count_hard(&self) -> i64 {
        self.numbers.count_hard
    }

    /// The hard limit on bytes; −1 for none.
    pub fn bytes_hard(&self) -> i64 {
        self.numbers.bytes_hard
    }
}

fn head(count: i64, bytes: i64) -> String {
    format!("{COUNT}={count},{BYTES}={bytes}")
}

/// The length of [`head`].
fn head_length(count: i64, bytes: i64) -> u8 {
    let digits = |number: i64| number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1 + u32::from(number < 0);
    (COUNT.len() + BYTES.len() + 3) as u8 + (digits(count) + digits(bytes)) as u8
}

/// Keys besides the two that come first.
#[derive(Default)]
struct Others<'t> {
    ordered: BTreeMap<&'t str, i64>,
    rest: String,
}

impl<'t> Others<'t> {
    fn add(&mut self, key: &'t str, value: i64) {
        if self.ordered.len() < ORDERED_MAX || self.ordered.contains_key(key) {
            self.ordered.insert(key, value);
        } else {
            let _ = write!(self.rest, ";{key}={value}");
        }
    }

    fn into_tail(self) -> String {
        let mut tail = String::new();
        if !self.ordered.is_empty() {
            tail.push('=');
        }
        for (key, value) in self.ordered {
            let _ = write!(tail, ";{key}={value}");
        }
        tail + &self.rest
    }
}

/// The quota that holds for a path: that of the nearest znode above it, or its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota<'a> {
    /// The znode that it is set on.
    pub path: &'a str,
    limits: Result<QuotaNumbers, Unparsable>,
    /// What is used, znodes and bytes; `None` without a stats znode, and then nothing is enforced.
    pub usage: Option<Result<(i64, i64), Unparsable>>,
}

impl Quota<'_> {
    /// Whether one more znode with `data_length` bytes fits, `count` znodes and `bytes` being under way already.
    ///
    /// # Errors
    /// `QuotaExceeded` when a hard limit would be passed; `MarshallingError` when limits or usage cannot be read.
    pub fn check_create(&self, data_length: usize, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        let growth = data_length as i64;
        self.check(1, count, growth, bytes)
    }

    /// Whether data may grow by `growth` bytes, `bytes` being under way already. Shrinking is refused too while the
    /// result is above the limit.
    ///
    /// # Errors
    /// As [`Quota::check_create`].
    pub fn check_set(&self, growth: i64, bytes: i64) -> Result<(), ErrorCode> {
        self.check(0, 0, growth, bytes)
    }

    fn check(&self, more: i64, count: i64, growth: i64, bytes: i64) -> Result<(), ErrorCode> {
        let limits = self.limits.map_err(|Unparsable| ErrorCode::MarshallingError)?;
        let counts = more != 0 && (limits.count > -1 || limits.count_hard > -1);
        let weighs = growth != 0 && (limits.bytes > -1 || limits.bytes_hard > -1);
        // The usage is looked at only where there is a limit.
        let Some(usage) = self.usage.filter(|_| counts || weighs) else { return Ok(()) };
        let (used, held) = usage.map_err(|Unparsable| ErrorCode::MarshallingError)?;
        let above = |hard: i64, total: i64| hard > -1 && total > hard;
        if (counts && above(limits.count_hard, used.saturating_add(count).saturating_add(more)))
            || (weighs && above(limits.bytes_hard, held.saturating_add(bytes).saturating_add(growth)))
        {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }
}

/// Where quotas are set, and what is used. Derived from the tree.
#[derive(Default)]
pub(super) struct Quotas {
    places: HashTable<QuotaPlace>,
    /// By the stats znode, from when there are limits beside it until it is deleted: a text that was read is not read
    /// again.
    usages: BTreeMap<NodeId, Usage>,
}

struct QuotaPlace {
    /// The znode that it is set on, and the hash of that path.
    path: Box<str>,
    hash: u64,
    limits: NodeId,
    allowed: Result<QuotaNumbers, Unparsable>,
    stats: Option<NodeId>,
}

#[derive(Clone, Copy)]
struct Usage {
    /// Znodes and bytes; `None` if the text is no usage.
    numbers: Option<(i64, i64)>,
    /// The data is null, which stands for no numbers when something is booked, and for no usage when it is enforced.
    is_null: bool,
}

impl Quotas {
    fn place(&self, path: &str, hash: PathHash) -> Option<&QuotaPlace> {
        self.places.find(hash.number(), |place| place.hash == hash.number() && *place.path == *path)
    }

    fn place_mut(&mut self, path: &str, hash: PathHash) -> Option<&mut QuotaPlace> {
        self.places.find_mut(hash.number(), |place| place.hash == hash.number() && *place.path == *path)
    }
}

/// The path whose quota the znode at `path` belongs to, and that znode's name.
fn limited(path: &str) -> Option<(&str, &str)> {
    let (limited, name) = path.strip_prefix(QUOTA)?.rsplit_once('/')?;
    // A quota on the root, whose path is empty here, has no effect.
    (limited.starts_with('/') && matches!(name, LIMITS_NAME | STATS_NAME)).then_some((limited, name))
}

impl Tree {
    /// The quota that `path` falls under, if any. The znode need not exist.
    pub fn quota(&self, path: &str) -> Option<Quota<'_>> {
        let place = self.enclosing(path)?;
        let usage = place.stats.map(|stats| self.quotas.usages[&stats]);
        Some(Quota {
            path: &place.path,
            limits: place.allowed,
            usage: usage.map(|usage| usage.numbers.filter(|_| !usage.is_null).ok_or(Unparsable)),
        })
    }

    /// The nearest place with a quota, above the znode at `path` or there.
    fn enclosing(&self, path: &str) -> Option<&QuotaPlace> {
        if self.quotas.places.is_empty() || path.len() < 2 {
            return None;
        }
        let mut nearest = None;
        let (mut hash, mut end) = (self.hash("/"), 0);
        for name in path[1..].split('/') {
            hash = self.hash_below(hash, name);
            end += 1 + name.len();
            nearest = self.quotas.place(&path[..end], hash).or(nearest);
        }
        nearest
    }

    pub(super) fn quota_created(&mut self, id: NodeId, path: &str) {
        match limited(path) {
            Some((at, LIMITS_NAME)) => self.quota_begins(id, at),
            Some((at, _)) => {
                let (count, bytes) = self.usage(at);
                self.replace_data(id, Some(head(count, bytes).as_bytes()));
                let hash = self.hash(at);
                if let Some(place) = self.quotas.place_mut(at, hash) {
                    place.stats = Some(id);
                    self.quotas.usages.insert(id, Usage { numbers: Some((count, bytes)), is_null: false });
                }
            }
            None => {}
        }
        let length = self.nodes[id].data_length() as i64;
        self.quota_moved(path, 1, length);
    }

    /// Enters a limits znode, without looking at usage.
    pub(super) fn quota_begins(&mut self, limits: NodeId, at: &str) {
        let stats = self.lookup(&format!("{QUOTA}{at}/{STATS_NAME}"));
        let (allowed, hash) = (self.allowed(limits), self.hash(at));
        let hash = hash.number();
        let place = QuotaPlace { path: at.into(), hash, limits, allowed, stats };
        self.quotas.places.insert_unique(hash, place, |place| place.hash);
        if let Some(stats) = stats {
            self.read_usage(stats);
        }
    }

    fn allowed(&self, limits: NodeId) -> Result<QuotaNumbers, Unparsable> {
        // ZooKeeper cannot read null either.
        let track = self.data(limits).ok_or(Unparsable).and_then(|data| Track::parse(&data));
        track.map(|track| track.numbers)
    }

    /// Knows the usage that a stats znode tells, unless it does already.
    fn read_usage(&mut self, stats: NodeId) {
        if self.quotas.usages.contains_key(&stats) {
            return;
        }
        let data = self.data(stats);
        let is_null = data.is_none();
        let track = Track::parse(&data.unwrap_or_default()).ok();
        let numbers = track.map(|track| (track.count(), track.bytes()));
        self.quotas.usages.insert(stats, Usage { numbers, is_null });
    }

    /// A client has set the data of a znode.
    pub(super) fn quota_set(&mut self, id: NodeId, path: &str, growth: i64) {
        if let Some((at, name)) = limited(path) {
            self.quotas.usages.remove(&id);
            let allowed = (name == LIMITS_NAME).then(|| self.allowed(id));
            let hash = self.hash(at);
            if let Some(place) = self.quotas.place_mut(at, hash) {
                match allowed {
                    Some(allowed) => place.allowed = allowed,
                    None => self.read_usage(id),
                }
            }
        }
        self.quota_moved(path, 0, growth);
    }

    pub(super) fn quota_deleted(&mut self, id: NodeId, path: &str, data_length: usize) {
        if let Some((at, name)) = limited(path) {
            let hash = self.hash(at).number();
            let place = self.quotas.places.find_entry(hash, |place| *place.path == *at);
            if name == STATS_NAME {
                self.quotas.usages.remove(&id);
                if let Ok(mut place) = place {
                    place.get_mut().stats = None;
                }
            } else if let Ok(place) = place {
                place.remove();
            }
        }
        if !failpoint::on(Failpoint::QuotaUnbooked) {
            self.quota_moved(path, -1, -(data_length as i64));
        }
    }

    /// Books `count` znodes and `bytes` bytes on the nearest quota around `path`.
    fn quota_moved(&mut self, path: &str, count: i64, bytes: i64) {
        if (count, bytes) == (0, 0) {
            return;
        }
        let Some(&QuotaPlace { stats: Some(stats), .. }) = self.enclosing(path) else { return };
        // What is no usage cannot be counted on; it is left alone until somebody writes numbers again.
        let Some((used, held)) = self.quotas.usages[&stats].numbers else { return };
        // A snapshot gets the text as it was.
        self.before_change(stats);
        let (used, held) = (used.saturating_add(count), held.saturating_add(bytes));
        self.quotas.usages.insert(stats, Usage { numbers: Some((used, held)), is_null: false });
        let head = head_length(used, held);
        let node = &self.nodes[stats];
        if node.head == 0 {
            let track = Track::parse(node.data.as_deref().unwrap_or_default());
            let tail = track.map(|track| track.tail).unwrap_or_default();
            self.change_data(stats, |node| (node.head, node.data) = (head, Some(tail.into_bytes().into())));
        } else if node.head != head {
            self.change_data(stats, |node| node.head = head);
        }
    }

    /// The text of a stats znode whose numbers are kept.
    #[cold]
    pub(super) fn usage_text(&self, stats: NodeId) -> Vec<u8> {
        let usage = self.quotas.usages.get(&stats).and_then(|usage| usage.numbers);
        let (count, bytes) = usage.expect("a stats znode without its text has its numbers");
        let mut text = head(count, bytes).into_bytes();
        text.extend_from_slice(self.nodes[stats].data.as_deref().unwrap_or_default());
        text
    }

    /// Znodes and bytes of data at `path` and below.
    fn usage(&self, path: &str) -> (i64, i64) {
        let Some(top) = self.lookup(path) else { return (0, 0) };
        let (below, bytes) = self.below_of(top);
        (i64::from(below) + 1, bytes as i64 + self.nodes[top].data_length() as i64)
    }

    /// Finds all quotas that are set, after the tree was loaded.
    pub(super) fn find_quotas(&mut self) {
        let Some(top) = self.lookup(path::QUOTA) else { return };
        let named = |&id: &NodeId| self.nodes[id].name.as_bytes() == LIMITS_NAME.as_bytes();
        let limits: Vec<NodeId> = self.subtree(top).filter(named).collect();
        for id in limits {
            let path = self.path(id);
            if let Some((at, LIMITS_NAME)) = limited(&path) {
                self.quota_begins(id, at);
            }
        }
    }

    /// Counts anew what is used of every quota, whatever its znode says, as ZooKeeper does when it has loaded a tree.
    ///
    /// Source: ZooKeeper 3.9 `DataTree.setupQuota`.
    pub(super) fn recount_quotas(&mut self) {
        let mut found: Vec<(Box<str>, NodeId)> =
            self.quotas.places.iter().filter_map(|place| Some((place.path.clone(), place.stats?))).collect();
        found.sort_unstable();
        for (at, stats) in found {
            let (count, bytes) = self.usage(&at);
            self.replace_data(stats, Some(head(count, bytes).as_bytes()));
            self.quotas.usages.insert(stats, Usage { numbers: Some((count, bytes)), is_null: false });
        }
    }

    /// Whether the derived tables are what [`Tree::find_quotas`] would make.
    pub(super) fn check_quotas(&self) -> Result<(), String> {
        for place in &self.quotas.places {
            let at = &place.path;
            let found = |name| self.lookup(&format!("{QUOTA}{at}/{name}"));
            if found(LIMITS_NAME) != Some(place.limits) || found(STATS_NAME) != place.stats {
                return Err(format!("the quota on {at} is entered with other znodes than it has"));
            }
            if place.allowed != self.allowed(place.limits) {
                return Err(format!("the quota on {at} is entered with other limits than it has"));
            }
            if place.stats.is_some_and(|stats| !self.quotas.usages.contains_key(&stats)) {
                return Err(format!("the usage of the quota on {at} is not known"));
            }
        }
        for (&id, usage) in &self.quotas.usages {
            let data = self.nodes.get(id).and_then(|_| self.data(id));
            let read = Track::parse(data.as_deref().unwrap_or_default()).ok();
            if read.map(|track| (track.count(), track.bytes())) != usage.numbers || data.is_none() != usage.is_null {
                return Err(format!("{} does not say {:?}", self.path(id), usage.numbers));
            }
        }
        let Some(top) = self.lookup(QUOTA) else { return Err(format!("there is no {QUOTA}")) };
        let set = self.subtree(top).filter(|&id| limited(&self.path(id)).is_some_and(|(_, name)| name == LIMITS_NAME));
        match (set.count(), self.quotas.places.len()) {
            (set, entered) if set == entered => Ok(()),
            (set, entered) => Err(format!("{set} quotas are set, {entered} are entered")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_zookeeper_reads_it() {
        let track = |text: &str| Track::parse(text.as_bytes());
        let odd = track("count=3,bytes=20=;byteHardLimit=20;countHardLimit=3").unwrap();
        assert_eq!((odd.count(), odd.bytes(), odd.count_hard(), odd.bytes_hard()), (3, 20, 3, 20));
        let few = track("bytes=-5").unwrap();
        assert_eq!((few.count(), few.bytes(), few.count_hard(), few.bytes_hard()), (-1, -5, -1, -1));
        assert_eq!(track("count=1,;,bytes=2;").map(|t| (t.count(), t.bytes())), Ok((1, 2)));
        assert_eq!(track("").map(|t| t.to_text()), Ok("count=-1,bytes=-1".to_owned()));
        for bad in ["hello", "count=x", "count=", "count=99999999999999999999", "a=1,b"] {
            assert_eq!(track(bad), Err(Unparsable), "{bad}");
        }
    }

    #[test]
    fn text_is_written_as_zookeeper_writes_it() {
        for text in ["count=3,bytes=20", "count=3,bytes=20=;byteHardLimit=20;countHardLimit=3", "count=-1,bytes=7"] {
            assert_eq!(Track::parse(text.as_bytes()).unwrap().to_text(), text);
        }
    }

    #[test]
    fn the_length_of_two_numbers_is_known_without_writing_them() {
        for count in [0, 1, 9, 10, 99, 100, -1, -9, -10, i64::MAX, i64::MIN] {
            for bytes in [0, -1, 12_345, i64::MIN] {
                assert_eq!(usize::from(head_length(count, bytes)), head(count, bytes).len(), "{count} {bytes}");
            }
        }
    }

    #[test]
    fn keys_without_meaning_stay_and_are_in_order_unless_they_are_many() {
        let text = |text: &str| Track::parse(text.as_bytes()).unwrap().to_text();
        assert_eq!(
            text("z=1;count=2;a=3;z=4;countHardLimit=5,byteHardLimit=6,bytes=7"),
            "count=2,bytes=7=;a=3;byteHardLimit=6;countHardLimit=5;z=4"
        );
        let many: String = (0..100).rev().map(|key| format!(";k{key:03}={key}")).collect();
        let written = text(&format!("{many};countHardLimit=9"));
        assert_eq!(Track::parse(written.as_bytes()).unwrap().count_hard(), 9);
        assert_eq!(written.matches('=').count(), 104, "{written}");
    }

    #[test]
    fn only_limits_and_stats_below_the_quota_znode_are_quotas() {
        assert_eq!(limited("/zookeeper/quota/a/b/zookeeper_limits"), Some(("/a/b", LIMITS_NAME)));
        assert_eq!(limited("/zookeeper/quota/a/zookeeper_stats"), Some(("/a", STATS_NAME)));
        assert_eq!(limited("/zookeeper/quota/zookeeper_limits"), None);
        assert_eq!(limited("/zookeeper/quotas/a/zookeeper_limits"), None);
        assert_eq!(limited("/a/zookeeper_limits"), None);
    }
}
