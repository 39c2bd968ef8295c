//! Rules about znode paths: what is legal, who is whose parent, sequence suffixes.

/// The system subtree.
pub const SYSTEM: &str = "/zookeeper";
/// Quota definitions lie below this znode.
pub const QUOTA: &str = "/zookeeper/quota";
/// The ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";
/// Name of the znode that holds a quota's limits.
pub const LIMITS_NAME: &str = "zookeeper_limits";
/// Name of the znode that holds a quota's usage.
pub const STATS_NAME: &str = "zookeeper_stats";

/// Whether `path` may name a znode.
///
/// Source: ZooKeeper 3.9 `PathUtils.validatePath`.
pub fn is_valid(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    if rest.is_empty() {
        return true;
    }
    // One pass, as every write needs it. A name is neither empty nor one or two dots.
    let is_name = |length: usize, dots: usize| length > 2 || length > dots;
    let (mut length, mut dots, mut is_ascii) = (0, 0, true);
    for &byte in rest.as_bytes() {
        match byte {
            b'/' if !is_name(length, dots) => return false,
            b'/' => (length, dots) = (0, 0),
            ..0x20 | 0x7f => return false,
            _ => {
                length += 1;
                dots += usize::from(byte == b'.');
                is_ascii &= byte < 0x80;
            }
        }
    }
    is_name(length, dots) && (is_ascii || rest.chars().all(is_legal))
}

fn is_legal(c: char) -> bool {
    // Java looks at UTF-16 units, so everything above U+FFFF, being surrogates there, is illegal.
    !matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{10ffff}')
}

/// Whether `path` passes the weak check made before anything is looked up: a slash somewhere, no NUL.
pub fn is_plausible(path: &str) -> bool {
    path.contains('/') && !path.contains('\0')
}

/// Whether `path` is one of the znodes that can never be deleted.
pub fn is_reserved(path: &str) -> bool {
    matches!(path, "/" | SYSTEM | QUOTA | CONFIG)
}

/// Splits at the last slash into the parent's path and the znode's name: `/a/b` into `/a` and `b`, `/a` into `/` and
/// `a`. A text without slash has no parent.
pub fn split(path: &str) -> Option<(&str, &str)> {
    let slash = last_slash(path)?;
    let parent = if slash == 0 { "/" } else { &path[..slash] };
    Some((parent, &path[slash + 1..]))
}

/// The name of the znode at `path`: what is behind the last slash.
pub fn name(path: &str) -> &str {
    last_slash(path).map_or(path, |slash| &path[slash + 1..])
}

/// Names are short: a loop over bytes is faster than a search that is made for long texts.
#[inline]
fn last_slash(path: &str) -> Option<usize> {
    path.as_bytes().iter().rposition(|&byte| byte == b'/')
}

/// How deep `path` lies: 0 for the root, 1 for `/a`.
pub fn depth(path: &str) -> usize {
    if path == "/" { 0 } else { path.bytes().filter(|&b| b == b'/').count() }
}

/// `prefix` with the sequence number appended: ten digits, zero padded, the sign counted in.
pub fn with_sequence(prefix: &str, counter: i32) -> String {
    format!("{prefix}{counter:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_paths_are_accepted() {
        for path in ["/", "/a", "/a/b", "/.a", "/a.", "/...", "/a b", "/a:b%", "/..a/b..", "/\u{a0}", "/\u{2028}", "/é"]
        {
            assert!(is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn illegal_paths_are_refused() {
        for path in [
            "",
            "a",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/.",
            "/a/..",
            "/é/..",
            "/é\u{9f}",
            "/\0",
            "/\u{1e}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{fffd}",
            "/\u{1f600}",
        ] {
            assert!(!is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn the_parent_is_everything_before_the_last_slash() {
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/a/"), Some(("/a", "")));
        assert_eq!(split("a"), None);
        assert_eq!([name("/a/b"), name("/é"), name("/"), name("a")], ["b", "é", "", "a"]);
    }

    #[test]
    fn sequence_numbers_have_ten_places() {
        assert_eq!(with_sequence("/q-", 7), "/q-0000000007");
        assert_eq!(with_sequence("/q-", -1), "/q--000000001");
        assert_eq!(with_sequence("/q-", i32::MIN), "/q--2147483648");
    }
}
