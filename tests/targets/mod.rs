//! The fuzz targets: each takes any bytes and panics when something is wrong with what the library makes of them.
//!
//! They run three ways: over the committed corpora and mutations of them (`tests/corpus.rs`), under libFuzzer and in a
//! loop of its own (`fuzz/`). The IDs are those of the list of parsers that meet bytes from outside.

// Each of the crates that include this uses a part of it.
#![allow(dead_code, unused_imports)]

mod conversation;
mod image;
pub(crate) mod mutate;
mod records;
pub(crate) mod seeds;
mod state;

pub(crate) use image::SPARSE_IMAGES;

/// How an input is built, for the mutator: where lengths gate the depth, most mutations keep them right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Just bytes.
    Plain,
    /// Client frames: a big-endian i32 length before each.
    Frames,
    /// Pieces behind a little-endian u16 length each.
    Pieces,
}

/// One parser or state machine under attack.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Also the folder of its corpus and the name of its binary.
    pub(crate) name: &'static str,
    /// How its inputs are built.
    pub(crate) shape: Shape,
    /// The largest input worth trying, bytes.
    pub(crate) size_max: usize,
    /// Takes one input.
    pub(crate) run: fn(&[u8]),
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    // Z-01: what one client sends, cut at random places, with a healthy client beside it.
    target("frames", Shape::Frames, 64 << 10, conversation::frames),
    // Z-04: the same up to the first few frames, byte by byte.
    target("handshake", Shape::Frames, 8 << 10, conversation::handshake),
    // Z-16: a server with several clients, driven by a little language.
    target("server", Shape::Plain, 16 << 10, conversation::server),
    // Z-02
    target("requests", Shape::Plain, 8 << 10, records::requests),
    target("replies", Shape::Plain, 8 << 10, records::replies),
    // Z-03
    target("multi", Shape::Plain, 8 << 10, records::multi),
    // Z-05
    target("words", Shape::Plain, 1 << 10, records::words),
    // Z-12
    target("paths", Shape::Plain, 4 << 10, records::paths),
    target("config", Shape::Plain, 8 << 10, records::configuration),
    // Z-10
    target("txn", Shape::Plain, 8 << 10, records::txn),
    // Z-11
    target("replay", Shape::Pieces, 32 << 10, state::replay),
    // Z-08
    target("snapshot", Shape::Pieces, 32 << 10, state::snapshot),
    // Z-15
    target("watches", Shape::Plain, 4 << 10, state::watches),
    // Z-09, Z-10
    target("recovery", Shape::Plain, 4 << 10, image::recovery),
];

const fn target(name: &'static str, shape: Shape, size_max: usize, run: fn(&[u8])) -> Target {
    Target { name, shape, size_max, run }
}

/// The target of that name.
pub(crate) fn find(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

/// Small deterministic random numbers (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// For an input: the same bytes behave the same way every time.
    pub(crate) fn of(bytes: &[u8]) -> Rng {
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Rng(hash)
    }
}

/// The pieces of [`Shape::Pieces`]; what is left over at the end is the last.
pub(crate) fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
