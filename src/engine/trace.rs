//! What the log tells of connections at debug and of requests at trace. Never data, and never what a client proves itself
//! with: of those there are only sizes here.

use super::conn::CloseReason;
use crate::jute::{Buffer, Decoder, Text, decode};
use crate::records::OpCode;
use crate::records::multi::{MultiOp, decode_ops};
use crate::records::requests::AuthRequest;

/// Characters of a path or a scheme.
const TEXT_MAX: usize = 200;
/// Operations of a multi that are named.
const PARTS_MAX: usize = 8;

/// A request in words: operation, path, sizes.
pub(super) fn request(number: i32, body: &[u8]) -> String {
    let Some(op) = OpCode::from_i32(number) else { return format!("operation {number}, {} bytes", body.len()) };
    let mut decoder = Decoder::new(body);
    match op {
        OpCode::Auth => match decode::<AuthRequest<'_>>(body) {
            Ok(request) => format!("{op} scheme {}", shown(request.scheme.as_str())),
            Err(_) => format!("{op}, malformed"),
        },
        OpCode::Multi | OpCode::MultiRead => match decode_ops(body) {
            Ok(parts) => {
                let mut named: Vec<String> = parts.iter().take(PARTS_MAX).map(part).collect();
                if parts.len() > PARTS_MAX {
                    named.push(format!("{} more", parts.len() - PARTS_MAX));
                }
                format!("{op} of {}: {}", parts.len(), named.join(", "))
            }
            Err(_) => format!("{op}, malformed"),
        },
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl | OpCode::SetData => {
            match (decoder.read::<Text<'_>>(), decoder.read::<Buffer<'_>>()) {
                (Ok(path), Ok(data)) => format!("{op} {} {} bytes", shown(path.as_str()), data.len()),
                _ => format!("{op}, malformed"),
            }
        }
        OpCode::Delete
        | OpCode::Exists
        | OpCode::GetData
        | OpCode::GetAcl
        | OpCode::SetAcl
        | OpCode::GetChildren
        | OpCode::GetChildren2
        | OpCode::Sync
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::GetEphemerals
        | OpCode::GetAllChildrenNumber
        | OpCode::AddWatch => match decoder.read::<Text<'_>>() {
            Ok(path) => format!("{op} {}", shown(path.as_str())),
            Err(_) => format!("{op}, malformed"),
        },
        _ if body.is_empty() => op.to_string(),
        _ => format!("{op}, {} bytes", body.len()),
    }
}

fn part(part: &MultiOp<'_>) -> String {
    let (op, path) = match part {
        MultiOp::Create(op, create) => (*op, &create.path),
        MultiOp::CreateTtl(request) => (OpCode::CreateTtl, &request.create.path),
        MultiOp::Delete(delete) => (OpCode::Delete, &delete.path),
        MultiOp::SetData(set) => (OpCode::SetData, &set.path),
        MultiOp::Check(check) => (OpCode::Check, &check.path),
        MultiOp::GetData(get) => (OpCode::GetData, &get.path),
        MultiOp::GetChildren(get) => (OpCode::GetChildren, &get.path),
    };
    format!("{op} {}", shown(path.as_str()))
}

/// Text from outside: it may not forge a line, and is cut.
fn shown(text: &str) -> String {
    text.chars().flat_map(char::escape_debug).take(TEXT_MAX).collect()
}

impl CloseReason {
    /// In words, for the log.
    pub(super) fn words(&self) -> &str {
        match self {
            CloseReason::Asked => "its client closed the session",
            CloseReason::SessionEnded => "the session has ended",
            CloseReason::Moved => "the session is resumed on another connection",
            CloseReason::Refused => "the session to resume is not there or the password does not match",
            CloseReason::Unauthenticated => "authentication failed or is required",
            CloseReason::Stopping => "the server stops",
            CloseReason::NotServing => "the server has no leader",
            CloseReason::Cut => "it is cut on request",
            CloseReason::Violation(why) => why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::{encode, encoded};
    use crate::records::Acl;
    use crate::records::multi::MultiHeader;
    use crate::records::requests::{CreateRequest, PathVersionRequest, PathWatchRequest, SetDataRequest};

    fn check(op: OpCode, body: &[u8], expected: &str) {
        assert_eq!(request(op.to_i32(), body), expected);
    }

    fn create(path: &'static str) -> CreateRequest<'static> {
        let acl = Some(vec![Acl::new(31, "digest", "bob:c2VjcmV0")]);
        CreateRequest { path: path.into(), data: Buffer::new(b"top secret"), acl, flags: 0 }
    }

    #[test]
    fn a_request_is_a_line_without_what_is_nobodys_business() {
        check(OpCode::Create, &encoded(&create("/a")), "create /a 10 bytes");
        check(OpCode::Create, &encoded(&create("/a\n\x1b[2J")), "create /a\\n\\u{1b}[2J 10 bytes");
        let set = SetDataRequest { path: "/a".into(), data: Buffer::new(b"top secret"), version: -1 };
        check(OpCode::SetData, &encoded(&set), "setData /a 10 bytes");
        check(OpCode::GetData, &encoded(&PathWatchRequest { path: "/a".into(), watch: true }), "getData /a");
        let auth = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"bob:secret") };
        check(OpCode::Auth, &encoded(&auth), "auth scheme digest");
        check(OpCode::Sasl, b"secret", "sasl, 6 bytes");
        check(OpCode::Ping, b"", "ping");
        check(OpCode::GetData, b"x", "getData, malformed");
        assert_eq!(request(4711, b"secret"), "operation 4711, 6 bytes");
        let long = format!("/{}", "x".repeat(5000));
        let text =
            request(OpCode::GetData.to_i32(), &encoded(&PathWatchRequest { path: long.as_str().into(), watch: false }));
        assert!(text.len() < 300, "{text}");
    }

    #[test]
    fn a_multi_names_its_first_parts() {
        let mut body = Vec::new();
        encode(&MultiHeader::request(OpCode::Create), &mut body);
        encode(&create("/a"), &mut body);
        for _ in 0..9 {
            encode(&MultiHeader::request(OpCode::Check), &mut body);
            encode(&PathVersionRequest { path: "/b".into(), version: -1 }, &mut body);
        }
        encode(&MultiHeader::END, &mut body);
        let checks = ["check /b"; 7].join(", ");
        check(OpCode::Multi, &body, &format!("multi of 10: create /a, {checks}, 2 more"));
    }
}
