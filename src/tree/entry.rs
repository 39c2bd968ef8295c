//! The entries of a tree's snapshot as bytes. Numbers are little-endian.
//!
//! ```text
//! header   1 | version u8
//! ACL      2 | number u32 | the list as jute vector<ACL>
//! znode    3 | flags u8: 1 = null data, 2 = a value in place of the data | id u32 | parent u32 | ACL u32 | name length u32 | czxid i64 | ctime i64 | name | data
//! znode    4 | as 3, with the long stat in place of czxid and ctime
//! trailer 15 | znodes u64 | ACLs u64 | digest u64
//! value    length u64 | hash u64, in place of the data of a znode that leaves it to the log
//! long stat: czxid, mzxid, pzxid, ctime, mtime, owner i64 | version, cversion, aversion i32
//! ```
//! The root is the znode that is its own parent. Ids and numbers mean something within one snapshot only, and children
//! may come before parents; an ACL comes before the first znode that names it. The digest is the sum of the hashes of all
//! entries before, so that it does not depend on their order. The version, 1 or 2, says which hash that is: SipHash-1-3 or,
//! as it is written now, one that takes a tenth of the time. Where a value stands in place of the data, the transaction with the
//! znode's mzxid has it in the log. Whether there may be any is said outside of the snapshot.

use super::node::{Name, Node, NodeId};
use super::owner::Owner;
use crate::hash::Keys;
use crate::jute::{Decoder, encode};
use crate::records::Acl;

const HEADER: u8 = 1;
const ACL: u8 = 2;
/// A znode unchanged since its creation, without owner.
const NODE_SHORT: u8 = 3;
const NODE_LONG: u8 = 4;
const TRAILER: u8 = 15;

/// Bytes of a znode's entry beside its name and data, and four for its length.
pub(super) const NODE_SIZE_MAX: u64 = 4 + 2 + 4 * 4 + 6 * 8 + 3 * 4;

const VERSION: u8 = 2;
/// The one whose digest is made of SipHash.
const VERSION_SIP: u8 = 1;
const FLAG_NULL_DATA: u8 = 1;
const FLAG_IN_LOG: u8 = 2;

/// Not a secret: the digest guards against accidents, and two servers must come to the same.
const DIGEST_KEYS: Keys = Keys([0x5a6f_6172_6975_6d54, 0x7265_6544_6967_6573]);

/// What the trailer says of the entries before it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Totals {
    pub(super) nodes: u64,
    pub(super) acls: u64,
    pub(super) digest: u64,
    /// The header said version 1.
    by_sip: bool,
}

impl PartialEq for Totals {
    fn eq(&self, other: &Totals) -> bool {
        (self.nodes, self.acls, self.digest) == (other.nodes, other.acls, other.digest)
    }
}

impl Totals {
    /// Counts one entry that is no trailer.
    pub(super) fn count(&mut self, entry: &[u8]) {
        match entry.first() {
            Some(&ACL) => self.acls += 1,
            Some(&(NODE_SHORT | NODE_LONG)) => self.nodes += 1,
            Some(&HEADER) => self.by_sip = entry.get(1) == Some(&VERSION_SIP),
            _ => {}
        }
        let hash = if self.by_sip { DIGEST_KEYS.step(entry.len() as u64, entry) } else { quick_hash(entry) };
        self.digest = self.digest.wrapping_add(hash);
    }
}

/// A hash for large entries: four words at a time, each two of them multiplied into one of two sums.
fn quick_hash(bytes: &[u8]) -> u64 {
    let Keys([k0, k1]) = DIGEST_KEYS;
    let mut sums = [k0 ^ bytes.len() as u64, k1];
    let blocks = bytes.chunks_exact(32);
    let mut last = [0; 32];
    last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    for block in blocks.chain([&last[..]]) {
        let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes of a block"));
        sums = [mix(sums[0], word(0) ^ k1, word(8)), mix(sums[1], word(16) ^ k0, word(24))];
    }
    mix(k0, sums[0], sums[1])
}

/// `a` and `b` multiplied into the sum. What the product loses where one of them is 0, the sum as it was keeps.
#[inline]
fn mix(sum: u64, a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ sum) * u128::from(b ^ sum.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15);
    (product as u64 ^ (product >> 64) as u64).wrapping_add(sum.rotate_left(23))
}

/// An entry as it was read. Nothing is checked yet but that the bytes suffice.
pub(super) enum SnapshotEntry<'a> {
    Header,
    Acl(u32, Vec<Acl<'a>>),
    Node(NodeEntry),
    Trailer(Totals),
}

pub(super) struct NodeEntry {
    pub(super) id: u32,
    /// With the number of its list in the snapshot as `acl`, its parent's id there as `parent`.
    pub(super) node: Node,
    /// Its data is in the log.
    pub(super) left: Option<ValueMark>,
}

/// By what data is known again that a snapshot does not have itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ValueMark {
    len: u64,
    hash: u64,
}

impl ValueMark {
    pub(super) fn of(data: &[u8]) -> ValueMark {
        ValueMark { len: data.len() as u64, hash: quick_hash(data) }
    }
}

/// What a snapshot says of a znode's data.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Here(&'a [u8]),
    InLog(ValueMark),
}

pub(super) fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&[HEADER, VERSION]);
}

pub(super) fn write_acl(number: u32, entries: &[Acl<'_>], out: &mut Vec<u8>) {
    out.push(ACL);
    out.extend_from_slice(&number.to_le_bytes());
    encode(entries, out);
}

pub(super) fn write_node(id: NodeId, node: &Node, value: Value<'_>, out: &mut Vec<u8>) {
    let unchanged = (node.version, node.cversion, node.aversion, node.owner) == (0, 0, 0, 0)
        && (node.mzxid, node.pzxid, node.mtime) == (node.czxid, node.czxid, node.ctime);
    out.push(if unchanged { NODE_SHORT } else { NODE_LONG });
    let (flags, data) = match value {
        Value::Null => (FLAG_NULL_DATA, &[][..]),
        Value::Here(data) => (0, data),
        Value::InLog(_) => (FLAG_IN_LOG, &[][..]),
    };
    out.push(flags);
    let parent = if id == NodeId::ROOT { id } else { node.parent };
    let name = node.name.as_bytes();
    out.reserve(NODE_SIZE_MAX as usize + name.len() + data.len());
    for number in [id.0, parent.0, node.acl, name.len() as u32] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    if unchanged {
        for number in [node.czxid, node.ctime] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    } else {
        for number in [node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime, node.owner] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [node.version, node.cversion, node.aversion] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(data);
    if let Value::InLog(mark) = value {
        out.extend_from_slice(&mark.len.to_le_bytes());
        out.extend_from_slice(&mark.hash.to_le_bytes());
    }
}

pub(super) fn write_trailer(totals: Totals, out: &mut Vec<u8>) {
    out.push(TRAILER);
    for number in [totals.nodes, totals.acls, totals.digest] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// The trailer that belongs behind these entries: for tests that change entries and want to come past it.
#[doc(hidden)]
pub fn snapshot_trailer<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut totals = Totals::default();
    entries.for_each(|entry| totals.count(entry));
    let mut out = Vec::new();
    write_trailer(totals, &mut out);
    out
}

/// Reads one entry. Memory is taken only for what is there.
pub(super) fn read(entry: &[u8]) -> Result<SnapshotEntry<'_>, String> {
    let (&tag, rest) = entry.split_first().ok_or("an empty entry")?;
    let mut bytes = Bytes(rest);
    match tag {
        HEADER => match bytes.array()? {
            [VERSION_SIP..=VERSION] => Ok(SnapshotEntry::Header),
            [other] => Err(format!("a snapshot of version {other}; this is version {VERSION}")),
        },
        ACL => {
            let number = bytes.u32()?;
            let list = Decoder::with_limit(bytes.0, bytes.0.len()).read::<Vec<Acl<'_>>>();
            Ok(SnapshotEntry::Acl(number, list.map_err(|error| format!("ACL {number}: {error}"))?))
        }
        NODE_SHORT | NODE_LONG => read_node(tag, bytes).map(SnapshotEntry::Node),
        TRAILER => {
            let (nodes, acls, digest) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
            Ok(SnapshotEntry::Trailer(Totals { nodes, acls, digest, by_sip: false }))
        }
        _ => Err(format!("no entry has tag {tag}")),
    }
}

fn read_node(tag: u8, mut bytes: Bytes<'_>) -> Result<NodeEntry, String> {
    let [flags] = bytes.array()?;
    let (id, parent, acl, name_length) = (bytes.u32()?, bytes.u32()?, bytes.u32()?, bytes.u32()?);
    let mut node = Node::new(Name::new(""), None, acl, Owner::None, bytes.i64()?, 0);
    node.parent = NodeId(parent);
    if tag == NODE_SHORT {
        node.ctime = bytes.i64()?;
        node.mtime = node.ctime;
    } else {
        (node.mzxid, node.pzxid) = (bytes.i64()?, bytes.i64()?);
        (node.ctime, node.mtime, node.owner) = (bytes.i64()?, bytes.i64()?, bytes.i64()?);
        (node.version, node.cversion, node.aversion) = (bytes.i32()?, bytes.i32()?, bytes.i32()?);
    }
    let name = bytes.take(name_length as usize)?;
    let name = std::str::from_utf8(name).map_err(|_| format!("the name of znode {id} is no UTF-8"))?;
    node.name = Name::new(name);
    let mut left = None;
    if flags == FLAG_IN_LOG {
        left = Some(ValueMark { len: bytes.u64()?, hash: bytes.u64()? });
    } else if flags & FLAG_NULL_DATA == 0 {
        node.data = Some(std::mem::take(&mut bytes.0).into());
    }
    if !bytes.0.is_empty() {
        return Err(format!("znode {id} does not have its data here, and {} bytes of it", bytes.0.len()));
    }
    Ok(NodeEntry { id, node, left })
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let cut = || format!("an entry is cut short: {count} bytes due, {} left", self.0.len());
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(cut)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|bytes| bytes.try_into().expect("as many as asked for"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Result<i32, String> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Tree, TreeLoader};

    #[test]
    fn the_quick_hash_sees_every_bit_its_place_and_the_length() {
        let mut seen = std::collections::BTreeSet::new();
        let mut distinct = |bytes: &[u8]| assert!(seen.insert(quick_hash(bytes)), "{} bytes {bytes:?}", bytes.len());
        for len in 0..200 {
            distinct(&vec![0; len]);
        }
        for len in [1, 31, 32, 33, 64, 100] {
            for bit in 0..len * 8 {
                let mut bytes = vec![0; len];
                bytes[bit / 8] |= 1 << (bit % 8);
                distinct(&bytes);
            }
        }
        // Written down: files hold it.
        assert_eq!(quick_hash(b""), 0x3bc8_2023_0865_47be);
        assert_eq!(quick_hash(b"a tree of znodes, in more than thirty-two bytes"), 0x29eb_d9e9_fa4f_c9ee);
    }

    #[test]
    fn snapshots_of_version_1_are_read() {
        let mut entries = Vec::new();
        let mut tree = Tree::new([1, 2]);
        tree.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
        while !tree.snapshot_slice(100, &mut |entry| entries.push(entry.to_vec())) {}
        let load = |entries: &[Vec<u8>]| {
            let mut loader = TreeLoader::new([3, 4]);
            entries.iter().try_for_each(|entry| loader.entry(entry))?;
            loader.finish().map(|tree| tree.digest())
        };
        assert_eq!(load(&entries), Ok(tree.digest()));
        entries[0] = vec![HEADER, VERSION_SIP];
        assert!(load(&entries).is_err(), "the trailer is one of version 2");
        entries.pop();
        entries.push(snapshot_trailer(entries.iter().map(Vec::as_slice)));
        assert_eq!(load(&entries), Ok(tree.digest()));
        entries[0] = vec![HEADER, VERSION + 1];
        assert!(load(&entries).is_err_and(|error| error.contains("version 3")));
    }
}
