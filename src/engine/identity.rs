//! Who a connection is, and what that permits.
//!
//! Source: ZooKeeper 3.9 `PrepRequestProcessor.fixupACL`, `ZooKeeperServer.checkACL`, `DigestAuthenticationProvider`,
//! `IPAuthenticationProvider`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;

use crate::digests::DigestAlg;
use crate::jute::Text;
use crate::records::{Acl, ErrorCode, Id};
use crate::tree::{AclList, IpNetwork, id_hash};

/// Bytes of the identities that a stored ACL may have got by `auth`.
const AUTH_SIZE_MAX: usize = 64 << 10;

/// The identities of one connection. Only ever grows.
#[derive(Clone, Debug)]
pub(crate) struct Identities {
    /// `None` where another server has not said it.
    address: Option<IpAddr>,
    ids: Vec<Id<'static>>,
    /// Of `ids`, sorted, and where each stands there.
    hashes: Vec<(u64, usize)>,
    is_super: bool,
}

impl Identities {
    /// What every connection is: its address.
    pub(crate) fn new(address: IpAddr) -> Identities {
        let mut new = Identities { address: Some(address), ids: Vec::new(), hashes: Vec::new(), is_super: false };
        new.add(Id { scheme: "ip".into(), id: java_address(address).into() });
        new
    }

    /// Those that another server says its client has. It is trusted, as in ZooKeeper: the quorum port is for servers only.
    pub(crate) fn of(ids: &[Id<'static>]) -> Identities {
        let mut new = Identities { address: None, ids: Vec::new(), hashes: Vec::new(), is_super: false };
        for id in ids {
            match id.scheme.as_str() {
                // A zone may follow a percent sign.
                "ip" => new.address = id.id.as_str().split('%').next().and_then(|address| address.parse().ok()),
                "super" => new.is_super = true,
                _ => {}
            }
            new.add(id.clone());
        }
        new
    }

    /// All of them, `ip` first.
    pub(crate) fn ids(&self) -> &[Id<'static>] {
        &self.ids
    }

    /// Bytes of all of them.
    pub(crate) fn size(&self) -> usize {
        self.ids.iter().map(|id| id.scheme.as_str().len() + id.id.as_str().len()).sum()
    }

    pub(crate) fn has_scheme(&self, scheme: &str) -> bool {
        self.ids.iter().any(|id| id.scheme.as_str() == scheme)
    }

    /// Adds the identity that `user:password` stands for, and `super` if it is the configured one. There is no wrong
    /// password: any credentials give some identity.
    pub(crate) fn add_digest(&mut self, credentials: &[u8], alg: DigestAlg, super_digest: Option<&str>) {
        let id = digest_of(credentials, alg);
        if super_digest.is_some_and(|expected| crate::session::same_bytes(expected.as_bytes(), id.as_bytes())) {
            self.is_super = true;
            self.add(Id::new("super", ""));
        }
        self.add(Id { scheme: "digest".into(), id: id.into() });
    }

    fn add(&mut self, id: Id<'static>) {
        if !self.ids.contains(&id) {
            let entry = (id_hash(&id), self.ids.len());
            self.hashes.insert(self.hashes.partition_point(|other| *other < entry), entry);
            self.ids.push(id);
        }
    }

    /// Whether `acl` grants one of the bits in `wanted`.
    pub(crate) fn permits(&self, acl: &AclList, wanted: i32) -> bool {
        self.is_super || acl.grants(wanted, self.address, |hash, id| self.knows(hash, id))
    }

    fn knows(&self, hash: u64, id: &Id<'_>) -> bool {
        let from = self.hashes.partition_point(|&(other, _)| other < hash);
        let alike = self.hashes[from..].iter().take_while(|&&(other, _)| other == hash);
        alike.into_iter().any(|&(_, at)| self.ids[at] == *id)
    }
}

/// The identity of `user:password`: the user, a colon, and the hash of the whole in Base64. The whole is the text that Java
/// makes of the bytes.
pub(crate) fn digest_of(credentials: &[u8], alg: DigestAlg) -> String {
    let text = java_text(credentials);
    let user = text.split(':').next().unwrap_or("");
    let hash = base64::engine::general_purpose::STANDARD.encode(alg.hash(text.as_bytes()));
    format!("{user}:{hash}")
}

/// Bytes as Java reads them as UTF-8: what is none becomes U+FFFD as it does in Rust, except that a surrogate of three
/// bytes, or its first two at the end of a chunk of such bytes, becomes one and not one for each byte.
fn java_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let Some(chunk) = bytes[at..].utf8_chunks().next() else { break };
        text.push_str(chunk.valid());
        at += chunk.valid().len();
        let invalid = chunk.invalid().len();
        if invalid > 0 {
            text.push(char::REPLACEMENT_CHARACTER);
            at += match bytes[at..] {
                [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
                [0xed, 0xa0..=0xbf, ..] => 2,
                _ => invalid,
            };
        }
    }
    Cow::Owned(text)
}

/// The ACL as it will be stored: duplicates dropped, `auth` replaced by the caller's identities.
///
/// # Errors
/// [`ErrorCode::InvalidAcl`] for an empty list, an unknown scheme or an id its scheme does not accept.
pub(crate) fn fix_up<'a>(
    acl: Option<Vec<Acl<'a>>>,
    caller: &Identities,
    digest_enabled: bool,
    entries_max: usize,
) -> Result<Vec<Acl<'a>>, ErrorCode> {
    let requested = acl.unwrap_or_default();
    if requested.is_empty() || requested.len() > entries_max {
        return Err(ErrorCode::InvalidAcl);
    }
    // The usual case, without looking further.
    if requested.len() == 1 && requested[0].id == Id::ANYONE {
        return Ok(requested);
    }
    let mut fixed: Vec<Acl<'a>> = Vec::with_capacity(requested.len());
    let mut seen = std::collections::BTreeSet::new();
    let mut auth_size = 0;
    for acl in requested {
        if !seen.insert(acl.clone()) {
            continue;
        }
        if acl.id.scheme.is_null() {
            return Err(ErrorCode::InvalidAcl);
        }
        match (acl.id.scheme.as_str(), acl.id.id.as_str()) {
            ("world", "anyone") => fixed.push(acl),
            ("auth", _) => {
                // Identities by address are not proof of anything, and `super` has no provider.
                let known = caller.ids.iter().filter(|id| id.scheme.as_str() == "digest");
                let before = fixed.len();
                // A few bytes of request become all identities of the caller: so the limit is looked at before.
                auth_size += caller.size();
                if auth_size > AUTH_SIZE_MAX || before + caller.ids.len() > entries_max {
                    return Err(ErrorCode::InvalidAcl);
                }
                fixed.extend(known.map(|id| Acl { perms: acl.perms, id: id.clone() }));
                if fixed.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
            }
            ("digest", id) if digest_enabled && is_digest_id(id) => fixed.push(acl),
            ("ip", id) if IpNetwork::from_str(id).is_ok() => fixed.push(acl),
            _ => return Err(ErrorCode::InvalidAcl),
        }
    }
    Ok(fixed)
}

/// As Java splits at colons: two parts, trailing empty ones not counted.
fn is_digest_id(id: &str) -> bool {
    let mut parts: Vec<&str> = id.split(':').collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts.len() == 2
}

/// `id` without the secret part, for those who may read the ACL but not change it (SC-68).
pub(crate) fn masked(id: &Id<'_>) -> Id<'static> {
    if id.scheme.as_str() != "digest" {
        return id.clone().into_owned();
    }
    let user = id.id.as_str().split(':').next().unwrap_or("");
    Id { scheme: Text::from("digest"), id: format!("{user}:x").into() }
}

/// The user part of an identity, for `whoAmI`.
pub(crate) fn user_of<'a>(id: &'a Id<'_>) -> &'a str {
    match id.scheme.as_str() {
        "digest" => id.id.as_str().split(':').next().unwrap_or(""),
        _ => id.id.as_str(),
    }
}

/// An address as Java prints it: IPv6 in full, without `::`.
pub fn java_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|part| format!("{part:x}")).join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Identities {
        Identities::new("127.0.0.1".parse().unwrap())
    }

    fn list(entries: &[Acl<'_>]) -> AclList {
        AclList::new(entries)
    }

    #[test]
    fn passwords_that_are_no_utf8_are_read_as_java_reads_them() {
        // Made with Java 17: FNV-1a of what `new String(bytes, UTF_8).getBytes(UTF_8)` gives for all sequences of up to
        // four of these bytes.
        let bytes = [
            0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
            0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff,
        ];
        let mut hash = 0_u64;
        let mut add = |value: u64| hash = (hash ^ value).wrapping_mul(0x0100_0000_01b3);
        for length in 1..=4 {
            for number in 0..bytes.len().pow(length) {
                let digit = |place: u32| bytes[number / bytes.len().pow(length - 1 - place) % bytes.len()];
                let sequence: Vec<u8> = (0..length).map(digit).collect();
                java_text(&sequence).bytes().for_each(|byte| add(u64::from(byte)));
                add(0x100);
            }
        }
        assert_eq!(hash, 5_730_799_198_862_773_028);
        assert_eq!(
            digest_of(b"u:\xff", DigestAlg::default()),
            digest_of("u:\u{fffd}".as_bytes(), DigestAlg::default())
        );
        assert_eq!(
            digest_of(b"u\xed\xa0\x80:p", DigestAlg::default()),
            digest_of("u\u{fffd}:p".as_bytes(), DigestAlg::default())
        );
    }

    #[test]
    fn an_identity_is_found_among_many_and_is_not_taken_for_another() {
        let mut who = local();
        for i in 0..64 {
            who.add_digest(format!("u{i}:p").as_bytes(), DigestAlg::default(), None);
        }
        for i in 0..64 {
            let id = digest_of(format!("u{i}:p").as_bytes(), DigestAlg::default());
            assert!(
                who.permits(&list(&[Acl { perms: 1, id: Id { scheme: "digest".into(), id: id.clone().into() } }]), 1)
            );
            assert!(!who.permits(&list(&[Acl { perms: 1, id: Id { scheme: "sasl".into(), id: id.into() } }]), 1));
        }
        assert!(!who.permits(&list(&[Acl::new(1, "digest", "u0:p")]), 1));
        assert!(!who.permits(&list(&[Acl::new(1, "world", "someone"), Acl::new(1, "ip", "nonsense")]), 1));
    }

    #[test]
    fn digests_are_those_of_zookeeper() {
        for (credentials, id) in [
            ("super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
            ("user:password", "user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY="),
            ("u:p", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="),
        ] {
            assert_eq!(digest_of(credentials.as_bytes(), DigestAlg::default()), id);
        }
        assert!(digest_of(b"x", DigestAlg::default()).starts_with("x:"));
        assert!(digest_of(b"", DigestAlg::default()).starts_with(':'));
    }

    fn fixed(acl: Vec<Acl<'static>>, who: &Identities) -> Result<Vec<Acl<'static>>, ErrorCode> {
        fix_up(Some(acl), who, true, 1000)
    }

    #[test]
    fn auth_becomes_the_identities_of_the_caller_in_place() {
        let mut who = local();
        let acl = vec![Acl::new(31, "auth", "ignored"), Acl::new(1, "world", "anyone")];
        assert_eq!(fixed(acl.clone(), &who), Err(ErrorCode::InvalidAcl));
        who.add_digest(b"u:p", DigestAlg::default(), None);
        who.add_digest(b"v:p", DigestAlg::default(), None);
        let fixed = fixed(acl, &who).unwrap();
        assert_eq!(fixed.len(), 3);
        assert_eq!(fixed[0], Acl::new(31, "digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="));
        assert_eq!(fixed[2], Acl::new(1, "world", "anyone"));
    }

    #[test]
    fn malformed_acls_are_refused() {
        //
        let who = local();
        for (scheme, id) in [
            ("world", "someone"),
            ("digest", "abc:"),
            ("digest", "a:b:c"),
            ("super", "x"),
            ("nope", "x"),
            ("ip", "1.2.3.4/33"),
            ("ip", "1.2.3"),
            ("ip", "1.2.3.4/x"),
        ] {
            assert_eq!(fixed(vec![Acl::new(31, scheme, id)], &who), Err(ErrorCode::InvalidAcl), "{scheme}:{id}");
        }
        assert_eq!(fixed(vec![], &who), Err(ErrorCode::InvalidAcl));
        assert_eq!(fix_up(None, &who, true, 1000), Err(ErrorCode::InvalidAcl));
        assert_eq!(fix_up(Some(vec![Acl::open(); 3]), &who, true, 2), Err(ErrorCode::InvalidAcl));
        for (scheme, id) in [("digest", ":h"), ("digest", "a:b"), ("ip", "10.0.0.0/8"), ("ip", "::1")] {
            assert!(fixed(vec![Acl::new(31, scheme, id)], &who).is_ok(), "{scheme}:{id}");
        }
        let twice = vec![Acl::new(1, "ip", "::1"), Acl::new(1, "ip", "::1"), Acl::new(2, "ip", "::1")];
        assert_eq!(fixed(twice, &who).unwrap().len(), 2, "exact duplicates are dropped");
    }

    #[test]
    fn addresses_match_by_their_first_bits() {
        let permits = |who: &str, entry: &str| {
            Identities::new(who.parse().unwrap()).permits(&list(&[Acl::new(1, "ip", entry)]), 1)
        };
        assert!(permits("10.1.2.3", "10.0.0.0/8"));
        assert!(!permits("11.1.2.3", "10.0.0.0/8"));
        assert!(permits("11.1.2.3", "10.0.0.0/0"));
        assert!(permits("10.1.2.3", "10.1.2.3"));
        assert!(permits("::1", "0:0:0:0:0:0:0:1"));
        assert!(permits("fe80::1", "fe80::/16"));
        assert!(!permits("fe80::1", "10.0.0.0/0"));
        assert!(permits("::ffff:10.0.0.1", "10.0.0.1"), "an IPv4 client on a socket that serves both");
    }

    #[test]
    fn super_passes_every_check() {
        let mut who = local();
        let nobody = list(&[Acl::new(31, "digest", "a:b")]);
        assert!(!who.permits(&nobody, 1));
        who.add_digest(b"super:test", DigestAlg::default(), Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        assert!(who.permits(&nobody, 16));
        assert!(who.has_scheme("super"));
    }

    #[test]
    fn an_empty_acl_is_open_and_bits_must_meet() {
        let who = local();
        assert!(who.permits(&list(&[]), 31));
        assert!(!who.permits(&list(&[Acl::new(1, "world", "anyone")]), 2));
        assert!(who.permits(&list(&[Acl::new(16, "world", "anyone")]), 1 | 16));
    }

    #[test]
    fn secrets_are_masked() {
        // SC-68
        assert_eq!(masked(&Id::new("digest", "u:hash")), Id::new("digest", "u:x"));
        assert_eq!(masked(&Id::new("ip", "::1")), Id::new("ip", "::1"));
        assert_eq!(java_address("::1".parse().unwrap()), "0:0:0:0:0:0:0:1");
    }
}
