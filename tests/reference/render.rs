//! Frames from a server as masked text: one line each, equal exactly when the replies are.

use zoarium::jute::{Buffer, Decoder, JuteError, Text};
use zoarium::records::multi::MultiHeader;
use zoarium::records::replies::{
    AclReply, ChildrenStatReply, DataReply, ErrorReply, NamesReply, NumberReply, PathReply, PathStatReply, ReplyHeader,
    StatReply, WatcherEvent, WhoAmIReply,
};
use zoarium::records::requests::SaslToken;
use zoarium::records::{Acl, ErrorCode, EventType, OpCode};

use crate::masks::Masks;

/// A watch event's frame.
pub fn event(masks: &mut Masks, header: &ReplyHeader, body: &[u8]) -> String {
    let mut decoder = Decoder::new(body);
    let text = match decoder.read::<WatcherEvent<'_>>() {
        Ok(event) => {
            let kind = EventType::from_i32(event.kind).map_or(event.kind.to_string(), |kind| kind.to_string());
            format!("{kind} state={} {}", event.state, text(&event.path))
        }
        Err(error) => format!("{error} {}", bytes(body)),
    };
    format!("event zxid={} err={} {text}{}", masks.zxid(header.zxid), header.err, trailing(&decoder))
}

/// A reply's frame. The second value is the path it tells of, if any.
pub fn reply(masks: &mut Masks, op: i32, header: &ReplyHeader, body: &[u8]) -> (String, Option<String>) {
    let head = format!("reply xid={} zxid={} {}", header.xid, masks.zxid(header.zxid), code(header.err));
    if header.err != 0 && op == OpCode::MultiRead.to_i32() && !body.is_empty() {
        // What could be read before the request was refused; it has times in it, and no client looks at it.
        return (format!("{head} body of {}", body.len()), None);
    }
    if header.err != 0 {
        return (if body.is_empty() { head } else { format!("{head} body {}", bytes(body)) }, None);
    }
    let mut decoder = Decoder::new(body);
    let mut created = None;
    let text = match self::body(masks, op, &mut decoder, &mut created) {
        Ok(text) => format!("{head} {text}{}", trailing(&decoder)),
        Err(error) => format!("{head} {error} {}", bytes(body)),
    };
    (text, created)
}

fn trailing(decoder: &Decoder<'_>) -> String {
    if decoder.rest().is_empty() { String::new() } else { format!(" then {}", bytes(decoder.rest())) }
}

fn body(
    masks: &mut Masks,
    op: i32,
    decoder: &mut Decoder<'_>,
    created: &mut Option<String>,
) -> Result<String, JuteError> {
    Ok(match OpCode::from_i32(op) {
        Some(OpCode::Create) => {
            let path = decoder.read::<PathReply<'_>>()?.path;
            *created = Some(path.as_str().to_owned());
            text(&path)
        }
        Some(OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
            let reply: PathStatReply<'_> = decoder.read()?;
            *created = Some(reply.path.as_str().to_owned());
            format!("{} {}", text(&reply.path), masks.stat(&reply.stat))
        }
        Some(OpCode::Sync) => text(&decoder.read::<PathReply<'_>>()?.path),
        Some(OpCode::Exists | OpCode::SetData | OpCode::SetAcl) => masks.stat(&decoder.read::<StatReply>()?.stat),
        Some(OpCode::GetData | OpCode::Reconfig) => data(masks, decoder.read()?),
        Some(OpCode::GetAcl) => {
            let reply: AclReply<'_> = decoder.read()?;
            format!("{} {}", acl(&reply.acl), masks.stat(&reply.stat))
        }
        Some(OpCode::GetChildren | OpCode::GetEphemerals) => names(&decoder.read::<NamesReply<'_>>()?.names),
        Some(OpCode::GetChildren2) => {
            let reply: ChildrenStatReply<'_> = decoder.read()?;
            format!("{} {}", names(&reply.names), masks.stat(&reply.stat))
        }
        Some(OpCode::GetAllChildrenNumber) => decoder.read::<NumberReply>()?.total.to_string(),
        Some(OpCode::AddWatch) => format!("body err {}", decoder.read::<ErrorReply>()?.err),
        Some(OpCode::WhoAmI) => {
            let reply: WhoAmIReply<'_> = decoder.read()?;
            let infos = reply.infos.iter().map(|info| format!("{}:{}", text(&info.scheme), text(&info.user)));
            sorted(infos.collect())
        }
        Some(OpCode::Sasl) => format!("token {}", buffer(&decoder.read::<SaslToken<'_>>()?.token)),
        Some(OpCode::Multi | OpCode::MultiRead) => results(masks, decoder)?,
        _ => String::new(),
    })
}

fn results(masks: &mut Masks, decoder: &mut Decoder<'_>) -> Result<String, JuteError> {
    let mut all = String::new();
    loop {
        let header: MultiHeader = decoder.read()?;
        all += &format!("[{} {} {}", header.op, u8::from(header.done), header.err);
        if header.done {
            return Ok(all + "]");
        }
        // Results look like the replies of the operations, the type telling which.
        match OpCode::from_i32(header.op) {
            Some(OpCode::Error) => all += &format!(" {}", code(decoder.read::<ErrorReply>()?.err)),
            Some(op @ (OpCode::Create | OpCode::Create2 | OpCode::SetData | OpCode::GetData | OpCode::GetChildren)) => {
                all += " ";
                all += &body(masks, op.to_i32(), decoder, &mut None)?;
            }
            _ => {}
        }
        all += "]";
    }
}

fn data(masks: &mut Masks, reply: DataReply<'_>) -> String {
    format!("{} {}", buffer(&reply.data), masks.stat(&reply.stat))
}

fn names(names: &[Text<'_>]) -> String {
    sorted(names.iter().map(text).collect())
}

fn sorted(mut list: Vec<String>) -> String {
    list.sort();
    format!("[{}]", list.join(" "))
}

/// Identities that `auth` expands to come in no promised order: neighbours of one scheme and one set of perms are
/// sorted, nothing else.
fn acl(acl: &[Acl<'_>]) -> String {
    const DIGEST: &str = "\"digest\"";
    let mut entries: Vec<_> =
        acl.iter().map(|entry| (entry.perms, text(&entry.id.scheme), text(&entry.id.id))).collect();
    for run in entries.chunk_by_mut(|a, b| a.0 == b.0 && a.1 == DIGEST && b.1 == DIGEST) {
        run.sort();
    }
    let entries: Vec<_> = entries.iter().map(|(perms, scheme, id)| format!("{perms}:{scheme}:{id}")).collect();
    entries.join(",")
}

/// An error by number and name.
pub fn code(err: i32) -> String {
    match ErrorCode::from_i32(err) {
        Some(code) => format!("{err}={code}"),
        None => format!("{err}=?"),
    }
}

fn text(text: &Text<'_>) -> String {
    match &text.0 {
        None => "null".into(),
        Some(text) => format!("{text:?}"),
    }
}

fn buffer(buffer: &Buffer<'_>) -> String {
    buffer.0.map_or("null".into(), bytes)
}

/// Bytes for people: as text where they are text, long ones by length and sum.
pub fn bytes(bytes: &[u8]) -> String {
    if bytes.len() > 200 {
        let sum = bytes.iter().fold(0u64, |sum, &byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
        return format!("{} bytes #{sum:x}", bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}

/// The answer to a handshake, of 36 bytes or 37.
pub fn handshake(masks: &Masks, frame: &[u8]) -> String {
    let mut decoder = Decoder::new(frame);
    let read = |decoder: &mut Decoder<'_>| -> Result<String, JuteError> {
        let (protocol, timeout, session): (i32, i32, i64) = decoder.read()?;
        let password = decoder.read::<Buffer<'_>>()?.0.unwrap_or_default();
        let zero = if password.iter().all(|&byte| byte == 0) { "zero" } else { "set" };
        Ok(format!(
            "handshake protocol={protocol} timeout={timeout} session={} password of {} {zero} read-only={:?}",
            masks.session(session),
            password.len(),
            decoder.rest(),
        ))
    };
    read(&mut decoder).unwrap_or_else(|error| format!("handshake {error} {}", bytes(frame)))
}

/// Whether a rendered line is an event, and of which transaction.
pub fn event_zxid(line: &str) -> Option<&str> {
    line.strip_prefix("event zxid=")?.split(' ').next()
}
