//! Data that a snapshot leaves to the log, which has it as well: put back when the tree is loaded.
//!
//! A znode's mzxid names the transaction that set its data. So the log that is kept with a snapshot need only be read once, in
//! order, from where the snapshot says on, before the transactions are applied that came after it.

use super::apply::decode_part;
use super::entry::ValueMark;
use super::{NodeId, Tree};
use crate::ids::Zxid;
use crate::records::txn::Txn;

/// What is still to come from the log, the last transaction first.
#[derive(Default)]
pub(super) struct LeftValues(Vec<LeftValue>);

#[derive(Clone, Copy)]
struct LeftValue {
    mzxid: i64,
    id: NodeId,
    mark: ValueMark,
}

/// In place of the mzxid of what has come.
const FOUND: i64 = -1;

/// What was left to one transaction, in order of id.
struct LeftToOne {
    zxid: Zxid,
    left: Vec<LeftValue>,
}

impl LeftValues {
    /// The data of a znode that was loaded is in the log.
    pub(super) fn add(&mut self, mzxid: i64, id: NodeId, mark: ValueMark) {
        self.0.push(LeftValue { mzxid, id, mark });
    }

    /// Every znode has been loaded.
    pub(super) fn sort(&mut self) {
        self.0.sort_unstable_by_key(|left| (std::cmp::Reverse(left.mzxid), left.id));
    }
}

impl Tree {
    /// Whether the snapshot left data to transactions that have not come yet.
    pub fn lacks_data(&self) -> bool {
        !self.left.0.is_empty()
    }

    /// Whether the snapshot left data to this transaction, or to one before that did not come.
    pub fn lacks_data_of(&self, zxid: Zxid) -> bool {
        self.left.0.last().is_some_and(|left| left.mzxid <= zxid.0)
    }

    /// A znode below `/zookeeper` that lacks its data: no snapshot of ours has one.
    pub(super) fn left_below_system(&self) -> Option<String> {
        let left = self.left.0.iter().find(|left| self.is_system(left.id))?;
        Some(self.path(left.id))
    }

    /// Takes from a transaction of the log, which the snapshot covers, the data that was left to it. They come in order; those that
    /// nothing was left to may be left out.
    ///
    /// # Errors
    /// A sentence about data that is not there. The tree is of no use then.
    pub fn fill_from_log(&mut self, zxid: Zxid, txn: &Txn<'_>) -> Result<(), String> {
        let count = self.left.0.iter().rev().take_while(|left| left.mzxid <= zxid.0).count();
        let mut wanted = LeftToOne { zxid, left: self.left.0.split_off(self.left.0.len() - count) };
        if self.left.0.is_empty() {
            self.left = LeftValues::default();
        }
        if let Some(earlier) = wanted.left.iter().find(|left| left.mzxid != zxid.0) {
            return Err(self.lacks(earlier));
        }
        match txn {
            Txn::Multi(parts) => {
                // What set the data last is what the znode had.
                for part in parts.iter().rev() {
                    let part = decode_part(part).map_err(|error| format!("transaction {zxid}: {error}"))?;
                    self.fill_from(&part, &mut wanted)?;
                }
            }
            txn => self.fill_from(txn, &mut wanted)?,
        }
        match wanted.left.iter().find(|left| left.mzxid != FOUND) {
            None => Ok(()),
            Some(left) => Err(self.lacks(left)),
        }
    }

    fn fill_from(&mut self, txn: &Txn<'_>, wanted: &mut LeftToOne) -> Result<(), String> {
        let (path, data) = match txn {
            Txn::Create(t) | Txn::Create2(t) => (&t.path, t.data),
            Txn::CreateContainer(t) => (&t.path, t.data),
            Txn::CreateTtl(t) => (&t.path, t.data),
            Txn::SetData(t) | Txn::Reconfig(t) => (&t.path, t.data),
            _ => return Ok(()),
        };
        let Some(id) = self.lookup(path.as_str()) else { return Ok(()) };
        let Ok(at) = wanted.left.binary_search_by_key(&id, |left| left.id) else { return Ok(()) };
        let left = &mut wanted.left[at];
        if std::mem::replace(&mut left.mzxid, FOUND) == FOUND {
            return Ok(());
        }
        let data = data.0.unwrap_or_default();
        if left.mark != ValueMark::of(data) {
            return Err(format!("the data of {} is not what transaction {} set", self.path(id), wanted.zxid));
        }
        self.replace_data(id, Some(data));
        Ok(())
    }

    fn lacks(&self, left: &LeftValue) -> String {
        let (path, zxid) = (self.path(left.id), Zxid(left.mzxid));
        format!("the log does not have the data of {path}, which transaction {zxid} set")
    }
}
