//! Quotas: limits and usage of subtrees, held as text in znodes below `/zookeeper/quota`.
//!
//! Clients define and remove them by ordinary creates and deletes. The usage is rewritten in place whenever something
//! below changes: no version moves, no event fires. Source: ZooKeeper 3.9 `Quotas`, `StatsTrack`, `DataTree`.

use std::collections::BTreeMap;

use super::{NodeId, Tree};
use crate::path::{self, LIMITS_NAME, QUOTA, STATS_NAME};
use crate::records::ErrorCode;

/// Key of the soft limit on znodes, and of their number.
const COUNT: &str = "count";
/// Key of the soft limit on bytes of data, and of their number.
const BYTES: &str = "bytes";
const COUNT_HARD: &str = "countHardLimit";
const BYTES_HARD: &str = "byteHardLimit";

/// Numbers by key, as limits and usage are written: `count=3,bytes=20=;byteHardLimit=20`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track(BTreeMap<String, i64>);

/// The text of a limits or stats znode is not `key=number` pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unparsable;

impl Track {
    /// Reads the text of a limits or stats znode.
    ///
    /// # Errors
    /// [`Unparsable`] for a pair without number.
    pub fn parse(data: Option<&[u8]>) -> Result<Track, Unparsable> {
        let text = String::from_utf8_lossy(data.unwrap_or_default());
        let mut track = Track::default();
        let text = text.trim_end_matches([',', ';']);
        if text.is_empty() {
            return Ok(track);
        }
        let mut last = ',';
        for pair in text.split(|c| {
            // Several separators in a row are one.
            let split = matches!(c, ',' | ';');
            let again = split && matches!(last, ',' | ';');
            last = c;
            split && !again
        }) {
            let mut parts = pair.trim_start_matches([',', ';']).split('=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            track.0.insert(key.to_owned(), value.parse().map_err(|_| Unparsable)?);
        }
        Ok(track)
    }

    /// The text as ZooKeeper writes it. The lone `=` before further keys keeps its old parsers content.
    pub fn to_text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        let mut rest = self.0.iter().filter(|(key, _)| !matches!(key.as_str(), COUNT | BYTES)).peekable();
        if rest.peek().is_some() {
            text.push('=');
        }
        for (key, value) in rest {
            text.push_str(&format!(";{key}={value}"));
        }
        text
    }

    fn value(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    /// Znodes: the soft limit, or their number. −1 when not given.
    pub fn count(&self) -> i64 {
        self.value(COUNT)
    }

    /// Bytes of data: the soft limit, or their number. −1 when not given.
    pub fn bytes(&self) -> i64 {
        self.value(BYTES)
    }

    /// The hard limit on znodes; −1 for none.
    pub fn count_hard(&self) -> i64 {
        self.value(COUNT_HARD)
    }

    /// The hard limit on bytes; −1 for none.
    pub fn bytes_hard(&self) -> i64 {
        self.value(BYTES_HARD)
    }

    fn add(&mut self, count: i64, bytes: i64) {
        self.0.insert(COUNT.to_owned(), self.count().saturating_add(count));
        self.0.insert(BYTES.to_owned(), self.bytes().saturating_add(bytes));
    }
}

/// The quota that holds for a path: that of the nearest znode above it, or its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota<'a> {
    /// The znode that it is set on.
    pub path: &'a str,
    /// What is allowed.
    pub limits: Result<Track, Unparsable>,
    /// What is used; `None` without a stats znode, and then nothing is enforced.
    pub usage: Option<Result<Track, Unparsable>>,
}

impl Quota<'_> {
    /// Whether one more znode with `data_length` bytes fits, `count` znodes and `bytes` being under way already.
    ///
    /// # Errors
    /// `QuotaExceeded` when a hard limit would be passed; `MarshallingError` when limits or usage cannot be read.
    pub fn check_create(&self, data_length: usize, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        let Some((limits, usage)) = self.numbers()? else { return Ok(()) };
        let hard = limits.count_hard();
        if hard > -1 && usage.count().saturating_add(count).saturating_add(1) > hard {
            return Err(ErrorCode::QuotaExceeded);
        }
        let hard = limits.bytes_hard();
        let bytes = usage.bytes().saturating_add(bytes).saturating_add(data_length as i64);
        if data_length > 0 && hard > -1 && bytes > hard {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }

    /// Whether data may grow by `growth` bytes, `bytes` being under way already. Shrinking is refused too while the
    /// result is above the limit.
    ///
    /// # Errors
    /// As [`Quota::check_create`].
    pub fn check_set(&self, growth: i64, bytes: i64) -> Result<(), ErrorCode> {
        let Some((limits, usage)) = self.numbers()? else { return Ok(()) };
        if growth == 0 {
            return Ok(());
        }
        let hard = limits.bytes_hard();
        if hard > -1 && usage.bytes().saturating_add(bytes).saturating_add(growth) > hard {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }

    fn numbers(&self) -> Result<Option<(&Track, &Track)>, ErrorCode> {
        let limits = self.limits.as_ref().map_err(|_| ErrorCode::MarshallingError)?;
        match &self.usage {
            None => Ok(None),
            Some(Ok(usage)) => Ok(Some((limits, usage))),
            Some(Err(Unparsable)) => Err(ErrorCode::MarshallingError),
        }
    }
}

/// Where quotas are set, by path of the limited znode. Derived from the tree.
#[derive(Default)]
pub(super) struct Quotas {
    places: BTreeMap<String, Place>,
}

#[derive(Clone, Copy)]
struct Place {
    limits: NodeId,
    stats: Option<NodeId>,
}

impl Quotas {
    fn enclosing(&self, path: &str) -> Option<(&str, Place)> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = path;
        while at.len() > 1 {
            if let Some((key, &place)) = self.places.get_key_value(at) {
                return Some((key, place));
            }
            at = &at[..at.rfind('/')?];
        }
        None
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
        let (path, place) = self.quotas.enclosing(path)?;
        Some(Quota {
            path,
            limits: Track::parse(self.data(place.limits)),
            usage: place.stats.map(|stats| Track::parse(self.data(stats))),
        })
    }

    pub(super) fn quota_created(&mut self, id: NodeId, path: &str) {
        match limited(path) {
            Some((at, LIMITS_NAME)) => self.quota_begins(id, at),
            Some((at, _)) => {
                if let Some(place) = self.quotas.places.get_mut(at) {
                    place.stats = Some(id);
                }
                let (count, bytes) = self.usage(at);
                let mut track = Track::default();
                track.add(count + 1, bytes + 1);
                self.replace_data(id, Some(track.to_text().as_bytes()));
            }
            None => {}
        }
        let length = self.nodes[id].data_length() as i64;
        self.quota_moved(path, 1, length);
    }

    /// Enters a limits znode, without looking at usage.
    pub(super) fn quota_begins(&mut self, limits: NodeId, at: &str) {
        let stats = self.lookup(&format!("{QUOTA}{at}/{STATS_NAME}"));
        self.quotas.places.insert(at.to_owned(), Place { limits, stats });
    }

    pub(super) fn quota_deleted(&mut self, path: &str, data_length: usize) {
        match limited(path) {
            Some((at, LIMITS_NAME)) => drop(self.quotas.places.remove(at)),
            Some((at, _)) => {
                if let Some(place) = self.quotas.places.get_mut(at) {
                    place.stats = None;
                }
            }
            None => {}
        }
        self.quota_moved(path, -1, -(data_length as i64));
    }

    /// Books `count` znodes and `bytes` bytes on the nearest quota around `path`.
    pub(super) fn quota_moved(&mut self, path: &str, count: i64, bytes: i64) {
        if (count, bytes) == (0, 0) {
            return;
        }
        let Some((_, Place { stats: Some(stats), .. })) = self.quotas.enclosing(path) else { return };
        // What is no usage cannot be counted on; it is left alone until somebody writes numbers again.
        if let Ok(mut track) = Track::parse(self.data(stats)) {
            track.add(count, bytes);
            self.replace_data(stats, Some(track.to_text().as_bytes()));
        }
    }

    /// Znodes and bytes of data at `path` and below.
    fn usage(&self, path: &str) -> (i64, i64) {
        let Some(top) = self.lookup(path) else { return (0, 0) };
        self.subtree(top).fold((0, 0), |(count, bytes), id| (count + 1, bytes + self.nodes[id].data_length() as i64))
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

    /// Whether the derived table is what [`Tree::find_quotas`] would make.
    pub(super) fn check_quotas(&self) -> Result<(), String> {
        for (at, place) in &self.quotas.places {
            let found = |name| self.lookup(&format!("{QUOTA}{at}/{name}"));
            if found(LIMITS_NAME) != Some(place.limits) || found(STATS_NAME) != place.stats {
                return Err(format!("the quota on {at} is entered with other znodes than it has"));
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
        let track = |text: &str| Track::parse(Some(text.as_bytes()));
        let odd = track("count=3,bytes=20=;byteHardLimit=20;countHardLimit=3").unwrap();
        assert_eq!((odd.count(), odd.bytes(), odd.count_hard(), odd.bytes_hard()), (3, 20, 3, 20));
        let few = track("bytes=-5").unwrap();
        assert_eq!((few.count(), few.bytes(), few.count_hard(), few.bytes_hard()), (-1, -5, -1, -1));
        assert_eq!(track("count=1,;,bytes=2;").map(|t| (t.count(), t.bytes())), Ok((1, 2)));
        assert_eq!(Track::parse(None), Ok(Track::default()));
        for bad in ["hello", "count=x", "count=", "count=99999999999999999999", "a=1,b"] {
            assert_eq!(track(bad), Err(Unparsable), "{bad}");
        }
    }

    #[test]
    fn text_is_written_as_zookeeper_writes_it() {
        for text in ["count=3,bytes=20", "count=3,bytes=20=;byteHardLimit=20;countHardLimit=3", "count=-1,bytes=7"] {
            assert_eq!(Track::parse(Some(text.as_bytes())).unwrap().to_text(), text);
        }
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
