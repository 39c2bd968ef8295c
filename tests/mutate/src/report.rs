//! What a run found, for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::copy::Copy;
use crate::run::Fate;

pub(crate) fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Killed => "killed",
        Fate::Timeout => "timeout",
        Fate::Survived => "survived",
        Fate::Unreached => "unreached",
    }
}

/// The fates an earlier run wrote down.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Fate> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all = [Fate::Killed, Fate::Timeout, Fate::Survived, Fate::Unreached];
    text.lines()
        .filter_map(|line| {
            let (fate, key) = line.split_once('\t')?;
            Some((key.to_owned(), *all.iter().find(|one| word(**one) == fate)?))
        })
        .collect()
}

/// Writes them down.
pub(crate) fn write(path: &Path, copy: &Copy, fates: &[Option<Fate>]) {
    let lines = copy.mutants.iter().zip(fates).filter_map(|(mutant, fate)| Some((word((*fate)?), mutant.key())));
    let text: String = lines.map(|(fate, key)| format!("{fate}\t{key}\n")).collect();
    fs::write(path, text).expect("the folder can be written");
}

/// The 95 % interval of a rate that was found in a sample, after Wilson, in percent.
fn interval(noticed: usize, all: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    let (rate, count) = (noticed as f64 / all as f64, all as f64);
    let middle = rate + Z * Z / (2.0 * count);
    let half = Z * (rate * (1.0 - rate) / count + Z * Z / (4.0 * count * count)).sqrt();
    let whole = 1.0 + Z * Z / count;
    ((middle - half) / whole * 100.0, (middle + half) / whole * 100.0)
}

/// Why a survivor changes nothing that could be seen. Each line is a reason, a tab and the change's name; a name that
/// ends in `*` stands for all that begin like it.
pub(crate) fn reasons(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t').map(|(reason, key)| (key.trim().to_owned(), reason.to_owned())))
        .collect()
}

fn reason<'r>(reasons: &'r [(String, String)], key: &str) -> Option<&'r str> {
    let found = reasons.iter().find(|(name, _)| match name.strip_suffix('*') {
        Some(begin) => key.starts_with(begin),
        None => key == name,
    });
    found.map(|(_, reason)| reason.as_str())
}

#[derive(Default)]
struct Count {
    killed: usize,
    timeout: usize,
    survived: usize,
    unreached: usize,
    equivalent: usize,
    unviable: usize,
    untried: usize,
}

/// The table, the survivors, and the lowest rate of a room among faults that change something: those without a reason why not.
pub(crate) fn text(copy: &Copy, fates: &[Option<Fate>], reasons: &[(String, String)]) -> (String, String, f64) {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let mut survivors = String::new();
    for (index, (mutant, fate)) in copy.mutants.iter().zip(fates).enumerate() {
        let count = counts.entry(mutant.room()).or_default();
        match fate {
            None if copy.unviable.contains(&(index as u32 + 1)) => count.unviable += 1,
            None => count.untried += 1,
            Some(Fate::Killed) => count.killed += 1,
            Some(Fate::Timeout) => count.timeout += 1,
            Some(fate) => {
                if *fate == Fate::Survived {
                    count.survived += 1;
                } else {
                    count.unreached += 1;
                }
                let reason = reason(reasons, &mutant.key());
                count.equivalent += usize::from(reason.is_some());
                let _ = writeln!(
                    survivors,
                    "{}:{} {}: {}{}",
                    mutant.file,
                    mutant.line,
                    mutant.function,
                    mutant.what,
                    if *fate == Fate::Unreached { " (no test comes by)" } else { "" }
                );
                if let Some(reason) = reason {
                    let _ = writeln!(survivors, "    equivalent: {reason}");
                }
            }
        }
    }
    let mut table = format!(
        "{:<10}{:>8}{:>9}{:>10}{:>11}{:>12}{:>10}{:>9}{:>10}{:>12}\n",
        "room",
        "killed",
        "timeout",
        "survived",
        "unreached",
        "equivalent",
        "unviable",
        "untried",
        "noticed",
        "of effect"
    );
    let mut lowest = 100.0f64;
    for (room, count) in &counts {
        let noticed = count.killed + count.timeout;
        let all = noticed + count.survived + count.unreached;
        if all > 0 {
            let rate = noticed as f64 * 100.0 / all as f64;
            let with_effect = all - count.equivalent;
            let of_effect = noticed as f64 * 100.0 / with_effect.max(1) as f64;
            lowest = lowest.min(of_effect);
            let range = match count.untried {
                0 => String::new(),
                _ => {
                    let (from, to) = interval(noticed, with_effect);
                    format!("   ({from:.1} to {to:.1} % of all with effect)")
                }
            };
            let _ = writeln!(
                table,
                "{room:<10}{:>8}{:>9}{:>10}{:>11}{:>12}{:>10}{:>9}{:>8.1} %{:>10.1} %{range}",
                count.killed,
                count.timeout,
                count.survived,
                count.unreached,
                count.equivalent,
                count.unviable,
                count.untried,
                rate,
                of_effect
            );
        }
    }
    (table, format!("\nSurvivors:\n{survivors}"), lowest)
}
