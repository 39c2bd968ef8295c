//! The entries of a tree's snapshot as bytes. Numbers are little-endian.
//!
//! ```text
//! header   1 | version u8
//! ACL      2 | number u32 | the list as jute vector<ACL>
//! znode    3 | flags u8 | id u32 | parent u32 | ACL u32 | name length u32 | czxid i64 | ctime i64 | name | data
//! znode    4 | as 3, with the long stat in place of czxid and ctime
//! trailer 15 | znodes u64 | ACLs u64 | digest u64
//! long stat: czxid, mzxid, pzxid, ctime, mtime, owner i64 | version, cversion, aversion i32
//! ```
//! The root is the znode that is its own parent. Ids and numbers mean something within one snapshot only, and children
//! may come before parents; an ACL comes before the first znode that names it. The digest is the sum of the hashes of all
//! entries before, so that it does not depend on their order.

use super::hash::Keys;
use super::node::{Name, Node, NodeId};
use super::owner::Owner;
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

const VERSION: u8 = 1;
const FLAG_NULL_DATA: u8 = 1;

/// Not a secret: the digest guards against accidents, and two servers must come to the same.
const DIGEST_KEYS: Keys = Keys([0x5a6f_6172_6975_6d54, 0x7265_6544_6967_6573]);

/// What the trailer says of the entries before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Totals {
    pub(super) nodes: u64,
    pub(super) acls: u64,
    pub(super) digest: u64,
}

impl Totals {
    /// Counts one entry that is no trailer.
    pub(super) fn count(&mut self, entry: &[u8]) {
        match entry.first() {
            Some(&ACL) => self.acls += 1,
            Some(&(NODE_SHORT | NODE_LONG)) => self.nodes += 1,
            _ => {}
        }
        self.digest = self.digest.wrapping_add(DIGEST_KEYS.step(entry.len() as u64, entry));
    }
}

/// An entry as it was read. Nothing is checked yet but that the bytes suffice.
pub(super) enum Entry<'a> {
    Header,
    Acl(u32, Vec<Acl<'a>>),
    Node(NodeEntry),
    Trailer(Totals),
}

pub(super) struct NodeEntry {
    pub(super) id: u32,
    /// With the number of its list in the snapshot as `acl`, its parent's id there as `parent`.
    pub(super) node: Node,
}

pub(super) fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&[HEADER, VERSION]);
}

pub(super) fn write_acl(number: u32, entries: &[Acl<'_>], out: &mut Vec<u8>) {
    out.push(ACL);
    out.extend_from_slice(&number.to_le_bytes());
    encode(entries, out);
}

pub(super) fn write_node(id: NodeId, node: &Node, data: Option<&[u8]>, out: &mut Vec<u8>) {
    let unchanged = (node.version, node.cversion, node.aversion, node.owner) == (0, 0, 0, 0)
        && (node.mzxid, node.pzxid, node.mtime) == (node.czxid, node.czxid, node.ctime);
    out.push(if unchanged { NODE_SHORT } else { NODE_LONG });
    out.push(if data.is_none() { FLAG_NULL_DATA } else { 0 });
    let parent = if id == NodeId::ROOT { id } else { node.parent };
    let name = node.name.as_bytes();
    out.reserve(NODE_SIZE_MAX as usize + name.len() + data.map_or(0, <[u8]>::len));
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
    out.extend_from_slice(data.unwrap_or_default());
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
pub(super) fn read(entry: &[u8]) -> Result<Entry<'_>, String> {
    let (&tag, rest) = entry.split_first().ok_or("an empty entry")?;
    let mut bytes = Bytes(rest);
    match tag {
        HEADER => match bytes.array()? {
            [VERSION] => Ok(Entry::Header),
            [other] => Err(format!("a snapshot of version {other}; this is version {VERSION}")),
        },
        ACL => {
            let number = bytes.u32()?;
            let list = Decoder::with_limit(bytes.0, bytes.0.len()).read::<Vec<Acl<'_>>>();
            Ok(Entry::Acl(number, list.map_err(|error| format!("ACL {number}: {error}"))?))
        }
        NODE_SHORT | NODE_LONG => read_node(tag, bytes).map(Entry::Node),
        TRAILER => {
            let totals = Totals { nodes: bytes.u64()?, acls: bytes.u64()?, digest: bytes.u64()? };
            Ok(Entry::Trailer(totals))
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
    if flags & FLAG_NULL_DATA == 0 {
        node.data = Some(bytes.0.into());
    } else if !bytes.0.is_empty() {
        return Err(format!("znode {id} has null as data, and {} bytes of it", bytes.0.len()));
    }
    Ok(NodeEntry { id, node })
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
