//! Puts one value into the [`Config`], or says why not.

use super::key::{Key, KeyKind, Set};
use super::{Config, ConfigError, Fate, Note, Origin};

/// A setting about to be applied.
pub(super) struct Given<'a> {
    pub(super) key: &'static Key,
    pub(super) name: &'a str,
    pub(super) instance: Option<&'a str>,
    pub(super) value: &'a str,
    pub(super) origin: &'a Origin,
}

impl Given<'_> {
    fn refused(&self, allowed: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            key: self.name.to_owned(),
            value: shown(self.name, self.value).to_owned(),
            origin: self.origin.clone(),
            allowed: allowed.into(),
        }
    }
}

/// The value as it may be shown: stars where it is a secret.
pub(super) fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let lower = name.to_ascii_lowercase();
    let secret = lower.ends_with("password") || lower.ends_with("superdigest") || lower.ends_with("ensembleauthname");
    if secret { "***" } else { value }
}

/// Applies one setting; says what became of it.
///
/// # Errors
/// [`ConfigError::Value`] and [`ConfigError::Refused`].
pub(super) fn apply(config: &mut Config, given: &Given<'_>, notes: &mut Vec<Note>) -> Result<Fate, ConfigError> {
    match &given.key.kind {
        KeyKind::Honoured(set) => put(config, given, set, notes).map(|()| Fate::Honoured),
        KeyKind::Ensemble(set) => put(config, given, set, notes).map(|()| Fate::Ensemble),
        KeyKind::Kept(set, _) => put(config, given, set, notes).map(|()| Fate::WithoutEffect),
        KeyKind::WithoutEffect(_) => Ok(Fate::WithoutEffect),
        KeyKind::NotYet(_) if given.value.eq_ignore_ascii_case(given.key.default) => Ok(Fate::WithoutEffect),
        // A provider of what is always there asks for nothing that is missing.
        KeyKind::NotYet(_)
            if ["DigestAuthenticationProvider", "IPAuthenticationProvider"]
                .iter()
                .any(|class| given.value.ends_with(class)) =>
        {
            Ok(Fate::WithoutEffect)
        }
        KeyKind::NotYet(reason) => {
            if given.name == "secureClientPort" {
                let port = given.value.parse().map_err(|_| given.refused("a port from 0 to 65535"))?;
                config.secure_client_port = Some(port);
            }
            notes.push(Note::NotYet {
                key: given.name.to_owned(),
                origin: given.origin.clone(),
                reason: (*reason).to_owned(),
            });
            Ok(Fate::NotYet)
        }
        KeyKind::RefusedIfTrue(reason) if given.value.eq_ignore_ascii_case("true") => Err(ConfigError::Refused {
            key: given.name.to_owned(),
            value: given.value.to_owned(),
            origin: given.origin.clone(),
            reason: (*reason).to_owned(),
        }),
        KeyKind::RefusedIfTrue(_) => Ok(Fate::WithoutEffect),
    }
}

fn put(config: &mut Config, given: &Given<'_>, set: &Set, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
    let value = given.value;
    match set {
        Set::Int { min, max, set } => {
            let number = parse_int(value).filter(|number| (min..=max).contains(&number));
            set(config, number.ok_or_else(|| given.refused(format!("a whole number from {min} to {max}")))?);
        }
        Set::Lenient { min, max, set } => {
            let (name, origin) = (given.name, given.origin);
            match parse_int(value) {
                Some(number) if (min..=max).contains(&&number) => set(config, number),
                Some(number) => {
                    let taken = number.clamp(*min, *max);
                    set(config, taken);
                    notes.push(Note::Remark(format!("{name}={number} ({origin}) is out of range: {taken} is used")));
                }
                None => notes.push(Note::Remark(format!(
                    "{name}={} ({origin}) is no number and counts as not set, as in ZooKeeper; the default is {}",
                    value.escape_debug(),
                    given.key.default
                ))),
            }
        }
        Set::Size { min, max, set } => {
            let number = parse_size(value).filter(|number| (min..=max).contains(&number));
            let allowed = || format!("bytes, or with K, M, G, from {min} to {max}");
            set(config, number.ok_or_else(|| given.refused(allowed()))?);
        }
        Set::Bool(set) => match value.to_ascii_lowercase().as_str() {
            "true" => set(config, true),
            "false" => set(config, false),
            _ => return Err(given.refused("true or false")),
        },
        Set::Property(set) => {
            let on = value.eq_ignore_ascii_case("true");
            if !on && !value.eq_ignore_ascii_case("false") {
                notes.push(Note::Remark(format!(
                    "{}={} ({}) is read as false, as ZooKeeper does; write true or false",
                    given.name,
                    value.escape_debug(),
                    given.origin
                )));
            }
            set(config, on);
        }
        Set::Text { allowed, set } | Set::Secret { allowed, set } => {
            set(config, value).ok_or_else(|| given.refused(*allowed))?;
        }
        Set::Numbered { allowed, set } => {
            let id =
                given.instance.and_then(|id| id.parse().ok()).ok_or_else(|| given.refused("a number in the key"))?;
            set(config, id, value).map_err(|reason| given.refused(format!("{allowed} ({reason})")))?;
        }
        Set::Keep => {
            config.ensemble.others.insert(given.name.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

/// Decimal, or hexadecimal after `0x`: Java reads system properties such as `jute.maxbuffer` both ways.
fn parse_int(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with(['+', '-']) => i64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// Bytes: `4194304`, `4096K`, `4M`, `4MiB`.
fn parse_size(text: &str) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units_and_refuse_overflow() {
        let check = |text: &str, expected| assert_eq!(parse_size(text), expected, "{text}");
        check("4194304", Some(4 << 20));
        check("4M", Some(4 << 20));
        check("4 MiB", Some(4 << 20));
        check("1g", Some(1 << 30));
        check("", None);
        check("M", None);
        check("-1", None);
        check("4x", None);
        check("99999999999999999999", None);
        check("18446744073709551615K", None);
    }

    #[test]
    fn whole_numbers_are_decimal_or_hexadecimal() {
        let check = |text: &str, expected| assert_eq!(parse_int(text), expected, "{text}");
        check("0xfffff", Some(0xf_ffff));
        check("-1", Some(-1));
        check("+5", Some(5));
        check("0x-1", None);
        check("1.5", None);
        check("", None);
    }
}
