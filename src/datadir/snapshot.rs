//! A snapshot file: a head, the state as servers send it to each other, and up to three seals.
//!
//! ```text
//! head       "ZKSN", int version 2, long -1
//! state      sessions, ACLs, znodes, "/"
//! seal 1     long Adler-32 of all before; ustring "/"
//! digest     long zxid, int version 2, long digest; seal 2        3.6 and later, unless switched off
//! last zxid  long; seal 3                                          3.9 and later, unless switched off
//! ```

use adler2::Adler32;

use super::error::DatadirError;
use super::sealed::SealedReader;
use crate::engine::{EngineSettings, ReplicatedState, StateHearing};
use crate::ids::Zxid;

/// What a snapshot file begins with.
pub(super) const SNAPSHOT_MAGIC: [u8; 4] = *b"ZKSN";
/// The version that both kinds of files say in their heads.
pub(super) const FORMAT: i32 = 2;
/// Behind a checksum.
pub(super) const SEAL_END: [u8; 5] = [0, 0, 0, 1, b'/'];
const SEAL_LEN: usize = 13;
const LAST_ZXID_LEN: usize = 8;
/// More than these parts cannot come behind the first seal, but for digests of the first version, which are texts.
const BEHIND_MAX: usize = 256;
/// The version of the digests that are compared.
const DIGEST_VERSION: i32 = 2;

/// What the tree's digest was after a transaction, as a ZooKeeper server computed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TreeDigest {
    pub(super) zxid: Zxid,
    pub(super) value: i64,
}

/// A snapshot that was read.
pub(super) struct ReadSnapshot {
    pub(super) state: ReplicatedState,
    /// Of a later state than the file's name says, as a rule.
    pub(super) digest: Option<TreeDigest>,
}

/// Reads a snapshot of the state at `zxid`.
pub(super) fn read_snapshot(
    file: &mut SealedReader,
    zxid: Zxid,
    settings: &EngineSettings,
    seed: [u64; 2],
    progress: &mut dyn FnMut(u64),
) -> Result<ReadSnapshot, DatadirError> {
    let magic: [u8; 4] = file.bytes("its head")?;
    if magic != SNAPSHOT_MAGIC {
        return Err(file.damaged("it does not begin as a snapshot of ZooKeeper's does".to_owned()));
    }
    let _version_and_id: [u8; 12] = file.bytes("its head")?;
    let mut hearing = StateHearing::of_file(settings, seed, zxid);
    loop {
        let ahead = file.ahead()?;
        if ahead.is_empty() {
            return Err(file.damaged("the file ends before its state does".to_owned()));
        }
        let fed = hearing.feed(ahead);
        let fed = fed.map_err(|damage| file.damaged(damage.0))?;
        file.take(fed.consumed);
        progress(file.taken());
        if fed.is_whole {
            break;
        }
    }
    let seal = file.seal();
    let rest = file.rest(BEHIND_MAX)?;
    let digest = parts_behind(seal, &rest).map_err(|what| file.damaged(what.to_owned()))?;
    let state = hearing.finish().map_err(|damage| file.damaged(damage.0))?;
    Ok(ReadSnapshot { state, digest })
}

/// What follows the state: each part, and the checksum of everything before it.
struct PartsBehind<'a> {
    seal: Adler32,
    rest: &'a [u8],
}

impl PartsBehind<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or("the file ends behind its state")?;
        self.seal.write_slice(bytes);
        self.rest = rest;
        Ok(*bytes)
    }

    fn check_seal(&mut self) -> Result<(), &'static str> {
        let computed = u64::from(self.seal.checksum());
        let is_right = u64::from_be_bytes(self.take()?) == computed && self.take()? == SEAL_END;
        if is_right { Ok(()) } else { Err("a checksum does not match what is before it") }
    }
}

/// Checks what comes behind the state, which each version of ZooKeeper has as its settings say. `seal`: over all before.
fn parts_behind(seal: Adler32, rest: &[u8]) -> Result<Option<TreeDigest>, &'static str> {
    let mut parts = PartsBehind { seal, rest };
    parts.check_seal()?;
    let mut digest = None;
    if !parts.rest.is_empty() && parts.rest.len() != LAST_ZXID_LEN + SEAL_LEN {
        let zxid = i64::from_be_bytes(parts.take()?);
        let version = i32::from_be_bytes(parts.take()?);
        if version < DIGEST_VERSION {
            for _ in 0..i32::from_be_bytes(parts.take()?) {
                let _text: [u8; 1] = parts.take()?;
            }
        } else {
            let value = i64::from_be_bytes(parts.take()?);
            // Zeros are for "not known".
            digest = (version == DIGEST_VERSION && zxid != 0).then_some(TreeDigest { zxid: Zxid(zxid), value });
        }
        parts.check_seal()?;
    }
    if !parts.rest.is_empty() {
        let _last_zxid: [u8; LAST_ZXID_LEN] = parts.take()?;
        parts.check_seal()?;
    }
    if parts.rest.is_empty() { Ok(digest) } else { Err("more follows than a snapshot has behind its state") }
}
