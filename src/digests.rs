//! The hashes of scheme `digest`: an identity is `user:` and the hash of `user:password` in Base64.
//!
//! SHA-1, ZooKeeper's default, is always there. The others are there with the feature `digests`, which the command line
//! has: a program that links the library and needs them switches it on.

use std::fmt;

use sha1_smol::Sha1;

/// A hash for scheme `digest`: what `DigestAuthenticationProvider.digestAlg` names. The default is SHA-1.
#[derive(Clone, Copy)]
pub struct DigestAlg(&'static Hash);

struct Hash {
    /// The names Java has for it, its own first.
    names: &'static [&'static str],
    of: fn(&[u8]) -> Vec<u8>,
}

const fn hash(names: &'static [&'static str], of: fn(&[u8]) -> Vec<u8>) -> Hash {
    Hash { names, of }
}

static SHA1: Hash = hash(&["SHA1", "SHA-1", "SHA"], |bytes| Sha1::from(bytes).digest().bytes().to_vec());

#[cfg(feature = "digests")]
static OTHERS: &[Hash] = &[
    hash(&["SHA-224", "SHA224"], of::<sha2::Sha224>),
    hash(&["SHA-256", "SHA256"], of::<sha2::Sha256>),
    hash(&["SHA-384", "SHA384"], of::<sha2::Sha384>),
    hash(&["SHA-512", "SHA512"], of::<sha2::Sha512>),
    hash(&["SHA-512/224", "SHA512/224"], of::<sha2::Sha512_224>),
    hash(&["SHA-512/256", "SHA512/256"], of::<sha2::Sha512_256>),
    hash(&["SHA3-224"], of::<sha3::Sha3_224>),
    hash(&["SHA3-256"], of::<sha3::Sha3_256>),
    hash(&["SHA3-384"], of::<sha3::Sha3_384>),
    hash(&["SHA3-512"], of::<sha3::Sha3_512>),
    hash(&["MD5"], of::<md5::Md5>),
];

#[cfg(not(feature = "digests"))]
static OTHERS: &[Hash] = &[];

#[cfg(feature = "digests")]
fn of<D: sha2::Digest>(bytes: &[u8]) -> Vec<u8> {
    D::digest(bytes).to_vec()
}

impl DigestAlg {
    /// What a configuration may name, for messages.
    pub const ALLOWED: &str = if cfg!(feature = "digests") {
        "SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224, SHA-512/256, SHA3-224, SHA3-256, SHA3-384, SHA3-512 or MD5"
    } else {
        "SHA1; the others need a library built with the feature digests"
    };

    /// The hash of this name, if it is there. Java does not mind upper and lower case, so we do not.
    pub fn parse(name: &str) -> Option<DigestAlg> {
        let named = |hash: &&Hash| hash.names.iter().any(|known| known.eq_ignore_ascii_case(name));
        std::iter::once(&SHA1).chain(OTHERS).find(named).map(DigestAlg)
    }

    /// The hash of `bytes`.
    pub fn hash(self, bytes: &[u8]) -> Vec<u8> {
        (self.0.of)(bytes)
    }

    fn name(self) -> &'static str {
        self.0.names[0]
    }
}

impl Default for DigestAlg {
    fn default() -> DigestAlg {
        DigestAlg(&SHA1)
    }
}

impl PartialEq for DigestAlg {
    fn eq(&self, other: &DigestAlg) -> bool {
        self.name() == other.name()
    }
}

impl Eq for DigestAlg {}

impl fmt::Display for DigestAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DigestAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(all(test, feature = "digests"))]
mod tests {
    use base64::Engine as _;

    use super::*;

    /// `user:password` as Java's `MessageDigest` of that name hashes it.
    const HASHES: &[(&str, &str)] = &[
        ("SHA", "tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY="),
        ("SHA1", "tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY="),
        ("sha-1", "tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY="),
        ("SHA-224", "6GVb/vhYOXU2cAmhuRkcw8i4Z9QlgKhGYZai5Q=="),
        ("SHA224", "6GVb/vhYOXU2cAmhuRkcw8i4Z9QlgKhGYZai5Q=="),
        ("SHA-256", "yRsdas04PETE7CDJcj51jDEYKh9PAjHWPZElmi6hS50="),
        ("sha256", "yRsdas04PETE7CDJcj51jDEYKh9PAjHWPZElmi6hS50="),
        ("SHA-384", "htIoC30hHolTa+/hAI2QsaAqrqOKMHUmlPlzBeIkfRWNGBi/8/dVKpuOsOWVq8qs"),
        ("SHA-512", "jpg++2gII4jzID8eXmWBSuUbGt1jbK9iB9PlOOf0uNwG7O0rsNtKX7GP4vq+QM0ncsfbzxZTuyf0xv2Xbkfz1Q=="),
        ("SHA-512/224", "MZdBJGxu8PSnKQpp+Fo/Xs6A8MWSKppTyvOXgQ=="),
        ("SHA512/224", "MZdBJGxu8PSnKQpp+Fo/Xs6A8MWSKppTyvOXgQ=="),
        ("SHA-512/256", "BJ4p7RfQWcJD4uSvfIaTRHf2W3T/r7vXir0nGIUZvt4="),
        ("SHA3-224", "iE1hEZYPbgaQsjoOF7BzR3Lz7yiM2opep1De6g=="),
        ("SHA3-256", "NAR2RZ7JZxGXKOuQubzhytx9PjP71AWWZoOY+TVw1hw="),
        ("SHA3-384", "ohHEqQqd1LbhZS1M4c5EPH62D07UypO0a5QNAmWrxR442b/TvdLCT3OKB2ZtvgnF"),
        ("SHA3-512", "crJkDTyqNBLSeN9ANTupt+rbekG69LtWeiMDgZ83Q+aPOWeSWYcv+UR8e+oDQH+grRbbiWDlL9r4FgwNVo+jdg=="),
        ("MD5", "OunqX+etW/ZSxR9D2ldCLA=="),
    ];

    #[test]
    fn every_hash_that_zookeeper_takes_gives_its_value() {
        for (name, expected) in HASHES {
            let alg = DigestAlg::parse(name).unwrap_or_else(|| panic!("{name} is not known"));
            assert_eq!(
                base64::engine::general_purpose::STANDARD.encode(alg.hash(b"user:password")),
                *expected,
                "{name}"
            );
            assert_eq!(DigestAlg::parse(&alg.to_string()), Some(alg));
        }
        // Java knows none of these either.
        for name in ["", "WHIRLPOOL", "MD-5", "SHA3256", "SHA-257"] {
            assert_eq!(DigestAlg::parse(name), None, "{name}");
        }
    }
}
