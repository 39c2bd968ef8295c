//! Decoders of single records: what they accept, they write back so that it reads the same (Z-02, Z-03, Z-05, Z-10, Z-12).

use zoarium::four_letter::{Whitelist, Word, is_allowed, refused};
use zoarium::jute::{Decoder, encode, encoded};
use zoarium::path;
use zoarium::records::connect::{ConnectRequest, ConnectResponse};
use zoarium::records::multi::{MultiHeader, decode_ops, decode_results};
use zoarium::records::replies::*;
use zoarium::records::requests::*;
use zoarium::records::txn::{Txn, decode_txn, encode_txn};
use zoarium::records::{Acl, Id, Stat};
use zoarium::{Config, config};

/// What decodes is written back as bytes that decode to the same. They need no more room, but for what is no UTF-8: each
/// such byte is read as a character of three.
macro_rules! check {
    ($input:expr, $record:ty) => {{
        let input: &[u8] = $input;
        let mut decoder = Decoder::new(input);
        if let Ok(record) = decoder.read::<$record>() {
            let used = input.len() - decoder.rest().len();
            let bytes = encoded(&record);
            assert!(bytes.len() <= 3 * used, "{used} bytes became {}: {record:?}", bytes.len());
            let again = Decoder::new(&bytes).read::<$record>();
            assert_eq!(again.as_ref(), Ok(&record));
        }
    }};
}

/// Z-02
pub(crate) fn requests(input: &[u8]) {
    let Some((&which, body)) = input.split_first() else { return };
    match which % 14 {
        0 => check!(body, RequestHeader),
        1 => check!(body, CreateRequest<'_>),
        2 => check!(body, CreateTtlRequest<'_>),
        3 => check!(body, PathVersionRequest<'_>),
        4 => check!(body, PathWatchRequest<'_>),
        5 => check!(body, SetDataRequest<'_>),
        6 => check!(body, PathRequest<'_>),
        7 => check!(body, SetAclRequest<'_>),
        8 => check!(body, ReconfigRequest<'_>),
        9 => check!(body, WatchRequest<'_>),
        10 => check!(body, AuthRequest<'_>),
        11 => check!(body, SaslToken<'_>),
        12 => check!(body, SetWatchesRequest<'_>),
        _ => check!(body, PersistentWatches<'_>),
    }
}

/// Z-02
pub(crate) fn replies(input: &[u8]) {
    let Some((&which, body)) = input.split_first() else { return };
    match which % 16 {
        0 => check!(body, ReplyHeader),
        1 => check!(body, PathReply<'_>),
        2 => check!(body, PathStatReply<'_>),
        3 => check!(body, StatReply),
        4 => check!(body, DataReply<'_>),
        5 => check!(body, AclReply<'_>),
        6 => check!(body, NamesReply<'_>),
        7 => check!(body, ChildrenStatReply<'_>),
        8 => check!(body, NumberReply),
        9 => check!(body, ErrorReply),
        10 => check!(body, WhoAmIReply<'_>),
        11 => check!(body, WatcherEvent<'_>),
        12 => check!(body, Stat),
        13 => check!(body, Vec<Acl<'_>>),
        14 => check!(body, Id<'_>),
        _ => {
            if let Ok((request, read_only)) = ConnectRequest::decode(body) {
                let mut bytes = encoded(&request);
                bytes.extend(read_only.map(u8::from));
                assert_eq!(ConnectRequest::decode(&bytes), Ok((request, read_only)));
            }
            check!(body, ConnectResponse<'_>);
        }
    }
}

/// Z-03
pub(crate) fn multi(input: &[u8]) {
    let Some((_, body)) = input.split_first() else { return };
    if let Ok(ops) = decode_ops(body) {
        // Each operation needs its header and a body.
        assert!(ops.len() * 9 <= body.len());
    }
    if let Ok(results) = decode_results(body) {
        assert!(results.len() * 9 <= body.len());
    }
    check!(body, MultiHeader);
}

/// Z-05: a word is what it is and no near miss, and no frame length a client may send.
pub(crate) fn words(input: &[u8]) {
    if let Some(first) = input.first_chunk::<4>() {
        if let Some(word) = Word::from_bytes(*first) {
            assert_eq!(word.as_str().as_bytes(), first);
            assert!(i32::from_be_bytes(*first) > 0x0f_ffff, "{word:?} could be the length of a frame");
            assert!(refused(word).contains(word.as_str()));
        } else {
            assert!(Word::ALL.iter().all(|word| word.as_str().as_bytes() != first));
        }
    }
    let list = Whitelist::parse(&String::from_utf8_lossy(input));
    for word in Word::ALL {
        is_allowed(word, &list, false);
    }
}

/// Z-12
pub(crate) fn paths(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let text = text.as_ref();
    let valid = path::is_valid(text);
    let parts = path::split(text);
    if valid {
        assert!(path::is_plausible(text), "{text:?}");
        let (parent, name) = parts.expect("a valid path begins with a slash");
        if text != "/" {
            assert!(path::is_valid(parent), "{text:?} has the parent {parent:?}");
            assert_eq!(path::depth(text), path::depth(parent) + 1);
            assert!(!name.is_empty() && !name.contains('/'));
        }
        assert!(path::is_valid(&path::with_sequence(text, 1)) || text.len() > 8000);
    }
    if let Some((parent, name)) = parts {
        assert!(text.starts_with(parent) || parent == "/");
        assert!(text.ends_with(name) && !name.contains('/'));
    }
    path::is_reserved(text);
    // Identities and quotas take part through the server's targets; connect strings through the configuration's.
    Whitelist::parse(text);
}

/// Z-12: a file, and what the command line or the environment add to it.
pub(crate) fn configuration(input: &[u8]) {
    thread_local! {
        static FILE: std::path::PathBuf = {
            let name = format!("zoarium-fuzz-{}-{:?}.cfg", std::process::id(), std::thread::current().id());
            std::env::temp_dir().join(name)
        };
    }
    // Keys that name files and folders would have them read.
    let text = String::from_utf8_lossy(input).replace("File", "x").replace("Dir", "y");
    let pairs: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .filter(|(key, _)| !["dir", "file"].iter().any(|part| key.to_lowercase().contains(part)))
        .collect();
    FILE.with(|path| {
        std::fs::write(path, &text).expect("the temporary folder can be written");
        let from_file = Config::read(Some(path), &[], std::iter::empty());
        let _ = std::fs::remove_file(path);
        let variable = |(key, value): &(String, String)| (format!("ZOARIUM_{}", key.to_uppercase()), value.clone());
        let from_environment = Config::read(None, &[], pairs.iter().map(variable));
        for loaded in [from_file, Config::read(None, &pairs, std::iter::empty()), from_environment] {
            match loaded {
                Ok(loaded) => look_at(&loaded),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    });
}

fn look_at(loaded: &config::Loaded) {
    let config = &loaded.config;
    assert!(config.connections_max() > 0 || config.max_cnxns == 0);
    assert!(config.limits.sessionless_max(config.connections_max()) > 0);
    let _ = (config.session_timeout_min_ms(), config.session_timeout_max_ms(), config.store_options());
    for note in &loaded.notes {
        assert!(!format!("{note:?}").is_empty());
    }
}

/// Z-10
pub(crate) fn txn(input: &[u8]) {
    let Ok((header, txn, digest)) = decode_txn(input) else { return };
    let mut bytes = Vec::new();
    if header.op != txn.op().to_i32() {
        panic!("type {} became {}", header.op, txn.op().to_i32());
    }
    encode_txn(&header, &txn, &mut bytes);
    if let Some(digest) = &digest {
        encode(digest, &mut bytes);
    }
    // Old records leave fields out which are written as their defaults; what is written must then stay as it is.
    let (header2, txn2, digest2) = decode_txn(&bytes).expect("our own bytes");
    assert_eq!((&header, &txn), (&header2, &txn2));
    if digest.is_some() {
        assert_eq!(digest, digest2);
    }
    let mut parts = Vec::new();
    if let Txn::Multi(subs) = &txn {
        for sub in subs {
            if let Ok(part) = Txn::decode(sub.op, &mut Decoder::new(sub.data.0.unwrap_or_default())) {
                part.encode(&mut parts);
            }
        }
    }
}
