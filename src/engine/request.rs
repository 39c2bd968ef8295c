//! How the records of requests are read, and the one record of a reply that reads and writes share.

use crate::jute::{Decoder, Text, encode};
use crate::records::ErrorCode;
use crate::records::replies::PathReply;
use crate::records::requests::PathRequest;

/// A cursor over a request's record with the engine's field limit.
pub(super) fn decoder(body: &[u8]) -> Decoder<'_> {
    Decoder::with_limit(body, body.len())
}

/// The record that a request consists of.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, ErrorCode> {
    decoder(body).read().map_err(|_| ErrorCode::MarshallingError)
}

/// A request that names nothing but a path.
pub(super) fn parse_path(path: &str) -> PathRequest<'_> {
    PathRequest { path: path.into() }
}

/// The reply to `create`, shared with writes.
pub(super) fn encode_path(path: &Text<'_>, out: &mut Vec<u8>) {
    encode(&PathReply { path: path.as_str().into() }, out);
}
