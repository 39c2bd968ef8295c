//! Session passwords: a keyed hash of the id, so that none need be stored and none can be guessed from an id.
//!
//! ZooKeeper derives them from the id alone by a fixed formula, and ids are visible as ephemeral owners; so anybody
//! could steal a session there. Clients take the 16 bytes as they are.

use sha1_smol::Sha1;

use crate::ids::SessionId;

/// Bytes of a password: clients rely on exactly these.
pub const PASSWORD_SIZE: usize = 16;

const BLOCK_SIZE: usize = 64;

/// Makes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    secret: [u8; 32],
}

impl Passwords {
    /// From a secret that outlives restarts, so that sessions do too.
    pub fn new(secret: [u8; 32]) -> Passwords {
        Passwords { secret }
    }

    /// The password of a session: the first 16 bytes of HMAC-SHA-1 over its id.
    pub fn of(&self, id: SessionId) -> [u8; PASSWORD_SIZE] {
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
        same_bytes(&self.of(id), password)
    }
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
