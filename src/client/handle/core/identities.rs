//! The identities of a session: re-sent on every connection, and never more than the server takes.
//!
//! A server closes the connection for one identity too many. It would close every later connection for it too, because
//! all identities are re-sent; so the one too many is refused here, where the server's limits are known.

use crate::client::handle::transport::Refused;
use crate::jute::{Buffer, encoded};
use crate::records::requests::AuthRequest;

/// Bytes of an identity beside the user: its scheme, a colon, a SHA-1 in Base64.
const DIGEST_SIZE: usize = 6 + 1 + 28;
/// At most what a connection has from the start: `ip` with an address, and `super`.
const FIRST_SIZE: usize = 64;

/// What a server takes on one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IdentityLimits {
    /// SessionIdentities, without those that a connection has by itself.
    pub(crate) count_max: u32,
    /// Bytes of all credentials.
    pub(crate) size_max: u32,
}

/// One identity.
struct SessionIdentity<W> {
    scheme: String,
    credentials: Vec<u8>,
    /// Whom to tell of the server's answer, until the identity is sent.
    waiters: Vec<W>,
}

impl<W> SessionIdentity<W> {
    /// The record of the request that proves it.
    fn body(&self) -> Vec<u8> {
        auth_body(&self.scheme, &self.credentials)
    }
}

/// The record of the request that proves an identity.
pub(super) fn auth_body(scheme: &str, credentials: &[u8]) -> Vec<u8> {
    encoded(&AuthRequest { kind: 0, scheme: scheme.into(), auth: Buffer::new(credentials) })
}

/// Those of one session, in the order in which they were added.
pub(super) struct SessionIdentities<W> {
    known: Vec<SessionIdentity<W>>,
    digests: u32,
    size: usize,
    /// Bytes of the records that the next connection is told.
    sent_size: usize,
}

impl<W> Default for SessionIdentities<W> {
    fn default() -> Self {
        SessionIdentities { known: Vec::new(), digests: 0, size: 0, sent_size: 0 }
    }
}

impl<W> SessionIdentities<W> {
    /// Adds one. False when the session has it already.
    ///
    /// # Errors
    /// [`Refused::TooManyIdentities`], [`Refused::LargeCredentials`]; nothing is added then.
    pub(super) fn add(
        &mut self,
        scheme: &str,
        credentials: &[u8],
        limits: Option<IdentityLimits>,
    ) -> Result<bool, Refused> {
        if self.find(scheme, credentials).is_some() {
            return Ok(false);
        }
        if scheme == "digest" {
            let limits = limits.unwrap_or(IdentityLimits { count_max: u32::MAX, size_max: u32::MAX });
            if self.digests >= limits.count_max {
                return Err(Refused::TooManyIdentities { max: limits.count_max });
            }
            if FIRST_SIZE + self.size + credentials.len() > limits.size_max as usize {
                return Err(Refused::LargeCredentials { max: limits.size_max });
            }
            let user = credentials.split(|byte| *byte == b':').next().unwrap_or_default();
            self.digests += 1;
            self.size += DIGEST_SIZE + String::from_utf8_lossy(user).len();
        }
        let identity =
            SessionIdentity { scheme: scheme.to_owned(), credentials: credentials.to_vec(), waiters: Vec::new() };
        self.sent_size += identity.body().len();
        self.known.push(identity);
        Ok(true)
    }

    fn find(&mut self, scheme: &str, credentials: &[u8]) -> Option<&mut SessionIdentity<W>> {
        self.known.iter_mut().find(|known| known.scheme == scheme && known.credentials == credentials)
    }

    /// Has `waiter` told of the server's answer the next time the identity is sent.
    pub(super) fn wait(&mut self, scheme: &str, credentials: &[u8], waiter: W) {
        let identity = self.find(scheme, credentials).expect("it was added");
        // The first one waits for the answer that comes anyway.
        let size = if identity.waiters.is_empty() { 0 } else { identity.body().len() };
        identity.waiters.push(waiter);
        self.sent_size += size;
    }

    /// Has every one of them sent to a new connection: `send` gets its record, and once for each that waits for the answer
    /// whom to tell.
    pub(super) fn send_all(&mut self, mut send: impl FnMut(&[u8], Option<W>)) {
        self.sent_size = 0;
        for identity in &mut self.known {
            let body = identity.body();
            self.sent_size += body.len();
            if identity.waiters.is_empty() {
                send(&body, None);
            }
            identity.waiters.drain(..).for_each(|waiter| send(&body, Some(waiter)));
        }
    }

    /// Those who wait for an identity to be sent.
    pub(super) fn take_waiters(&mut self) -> Vec<W> {
        self.known.iter_mut().flat_map(|identity| identity.waiters.drain(..)).collect()
    }

    /// Bytes of the records that the next connection is told.
    pub(super) fn sent_size(&self) -> usize {
        self.sent_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Option<IdentityLimits> = Some(IdentityLimits { count_max: 3, size_max: 65_536 });

    #[test]
    fn one_too_many_is_refused_and_one_added_twice_is_not() {
        let mut identities = SessionIdentities::<()>::default();
        for user in ["a:a", "b:b", "c:c"] {
            assert_eq!(identities.add("digest", user.as_bytes(), LIMITS), Ok(true));
        }
        assert_eq!(identities.add("digest", b"d:d", LIMITS), Err(Refused::TooManyIdentities { max: 3 }));
        assert_eq!(identities.add("digest", b"b:b", LIMITS), Ok(false));
        assert_eq!(identities.add("ip", b"", LIMITS), Ok(true), "it adds nothing at the server");
        assert_eq!(identities.known.len(), 4);
    }

    #[test]
    fn bytes_are_counted_as_the_server_does() {
        let mut identities = SessionIdentities::<()>::default();
        let long = vec![b'u'; 40_000];
        assert_eq!(identities.add("digest", &long, LIMITS), Ok(true));
        let (other, short) = (vec![b'v'; 40_000], b"w:w".to_vec());
        assert_eq!(identities.add("digest", &other, LIMITS), Err(Refused::LargeCredentials { max: 65_536 }));
        assert_eq!(identities.add("digest", &short, LIMITS), Ok(true));
    }
}
