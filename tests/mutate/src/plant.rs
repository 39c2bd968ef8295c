//! Writes every change into the source at once, each behind a question that is answered when the program runs.

use std::fmt::Write;
use std::ops::Range;

use crate::find::{Form, Place};

/// A file with its changes written in, and where each of them stands.
pub(crate) struct Planted {
    pub(crate) text: String,
    /// (bytes of the written text, the change's number), inner after outer.
    pub(crate) spans: Vec<(Range<usize>, u32)>,
}

/// Writes the changes in whose number `number(place, change)` gives.
pub(crate) fn plant(source: &str, places: &[Place], number: &dyn Fn(usize, usize) -> Option<u32>) -> Planted {
    let mut out = Planted { text: String::with_capacity(source.len() * 3), spans: Vec::new() };
    let mut next = 0;
    write(source, 0..source.len(), places, &mut next, number, &mut out);
    out
}

fn write(
    source: &str,
    range: Range<usize>,
    places: &[Place],
    next: &mut usize,
    number: &dyn Fn(usize, usize) -> Option<u32>,
    out: &mut Planted,
) {
    let mut at = range.start;
    while let Some(place) = places.get(*next).filter(|place| place.range.start < range.end || place.range.is_empty())
        && place.range.end <= range.end
    {
        let index = *next;
        *next += 1;
        out.text.push_str(&source[at..place.range.start]);
        at = place.range.end;
        let numbered: Vec<(u32, &str)> = place
            .changes
            .iter()
            .enumerate()
            .filter_map(|(which, change)| Some((number(index, which)?, change.text.as_str())))
            .collect();
        let begin = out.text.len();
        if numbered.is_empty() {
            write(source, place.range.clone(), places, next, number, out);
            continue;
        }
        match place.form {
            Form::Begin => {
                for (id, text) in numbered {
                    let begin = out.text.len();
                    let _ = write!(out.text, " if crate::planted::on({id}) {{ return {text}; }} ");
                    out.spans.push((begin..out.text.len(), id));
                }
            }
            Form::Arm => {
                let id = numbered[0].0;
                let _ = write!(out.text, " if !crate::planted::on({id}) ");
                out.spans.push((begin..out.text.len(), id));
            }
            Form::Statement => {
                let id = numbered[0].0;
                let _ = write!(out.text, "if !crate::planted::on({id}) {{ ");
                let slot = out.spans.len();
                out.spans.push((begin..begin, id));
                write(source, place.range.clone(), places, next, number, out);
                out.text.push_str(" }");
                out.spans[slot].0.end = out.text.len();
            }
            Form::Expression | Form::Shorthand => {
                if place.form == Form::Shorthand {
                    let _ = write!(out.text, "{}: ", &source[place.range.clone()]);
                }
                out.text.push('(');
                for (id, text) in numbered {
                    let begin = out.text.len();
                    let _ = write!(out.text, "if crate::planted::on({id}) {{ {text} }} else ");
                    out.spans.push((begin..out.text.len(), id));
                }
                out.text.push_str("{ (");
                write(source, place.range.clone(), places, next, number, out);
                out.text.push_str(") })");
            }
        }
    }
    out.text.push_str(&source[at..range.end]);
}

/// What answers the question; goes to the copy's `lib.rs`.
pub(crate) fn answers(count: usize) -> String {
    ANSWERS.replace("COUNT", &(count / 64 + 1).to_string())
}

const ANSWERS: &str = r#"
/// Which of the changes is on: none, or that of `$ZOA_MUTANT`.
pub(crate) mod planted {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

    const UNKNOWN: u32 = u32::MAX;
    const RECORD: u32 = u32::MAX - 1;
    static ACTIVE: AtomicU32 = AtomicU32::new(UNKNOWN);
    static SEEN: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];

    #[inline]
    pub(crate) fn on(id: u32) -> bool {
        let active = ACTIVE.load(Relaxed);
        active == id || (active >= RECORD && slowly(id))
    }

    #[cold]
    fn slowly(id: u32) -> bool {
        if ACTIVE.load(Relaxed) == UNKNOWN {
            let chosen = std::env::var("ZOA_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            let record = std::env::var_os("ZOA_MUTANTS_REACHED").is_some();
            ACTIVE.store(if record { RECORD } else { chosen }, Relaxed);
        }
        if ACTIVE.load(Relaxed) == RECORD {
            let bit = 1 << (id % 64);
            if SEEN[id as usize / 64].fetch_or(bit, Relaxed) & bit == 0 {
                let path = std::env::var_os("ZOA_MUTANTS_REACHED").expect("that was why it is recorded");
                let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
                file.and_then(|mut file| file.write_all(format!("{id}\n").as_bytes())).expect("what is reached can be written");
            }
            return false;
        }
        ACTIVE.load(Relaxed) == id
    }
}
"#;
