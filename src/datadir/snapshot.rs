//! A snapshot file: a head, the state as servers send it to each other, and up to three seals.
//!
//! ```text
//! head       "ZKSN", int version 2, long -1
//! state      sessions, ACLs, znodes, "/"
//! seal 1     long Adler-32 of all before; ustring "/"
//! digest     long zxid, int version 2, long digest; seal 2        3.6 and later, unless switched off
//! last zxid  long; seal 3                                          3.9 and later, unless switched off
//! ```

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
/// Bytes of the digest's part, and of the last zxid's.
const DIGEST_LEN: usize = 20;
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
    check_seal(file)?;
    let digest = read_parts_behind(file)?;
    let state = hearing.finish().map_err(|damage| file.damaged(damage.0))?;
    Ok(ReadSnapshot { state, digest })
}

/// Compares the checksum of what was taken with the one that follows.
fn check_seal(file: &mut SealedReader) -> Result<(), DatadirError> {
    let computed = u64::from(file.seal());
    let stored = u64::from_be_bytes(file.bytes("a checksum")?);
    let end: [u8; 5] = file.bytes("a checksum")?;
    if stored != computed || end != SEAL_END {
        return Err(file.damaged(format!("checksum {stored:#x} stored, {computed:#x} computed")));
    }
    Ok(())
}

/// Reads what comes behind the first seal, which each version of ZooKeeper has as its settings say.
fn read_parts_behind(file: &mut SealedReader) -> Result<Option<TreeDigest>, DatadirError> {
    if file.is_over()? {
        return Ok(None);
    }
    let ahead = file.ahead()?.len();
    let last_zxid = LAST_ZXID_LEN + SEAL_LEN;
    if ahead == last_zxid {
        let _last_zxid: [u8; LAST_ZXID_LEN] = file.bytes("the last zxid")?;
        return check_seal(file).map(|()| None);
    }
    if ahead > BEHIND_MAX {
        return Err(file.damaged("more follows than a snapshot has behind its state".to_owned()));
    }
    let zxid = i64::from_be_bytes(file.bytes("the digest")?);
    let version = i32::from_be_bytes(file.bytes("the digest")?);
    let digest = if version < DIGEST_VERSION {
        let length = i32::from_be_bytes(file.bytes("the digest")?);
        for _ in 0..length.clamp(0, BEHIND_MAX as i32) {
            let _text: [u8; 1] = file.bytes("the digest")?;
        }
        None
    } else {
        let value = i64::from_be_bytes(file.bytes("the digest")?);
        // Zeros are for "not known".
        (version == DIGEST_VERSION && zxid != 0).then_some(TreeDigest { zxid: Zxid(zxid), value })
    };
    check_seal(file)?;
    if !file.is_over()? {
        let _last_zxid: [u8; LAST_ZXID_LEN] = file.bytes("the last zxid")?;
        check_seal(file)?;
    }
    if !file.is_over()? {
        return Err(file.damaged("more follows than a snapshot has behind its state".to_owned()));
    }
    Ok(digest)
}

const _: () = assert!(DIGEST_LEN + LAST_ZXID_LEN + 2 * SEAL_LEN < BEHIND_MAX);
