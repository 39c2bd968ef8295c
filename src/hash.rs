//! Hashes for tables, always by keys that the caller gives: one seed gives one trace.
//!
//! Paths are hashed with SipHash-1-3, one name at a time, so that a child's hash follows from its parent's.

use crate::meter;

/// The secret of one engine's tables: whoever does not know it cannot choose names that collide.
#[derive(Clone, Copy)]
pub(crate) struct Keys(pub(crate) [u64; 2]);

/// Hash of the root's path; every other one is a chain of [`Keys::step`] from here.
pub(crate) const ROOT_HASH: u64 = 0;

impl Keys {
    /// The hash of `name` under a parent whose hash is `parent`.
    #[inline]
    pub(crate) fn step(self, parent: u64, name: &[u8]) -> u64 {
        meter::steps(name.len() / 32);
        let [k0, k1] = self.0;
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        absorb(&mut v, parent);
        let mut words = name.chunks_exact(8);
        for word in &mut words {
            absorb(&mut v, u64::from_le_bytes(word.try_into().expect("chunks of eight bytes")));
        }
        absorb(&mut v, little_endian(words.remainder()) | (name.len() as u64) << 56);
        v[2] ^= 0xff;
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    /// The hash of a number in a snapshot, for a table that lives as long as the loading.
    #[inline]
    pub(crate) fn number(self, number: u32) -> u64 {
        let [k0, k1] = self.0;
        let product = u128::from(u64::from(number) ^ k0) * u128::from(k1 | 1);
        product as u64 ^ (product >> 64) as u64
    }

    /// The hash of a text by itself.
    #[inline]
    pub(crate) fn text(self, text: &str) -> u64 {
        self.step(ROOT_HASH, text.as_bytes())
    }

    /// The hash of a whole path; `""` and `"/"` are the root.
    #[inline]
    pub(crate) fn path(self, path: &str) -> u64 {
        let mut hash = ROOT_HASH;
        if path.len() > 1 {
            for name in path.as_bytes()[1..].split(|&byte| byte == b'/') {
                hash = self.step(hash, name);
            }
        }
        hash
    }
}

/// For ids that servers issue and clients cannot choose: no keys are needed, only a spread over the whole width.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

/// A map from such ids.
pub(crate) type IdMap<K, V> = hashbrown::HashMap<K, V, std::hash::BuildHasherDefault<IdHasher>>;

impl std::hash::Hasher for IdHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_i64(&mut self, number: i64) {
        self.write_u64(number as u64);
    }
}

/// Up to seven bytes as a number, without a loop.
#[inline]
fn little_endian(bytes: &[u8]) -> u64 {
    let (length, byte) = (bytes.len(), |at: usize| u64::from(bytes[at]) << (8 * at));
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // What lies in both is the same in both.
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4))
        }
        _ if length == 0 => 0,
        _ => byte(0) | byte(length / 2) | byte(length - 1),
    }
}

#[inline]
fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;
    use crate::ids::SessionId;

    #[test]
    fn a_path_hash_is_the_chain_of_its_names() {
        let keys = Keys([1, 2]);
        assert_eq!(keys.path("/"), ROOT_HASH);
        assert_eq!(keys.path(""), ROOT_HASH);
        let ab = keys.step(keys.step(ROOT_HASH, b"a"), b"b");
        assert_eq!(keys.path("/a/b"), ab);
        assert_ne!(keys.path("/b/a"), ab);
        assert_ne!(keys.path("/ab"), ab);
    }

    #[test]
    fn ids_in_a_row_spread_over_both_ends_of_the_hash() {
        let hash = |id: i64| BuildHasherDefault::<IdHasher>::default().hash_one(SessionId(id));
        let hashes: Vec<u64> = (0..1024).map(|number| hash(0x0100_0000_0000_0000 + number)).collect();
        let ends = |shift: u32| hashes.iter().map(|hash| hash >> shift & 0x7f).collect::<BTreeSet<u64>>().len();
        assert!(ends(0) > 120 && ends(57) > 120, "{} and {} of 128", ends(0), ends(57));
        assert_eq!(hash(7), hash(7));
    }

    #[test]
    fn another_seed_gives_other_hashes() {
        assert_ne!(Keys([1, 2]).path("/a"), Keys([1, 3]).path("/a"));
        assert_ne!(Keys([1, 2]).path("/a"), Keys([2, 2]).path("/a"));
    }

    #[test]
    fn it_is_siphash_1_3_over_the_parents_hash_and_the_name() {
        // Computed by another implementation, in Python; the length that is hashed is the name's.
        let keys = Keys([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        assert_eq!(Keys([1, 2]).step(0, b"a"), 0xf57b_a059_1266_e21b);
        assert_eq!(keys.step(0x1122_3344_5566_7788, b"12345678"), 0x9a1f_a3ea_a890_c60d);
        assert_eq!(Keys([7, 9]).step(5, b"zookeeper-quota-limits"), 0x04b2_0ddf_ee5e_c424);
        assert_eq!(keys.number(0x0102_0304), 0x439a_0d87_7717_233f);
        assert_eq!(Keys([1, 2]).number(7), 0x12);
    }

    #[test]
    fn the_rest_of_a_name_counts_byte_by_byte() {
        for length in 0..=7 {
            let bytes = &[0x81_u8, 2, 3, 0xf4, 5, 6, 0x97][..length];
            let expected = bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
            assert_eq!(little_endian(bytes), expected, "{length}");
        }
    }

    #[test]
    fn names_that_differ_in_zero_bytes_at_the_end_hash_differently() {
        let keys = Keys([7, 7]);
        assert_ne!(keys.step(0, b"a"), keys.step(0, b"a\0"));
        assert_ne!(keys.step(0, b"12345678"), keys.step(0, b"12345678\0"));
    }
}
