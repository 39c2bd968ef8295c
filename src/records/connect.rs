//! The handshake: the only records without a header.

use serde::{Deserialize, Serialize};

use crate::jute::{Buffer, Decoder, JuteError, encode};

/// The fixed part of a client's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectRequest<'a> {
    /// Ignored.
    pub protocol_version: i32,
    /// The highest zxid the client has seen; 0 for a new one.
    pub last_zxid_seen: i64,
    /// Asked session timeout, ms.
    pub timeout: i32,
    /// 0 for a new session, else the one to resume.
    pub session_id: i64,
    /// 16 bytes from a client that follows the protocol.
    #[serde(borrow)]
    pub password: Buffer<'a>,
}

impl<'a> ConnectRequest<'a> {
    /// Decodes a frame's payload. The second value is the read-only flag, `None` from clients that do not send it: they
    /// must get a response without it too (SC-62).
    ///
    /// # Errors
    /// [`JuteError`] when the payload is too short.
    pub fn decode(payload: &'a [u8]) -> Result<(ConnectRequest<'a>, Option<bool>), JuteError> {
        let mut decoder = Decoder::new(payload);
        let request = decoder.read()?;
        let read_only = decoder.rest().first().map(|&byte| byte != 0);
        Ok((request, read_only))
    }
}

/// The server's answer. `timeout` and `session_id` are both 0 when the session was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectResponse<'a> {
    /// Always 0.
    pub protocol_version: i32,
    /// Granted session timeout, ms.
    pub timeout: i32,
    /// The session.
    pub session_id: i64,
    /// Exactly 16 bytes: the C client reads a structure of fixed size.
    #[serde(borrow)]
    pub password: Buffer<'a>,
}

impl ConnectResponse<'_> {
    /// Appends the response, with the read-only flag only where the request had one.
    pub fn encode(&self, read_only: Option<bool>, out: &mut Vec<u8>) {
        encode(self, out);
        if let Some(flag) = read_only {
            out.push(u8::from(flag));
        }
    }
}
