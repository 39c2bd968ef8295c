//! Who ought to hear of what: each connection's registrations, derived from what it asked and was answered.

use std::collections::BTreeMap;

use super::model::{CHILDREN_CHANGED, CREATED, DATA_CHANGED, DELETED, Model, Touched, above};
use super::who::{READ, SimUsers};

pub(super) const DATA: u8 = 1;
pub(super) const CHILD: u8 = 2;
pub(super) const PERSISTENT: u8 = 4;
pub(super) const RECURSIVE: u8 = 8;

/// An event: kind and path.
pub(super) type SimEvent = (i32, String);

/// What one connection watches.
#[derive(Clone, Debug, Default)]
pub(super) struct SimWatches(BTreeMap<String, u8>);

impl SimWatches {
    pub(super) fn add(&mut self, path: &str, modes: u8) {
        *self.0.entry(path.to_owned()).or_default() |= modes;
    }

    pub(super) fn has(&self, path: &str, kind: i32) -> bool {
        self.at(path) & modes_of(kind) != 0
    }

    /// Whether there was anything of that kind.
    pub(super) fn remove(&mut self, path: &str, kind: i32) -> bool {
        self.take(path, modes_of(kind)) & modes_of(kind) != 0
    }

    fn at(&self, path: &str) -> u8 {
        self.0.get(path).copied().unwrap_or(0)
    }

    /// Takes `modes` away and tells what was there before.
    fn take(&mut self, path: &str, modes: u8) -> u8 {
        let before = self.at(path);
        match before & !modes {
            0 => drop(self.0.remove(path)),
            left => drop(self.0.insert(path.to_owned(), left)),
        }
        before
    }

    /// One change: what is to be heard of it, by somebody who is `who`. One-shot watches are spent all the same.
    pub(super) fn hear(&mut self, touched: &Touched, who: &SimUsers) -> Vec<SimEvent> {
        let Touched { kind, path, acl, parent, parent_acl } = touched;
        let mut heard = Vec::new();
        let mut say = |fires: bool, kind: i32, path: &str, acl| {
            let event = (kind, path.to_owned());
            if fires && who.may(acl, READ) && !heard.contains(&event) {
                heard.push(event);
            }
        };
        let covered = above(path).iter().any(|path| self.at(path) & RECURSIVE != 0);
        let data = self.take(path, DATA) & (DATA | PERSISTENT | RECURSIVE) != 0;
        say(data || covered, *kind, path, acl);
        if *kind == DELETED {
            let child = self.take(path, CHILD) & (CHILD | PERSISTENT) != 0;
            say(child, DELETED, path, acl);
        }
        if *kind != DATA_CHANGED {
            let child = self.take(parent, CHILD) & (CHILD | PERSISTENT) != 0;
            say(child, CHILDREN_CHANGED, parent, parent_acl);
        }
        heard
    }

    /// An event arrived: a client strikes off what it knows to be spent.
    pub(super) fn spent(&mut self, kind: i32, path: &str) {
        match kind {
            CREATED | DATA_CHANGED => drop(self.take(path, DATA)),
            CHILDREN_CHANGED => drop(self.take(path, CHILD)),
            _ => drop(self.take(path, DATA | CHILD)),
        }
    }

    /// A client is back and tells what it watched: what it missed is heard at once, the rest is watched (G-07).
    pub(super) fn come_back(
        &mut self,
        since: i64,
        lists: &[Vec<String>; 5],
        model: &Model,
        who: &SimUsers,
    ) -> Vec<SimEvent> {
        let mut missed = Vec::new();
        let [data, exist, child, persistent, recursive] = lists;
        let readable = |path: &String| model.nodes.get(path).filter(|node| who.may(&node.acl, READ));
        for path in data {
            match readable(path) {
                None if !model.nodes.contains_key(path) => missed.push((DELETED, path.clone())),
                Some(node) if node.zxids.1 > since => missed.push((DATA_CHANGED, path.clone())),
                _ => self.add(path, DATA),
            }
        }
        for path in exist {
            match readable(path) {
                Some(_) => missed.push((CREATED, path.clone())),
                None => self.add(path, DATA),
            }
        }
        for path in child {
            match readable(path) {
                None if !model.nodes.contains_key(path) => missed.push((DELETED, path.clone())),
                Some(node) if node.zxids.2 > since => missed.push((CHILDREN_CHANGED, path.clone())),
                _ => self.add(path, CHILD),
            }
        }
        persistent.iter().for_each(|path| self.add(path, PERSISTENT));
        recursive.iter().for_each(|path| self.add(path, RECURSIVE));
        missed
    }

    /// What to say after a reconnect: data, awaited, children, persistent, recursive. Whether a path is awaited is what
    /// the client last knew of it.
    pub(super) fn lists(&self, awaited: impl Fn(&str) -> bool) -> [Vec<String>; 5] {
        let of = |mode: u8| self.0.iter().filter(move |(_, modes)| **modes & mode != 0).map(|(path, _)| path.clone());
        let (exist, data) = of(DATA).partition(|path| awaited(path));
        [data, exist, of(CHILD).collect(), of(PERSISTENT).collect(), of(RECURSIVE).collect()]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The modes that a number of `removeWatches` and `checkWatches` means.
fn modes_of(kind: i32) -> u8 {
    match kind {
        1 => CHILD,
        2 => DATA,
        3 => DATA | CHILD | PERSISTENT | RECURSIVE,
        4 => PERSISTENT,
        _ => RECURSIVE,
    }
}
