//! What a key is: its name, default and meaning, how its value is read, and what becomes of it.

use super::Config;

/// One key. A name that ends in `.N` stands for any number there, one in `.X` for any text.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) meaning: &'static str,
    pub(super) kind: KeyKind,
}

/// What becomes of a key.
pub(super) enum KeyKind {
    /// Acted upon.
    Honoured(Set),
    /// Understood and kept; matters only in an ensemble.
    Ensemble(Set),
    /// Read, checked and kept in the [`Config`], where nothing acts upon it yet, for this reason.
    Kept(Set, &'static str),
    /// Accepted and ignored, for this reason.
    WithoutEffect(&'static str),
    /// Any value but the default asks for something that is missing: a warning says so.
    NotYet(&'static str),
    /// `true` asks for protection we cannot give: an error says so. Anything else has no effect.
    RefusedIfTrue(&'static str),
}

/// How a value is read and where it goes.
pub(super) enum Set {
    /// A whole number, both bounds allowed.
    Int { min: i64, max: i64, set: fn(&mut Config, i64) },
    /// A whole number that ZooKeeper reads as a property of Java, so that it starts with any value. Below `min` it is `min`,
    /// above `max` it is `max`, and what is no number is as if it were not set; a remark says so.
    Lenient { min: i64, max: i64, set: fn(&mut Config, i64) },
    /// Bytes: a whole number, `K`, `M` or `G` for KiB, MiB, GiB.
    Size { min: u64, max: u64, set: fn(&mut Config, u64) },
    /// `true` or `false` in any case, nothing else: keys of ZooKeeper's parser.
    Bool(fn(&mut Config, bool)),
    /// `true` in any case is true and all else false, as Java reads a system property.
    Property(fn(&mut Config, bool)),
    /// Text with a check of its own; `None` refuses it.
    Text { allowed: &'static str, set: fn(&mut Config, &str) -> Option<()> },
    /// As `Text`, but never shown.
    Secret { allowed: &'static str, set: fn(&mut Config, &str) -> Option<()> },
    /// A key with a number in its name.
    Numbered { allowed: &'static str, set: fn(&mut Config, u64, &str) -> Result<(), String> },
    /// Kept as text in `Ensemble::others`.
    Keep,
}

pub(super) const fn key(name: &'static str, default: &'static str, meaning: &'static str, kind: KeyKind) -> Key {
    Key { name, default, meaning, kind }
}

pub(super) const fn int(min: i64, max: i64, set: fn(&mut Config, i64)) -> KeyKind {
    KeyKind::Honoured(Set::Int { min, max, set })
}

pub(super) const I32_MIN: i64 = i32::MIN as i64;
pub(super) const I32_MAX: i64 = i32::MAX as i64;
