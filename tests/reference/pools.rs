//! Where values come from: few enough that operations meet, odd enough that rules show.

use crate::rng::Rng;
use crate::step::Entry;

/// Znodes that most operations are about.
const PATHS: &[&str] = &[
    "/t",
    "/t/a",
    "/t/b",
    "/t/c",
    "/t/a/x",
    "/t/a/y",
    "/t/a/x/deep",
    "/t/b/x",
    "/t/b/s-",
    "/t/s-",
    "/t/a/s-",
    "/t/ab",
    "/t/b/x/s-",
    "/c",
    "/c/x",
    "/c/y",
    "/c/x/z",
    "/acl",
    "/acl/a",
    "/acl/b",
    "/acl/a/x",
    "/acl/a/y",
    "/acl/b/x",
    "/q",
    "/q/a",
    "/q/b",
    "/q/a/x",
    "/q/a/y",
    "/q/s-",
];

/// Znodes with a life of their own.
const RESERVED: &[&str] = &["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// Paths that are wrong, or only look so.
const ODD: &[&[u8]] = &[
    b"",
    b"foo",
    b"t/a",
    b"//",
    b"/t//a",
    b"/t/",
    b"/t/a/",
    b"/nowhere/",
    b"/nowhere/x",
    b"/.",
    b"/..",
    b"/./a",
    b"/t/.",
    b"/t/..",
    b"/t/../c",
    b"/t/.a",
    b"/t/..b",
    b"/t/...",
    b"/t/a.",
    b"/t/\0",
    b"/t/a\0b",
    b"/t/\x01",
    b"/t/\x1e",
    b"/t/\x1f",
    b"/t/\x7f",
    b"/t/a b",
    b"/t/%:=,",
    "/t/\u{80}".as_bytes(),
    "/t/\u{9f}".as_bytes(),
    "/t/\u{a0}".as_bytes(),
    "/t/é".as_bytes(),
    "/t/\u{2028}".as_bytes(),
    "/t/\u{d7ff}".as_bytes(),
    "/t/\u{e000}".as_bytes(),
    "/t/\u{f8ff}".as_bytes(),
    "/t/\u{f900}".as_bytes(),
    "/t/\u{ffef}".as_bytes(),
    "/t/\u{fff0}".as_bytes(),
    "/t/\u{fffd}".as_bytes(),
    b"/t/\xff\xfe",
    b"/t/\xc3",
    b"/t/\xed\xa0\x80",
    "/t/\u{1f980}".as_bytes(),
    b"/zookeeper/x",
    b"/zookeeper/config/x",
    b"/zookeeper/quota/x",
    b"/zookeeper/quota/q/zookeeper_limits",
    b"/zookeeper/quota/q/zookeeper_stats",
];

/// What a random request's path is taken from.
pub fn path(rng: &mut Rng, made: &[String]) -> Vec<u8> {
    match rng.below(100) {
        0..=79 => rng.pick(PATHS).into(),
        80..=88 if !made.is_empty() => rng.pick(made).into_bytes(),
        80..=91 => rng.pick(RESERVED).into(),
        _ => rng.pick(ODD).into(),
    }
}

/// A path that may also be null.
pub fn nullable_path(rng: &mut Rng, made: &[String]) -> Option<Vec<u8>> {
    (!rng.chance(1)).then(|| path(rng, made))
}

/// Znodes that a clean-up deletes, children first, and then makes anew.
pub fn ordinary_paths() -> Vec<&'static str> {
    let mut paths: Vec<_> = PATHS.iter().copied().filter(|path| !path.ends_with('-')).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    paths
}

pub fn data(rng: &mut Rng) -> Option<Vec<u8>> {
    let size = match rng.below(20) {
        0 | 1 => return None,
        2 | 3 => 0,
        4..=16 => 1 + rng.below(12),
        17 | 18 => 100 + rng.below(300),
        _ => 5000,
    };
    let first = rng.next() as u8;
    Some((0..size).map(|i| b'a' + (first.wrapping_add(i as u8) % 26)).collect())
}

pub fn version(rng: &mut Rng) -> i32 {
    match rng.below(20) {
        0..=9 => -1,
        10..=12 => 0,
        13 | 14 => 1,
        15 => 2,
        16 => 3,
        17 => -2,
        18 => i32::MAX,
        _ => i32::MIN,
    }
}

pub const USERS: &[&[u8]] =
    &[b"u:p", b"v:w", b"u:other", b"nocolon", b"x:y:z", b":", b"u\xff:p\xc3", b"s\xed\xa0\x80:p\xe2\x82"];

/// The credentials the servers know as super.
pub const SUPER: &str = "super:test";

/// The id that digest credentials turn into.
pub fn digest(credentials: &[u8]) -> String {
    use base64::Engine;
    // Java makes one replacement character of a surrogate, Rust three.
    let credentials = String::from_utf8_lossy(credentials).replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}");
    let user = credentials.split(':').next().unwrap_or("");
    let hash = sha1_smol::Sha1::from(&*credentials).digest().bytes();
    format!("{user}:{}", base64::engine::general_purpose::STANDARD.encode(hash))
}

fn entry(perms: i32, scheme: &str, id: &str) -> Entry {
    (perms, Some(scheme.into()), Some(id.into()))
}

pub fn open_acl() -> Option<Vec<Entry>> {
    Some(vec![entry(31, "world", "anyone")])
}

/// Mostly open; any kind of list otherwise, but for nulls in entries: they are the difference `null-in-an-acl`.
pub fn acl(rng: &mut Rng, open_percent: usize) -> Option<Vec<Entry>> {
    if rng.chance(open_percent) {
        return open_acl();
    }
    let mut list = match rng.below(40) {
        0 => return None,
        1 => Vec::new(),
        2..=29 => vec![good_entry(rng)],
        30..=36 => (0..2 + rng.below(3)).map(|_| good_entry(rng)).collect(),
        37 => {
            let twice = good_entry(rng);
            vec![twice.clone(), entry(31, "world", "anyone"), twice]
        }
        _ => vec![entry(31, "world", "anyone"), bad_entry(rng)],
    };
    if rng.chance(8) {
        list.push(bad_entry(rng));
    }
    Some(list)
}

/// A list that everybody may read by, if it is any good. Where catching up on watches is compared, nothing else will
/// do: what comes of a znode that may not be read is the difference `catching-up-respects-acls`.
pub fn readable_acl(rng: &mut Rng, open_percent: usize) -> Option<Vec<Entry>> {
    let mut list = acl(rng, open_percent)?;
    if !list.is_empty() {
        list.push(entry(1, "world", "anyone"));
    }
    Some(list)
}

fn perms(rng: &mut Rng) -> i32 {
    match rng.below(12) {
        0..=3 => 31,
        4 => 0,
        5 => 1 << 20 | 1,
        6 => -1,
        _ => rng.below(32) as i32,
    }
}

/// None within `::ffff:0:0/96`: they are the difference `ipv4-mapped-network`.
const GOOD_ADDRESSES: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1/8",
    "10.0.0.0/8",
    "127.0.0.1/32",
    "0.0.0.0/0",
    "0127.00.000.1",
    "+127.0.0.1/08",
    "-0.0.0.0/0",
    "::1",
    "::1/64",
    "::/0",
    "0:0:0:0:0:0:0:1",
    "1:2:3:4:5:6:7::",
    "FE80::/010",
];

const BAD_ADDRESSES: &[&str] = &[
    "300.1.1.1",
    "127.0.0.1/33",
    "127.0.0",
    "host",
    "",
    "127.0.0.1/",
    "/8",
    "127.0.0.1/-1",
    "127.0.0.1/8/8",
    " 127.0.0.1",
    "::1/129",
    "::ffff:127.0.0.1",
    "00001::",
    "1::2::3",
    "1:2:3:4:5:6:7:8::",
    "::1%lo",
];

fn good_entry(rng: &mut Rng) -> Entry {
    let perms = perms(rng);
    match rng.below(12) {
        0..=2 => entry(perms, "world", "anyone"),
        3..=5 => entry(perms, "auth", rng.pick(&["", "ignored"])),
        6..=8 => entry(perms, "digest", &digest(rng.pick(USERS))),
        9 => entry(perms, "digest", rng.pick(&["a:b", ":h", "u:not-a-hash"])),
        _ => entry(perms, "ip", rng.pick(GOOD_ADDRESSES)),
    }
}

fn bad_entry(rng: &mut Rng) -> Entry {
    let perms = perms(rng);
    match rng.below(10) {
        0 => entry(perms, "world", "nobody"),
        1 => entry(perms, "world", ""),
        2 => entry(perms, "super", ""),
        3 => entry(perms, "foo", "bar"),
        4 => entry(perms, "", "anyone"),
        5 => entry(perms, "digest", rng.pick(&["abc", "abc:", "a:b:c", "", ":"])),
        6 => entry(perms, "ip", rng.pick(BAD_ADDRESSES)),
        7 => entry(perms, "sasl", "someone"),
        8 => entry(perms, "x509", "CN=someone"),
        _ => (perms, Some(b"digest".to_vec()), Some("ü:\u{1f980}".into())),
    }
}

pub fn ttl(rng: &mut Rng) -> i64 {
    rng.pick(&[0, 1, 1_000_000, 86_400_000, -1, -5, (1 << 40) - 1, 1 << 40, i64::MAX, i64::MIN])
}

pub fn limits(rng: &mut Rng) -> Vec<u8> {
    rng.pick(&[
        "count=2,bytes=-1",
        "count=5,bytes=10",
        "count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=3",
        "count=3,bytes=20=;byteHardLimit=20;countHardLimit=3",
        "byteHardLimit=15",
        "countHardLimit=4",
        "countHardLimit=2;byteHardLimit=100",
        "count=1,bytes=1,",
        "byteHardLimit=-1,countHardLimit=-1",
        "count=2=3,bytes=5",
        "hello",
        "count=x",
        "countHardLimit=",
        "",
    ])
    .into()
}
