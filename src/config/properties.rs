//! Java properties syntax, the one `zoo.cfg` is written in.
//!
//! `key=value`, `key: value` or `key value`; `#` and `!` begin a comment line; a backslash escapes the next
//! character, joins the next line when it ends one, and `\uXXXX` is a UTF-16 unit.

/// One `key=value` of a file, both trimmed, and the line it begins on (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// Text of a file: UTF-8 when it is valid UTF-8, else Latin-1, which is what Java reads.
///
/// Every ASCII file is the same in both; a folder name with an umlaut works either way.
pub(super) fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// The properties of `text`, in order, duplicates included.
///
/// # Errors
/// The line and what is wrong with it: only a malformed `\u` escape is.
pub(super) fn parse(text: &str) -> Result<Vec<Property>, (usize, String)> {
    let mut properties = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (key, value) = split(&logical);
        let key = unescape(key).map_err(|reason| (line, reason))?;
        let value = unescape(value).map_err(|reason| (line, reason))?;
        properties.push(Property { key: key.trim().to_owned(), value: value.trim().to_owned(), line });
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines with their continuations joined; comments and blank lines left out.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text.split('\n').enumerate();
    let mut logical = Vec::new();
    while let Some((index, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut joined = line.to_owned();
        while ends_with_odd_backslashes(&joined) {
            joined.pop();
            match lines.next() {
                Some((_, next)) => joined.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        if !joined.is_empty() {
            logical.push((index + 1, joined));
        }
    }
    logical
}

fn ends_with_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Key and value, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let mut key_end = line.len();
    for (at, c) in line.char_indices() {
        if !escaped && (is_blank(c) || c == '=' || c == ':') {
            key_end = at;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let rest = line[key_end..].trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..key_end], rest.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Result<String, String> {
    // UTF-16 units, because `\ud83d\ude00` is one character in two escapes.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let unit = (digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                        .then(|| u16::from_str_radix(&digits, 16).ok())
                        .flatten();
                    units.push(unit.ok_or_else(|| "\\u needs four hexadecimal digits".to_owned())?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(other) => other,
                None => continue,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = parse(text).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
        assert_eq!(found, expected, "in {text:?}");
    }

    #[test]
    fn key_and_value_part_at_equals_colon_or_blank() {
        check("a=1\nb: 2\nc 3\nd\t=\t4\ne  :  5", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]);
        check("a==1\nb=x=y:z\nc = : 1", &[("a", "=1"), ("b", "x=y:z"), ("c", ": 1")]);
        check("lonely\nempty=\n=nameless", &[("lonely", ""), ("empty", ""), ("", "nameless")]);
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        check(
            "# a=1\n  ! b=2\n\n \t \nc=3 # not a comment\r\nd=4\re=5",
            &[("c", "3 # not a comment"), ("d", "4"), ("e", "5")],
        );
    }

    #[test]
    fn keys_and_values_are_trimmed() {
        check("  dataDir =  /tmp/zk  \t", &[("dataDir", "/tmp/zk")]);
        check("a=\\ x\\ ", &[("a", "x")]);
    }

    #[test]
    fn a_backslash_escapes_the_next_character() {
        check(r"a\=b\:c\ d=1", &[("a=b:c d", "1")]);
        check(r"path=C\:\\zk\data", &[("path", r"C:\zkdata")]);
        check(r"x=a\tb\nc\q", &[("x", "a\tb\ncq")]);
    }

    #[test]
    fn a_backslash_at_the_end_joins_the_next_line() {
        check("a=1,\\\n   2,\\\r\n\t3\nb=4", &[("a", "1,2,3"), ("b", "4")]);
        check("a=1\\\\\nb=2", &[("a", "1\\"), ("b", "2")]);
        check("a=1\\\n\nb=2", &[("a", "1"), ("b", "2")]);
        check("a=1\\\n#not a comment\nb=2\\", &[("a", "1#not a comment"), ("b", "2")]);
        check("# comment \\\na=1", &[("a", "1")]);
    }

    #[test]
    fn unicode_escapes_are_utf16_units() {
        check("a=\\u00e9\\u20AC", &[("a", "é€")]);
        check("a=\\ud83d\\ude00", &[("a", "😀")]);
        assert_eq!(parse("ok=1\na=\\u12"), Err((2, "\\u needs four hexadecimal digits".to_owned())));
        assert!(parse("a=\\u+123").is_err());
    }

    #[test]
    fn duplicates_are_kept_in_order_with_their_lines() {
        let found = parse("a=1\n# x\n\\\na=2").unwrap();
        assert_eq!(found.iter().map(|p| (p.line, p.value.as_str())).collect::<Vec<_>>(), [(1, "1"), (3, "2")]);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_latin_1() {
        assert_eq!(text_of(b"a=\xe9"), "a=é");
        assert_eq!(text_of("a=é".as_bytes()), "a=é");
        assert_eq!(text_of(b"\xef\xbb\xbfa=1"), "a=1");
    }

    #[test]
    fn no_text_makes_it_panic() {
        const PIECES: [&str; 16] =
            ["\\", "\n", "\r", " ", "\t", "=", ":", "#", "!", "u", "00e9", "a", "é", "😀", "\x0c", "\\u"];
        // A small generator of numbers: the same texts in every run.
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        for _ in 0..20_000 {
            let text: String = (0..next() % 12).map(|_| PIECES[next() % PIECES.len()]).collect();
            for property in parse(&text).unwrap_or_default() {
                assert_eq!(property.value, property.value.trim(), "in {text:?}");
                assert!(property.line >= 1);
            }
        }
    }
}
