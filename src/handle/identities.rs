//! The identities of a session in this process: re-sent on every reconnect, and never more than the server takes.
//!
//! A server closes the connection for one identity too many. It would be closed again on every reconnect, because all of
//! them are re-sent; so the one too many is refused here.

use super::transport::Refused;
use crate::peer::local::LinkLimits;

/// Bytes of an identity beside the user: its scheme, a colon, a SHA-1 in Base64.
const DIGEST_SIZE: usize = 6 + 1 + 28;
/// At most what a connection has from the start: `ip` with an address, and `super`.
const FIRST_SIZE: usize = 64;

/// Those of one session.
#[derive(Default)]
pub(super) struct SessionIdentities {
    said: Vec<(String, Vec<u8>)>,
    digests: u32,
    size: usize,
}

impl SessionIdentities {
    /// Adds one. False when the session has it already.
    ///
    /// # Errors
    /// [`Refused::TooManyIdentities`], [`Refused::LargeCredentials`]; nothing is added then.
    pub(super) fn add(&mut self, scheme: &str, credentials: &[u8], limits: LinkLimits) -> Result<bool, Refused> {
        if self.said.iter().any(|(of, said)| of == scheme && said == credentials) {
            return Ok(false);
        }
        if scheme == "digest" {
            if self.digests >= limits.identities_max {
                return Err(Refused::TooManyIdentities { max: limits.identities_max });
            }
            if FIRST_SIZE + self.size + credentials.len() > limits.credentials_size_max as usize {
                return Err(Refused::LargeCredentials { max: limits.credentials_size_max });
            }
            let user = credentials.split(|byte| *byte == b':').next().unwrap_or_default();
            self.digests += 1;
            self.size += DIGEST_SIZE + String::from_utf8_lossy(user).len();
        }
        self.said.push((scheme.to_owned(), credentials.to_vec()));
        Ok(true)
    }

    /// All of them, in the order in which they were added.
    pub(super) fn said(&self) -> &[(String, Vec<u8>)] {
        &self.said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LinkLimits = LinkLimits { frame_size_max: 1 << 20, identities_max: 3, credentials_size_max: 65_536 };

    #[test]
    fn one_too_many_is_refused_and_one_said_twice_is_not() {
        let mut identities = SessionIdentities::default();
        for user in ["a:a", "b:b", "c:c"] {
            assert_eq!(identities.add("digest", user.as_bytes(), LIMITS), Ok(true));
        }
        assert_eq!(identities.add("digest", b"d:d", LIMITS), Err(Refused::TooManyIdentities { max: 3 }));
        assert_eq!(identities.add("digest", b"b:b", LIMITS), Ok(false));
        assert_eq!(identities.add("ip", b"", LIMITS), Ok(true), "it adds nothing at the server");
        assert_eq!(identities.said().len(), 4);
    }

    #[test]
    fn bytes_are_counted_as_the_server_does() {
        let mut identities = SessionIdentities::default();
        let long = vec![b'u'; 40_000];
        assert_eq!(identities.add("digest", &long, LIMITS), Ok(true));
        let (other, short) = (vec![b'v'; 40_000], b"w:w".to_vec());
        assert_eq!(identities.add("digest", &other, LIMITS), Err(Refused::LargeCredentials { max: 65_536 }));
        assert_eq!(identities.add("digest", &short, LIMITS), Ok(true));
    }
}
