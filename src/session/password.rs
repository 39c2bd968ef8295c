//! Session passwords: a keyed hash of the id, so that none need be stored and none can be guessed from an id.
//!
//! ZooKeeper derives them from the id alone by a fixed formula, and ids are visible as ephemeral owners; so anybody
//! could steal a session there. Clients take the 16 bytes as they are.
//!
//! Servers of one ensemble must agree, so that a client may go on with any of them: each leader says how they are made in its
//! epoch, and with which secret (`zab`). Beside a server of ZooKeeper's it is the formula. `zoarium.sessionPasswords` says
//! it where sessions come from where the formula is used, or are to go there.

use sha1_smol::Sha1;

use crate::ids::SessionId;

/// Bytes of a password: clients rely on exactly these.
pub const PASSWORD_SIZE: usize = 16;

const BLOCK_SIZE: usize = 64;

/// What ZooKeeper adds to a session's id (`SessionTrackerImpl.superSecret`).
const ADDEND: i64 = 0xb341_5c00;
/// Of the generator of `java.util.Random`.
const MULTIPLIER: u64 = 0x5_deec_e66d;
const STATE_MASK: u64 = (1 << 48) - 1;

/// Which passwords sessions are given, and which are taken: `zoarium.sessionPasswords`. In an ensemble the leader's word counts, and
/// beside a server of ZooKeeper's it is [`SessionPasswords::Compatible`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SessionPasswords {
    /// Random ones, and no others. The default.
    #[default]
    Keyed,
    /// Random ones, and takes ZooKeeper's as well: sessions of ZooKeeper's, or of an ensemble, go on, and each learns its
    /// random one when its client connects.
    Moving,
    /// ZooKeeper's, which everybody can compute who knows the session's id, and takes random ones as well: sessions can go on
    /// with a server of ZooKeeper's.
    Compatible,
}

impl SessionPasswords {
    /// The mode of this name.
    pub fn parse(name: &str) -> Option<SessionPasswords> {
        match name {
            "keyed" => Some(SessionPasswords::Keyed),
            "moving" => Some(SessionPasswords::Moving),
            "compatible" => Some(SessionPasswords::Compatible),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            SessionPasswords::Keyed => "keyed",
            SessionPasswords::Moving => "moving",
            SessionPasswords::Compatible => "compatible",
        }
    }

    /// Its number in the file and between servers. 0 is none of them.
    pub fn code(self) -> u32 {
        match self {
            SessionPasswords::Keyed => 1,
            SessionPasswords::Moving => 2,
            SessionPasswords::Compatible => 3,
        }
    }

    /// The mode of this number.
    pub fn of_code(code: u32) -> Option<SessionPasswords> {
        match code {
            1 => Some(SessionPasswords::Keyed),
            2 => Some(SessionPasswords::Moving),
            3 => Some(SessionPasswords::Compatible),
            _ => None,
        }
    }
}

/// What keyed passwords are made with. It is shown to nobody, not by `Debug` either.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SessionSecret(pub [u8; 32]);

impl std::fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSecret")
    }
}

/// Makes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    secret: [u8; 32],
    mode: SessionPasswords,
}

impl Passwords {
    /// From a secret that outlives restarts, so that sessions do too.
    pub fn new(secret: [u8; 32]) -> Passwords {
        Passwords { secret, mode: SessionPasswords::Keyed }
    }

    /// The secret is another one from now on: the ensemble's.
    pub fn set_secret(&mut self, secret: SessionSecret) {
        self.secret = secret.0;
    }

    /// Which ones it makes. Those of the secret are known in every mode: sessions that began while this server made them go on.
    pub fn set_mode(&mut self, mode: SessionPasswords) {
        self.mode = mode;
    }

    /// The password of a session.
    pub fn of(&self, id: SessionId) -> [u8; PASSWORD_SIZE] {
        match self.mode {
            SessionPasswords::Compatible => by_formula(id),
            SessionPasswords::Keyed | SessionPasswords::Moving => self.keyed(id),
        }
    }

    /// The first 16 bytes of HMAC-SHA-1 over its id.
    fn keyed(&self, id: SessionId) -> [u8; PASSWORD_SIZE] {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK_SIZE];
            block.iter_mut().zip(self.secret).for_each(|(b, s)| *b ^= s);
            block
        };
        let mut inner = Sha1::new();
        inner.update(&pad(0x36));
        inner.update(&id.0.to_be_bytes());
        let mut outer = Sha1::new();
        outer.update(&pad(0x5c));
        outer.update(&inner.digest().bytes());
        let mut password = [0; PASSWORD_SIZE];
        password.copy_from_slice(&outer.digest().bytes()[..PASSWORD_SIZE]);
        password
    }

    /// Whether `password` is the session's. Takes the same time wherever the first difference is.
    pub fn check(&self, id: SessionId, password: &[u8]) -> bool {
        // Both are looked at, whatever the first says.
        let is_keyed = same_bytes(&self.keyed(id), password);
        (same_bytes(&by_formula(id), password) && self.mode != SessionPasswords::Keyed) || is_keyed
    }

    /// Whether it would be the session's in an epoch whose passwords are made in another way.
    pub fn may_be_right_elsewhere(&self, id: SessionId, password: &[u8]) -> bool {
        same_bytes(&by_formula(id), password) || self.check(id, password)
    }
}

/// ZooKeeper's: what `java.util.Random` makes of the id.
fn by_formula(id: SessionId) -> [u8; PASSWORD_SIZE] {
    let mut state = ((id.0 ^ ADDEND) as u64 ^ MULTIPLIER) & STATE_MASK;
    let mut password = [0; PASSWORD_SIZE];
    for chunk in password.chunks_exact_mut(4) {
        state = (state.wrapping_mul(MULTIPLIER) + 0xb) & STATE_MASK;
        chunk.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

/// Compares in constant time; only the length shows.
pub(crate) fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (x, y)| different | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_hmac_sha1() {
        // RFC 2202 has no 8-byte case with a 32-byte key; this one was computed with Python's hmac.
        let passwords = Passwords::new([7; 32]);
        let expected = [0x20, 0x2b, 0x0b, 0xf2, 0xc4, 0x91, 0x4d, 0xe5, 0xf1, 0x93, 0xf7, 0xe7, 0x35, 0x01, 0x3d, 0x78];
        assert_eq!(passwords.of(SessionId(0x0100_0029_8117_0000)), expected);
    }

    #[test]
    fn a_shared_password_is_zookeepers() {
        // Both seen from a running ensemble of Apache ZooKeeper.
        let mut passwords = Passwords::new([7; 32]);
        let alone = passwords.of(SessionId(0x0100_0016_b69b_0000));
        passwords.set_mode(SessionPasswords::Compatible);
        for (id, expected) in [
            (0x0100_0016_b69b_0000, 0x47e4_a60f_c82d_306b_fdf9_0539_5107_0317_u128),
            (0x0100_002b_6b87_0000, 0x2b66_52ce_dc53_1927_8128_f125_856d_a09c_u128),
        ] {
            let made = passwords.of(SessionId(id));
            assert_eq!(made, expected.to_be_bytes(), "{id:#x}");
            assert!(passwords.check(SessionId(id), &made));
        }
        assert!(passwords.check(SessionId(0x0100_0016_b69b_0000), &alone), "a session of before goes on");
        let formula = passwords.of(SessionId(0x0100_0016_b69b_0000));
        passwords.set_mode(SessionPasswords::Moving);
        assert!(passwords.check(SessionId(0x0100_0016_b69b_0000), &formula), "a session of ZooKeeper's goes on");
        assert_eq!(passwords.of(SessionId(0x0100_0016_b69b_0000)), alone, "and is told the other");
        passwords.set_mode(SessionPasswords::Keyed);
        assert!(!passwords.check(SessionId(0x0100_0016_b69b_0000), &formula), "alone, a formula opens nothing");
        assert!(passwords.may_be_right_elsewhere(SessionId(0x0100_0016_b69b_0000), &formula));
        assert!(!passwords.may_be_right_elsewhere(SessionId(0x0100_002b_6b87_0000), &formula));
    }

    #[test]
    fn only_the_right_password_passes() {
        // SC-40
        let passwords = Passwords::new([1; 32]);
        let good = passwords.of(SessionId(5));
        assert!(passwords.check(SessionId(5), &good));
        assert!(!passwords.check(SessionId(6), &good));
        assert!(!passwords.check(SessionId(5), &good[..15]));
        assert!(!passwords.check(SessionId(5), &[]));
        assert!(!Passwords::new([2; 32]).check(SessionId(5), &good));
    }
}
