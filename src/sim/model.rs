//! A plain model of the state: an ordered map, no cleverness, no code of the tree's or of the engine's decisions.

use std::collections::{BTreeMap, BTreeSet};

use super::oracle::{OracleChange, OracleQuota};
use super::who::ModelAcl;
use crate::records::Stat;

/// Who a znode belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelOwner {
    Nobody,
    Session(i64),
    Container,
    Ttl(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Znode {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<ModelAcl>,
    pub owner: ModelOwner,
    /// Of creation, of the last data, of the last change of children.
    pub zxids: (i64, i64, i64),
    /// Of creation and of the last data.
    pub times: (i64, i64),
    pub version: i32,
    pub aversion: i32,
    /// Children created so far: the next sequence number.
    pub creations: i32,
}

/// What a change touched, for whoever watches.
pub(super) struct Touched {
    pub kind: i32,
    pub path: String,
    pub acl: Vec<ModelAcl>,
    pub parent: String,
    pub parent_acl: Vec<ModelAcl>,
}

/// The state after some history.
#[derive(Clone)]
pub(super) struct Model {
    pub zxid: i64,
    pub nodes: BTreeMap<String, Znode>,
    /// With the timeout each was created with.
    pub sessions: BTreeMap<i64, i32>,
    /// Sessions that began as ones that one member knows and no other. Those that became known to all are in the history, too.
    pub local: BTreeSet<i64>,
    /// Every session there ever was in the history (S-27).
    pub ever: BTreeSet<i64>,
    /// The highest sequence number given out, by the parent and its creation (G-12).
    sequences: BTreeMap<(String, i64), i32>,
}

pub(super) const CREATED: i32 = 1;
pub(super) const DELETED: i32 = 2;
pub(super) const DATA_CHANGED: i32 = 3;
pub(super) const CHILDREN_CHANGED: i32 = 4;

const QUOTA: &str = "/zookeeper/quota";

pub(super) fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(slash) => &path[..slash],
    }
}

/// The paths above, nearest first.
pub(super) fn above(path: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = path;
    while at != "/" {
        at = parent_of(at);
        found.push(at);
    }
    found
}

impl Model {
    pub(super) fn new() -> Model {
        let znode = |acl: ModelAcl, aversion| Znode {
            data: Some(Vec::new()),
            acl: vec![acl],
            owner: ModelOwner::Nobody,
            zxids: (0, 0, 0),
            times: (0, 0),
            version: 0,
            aversion,
            creations: 0,
        };
        let paths = ["/", "/zookeeper", QUOTA].map(|path| (path.to_owned(), znode(ModelAcl::open(), 0)));
        let config = ("/zookeeper/config".to_owned(), znode(ModelAcl::new(1, "world", "anyone"), -1));
        Model {
            zxid: 0,
            nodes: paths.into_iter().chain([config]).collect(),
            sessions: BTreeMap::new(),
            local: BTreeSet::new(),
            ever: BTreeSet::new(),
            sequences: BTreeMap::new(),
        }
    }

    /// Names of the children of `path`.
    pub(super) fn children(&self, path: &str) -> BTreeSet<String> {
        let below = self.below(path).filter(|below| parent_of(below) == path);
        below.map(|below| below[below.rfind('/').map_or(0, |at| at + 1)..].to_owned()).collect()
    }

    /// Paths below `path`, at any depth.
    pub(super) fn below(&self, path: &str) -> impl Iterator<Item = &String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let from = prefix.clone();
        self.nodes
            .range(from..)
            .map(|(path, _)| path)
            .take_while(move |below| below.starts_with(&prefix))
            .filter(|below| *below != "/")
    }

    pub(super) fn stat(&self, path: &str) -> Option<Stat> {
        let node = self.nodes.get(path)?;
        let children = self.children(path).len() as i32;
        Some(Stat {
            czxid: node.zxids.0,
            mzxid: node.zxids.1,
            pzxid: node.zxids.2,
            ctime: node.times.0,
            mtime: node.times.1,
            version: node.version,
            // Creations and deletions.
            cversion: node.creations * 2 - children,
            aversion: node.aversion,
            // Of containers and of znodes with a time to live nothing is told.
            ephemeral_owner: if let ModelOwner::Session(session) = node.owner { session } else { 0 },
            data_length: node.data.as_ref().map_or(0, Vec::len) as i32,
            num_children: children,
        })
    }

    pub(super) fn ephemerals(&self, session: i64) -> BTreeSet<String> {
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == ModelOwner::Session(session));
        owned.map(|(path, _)| path.clone()).collect()
    }

    /// Whether housekeeping may take the znode away at this time of the wall clock.
    pub(super) fn may_go(&self, path: &str, wall: i64, never_used_ms: i64) -> bool {
        let Some(node) = self.nodes.get(path) else { return false };
        let age = wall - node.times.1;
        self.children(path).is_empty()
            && match node.owner {
                ModelOwner::Container if node.creations > 0 => true,
                ModelOwner::Container => age > never_used_ms,
                ModelOwner::Ttl(ttl) => age > ttl,
                ModelOwner::Nobody | ModelOwner::Session(_) => false,
            }
    }

    /// Carries out one change. Nothing is checked but that it can be done at all.
    pub(super) fn apply(&mut self, change: &OracleChange, zxid: i64, time: i64) -> Result<Vec<Touched>, String> {
        self.zxid = zxid;
        match change {
            OracleChange::Create { path, data, acl, owner, parent_creations, sequential, .. } => {
                let parent = parent_of(path).to_owned();
                let node = Znode {
                    data: data.clone(),
                    acl: acl.clone(),
                    owner: *owner,
                    zxids: (zxid, zxid, zxid),
                    times: (time, time),
                    version: 0,
                    aversion: 0,
                    creations: 0,
                };
                if let ModelOwner::Session(session) = owner
                    && !self.sessions.contains_key(session)
                {
                    return Err(format!("G-11, S-25: {path} is created for a session that ended"));
                }
                let above = self.nodes.get_mut(&parent).ok_or_else(|| format!("S-24: {path} has no parent"))?;
                if *parent_creations <= above.creations {
                    return Err(format!(
                        "S-26: {} creations under {parent} after {}",
                        parent_creations, above.creations
                    ));
                }
                if *sequential {
                    let number: i32 = path[path.len() - 10..].parse().unwrap_or(-1);
                    let highest = self.sequences.entry((parent.clone(), above.zxids.0)).or_insert(-1);
                    if number <= *highest {
                        return Err(format!("G-12: {path} after number {highest}"));
                    }
                    *highest = number;
                }
                (above.creations, above.zxids.2) = (*parent_creations, zxid);
                if self.nodes.insert(path.clone(), node).is_some() {
                    return Err(format!("S-20: {path} is created twice"));
                }
                if let Some(limited) = path.strip_prefix(QUOTA).and_then(|p| p.strip_suffix("/zookeeper_stats")) {
                    let (count, bytes) = self.used(limited);
                    self.rewrite(path, count, bytes);
                }
                self.book(path, 1, length(data.as_ref()));
                Ok(vec![self.touched(CREATED, path, acl)])
            }
            OracleChange::Delete { path } => {
                if !self.children(path).is_empty() {
                    return Err(format!("S-24: {path} is deleted and has children"));
                }
                let node =
                    self.nodes.remove(path).ok_or_else(|| format!("S-20: {path} is deleted and is not there"))?;
                if let Some(above) = self.nodes.get_mut(parent_of(path)) {
                    above.zxids.2 = zxid;
                }
                self.book(path, -1, -length(node.data.as_ref()));
                Ok(vec![self.touched(DELETED, path, &node.acl)])
            }
            OracleChange::Set { path, data, version } => {
                let node =
                    self.nodes.get_mut(path).ok_or_else(|| format!("S-20: data for {path}, which is not there"))?;
                if *version != node.version + 1 {
                    return Err(format!("S-26: version {version} of {path} after {}", node.version));
                }
                let growth = length(data.as_ref()) - length(node.data.as_ref());
                (node.version, node.zxids.1, node.times.1) = (*version, zxid, time);
                node.data.clone_from(data);
                let acl = node.acl.clone();
                self.book(path, 0, growth);
                Ok(vec![self.touched(DATA_CHANGED, path, &acl)])
            }
            OracleChange::SetAcl { path, acl, version } => {
                let node =
                    self.nodes.get_mut(path).ok_or_else(|| format!("S-20: an ACL for {path}, which is not there"))?;
                node.aversion = *version;
                node.acl.clone_from(acl);
                Ok(Vec::new())
            }
            OracleChange::Check { .. } => Ok(Vec::new()),
        }
    }

    fn touched(&self, kind: i32, path: &str, acl: &[ModelAcl]) -> Touched {
        let parent = parent_of(path);
        let parent_acl = self.nodes.get(parent).map_or_else(Vec::new, |node| node.acl.clone());
        Touched { kind, path: path.to_owned(), acl: acl.to_vec(), parent: parent.to_owned(), parent_acl }
    }

    /// Whether one member knows the session and the history does not.
    pub(super) fn is_local(&self, session: i64) -> bool {
        self.local.contains(&session) && !self.ever.contains(&session)
    }

    /// A session begins.
    pub(super) fn begin(&mut self, session: i64, timeout: i32, zxid: i64) -> Result<(), String> {
        self.zxid = zxid;
        self.sessions.insert(session, timeout);
        if self.ever.insert(session) { Ok(()) } else { Err(format!("S-27: session 0x{session:x} was issued twice")) }
    }

    /// A session ends; `listed` are the znodes that the transaction names, in its order.
    pub(super) fn end(&mut self, session: i64, listed: Option<&[String]>, zxid: i64) -> Result<Vec<Touched>, String> {
        self.zxid = zxid;
        if self.sessions.remove(&session).is_none() {
            return Err(format!("G-10: session 0x{session:x} ends with {listed:?} and does not live"));
        }
        let owned = self.ephemerals(session);
        let order: Vec<String> = match listed {
            None => owned.into_iter().collect(),
            Some(listed) if listed.iter().cloned().collect::<BTreeSet<_>>() == owned => listed.to_vec(),
            Some(listed) => return Err(format!("G-11, S-25: a session ends with {listed:?} and owns {owned:?}")),
        };
        let mut touched = Vec::new();
        for path in order {
            touched.extend(self.apply(&OracleChange::Delete { path }, zxid, 0)?);
        }
        Ok(touched)
    }

    /// Quotas by the znode that each holds for.
    pub(super) fn quotas(&self) -> BTreeMap<String, OracleQuota> {
        let mut quotas = BTreeMap::new();
        for (path, node) in self.nodes.range(QUOTA.to_owned()..).take_while(|(path, _)| path.starts_with(QUOTA)) {
            if let Some(limited) = path.strip_prefix(QUOTA).and_then(|path| path.strip_suffix("/zookeeper_limits")) {
                let stats = self.nodes.get(&format!("{QUOTA}{limited}/zookeeper_stats"));
                let used = stats.map(|node| (number(node, "count"), number(node, "bytes")));
                let (count_max, bytes_max) = (number(node, "countHardLimit"), number(node, "byteHardLimit"));
                quotas.insert(limited.to_owned(), OracleQuota { count_max, bytes_max, used });
            }
        }
        quotas
    }

    /// Znodes and bytes at `path` and below.
    fn used(&self, path: &str) -> (i64, i64) {
        let all = self.nodes.get_key_value(path).map(|(path, _)| path).into_iter().chain(self.below(path));
        all.fold((0, 0), |(count, bytes), path| (count + 1, bytes + length(self.nodes[path].data.as_ref())))
    }

    fn book(&mut self, path: &str, count: i64, bytes: i64) {
        let quotas = self.quotas();
        let limited = std::iter::once(path).chain(above(path)).find(|at| quotas.contains_key(*at)).map(str::to_owned);
        if let Some(limited) = limited
            && let Some((had, bytes_had)) = quotas[&limited].used
        {
            self.rewrite(&format!("{QUOTA}{limited}/zookeeper_stats"), had + count, bytes_had + bytes);
        }
    }

    fn rewrite(&mut self, stats: &str, count: i64, bytes: i64) {
        if let Some(node) = self.nodes.get_mut(stats) {
            node.data = Some(format!("count={count},bytes={bytes}").into_bytes());
        }
    }
}

fn length(data: Option<&Vec<u8>>) -> i64 {
    data.map_or(0, Vec::len) as i64
}

/// The number behind `key=` in the text of a limits or statistics znode; −1 without.
fn number(node: &Znode, key: &str) -> i64 {
    let text = String::from_utf8_lossy(node.data.as_deref().unwrap_or_default()).into_owned();
    let found = text.split([',', ';']).find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
    found.and_then(|value| value.trim_end_matches('=').parse().ok()).unwrap_or(-1)
}
