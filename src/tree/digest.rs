//! Digests of a whole tree: two trees with the same one hold the same (S-21).

use super::node::Node;
use super::{NodeId, Tree};
use crate::hash::{Keys, ROOT_HASH};
use crate::path::SYSTEM;

/// Not a secret: all servers must come to the same digest.
const KEYS: Keys = Keys([0x5a6f_6172_6975_6d20, 0x7374_6174_6520_6f66]);

impl Tree {
    /// A digest over paths, data, stats, sequence counters, owners and ACLs of all znodes. Neither ids nor the order of
    /// siblings nor the seed have a part in it.
    pub fn digest(&self) -> u64 {
        self.sum(|path, node, data| {
            let mut hash = KEYS.step(ROOT_HASH, path.as_bytes());
            hash = KEYS.step(hash, &stat_bytes(node));
            hash = match data {
                None => KEYS.step(hash, &[]),
                Some(data) => KEYS.step(KEYS.step(hash, &[1]), data),
            };
            self.acls.get(node.acl).entries().iter().fold(hash, |hash, acl| {
                let hash = KEYS.step(hash, &acl.perms.to_be_bytes());
                KEYS.step(KEYS.step(hash, acl.id.scheme.as_str().as_bytes()), acl.id.id.as_str().as_bytes())
            })
        })
    }

    /// The digest that ZooKeeper 3.6 and later put behind transactions, of version 2. ACLs have no part in it, nor what
    /// is below `/zookeeper`.
    pub fn zookeeper_digest(&self) -> u64 {
        self.sum(|path, node, data| {
            if path.strip_prefix(SYSTEM).is_some_and(|rest| rest.starts_with('/')) {
                return 0;
            }
            // There, the root's path is empty.
            let path = if path == "/" { "" } else { path };
            let mut crc = Crc32::new();
            crc.update(path.as_bytes());
            crc.update(data.unwrap_or_default());
            crc.update(&stat_bytes(node));
            crc.value()
        })
    }

    fn sum(&self, of: impl Fn(&str, &Node, Option<&[u8]>) -> u64) -> u64 {
        let one = |id| of(&self.path(id), &self.nodes[id], self.data(id).as_deref());
        self.subtree(NodeId::ROOT).fold(0, |sum, id| sum.wrapping_add(one(id)))
    }
}

/// In the order of ZooKeeper's `DigestCalculator`, with the counter as it is stored.
fn stat_bytes(node: &Node) -> [u8; 60] {
    let mut bytes = [0; 60];
    let longs = [node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime];
    for (to, long) in bytes.chunks_exact_mut(8).zip(longs) {
        to.copy_from_slice(&long.to_be_bytes());
    }
    for (to, int) in bytes[40..].chunks_exact_mut(4).zip([node.version, node.cversion, node.aversion]) {
        to.copy_from_slice(&int.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&node.owner.to_be_bytes());
    bytes
}

/// The CRC of zlib and Ethernet.
struct Crc32(u32);

impl Crc32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };

    fn new() -> Crc32 {
        Crc32(!0)
    }

    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = Crc32::TABLE[usize::from(self.0 as u8 ^ byte)] ^ (self.0 >> 8);
        }
    }

    fn value(&self) -> u64 {
        u64::from(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_one_of_zlib() {
        let mut crc = Crc32::new();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }

    #[test]
    fn an_empty_tree_has_zookeepers_digest() {
        assert_eq!(Tree::new([1, 2]).zookeeper_digest(), 0x51c6_d660);
    }

    #[test]
    fn the_seed_has_no_part_in_the_digest() {
        assert_eq!(Tree::new([1, 2]).digest(), Tree::new([3, 4]).digest());
    }
}
