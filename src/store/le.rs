//! Little-endian numbers at fixed offsets. Reading past the end gives 0, so no hostile length can panic here.

fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N).and_then(|end| from.get(at..end)).and_then(|found| found.try_into().ok()).unwrap_or([0; N])
}

pub(crate) fn u16_at(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(from, at))
}

pub(crate) fn u32_at(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(from, at))
}

pub(crate) fn u64_at(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(from, at))
}

pub(crate) fn array_at<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    bytes(from, at)
}

/// Writes `value` at `at` of a buffer that our own code has sized.
pub(crate) fn put<const N: usize>(into: &mut [u8], at: usize, value: [u8; N]) {
    into[at..at + N].copy_from_slice(&value);
}

pub(crate) fn put_u16(into: &mut [u8], at: usize, value: u16) {
    put(into, at, value.to_le_bytes());
}

pub(crate) fn put_u32(into: &mut [u8], at: usize, value: u32) {
    put(into, at, value.to_le_bytes());
}

pub(crate) fn put_u64(into: &mut [u8], at: usize, value: u64) {
    put(into, at, value.to_le_bytes());
}
