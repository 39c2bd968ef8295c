//! ZooKeeper's stream of a whole state: what follows a SNAP packet, and the body of its snapshot files.
//!
//! ```text
//! sessions   int n, n × (long id, int timeout)
//! ACLs       int m, m × (long number, vector<ACL>)
//! znodes     each: ustring path ("" is the root), buffer data, long ACL number, 60 bytes of stat; parents first
//! the end    ustring "/", and in a stream ustring "BenWasHere"
//! ```
//! ACL number −1 is `world:anyone` with all permissions and is not in the table.
//!
//! Source: ZooKeeper 3.9 `SerializeUtils`, `DataTree.serialize`, `ReferenceCountedACLCache`, `LearnerHandler`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Acl;
use crate::jute::{Decoder, FIELD_SIZE_MAX, JuteError, encode};

/// The number of the list that everybody may do everything by.
pub const OPEN_ACL: i64 = -1;
/// What a whole stream ends with.
const SIGNATURE: &[u8] = b"BenWasHere";
/// The path behind the last znode.
const END: &[u8] = b"/";
/// Bytes of one list of permissions, at most.
const ACL_SIZE_MAX: usize = FIELD_SIZE_MAX;
/// Bytes of a stat.
const STAT_SIZE: usize = 60;

/// A znode's metadata as ZooKeeper stores it. The number of children and the length of the data follow from the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatPersisted {
    /// The transaction that created it.
    pub czxid: i64,
    /// The transaction of the last `setData`, or of the creation.
    pub mzxid: i64,
    /// Creation time, ms since 1970.
    pub ctime: i64,
    /// Time of the last `setData`, or of the creation.
    pub mtime: i64,
    /// Number of `setData` since creation.
    pub version: i32,
    /// Number of children ever created, which is not what clients see.
    pub cversion: i32,
    /// Number of `setACL` since creation.
    pub aversion: i32,
    /// The session of an ephemeral, or the mark of a container or a time to live.
    pub ephemeral_owner: i64,
    /// The last transaction that created or deleted a direct child.
    pub pzxid: i64,
}

/// One thing in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateItem<'a> {
    /// A session.
    Session {
        /// Its id.
        id: i64,
        /// Its timeout in ms.
        timeout_ms: i32,
    },
    /// A list of permissions that znodes name by its number.
    Acl {
        /// Its number in this stream.
        number: i64,
        /// Its entries.
        list: Vec<Acl<'static>>,
    },
    /// A znode.
    Znode {
        /// Its path; empty for the root.
        path: &'a str,
        /// Its data; `None` is null.
        data: Option<&'a [u8]>,
        /// The number of its list, or [`OPEN_ACL`].
        acl: i64,
        /// The rest.
        stat: StatPersisted,
    },
}

/// Why bytes are no such stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// A length or count that is negative or above its limit.
    Length {
        /// Of what.
        what: &'static str,
        /// As it came.
        found: i32,
        /// The largest allowed.
        limit: usize,
    },
    /// An entry of a list of permissions is broken.
    Acl(JuteError),
    /// The stream ends with something else than its signature.
    Signature,
    /// The function that was given an item refused it.
    Refused(String),
    /// More was fed after an error, or after the end.
    Over,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Length { what, found, limit } => write!(f, "{what} has length {found}, the limit is {limit}"),
            StateError::Acl(error) => write!(f, "an ACL: {error}"),
            StateError::Signature => write!(f, "the signature at the end is missing"),
            StateError::Refused(why) => f.write_str(why),
            StateError::Over => write!(f, "bytes come after the end"),
        }
    }
}

impl std::error::Error for StateError {}

/// How far a [`StateReader`] got with what it was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Bytes that belong to the stream. All of them, unless it ended.
    pub consumed: usize,
    /// The stream is whole, its signature included.
    pub is_whole: bool,
}

/// Reads the stream from pieces of any size.
///
/// Takes memory for what has come, never for what a length claims; keeps at most one item that is not whole.
#[derive(Debug)]
pub struct StateReader {
    phase: StatePhase,
    /// The beginning of what is not whole yet.
    partial: Vec<u8>,
    field_size_max: usize,
    /// The signature that ends a stream, and no file, is to come.
    is_signed: bool,
}

#[derive(Debug)]
enum StatePhase {
    SessionCount,
    Sessions(i32),
    AclCount,
    /// So many lists to come.
    Acls(i32),
    /// Entries to come of this list, and lists behind it.
    AclEntries {
        number: i64,
        left: i32,
        list: Vec<Acl<'static>>,
        size: usize,
        behind: i32,
    },
    Znodes,
    Signature,
    Whole,
    Failed,
}

/// A step of the reader: bytes taken, or that more are needed.
type ReadStep = Result<Option<usize>, StateError>;

impl StateReader {
    /// Nothing read yet. Paths and data may have up to `field_size_max` bytes.
    pub fn new(field_size_max: usize) -> StateReader {
        StateReader { phase: StatePhase::SessionCount, partial: Vec::new(), field_size_max, is_signed: true }
    }

    /// The same for the body of a snapshot file, which has no signature: what follows the end of the znodes is its seal.
    pub fn of_file(field_size_max: usize) -> StateReader {
        StateReader { is_signed: false, ..StateReader::new(field_size_max) }
    }

    /// Takes in the next bytes and gives every item that is whole to `each`.
    ///
    /// # Errors
    /// [`StateError`] as soon as a length is wrong, however few bytes are there. The reader is of no use afterwards.
    pub fn feed(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(StateItem<'_>) -> Result<(), String>,
    ) -> Result<Fed, StateError> {
        let fed = self.read(input, each);
        if fed.is_err() {
            self.phase = StatePhase::Failed;
        }
        fed
    }

    fn read(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(StateItem<'_>) -> Result<(), String>,
    ) -> Result<Fed, StateError> {
        let mut buffered = std::mem::take(&mut self.partial);
        let before = buffered.len();
        let bytes = if before == 0 {
            input
        } else {
            buffered.extend_from_slice(input);
            &buffered[..]
        };
        let mut at = 0;
        while !matches!(self.phase, StatePhase::Whole) {
            match self.step(&bytes[at..], each)? {
                Some(taken) => at += taken,
                None => break,
            }
        }
        if matches!(self.phase, StatePhase::Whole) {
            return Ok(Fed { consumed: at - before, is_whole: true });
        }
        if before == 0 {
            self.partial.extend_from_slice(&bytes[at..]);
        } else {
            buffered.drain(..at);
            self.partial = buffered;
        }
        Ok(Fed { consumed: input.len(), is_whole: false })
    }

    fn step(&mut self, bytes: &[u8], each: &mut dyn FnMut(StateItem<'_>) -> Result<(), String>) -> ReadStep {
        let mut rest = bytes;
        let taken = |rest: &[u8]| Ok(Some(bytes.len() - rest.len()));
        match &mut self.phase {
            StatePhase::SessionCount => {
                let Some(count) = take_count(&mut rest, "the list of sessions")? else { return Ok(None) };
                self.phase = StatePhase::Sessions(count);
            }
            StatePhase::Sessions(0) => self.phase = StatePhase::AclCount,
            StatePhase::Sessions(left) => {
                let (Some(id), Some(timeout_ms)) = (take_long(&mut rest), take_int(&mut rest)) else { return Ok(None) };
                *left -= 1;
                each(StateItem::Session { id, timeout_ms }).map_err(StateError::Refused)?;
            }
            StatePhase::AclCount => {
                let Some(count) = take_count(&mut rest, "the table of ACLs")? else { return Ok(None) };
                self.phase = StatePhase::Acls(count);
            }
            StatePhase::Acls(0) => self.phase = StatePhase::Znodes,
            StatePhase::Acls(left) => {
                let behind = *left - 1;
                let Some(number) = take_long(&mut rest) else { return Ok(None) };
                let Some(left) = take_count(&mut rest, "an ACL")? else { return Ok(None) };
                self.phase = StatePhase::AclEntries { number, left, list: Vec::new(), size: 0, behind };
            }
            StatePhase::AclEntries { number, left: 0, list, behind, .. } => {
                let (number, list, behind) = (*number, std::mem::take(list), *behind);
                self.phase = StatePhase::Acls(behind);
                each(StateItem::Acl { number, list }).map_err(StateError::Refused)?;
            }
            StatePhase::AclEntries { left, list, size, .. } => {
                if take_int(&mut rest).is_none() {
                    return Ok(None);
                }
                for _ in 0..2 {
                    if take_buffer(&mut rest, "an ACL's identity", ACL_SIZE_MAX - *size)?.is_none() {
                        return Ok(None);
                    }
                }
                let entry = &bytes[..bytes.len() - rest.len()];
                *size += entry.len();
                if *size > ACL_SIZE_MAX {
                    let found = i32::try_from(*size).unwrap_or(i32::MAX);
                    return Err(StateError::Length { what: "an ACL", found, limit: ACL_SIZE_MAX });
                }
                let entry = Decoder::with_limit(entry, entry.len()).read::<Acl<'_>>().map_err(StateError::Acl)?;
                list.push(entry.into_owned());
                *left -= 1;
            }
            StatePhase::Znodes => {
                let Some(path) = take_buffer(&mut rest, "a path", self.field_size_max)? else { return Ok(None) };
                let path = path.unwrap_or_default();
                if path == END {
                    self.phase = if self.is_signed { StatePhase::Signature } else { StatePhase::Whole };
                    return taken(rest);
                }
                let Some(data) = take_buffer(&mut rest, "a znode's data", self.field_size_max)? else {
                    return Ok(None);
                };
                let (Some(acl), Some(stat)) = (take_long(&mut rest), take_stat(&mut rest)) else { return Ok(None) };
                // As in requests and transactions, so that a path is the same wherever it comes from.
                let path = String::from_utf8_lossy(path);
                each(StateItem::Znode { path: &path, data, acl, stat }).map_err(StateError::Refused)?;
            }
            StatePhase::Signature => {
                let Some(signature) = take_buffer(&mut rest, "the signature", SIGNATURE.len())? else {
                    return Ok(None);
                };
                if signature != Some(SIGNATURE) {
                    return Err(StateError::Signature);
                }
                self.phase = StatePhase::Whole;
            }
            StatePhase::Whole | StatePhase::Failed => return Err(StateError::Over),
        }
        taken(rest)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

fn take_int(rest: &mut &[u8]) -> Option<i32> {
    take(rest).map(i32::from_be_bytes)
}

fn take_long(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(i64::from_be_bytes)
}

fn take_count(rest: &mut &[u8], what: &'static str) -> Result<Option<i32>, StateError> {
    match take_int(rest) {
        Some(found @ ..0) => Err(StateError::Length { what, found, limit: i32::MAX as usize }),
        count => Ok(count),
    }
}

/// `Some(None)` is null.
fn take_buffer<'a>(
    rest: &mut &'a [u8],
    what: &'static str,
    limit: usize,
) -> Result<Option<Option<&'a [u8]>>, StateError> {
    let mut ahead = *rest;
    let Some(length) = take_int(&mut ahead) else { return Ok(None) };
    if length == -1 {
        *rest = ahead;
        return Ok(Some(None));
    }
    let size = usize::try_from(length).ok().filter(|&size| size <= limit);
    let size = size.ok_or(StateError::Length { what, found: length, limit })?;
    let Some((bytes, behind)) = ahead.split_at_checked(size) else { return Ok(None) };
    *rest = behind;
    Ok(Some(Some(bytes)))
}

fn take_stat(rest: &mut &[u8]) -> Option<StatPersisted> {
    let (bytes, behind) = rest.split_at_checked(STAT_SIZE)?;
    let stat = Decoder::with_limit(bytes, bytes.len()).read().ok()?;
    *rest = behind;
    Some(stat)
}

fn put_buffer(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let length = bytes.map_or(-1, |bytes| bytes.len() as i32);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// Appends how many sessions, or lists of permissions, follow.
pub fn put_count(count: usize, out: &mut Vec<u8>) {
    let count = i32::try_from(count).expect("fewer sessions and ACLs than a state can hold");
    out.extend_from_slice(&count.to_be_bytes());
}

/// Appends a session.
pub fn put_session(id: i64, timeout_ms: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&timeout_ms.to_be_bytes());
}

/// Appends a list of permissions under its number in this stream, which is above 0.
pub fn put_acl(number: i64, list: &[Acl<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
    encode(list, out);
}

/// Appends a znode. `path` is empty for the root.
pub fn put_znode(path: &str, data: Option<&[u8]>, acl: i64, stat: &StatPersisted, out: &mut Vec<u8>) {
    put_buffer(Some(path.as_bytes()), out);
    put_buffer(data, out);
    out.extend_from_slice(&acl.to_be_bytes());
    encode(stat, out);
}

/// Appends the end of the znodes; a snapshot file goes on with its seals.
pub fn put_end_of_znodes(out: &mut Vec<u8>) {
    put_buffer(Some(END), out);
}

/// Appends what ends a stream.
pub fn put_signature(out: &mut Vec<u8>) {
    put_buffer(Some(SIGNATURE), out);
}

#[cfg(test)]
pub(crate) mod tests;
