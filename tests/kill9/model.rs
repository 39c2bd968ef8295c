//! What one connection asked for, and what the server's tree must look like after any number of its writes.

use std::collections::BTreeMap;

use zoarium::jute::{self, Buffer};
use zoarium::raw::RawClient;
use zoarium::records::multi::MultiHeader;
use zoarium::records::requests::{CreateRequest, PathVersionRequest, SetDataRequest};
use zoarium::records::{Acl, CreateMode, OpCode};

use crate::random::Random;

const DATA_SIZE_MAX: u64 = 300;
/// Now and then data that spans several pages.
const LARGE_DATA_SIZE: usize = 20_000;

/// One write. Connections never meet in the tree, so every one of them succeeds.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Create {
        path: String,
        data: Vec<u8>,
        mode: CreateMode,
    },
    /// A sequential create; `path` is what must come of it.
    Sequential {
        path: String,
        data: Vec<u8>,
    },
    Set {
        path: String,
        data: Vec<u8>,
    },
    Delete {
        path: String,
    },
    /// Create and set in one: both or neither.
    Multi {
        created: String,
        set: String,
        data: Vec<u8>,
    },
    /// The end of the session, and of its ephemerals.
    Close,
}

impl Write {
    /// Sends it without waiting.
    pub(crate) fn send(&self, client: &mut RawClient) -> Result<i32, zoarium::raw::ClientError> {
        let (op, body) = match self {
            Write::Create { path, data, mode } => (OpCode::Create, jute::encoded(&create(path, data, *mode))),
            Write::Sequential { path, data } => {
                let prefix = &path[..path.len() - SEQUENCE_DIGITS];
                (OpCode::Create, jute::encoded(&create(prefix, data, CreateMode::PersistentSequential)))
            }
            Write::Set { path, data } => (OpCode::SetData, jute::encoded(&set(path, data))),
            Write::Delete { path } => {
                (OpCode::Delete, jute::encoded(&PathVersionRequest { path: path.as_str().into(), version: -1 }))
            }
            Write::Multi { created, set: changed, data } => {
                let mut body = jute::encoded(&MultiHeader::request(OpCode::Create));
                jute::encode(&create(created, data, CreateMode::Persistent), &mut body);
                jute::encode(&MultiHeader::request(OpCode::SetData), &mut body);
                jute::encode(&set(changed, data), &mut body);
                jute::encode(&MultiHeader::END, &mut body);
                (OpCode::Multi, body)
            }
            Write::Close => (OpCode::CloseSession, Vec::new()),
        };
        client.send(op.to_i32(), &body)
    }
}

const SEQUENCE_DIGITS: usize = 10;

fn create<'a>(path: &'a str, data: &'a [u8], mode: CreateMode) -> CreateRequest<'a> {
    CreateRequest { path: path.into(), data: Buffer::new(data), acl: Some(vec![Acl::open()]), flags: mode.to_i32() }
}

fn set<'a>(path: &'a str, data: &'a [u8]) -> SetDataRequest<'a> {
    SetDataRequest { path: path.into(), data: Buffer::new(data), version: -1 }
}

/// A znode as the test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) data: Vec<u8>,
    pub(crate) version: i32,
    pub(crate) ephemeral: bool,
    /// The transactions of creation and last change, where a reply told them.
    pub(crate) czxid: Option<i64>,
    pub(crate) mzxid: Option<i64>,
}

impl Node {
    /// Whether `found`, as read from the server, is this node.
    fn admits(&self, found: &Node) -> bool {
        let same = |wanted: Option<i64>, found: Option<i64>| wanted.is_none() || wanted == found;
        (&self.data, self.version, self.ephemeral) == (&found.data, found.version, found.ephemeral)
            && same(self.czxid, found.czxid)
            && same(self.mzxid, found.mzxid)
    }
}

/// A subtree: the znodes below one connection's base, by path.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Carries out one write; `zxid` is that of its reply, if there was one.
pub(crate) fn apply(tree: &mut Tree, write: &Write, zxid: Option<i64>) {
    let node = |data: &[u8], mode: CreateMode| Node {
        data: data.to_vec(),
        version: 0,
        ephemeral: mode == CreateMode::Ephemeral,
        czxid: zxid,
        mzxid: zxid,
    };
    let change = |tree: &mut Tree, path: &str, data: &[u8]| {
        let node = tree.get_mut(path).expect("the plan sets only what is there");
        node.data = data.to_vec();
        node.version += 1;
        node.mzxid = zxid;
    };
    match write {
        Write::Create { path, data, mode } => {
            tree.insert(path.clone(), node(data, *mode));
        }
        Write::Sequential { path, data } => {
            tree.insert(path.clone(), node(data, CreateMode::Persistent));
        }
        Write::Set { path, data } => change(tree, path, data),
        Write::Delete { path } => {
            tree.remove(path).expect("the plan deletes only what is there");
        }
        Write::Multi { created, set, data } => {
            tree.insert(created.clone(), node(data, CreateMode::Persistent));
            change(tree, set, data);
        }
        Write::Close => tree.retain(|_, node| !node.ephemeral),
    }
}

/// The writes of one connection below its base, an endless list.
pub(crate) struct Plan {
    base: String,
    random: Random,
    tree: Tree,
    sent: u64,
    sequence: u64,
}

impl Plan {
    pub(crate) fn new(base: String, random: Random) -> Plan {
        Plan { base, random, tree: Tree::new(), sent: 0, sequence: 0 }
    }

    /// The next write, which succeeds once all before it have.
    pub(crate) fn next(&mut self) -> Write {
        let write = self.choose();
        apply(&mut self.tree, &write, None);
        self.sent += 1;
        write
    }

    fn choose(&mut self) -> Write {
        let base = &self.base;
        match self.sent {
            0 => return Write::Create { path: base.clone(), data: Vec::new(), mode: CreateMode::Persistent },
            1 => {
                let path = format!("{base}/queue");
                return Write::Create { path, data: Vec::new(), mode: CreateMode::Persistent };
            }
            _ => {}
        }
        let data = self.data();
        let fresh = format!("{}/n{}", self.base, self.sent);
        match self.random.below(20) {
            0..7 => Write::Create { path: fresh, data, mode: CreateMode::Persistent },
            7..10 => Write::Create { path: fresh, data, mode: CreateMode::Ephemeral },
            10..12 => {
                self.sequence += 1;
                Write::Sequential { path: format!("{}/queue/q-{:010}", self.base, self.sequence - 1), data }
            }
            12..16 => Write::Set { path: self.any(), data },
            16..18 => Write::Multi { created: fresh, set: self.any(), data },
            _ => match self.any() {
                // The base and the queue have children, and entries of the queue would change its numbers.
                path if path == self.base || path.contains("/queue") => Write::Set { path, data },
                path => Write::Delete { path },
            },
        }
    }

    /// One of the znodes that are there.
    fn any(&mut self) -> String {
        let start = format!("{}/n{}", self.base, self.random.below(self.sent));
        let path = self.tree.range(start..).next().or_else(|| self.tree.first_key_value());
        path.expect("the base is there").0.clone()
    }

    fn data(&mut self) -> Vec<u8> {
        let size = match self.random.below(50) {
            0 => LARGE_DATA_SIZE,
            _ => self.random.below(DATA_SIZE_MAX) as usize,
        };
        let byte = self.random.below(256) as u8;
        (0..size).map(|index| byte.wrapping_add(index as u8)).collect()
    }
}

/// Finds how many of `writes` make `found`: not fewer than `acknowledged.len()`, which holds the zxids of the replies.
/// `ended` when the session, and with it its ephemerals, is known to be gone.
pub(crate) fn find_prefix(writes: &[Write], acknowledged: &[i64], ended: bool, found: &Tree) -> Result<usize, String> {
    let mut wanted = Tree::new();
    let mut nearest = None;
    for count in 0..=writes.len() {
        if count >= acknowledged.len() {
            let differences = compare(&wanted, ended, found);
            if differences.is_empty() {
                return Ok(count);
            }
            if nearest.as_ref().is_none_or(|(_, known): &(usize, Vec<String>)| differences.len() < known.len()) {
                nearest = Some((count, differences));
            }
        }
        if let Some(write) = writes.get(count) {
            apply(&mut wanted, write, acknowledged.get(count).copied());
        }
    }
    let (count, differences) = nearest.expect("there are not more replies than writes");
    let shown = differences.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("; ");
    Err(format!(
        "no prefix of the {} writes, {} of them acknowledged, gives what is there; after {count}: {shown}",
        writes.len(),
        acknowledged.len(),
    ))
}

fn compare(wanted: &Tree, ended: bool, found: &Tree) -> Vec<String> {
    let mut differences = Vec::new();
    let is_there = |node: &Node| !(ended && node.ephemeral);
    for (path, node) in wanted.iter().filter(|(_, node)| is_there(node)) {
        match found.get(path) {
            None => differences.push(format!("{path} is lost")),
            Some(there) if !node.admits(there) => {
                differences.push(format!("{path} is {}, expected {}", brief(there), brief(node)));
            }
            Some(_) => {}
        }
    }
    let unwanted = found.keys().filter(|path| !wanted.get(*path).is_some_and(is_there));
    differences.extend(unwanted.map(|path| format!("{path} is there")));
    differences
}

fn brief(node: &Node) -> String {
    let Node { data, version, ephemeral, czxid, mzxid } = node;
    let first = data.first();
    format!("{} bytes {first:?}… v{version} ephemeral={ephemeral} czxid={czxid:x?} mzxid={mzxid:x?}", data.len())
}

#[test]
fn a_lost_write_and_an_unasked_one_are_found_out() {
    let mut plan = Plan::new("/base".to_owned(), Random::new(1));
    let writes: Vec<Write> = (0..60).map(|_| plan.next()).collect();
    let acknowledged: Vec<i64> = (100..150).collect();
    let tree_after = |count: usize| {
        let mut tree = Tree::new();
        for (index, write) in writes[..count].iter().enumerate() {
            apply(&mut tree, write, Some(100 + index as i64));
        }
        tree
    };
    let find = |found: &Tree| find_prefix(&writes, &acknowledged, false, found);
    assert_eq!(find(&tree_after(55)), Ok(55));
    assert_eq!(find(&tree_after(50)), Ok(50));
    assert!(find(&tree_after(49)).is_err(), "an acknowledged write is missing");
    let mut tree = tree_after(60);
    let extra = tree["/base"].clone();
    tree.insert("/base/extra".to_owned(), extra);
    assert!(find(&tree).is_err());
    let mut tree = tree_after(60);
    tree.get_mut("/base").expect("created first").czxid = Some(7);
    assert!(find(&tree).is_err(), "another transaction than the reply named");

    let mut tree = tree_after(60);
    assert!(tree.values().any(|node| node.ephemeral), "the seed brings one");
    assert!(find_prefix(&writes, &acknowledged, true, &tree).is_err(), "an ephemeral outlives its session");
    apply(&mut tree, &Write::Close, None);
    assert!(find_prefix(&writes, &acknowledged, true, &tree).is_ok());
}
