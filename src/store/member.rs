//! What a member of an ensemble keeps beside its log, in every generation of the superblock.

use crate::store::cause::SuperblockFault;
use crate::store::layout::{mem, sb};
use crate::store::le;

/// Whether a member's history may count in an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Soundness {
    /// Its log is the one it was given.
    #[default]
    Sound,
    /// It was made new and has never been filled by a leader.
    New,
    /// Something of it was lost: it has to be filled by a leader first.
    Damaged,
    /// It was made new, and its operator says that what was before it is no loss.
    NewAndTrusted,
}

impl Soundness {
    fn code(self) -> u32 {
        match self {
            Soundness::Sound => 0,
            Soundness::New => 1,
            Soundness::Damaged => 2,
            Soundness::NewAndTrusted => 3,
        }
    }

    fn of_code(code: u32) -> Option<Soundness> {
        match code {
            0 => Some(Soundness::Sound),
            1 => Some(Soundness::New),
            2 => Some(Soundness::Damaged),
            3 => Some(Soundness::NewAndTrusted),
            _ => None,
        }
    }
}

/// The text of one configuration of the ensemble, and its version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptConfig {
    /// The zxid of the transaction that made it; 0 = as the files say.
    pub version: i64,
    /// Its lines.
    pub text: Vec<u8>,
}

/// What a member keeps and changes together: one update of the superblock makes all of it durable, or nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MemberState {
    /// The highest epoch promised to a prospective leader.
    pub accepted_epoch: u64,
    /// The epoch of the newest leader whose history is here.
    pub current_epoch: u64,
    /// Random, and the same in all members of one ensemble; zeros while it is not known.
    pub ensemble_id: [u8; 16],
    /// Whether the history may count.
    pub soundness: Soundness,
    /// What the passwords of sessions are made with: of its own, until an ensemble's leader hands down another.
    pub secret: [u8; 32],
    /// How the passwords of sessions are made; a number that means nothing to the file, and 0 before anybody has said so.
    pub passwords: u32,
    /// Sessions made after this zxid have keyed passwords.
    pub keyed_since: i64,
    /// The committed configuration.
    pub config: KeptConfig,
    /// The newest one that was proposed.
    pub config_seen: KeptConfig,
}

/// Not the secret.
impl std::fmt::Debug for MemberState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberState")
            .field("accepted_epoch", &self.accepted_epoch)
            .field("current_epoch", &self.current_epoch)
            .field("ensemble_id", &self.ensemble_id)
            .field("soundness", &self.soundness)
            .field("passwords", &self.passwords)
            .field("keyed_since", &self.keyed_since)
            .field("config", &self.config)
            .field("config_seen", &self.config_seen)
            .finish_non_exhaustive()
    }
}

impl MemberState {
    /// Bytes of text that both configurations may have together.
    pub const TEXTS_MAX: usize = sb::EXTENT_MAP - mem::TEXTS;

    /// Whether a file of a server that is alone would say the same, epochs and secret aside.
    pub(crate) fn is_plain(&self) -> bool {
        *self
            == MemberState {
                accepted_epoch: self.accepted_epoch,
                current_epoch: self.current_epoch,
                secret: self.secret,
                ..Self::default()
            }
    }

    pub(crate) fn texts_len(&self) -> usize {
        self.config.text.len() + self.config_seen.text.len()
    }

    /// Writes it into a superblock copy.
    pub(crate) fn encode(&self, out: &mut [u8]) {
        le::put_u64(out, sb::ACCEPTED_EPOCH, self.accepted_epoch);
        le::put_u64(out, sb::CURRENT_EPOCH, self.current_epoch);
        le::put(out, sb::SECRET, self.secret);
        if self.is_plain() {
            return;
        }
        le::put(out, mem::ENSEMBLE_ID, self.ensemble_id);
        le::put_u32(out, mem::SOUNDNESS, self.soundness.code());
        le::put_u32(out, mem::PASSWORDS, self.passwords);
        le::put_u64(out, mem::KEYED_SINCE, self.keyed_since as u64);
        le::put_u64(out, mem::CONFIG_VERSION, self.config.version as u64);
        le::put_u64(out, mem::SEEN_VERSION, self.config_seen.version as u64);
        le::put_u16(out, mem::CONFIG_LEN, self.config.text.len() as u16);
        le::put_u16(out, mem::SEEN_LEN, self.config_seen.text.len() as u16);
        let mut at = mem::TEXTS;
        for text in [&self.config.text, &self.config_seen.text] {
            out[at..at + text.len()].copy_from_slice(text);
            at += text.len();
        }
    }

    /// Reads it from a superblock copy whose checksum was found right. `has_rest` is what `compat` says.
    pub(crate) fn decode(bytes: &[u8], has_rest: bool) -> Result<MemberState, SuperblockFault> {
        let mut found = MemberState {
            accepted_epoch: le::u64_at(bytes, sb::ACCEPTED_EPOCH),
            current_epoch: le::u64_at(bytes, sb::CURRENT_EPOCH),
            secret: le::array_at(bytes, sb::SECRET),
            ..MemberState::default()
        };
        if !has_rest {
            return Ok(found);
        }
        found.ensemble_id = le::array_at(bytes, mem::ENSEMBLE_ID);
        found.soundness = Soundness::of_code(le::u32_at(bytes, mem::SOUNDNESS)).ok_or(SuperblockFault::Soundness)?;
        found.passwords = le::u32_at(bytes, mem::PASSWORDS);
        found.keyed_since = le::u64_at(bytes, mem::KEYED_SINCE) as i64;
        let mut at = mem::TEXTS;
        let mut text = |length_at: usize| -> Result<Vec<u8>, SuperblockFault> {
            let end = at + usize::from(le::u16_at(bytes, length_at));
            let text = bytes.get(at..end).filter(|_| end <= sb::EXTENT_MAP).ok_or(SuperblockFault::Configurations)?;
            at = end;
            Ok(text.to_vec())
        };
        found.config =
            KeptConfig { version: le::u64_at(bytes, mem::CONFIG_VERSION) as i64, text: text(mem::CONFIG_LEN)? };
        found.config_seen =
            KeptConfig { version: le::u64_at(bytes, mem::SEEN_VERSION) as i64, text: text(mem::SEEN_LEN)? };
        Ok(found)
    }
}
