//! The C ABI, over [`crate::server`] and [`crate::client::handle`]. `include/zoarium.h` is generated from this room.
//!
//! Every function runs inside `guard`: handles are checked, panics become a code, `errno` stays the caller's. Pointers
//! come from C, so every function here trusts its caller for as much as its doc says and no more.

#![allow(unsafe_code, reason = "pointers come from C")]
#![allow(non_camel_case_types, reason = "the names are C's")]
#![allow(unreachable_pub, dead_code, reason = "exported by symbol and by header, not by path")]
#![allow(clippy::missing_safety_doc, reason = "what a caller must see to is in each function's doc, for C readers")]

mod client;
mod codes;
mod config;
mod ensemble;
mod guard;
mod log;
mod operations;
mod pending;
mod queue;
mod requests;
mod result;
mod server;
#[cfg(test)]
mod tests;

use std::ffi::c_char;

/// The number of this interface. The same number: the same functions or more, with the same meaning.
pub const ZOA_ABI: u32 = 1;

/// The interface number of the library at run time; compare it with `ZOA_ABI` on loading.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_abi() -> u32 {
    ZOA_ABI
}

/// The release, `"0.1.0"`. Static. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What was built in, names separated by spaces; empty where nothing is optional. Static. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_features() -> *const c_char {
    c"".as_ptr()
}
