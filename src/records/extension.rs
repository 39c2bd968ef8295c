//! What members of ours add to the first words between a leader and a learner, behind the bytes that ZooKeeper reads there: it
//! ignores the rest, so members of both kinds understand each other, and each kind is known by what it says.
//!
//! `ZOAR`, the length of what follows as a u32, and fields. A later version adds fields at the end; what is longer than is known is
//! read as far as it is known.

const MAGIC: [u8; 4] = *b"ZOAR";
/// A learner: it takes how session passwords are made from its leader.
const TAKES_PASSWORDS: u32 = 1;

/// What a leader hands down with an epoch: how the passwords of sessions are made in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HandedDown {
    /// A number that means nothing here.
    pub passwords: u32,
    /// The ensemble's secret.
    pub secret: [u8; 32],
}

/// Not the secret.
impl std::fmt::Debug for HandedDown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandedDown").field("passwords", &self.passwords).finish_non_exhaustive()
    }
}

impl HandedDown {
    /// Appends it to LEADERINFO's data.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        open(out, 36);
        out.extend_from_slice(&self.passwords.to_be_bytes());
        out.extend_from_slice(&self.secret);
    }

    /// Reads it behind what ZooKeeper's leaders say as well; `None` where there is none of it.
    pub(super) fn decode(rest: &[u8]) -> Option<HandedDown> {
        let fields = fields(rest)?;
        let (passwords, fields) = fields.split_first_chunk::<4>()?;
        let secret = fields.first_chunk::<32>()?;
        Some(HandedDown { passwords: u32::from_be_bytes(*passwords), secret: *secret })
    }
}

/// Appends to a learner's introduction that it takes passwords from its leader.
pub(super) fn encode_learner(out: &mut Vec<u8>) {
    open(out, 4);
    out.extend_from_slice(&TAKES_PASSWORDS.to_be_bytes());
}

/// Whether a learner takes passwords from its leader, by what is behind ZooKeeper's part of its introduction.
pub(super) fn learner_takes_passwords(rest: &[u8]) -> bool {
    let bits = fields(rest).and_then(|fields| fields.first_chunk::<4>());
    bits.is_some_and(|bits| u32::from_be_bytes(*bits) & TAKES_PASSWORDS != 0)
}

fn open(out: &mut Vec<u8>, length: u32) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_be_bytes());
}

/// The fields that are there, all of those that were announced.
fn fields(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(&MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_down_is_read_back_and_a_later_version_may_say_more() {
        let handed = HandedDown { passwords: 7, secret: [9; 32] };
        let mut out = Vec::new();
        handed.encode(&mut out);
        assert_eq!(HandedDown::decode(&out), Some(handed));
        out.extend_from_slice(&[1, 2, 3]);
        assert_eq!(HandedDown::decode(&out), Some(handed), "bytes of something else behind it");
        out[7] += 3;
        assert_eq!(HandedDown::decode(&out), Some(handed), "a longer one");
        let mut learner = Vec::new();
        encode_learner(&mut learner);
        assert!(learner_takes_passwords(&learner));
        learner[11] = 0xfe;
        assert!(!learner_takes_passwords(&learner), "another bit");
    }

    #[test]
    fn anything_else_is_nothing() {
        let mut out = Vec::new();
        HandedDown { passwords: 1, secret: [1; 32] }.encode(&mut out);
        for end in 0..out.len() {
            assert_eq!(HandedDown::decode(&out[..end]), None, "cut at {end}");
            assert!(!learner_takes_passwords(&out[..end.min(11)]));
        }
        for length in [0_u32, 35, 37, u32::MAX] {
            let mut wrong = out.clone();
            wrong[4..8].copy_from_slice(&length.to_be_bytes());
            assert_eq!(HandedDown::decode(&wrong), None, "length {length}");
        }
        out[0] = b'z';
        assert_eq!(HandedDown::decode(&out), None, "another name");
        let shown = format!("{:?}", HandedDown { passwords: 1, secret: [0xab; 32] });
        assert!(!shown.contains("171") && !shown.contains("ab"), "{shown}");
    }
}
