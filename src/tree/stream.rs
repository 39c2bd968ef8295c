//! A tree from what ZooKeeper's servers send each other: paths in place of ids, parents before children. `walk` is the way
//! there.

use std::collections::BTreeMap;

use super::loader::TreeLoader;
use super::node::{Name, Node};
use super::{NodeId, Owner, Tree};
use crate::path::{CONFIG, SYSTEM};
use crate::records::javasnap::{OPEN_ACL, StatPersisted};
use crate::records::{Acl, perms};

/// Znodes that one tree can hold.
const NODES_MAX: u32 = u32::MAX - 2;

/// A tree in the making from the items of a stream. Trusts nothing that it reads.
pub struct StateLoader {
    loader: TreeLoader,
    /// The path of the last znode, and of it and those above: the id, and how much of the path is theirs.
    path: String,
    above: Vec<(NodeId, usize)>,
    /// The numbers of lists in the tree, by those in the stream.
    acls: BTreeMap<i64, u32>,
    /// `/zookeeper`, until its child `config` has come.
    lacks_config: Option<NodeId>,
}

impl StateLoader {
    /// Nothing loaded yet. `seed` is the secret of the new tree's index, as for [`Tree::new`].
    pub fn new(seed: [u64; 2]) -> StateLoader {
        let loader = TreeLoader::with_ids_of_its_own(seed);
        StateLoader { loader, path: String::new(), above: Vec::new(), acls: BTreeMap::new(), lacks_config: None }
    }

    /// Takes in a list of permissions.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn acl(&mut self, number: i64, list: &[Acl<'_>]) -> Result<(), String> {
        if number == OPEN_ACL || self.acls.contains_key(&number) {
            return Err(format!("ACL {number} comes twice"));
        }
        let here = self.loader.tree.acls.intern(list);
        self.acls.insert(number, here);
        Ok(())
    }

    /// Takes in a znode; the one above it came before, and only znodes below that one since.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn znode(&mut self, path: &str, data: Option<&[u8]>, acl: i64, stat: &StatPersisted) -> Result<(), String> {
        let parent = self.find_parent(path)?;
        if self.loader.tree.nodes.end() >= NODES_MAX {
            return Err(format!("more than {NODES_MAX} znodes"));
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let acl = self.acl_of(acl, path);
        let node = Node {
            mzxid: stat.mzxid,
            pzxid: stat.pzxid,
            mtime: stat.mtime,
            owner: stat.ephemeral_owner,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            parent: parent.unwrap_or(NodeId::ROOT),
            ..Node::new(Name::new(name), data.map(Box::from), acl, Owner::None, stat.czxid, stat.ctime)
        };
        let id = match parent {
            Some(_) => self.loader.tree.nodes.insert(node),
            None => {
                self.loader.tree.nodes.set_root(node);
                NodeId::ROOT
            }
        };
        match path {
            SYSTEM => self.lacks_config = Some(id),
            CONFIG => self.lacks_config = None,
            _ => {}
        }
        let shared = path.len() - name.len();
        self.path.truncate(shared);
        self.path.push_str(&path[self.path.len()..]);
        self.above.push((id, path.len()));
        Ok(())
    }

    /// The znode above the one at `path`; none above the root, which comes first.
    fn find_parent(&mut self, path: &str) -> Result<Option<NodeId>, String> {
        if path.is_empty() {
            return if self.above.is_empty() { Ok(None) } else { Err("the root comes twice".into()) };
        }
        let (parent, name) = path.rsplit_once('/').ok_or_else(|| format!("{path:?} is no path"))?;
        if name.is_empty() || name.contains('\0') {
            return Err(format!("{path:?} is no path of a znode"));
        }
        while self.above.last().is_some_and(|&(_, length)| length > parent.len()) {
            self.above.pop();
        }
        match self.above.last() {
            Some(&(id, length)) if length == parent.len() && self.path.starts_with(parent) => Ok(Some(id)),
            _ => Err(format!("{path:?} comes without the znode above it")),
        }
    }

    /// The list with this number in the tree, with one more user.
    fn acl_of(&mut self, number: i64, path: &str) -> u32 {
        let acls = &mut self.loader.tree.acls;
        if number == OPEN_ACL {
            return acls.intern(&[Acl::open()]);
        }
        if let Some(&here) = self.acls.get(&number) {
            acls.share(here);
            return here;
        }
        // A server of ZooKeeper's writes the table first and goes on applying: the transaction that gave the znode this
        // list is among those that follow, and until then nobody may do anything.
        log::debug!("{path} names ACL {number}, which did not come: closed until its transaction does");
        acls.intern(&[Acl::new(0, "world", "anyone")])
    }

    /// A state from before ZooKeeper 3.5 has no `/zookeeper/config`: it gets the one that a new server has.
    fn add_config(&mut self) {
        if let Some(system) = self.lacks_config.take() {
            let acl = self.loader.tree.acls.intern(&[Acl::new(perms::READ, "world", "anyone")]);
            let node = Node::new(Name::new("config"), Some(Box::default()), acl, Owner::None, 0, 0);
            self.loader.tree.nodes.insert(Node { parent: system, aversion: -1, ..node });
        }
    }

    /// Puts the tree together. Unless `is_exact`, the usage of quotas is counted anew, as the stream may have been written
    /// while transactions were applied.
    ///
    /// # Errors
    /// A sentence about what is missing or comes twice.
    pub fn finish(mut self, is_exact: bool) -> Result<Tree, String> {
        for here in std::mem::take(&mut self.acls).into_values() {
            self.loader.spare_acl(here);
        }
        self.add_config();
        let mut tree = self.loader.assemble()?;
        if !is_exact {
            tree.recount_quotas();
        }
        Ok(tree)
    }
}
