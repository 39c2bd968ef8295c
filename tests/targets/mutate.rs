//! Changes inputs at random, keeping lengths right where they gate the depth.

use super::{Rng, Shape, pieces};

/// Numbers that parsers trip over: special xids, ends of ranges, limits and their neighbours.
const NUMBERS: [i32; 22] = [
    0,
    1,
    -1,
    -2,
    -4,
    -8,
    -9,
    -10,
    -11,
    2,
    4,
    14,
    22,
    100,
    105,
    255,
    256,
    0x0f_ffff,
    0x10_0000,
    i32::MAX,
    i32::MIN,
    1024,
];
const TEXTS: [&[u8]; 12] = [
    b"/",
    b"/a",
    b"//",
    b"/a/",
    b"/.",
    b"/..",
    b"/zookeeper",
    b"/zookeeper/quota",
    b"\0",
    b"\xc3\xa9",
    b"auth",
    b"digest",
];

/// A mutation of `input`; `other` is another input to take parts from.
pub(crate) fn mutate(input: &[u8], other: &[u8], shape: Shape, size_max: usize, rng: &mut Rng) -> Vec<u8> {
    let mut out = match shape {
        Shape::Frames if !rng.chance(8) => in_parts(frames(input), frames(other), rng, true),
        Shape::Pieces if !rng.chance(8) => in_parts(pieces(input), pieces(other), rng, false),
        _ => {
            let mut bytes = input.to_vec();
            for _ in 0..1 + rng.below(4) {
                change(&mut bytes, other, rng);
            }
            bytes
        }
    };
    out.truncate(size_max);
    out
}

/// Changes parts or their order; the lengths in front are made anew.
fn in_parts(parts: Vec<&[u8]>, others: Vec<&[u8]>, rng: &mut Rng, big_endian: bool) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = parts.into_iter().map(<[u8]>::to_vec).collect();
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(parts.len());
        match rng.below(8) {
            0 if !parts.is_empty() => drop(parts.remove(at)),
            1 if !parts.is_empty() => {
                let copy = parts[at].clone();
                let to = rng.below(parts.len() + 1);
                parts.insert(to, copy);
            }
            2 if !others.is_empty() => {
                let part = others[rng.below(others.len())].to_vec();
                let to = rng.below(parts.len() + 1);
                parts.insert(to, part);
            }
            3 if parts.len() > 1 => {
                let with = rng.below(parts.len());
                parts.swap(at, with);
            }
            _ => {
                let other = if others.is_empty() { &[][..] } else { others[rng.below(others.len())] };
                if let Some(part) = parts.get_mut(at) {
                    change(part, other, rng);
                }
            }
        }
    }
    let mut out = Vec::new();
    for part in parts {
        if big_endian {
            out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        } else {
            out.extend_from_slice(&(part.len().min(0xffff) as u16).to_le_bytes());
        }
        out.extend_from_slice(&part);
    }
    out
}

/// The payloads of client frames; what is no whole frame is left out.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some(frame) = rest.get(..length) else { break };
        frames.push(frame);
        bytes = &rest[length..];
    }
    frames
}

fn change(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.below(bytes.len());
    match rng.below(9) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = [0, 1, 0xff, 0x7f, 0x80, b'/', rng.next() as u8][rng.below(7)];
            }
        }
        3 | 4 => {
            let number = match rng.below(4) {
                0 => (bytes.len() as i32).wrapping_add(rng.below(9) as i32 - 4),
                _ => NUMBERS[rng.below(NUMBERS.len())],
            };
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&number.to_be_bytes());
            }
        }
        5 => {
            let count = (1 + rng.below(8)).min(bytes.len() - at.min(bytes.len()));
            bytes.drain(at..at + count);
        }
        6 => {
            let count = 1 + rng.below(16);
            let byte = rng.next() as u8;
            bytes.splice(at..at, std::iter::repeat_n(byte, count));
        }
        7 => {
            let text = TEXTS[rng.below(TEXTS.len())];
            bytes.splice(at..at, text.iter().copied());
        }
        _ => {
            let from = rng.below(other.len());
            let count = rng.below(other.len() - from.min(other.len()) + 1).min(256);
            if rng.chance(2) {
                bytes.truncate(at);
            }
            let at = at.min(bytes.len());
            bytes.splice(at..at, other[from..from + count].iter().copied());
        }
    }
}
