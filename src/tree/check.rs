//! A recount of everything that the tree keeps by increments (S-24, S-25).

use std::collections::BTreeMap;

use super::index::Turn;
use super::{NodeId, Owner, Tree, TreeSizes};

impl Tree {
    /// Recounts the whole tree and compares: links, index, side tables, sums, ACL users.
    ///
    /// # Errors
    /// A sentence about the first thing that is not as it should be.
    pub fn check(&self) -> Result<(), String> {
        let mut sizes = TreeSizes::default();
        let mut acl_users = BTreeMap::<u32, u64>::new();
        let (mut reached, mut ephemerals, mut turns) = (0, 0, 0);
        for id in self.subtree(NodeId::ROOT) {
            let node = &self.nodes[id];
            let path = self.path(id);
            reached += 1;
            if reached > self.nodes.len() {
                return Err(format!("more znodes are linked than the {} that are there", self.nodes.len()));
            }
            self.check_children(id, &path)?;
            if self.lookup(&path) != Some(id) {
                return Err(format!("{path} is not found where it is"));
            }
            if let Owner::Session(session) = node.owner() {
                ephemerals += 1;
                if self.ephemerals.of(session).get(node.place as usize) != Some(&id) {
                    return Err(format!("{path} is not at its place in the list of session {session}"));
                }
            }
            if let Some(turn) = Turn::of(node) {
                turns += 1;
                if !self.reaper.holds(id, turn) {
                    return Err(format!("{path} is not where it waits for its end: {turn:?}"));
                }
            }
            *acl_users.entry(node.acl).or_default() += 1;
            sizes.paths += path.len() as u64;
            sizes.names += node.name.as_bytes().len() as u64;
            sizes.data += node.data_length() as u64;
            sizes.boxed += node.boxed_bytes();
        }
        let same = |what: &str, kept: u64, counted: u64| {
            if kept == counted { Ok(()) } else { Err(format!("{what}: {kept} kept, {counted} counted")) }
        };
        same("znodes", self.nodes.len() as u64, reached as u64)?;
        same("index entries", self.table.len() as u64 + 1, reached as u64)?;
        same("ephemerals", self.ephemerals.len() as u64, ephemerals)?;
        same("ephemerals by session", self.ephemerals.sessions().map(|(_, count)| count as u64).sum(), ephemerals)?;
        same("znodes that wait for their end", self.reaper.len() as u64, turns)?;
        if self.sizes != sizes {
            return Err(format!("sums: {:?} kept, {sizes:?} counted", self.sizes));
        }
        let kept = self.acls.users().filter(|&(_, users)| users > 0).collect::<BTreeMap<_, _>>();
        if kept != acl_users {
            return Err(format!("users of ACLs: {kept:?} kept, {acl_users:?} counted"));
        }
        self.check_quotas()
    }

    fn check_children(&self, id: NodeId, path: &str) -> Result<(), String> {
        let node = &self.nodes[id];
        if node.is_ephemeral() && node.child_count > 0 {
            return Err(format!("{path} is ephemeral and has {} children", node.child_count));
        }
        if let Some(inner) = self.inner(id)
            && self.nodes[inner.first].prev != inner.last
        {
            return Err(format!("{path} has another last child than it knows of"));
        }
        let (mut below, mut bytes) = (0, 0);
        for child in self.child_ids(id).take(node.child_count as usize) {
            let (under, held) = self.below_of(child);
            below += 1 + under;
            bytes += held + self.nodes[child].data_length() as u64;
        }
        if (below, bytes) != self.below_of(id) {
            return Err(format!("{path} counts {:?} below it, there are {:?}", self.below_of(id), (below, bytes)));
        }
        let mut count = 0;
        let mut czxid = i64::MIN;
        for child in self.child_ids(id) {
            count += 1;
            let at = &self.nodes[child];
            if at.parent != id || self.nodes[at.next].prev != child || self.nodes[at.prev].next != child {
                return Err(format!("the children of {path} are not linked to each other and to it"));
            }
            if at.czxid < czxid {
                return Err(format!("the children of {path} are not in order of creation"));
            }
            czxid = at.czxid;
            if count > node.child_count {
                break;
            }
        }
        if count != node.child_count {
            return Err(format!("{path} has {count} children and says {}", node.child_count));
        }
        Ok(())
    }
}
