//! Transactions as lines a human can read.

use zoarium::four_letter::civil;
use zoarium::ids::WallMillis;
use zoarium::jute::{Buffer, Decoder};
use zoarium::records::txn::{Txn, TxnHeader, decode_txn};
use zoarium::records::{Acl, ErrorCode, OpCode, perms};

/// Bytes of data shown per znode, when data is shown at all.
const DATA_SHOWN_MAX: usize = 64;

/// One transaction as one line; a multi has a line for each part. `with_data` shows the first bytes of data.
pub(crate) fn describe(bytes: &[u8], with_data: bool) -> String {
    match decode_txn(bytes) {
        Ok((header, txn, _)) => format!("{} {}", head(&header), body(&txn, with_data)),
        Err(error) => format!("{} bytes that are no transaction: {error}", bytes.len()),
    }
}

fn head(header: &TxnHeader) -> String {
    let moment = WallMillis(header.time);
    let date = civil(moment);
    format!(
        "{} {:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03} session {} cxid {}",
        header.zxid,
        date.year,
        date.month,
        date.day,
        date.hour,
        date.minute,
        date.second,
        header.time.rem_euclid(1000),
        header.session,
        header.cxid
    )
}

fn body(txn: &Txn<'_>, with_data: bool) -> String {
    let data = |data: &Buffer<'_>| shown_data(data, with_data);
    match txn {
        Txn::Create(create) | Txn::Create2(create) => format!(
            "{} {}{} {} acl {} parent-cversion {}",
            txn.op(),
            escaped(create.path.as_str()),
            if create.ephemeral { " ephemeral" } else { "" },
            data(&create.data),
            acls(&create.acl),
            create.parent_cversion
        ),
        Txn::CreateContainer(create) => format!(
            "{} {} {} acl {} parent-cversion {}",
            txn.op(),
            escaped(create.path.as_str()),
            data(&create.data),
            acls(&create.acl),
            create.parent_cversion
        ),
        Txn::CreateTtl(create) => format!(
            "{} {} ttl {} ms {} acl {} parent-cversion {}",
            txn.op(),
            escaped(create.path.as_str()),
            create.ttl,
            data(&create.data),
            acls(&create.acl),
            create.parent_cversion
        ),
        Txn::Delete(delete) | Txn::DeleteContainer(delete) => format!("{} {}", txn.op(), escaped(delete.path.as_str())),
        Txn::SetData(set) | Txn::Reconfig(set) => {
            format!("{} {} version {} {}", txn.op(), escaped(set.path.as_str()), set.version, data(&set.data))
        }
        Txn::SetAcl(set) => {
            format!("{} {} version {} acl {}", txn.op(), escaped(set.path.as_str()), set.version, acls(&set.acl))
        }
        Txn::Check(check) => format!("{} {} version {}", txn.op(), escaped(check.path.as_str()), check.version),
        Txn::Multi(parts) => {
            let mut text = format!("{} of {}", txn.op(), parts.len());
            for part in parts {
                let bytes = part.data.0.unwrap_or_default();
                let line = match Txn::decode(part.op, &mut Decoder::with_limit(bytes, bytes.len())) {
                    // Nobody writes one, and it is not followed, so this goes one level deep.
                    Ok(Txn::Multi(_)) => "a multi inside a multi".to_owned(),
                    Ok(part) => body(&part, with_data),
                    Err(error) => format!("unreadable: {error}"),
                };
                text += &format!("\n    {line}");
            }
            text
        }
        Txn::CreateSession(session) => format!("{} timeout {} ms", txn.op(), session.timeout),
        Txn::CloseSession(None) => format!("{}", txn.op()),
        Txn::CloseSession(Some(close)) => {
            let paths: Vec<String> = close.paths.iter().map(|path| escaped(path.as_str())).collect();
            format!("{} with {} ephemerals {}", txn.op(), paths.len(), paths.join(" ")).trim_end().to_owned()
        }
        Txn::Error(error) => match ErrorCode::from_i32(error.err) {
            Some(code) => format!("refused: {code} ({})", error.err),
            None => format!("{} {}", OpCode::Error, error.err),
        },
    }
}

fn shown_data(data: &Buffer<'_>, with_data: bool) -> String {
    match data.0 {
        None => "no data".to_owned(),
        Some(bytes) if with_data => {
            let first = &bytes[..bytes.len().min(DATA_SHOWN_MAX)];
            let more = if first.len() < bytes.len() { "…" } else { "" };
            format!("{} bytes \"{}\"{more}", bytes.len(), first.escape_ascii())
        }
        Some(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// Outside text on a line of ours: what could forge a line or move the cursor is escaped.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}

fn acls(acls: &[Acl<'_>]) -> String {
    let entries: Vec<String> = acls
        .iter()
        .map(|acl| {
            // A digest's hash lets the password be guessed: it stays in the file.
            let scheme = acl.id.scheme.as_str();
            let id = match (scheme, acl.id.id.as_str().split_once(':')) {
                ("digest", Some((user, _))) => format!("{}:x", escaped(user)),
                _ => escaped(acl.id.id.as_str()),
            };
            format!("{}:{id}:{}", escaped(scheme), letters(acl.perms))
        })
        .collect();
    if entries.is_empty() { "none".to_owned() } else { entries.join(",") }
}

/// Permissions in zkCli's letters.
fn letters(bits: i32) -> String {
    let letters =
        [(perms::CREATE, 'c'), (perms::DELETE, 'd'), (perms::READ, 'r'), (perms::WRITE, 'w'), (perms::ADMIN, 'a')];
    letters.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use zoarium::ids::{SessionId, Zxid};
    use zoarium::jute::{Text, encoded};
    use zoarium::records::txn::{CreateTxn, DeleteTxn, SubTxn, encode_txn};

    use super::*;

    fn line(txn: &Txn<'_>, with_data: bool) -> String {
        let time = 1_795_178_874_316;
        let header = TxnHeader { session: SessionId(0x2c), cxid: 3, zxid: Zxid(0x108), time, op: txn.op().to_i32() };
        let mut bytes = Vec::new();
        encode_txn(&header, txn, &mut bytes);
        describe(&bytes, with_data)
    }

    fn create<'a>(path: &'a str, acl: Vec<Acl<'a>>) -> CreateTxn<'a> {
        CreateTxn { path: Text::new(path), data: Buffer::new(b"h\ni"), acl, ephemeral: true, parent_cversion: 7 }
    }

    #[test]
    fn a_transaction_is_a_line_without_its_data_unless_asked() {
        let txn = Txn::Create2(create("/a", vec![Acl::open()]));
        let head = "0x108 2026-11-20 12:47:54.316 session 0x2c cxid 3";
        let tail = "acl world:anyone:cdrwa parent-cversion 7";
        assert_eq!(line(&txn, false), format!("{head} create2 /a ephemeral 3 bytes {tail}"));
        assert_eq!(line(&txn, true), format!("{head} create2 /a ephemeral 3 bytes \"h\\ni\" {tail}"));
    }

    #[test]
    fn a_path_cannot_forge_a_line_and_a_hash_is_not_shown() {
        let text = line(&Txn::Create(create("/a\n0x109\x1b[2J", vec![Acl::new(1, "digest", "bob:c2VjcmV0")])), false);
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("digest:bob:x:r") && !text.contains("c2VjcmV0") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_multi_has_a_line_for_each_part() {
        let delete = encoded(&DeleteTxn { path: Text::new("/gone") });
        let part = |op: OpCode, bytes| SubTxn { op: op.to_i32(), data: Buffer::new(bytes) };
        let text = line(&Txn::Multi(vec![part(OpCode::Delete, &delete), part(OpCode::SetData, b"\0")]), false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("multi of 2"), "{text}");
        assert_eq!(lines[1], "    delete /gone");
        assert!(lines[2].starts_with("    unreadable"), "{text}");
    }

    #[test]
    fn refusals_name_their_code_and_garbage_is_said_to_be_garbage() {
        let code = ErrorCode::from_i32(-101).unwrap();
        assert!(line(&Txn::error(code), false).ends_with(&format!("refused: {code} (-101)")));
        assert!(describe(b"zzz", false).starts_with("3 bytes that are no transaction"));
    }
}
