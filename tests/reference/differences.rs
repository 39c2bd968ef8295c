//! The differences we mean. Each is named as in the table of `docs/COMPATIBILITY.md`.

use crate::step::Request;

/// Differences that a script meets: the request if it is a reply, Apache ZooKeeper's line and ours decide whether it is
/// one.
pub struct Difference {
    pub name: &'static str,
    pub holds: fn(Option<&Request>, &str, &str) -> bool,
}

pub const IN_SCRIPTS: &[Difference] = &[
    Difference {
        name: "sync-null-path",
        holds: |request, theirs, ours| {
            is(request, 9) && theirs.strip_suffix(" null").is_some_and(|head| ours.strip_suffix(" \"\"") == Some(head))
        },
    },
    Difference {
        name: "multiread-refused-without-body",
        holds: |request, theirs, ours| {
            is(request, 22)
                && theirs.split_once(" body of ").is_some_and(|(head, _)| head == ours)
                && ours.contains(" -5=")
        },
    },
    Difference { name: "text-beyond-the-basic-plane", holds: |_, theirs, ours| plain(theirs) == plain(ours) },
];

/// Differences that masking allows for.
pub const MASKED: &[&str] =
    &["version-line", "dump-empty-owners", "wchs-idle-connections", "quota-statistics-size", "java-machine"];

/// The name of the difference these two lines are, if they are one.
pub fn excuse(request: Option<&Request>, theirs: &str, ours: &str) -> Option<&'static str> {
    IN_SCRIPTS.iter().find(|difference| (difference.holds)(request, theirs, ours)).map(|difference| difference.name)
}

fn is(request: Option<&Request>, op: i32) -> bool {
    request.is_some_and(|request| request.op == op)
}

/// Java writes surrogates one by one, which is no UTF-8, and puts fewer replacement characters in the place of what is
/// none than Rust does.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    for c in line.chars() {
        match c {
            '\u{fffd}' | '\u{10000}'.. if plain.ends_with('\u{fffd}') => {}
            '\u{fffd}' | '\u{10000}'.. => plain.push('\u{fffd}'),
            c => plain.push(c),
        }
    }
    plain
}
