//! Runs a script against two servers and reports where they part.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::differences;
use crate::render;
use crate::script::Script;
use crate::side::{SLOTS, Seen, Side};
use crate::step::{Action, Step};

/// How many steps are shown in front of one that differs.
const CONTEXT: usize = 6;

/// What a run came to.
#[derive(Default)]
pub struct Outcome {
    pub operations: usize,
    pub lines: usize,
    /// Explained differences and how often each was met.
    pub excused: BTreeMap<&'static str, usize>,
    /// Unexplained ones, ready to read.
    pub differences: Vec<String>,
    /// How often each error code, event type and operation was answered: a script that meets none proves nothing.
    pub coverage: BTreeMap<String, usize>,
}

/// Runs until `operations` have been sent or `differences_max` differences found.
pub fn run(seed: u64, operations: usize, differences_max: usize, theirs: &mut Side, ours: &mut Side) -> Outcome {
    let mut script = Script::new(seed);
    let mut outcome = Outcome::default();
    let mut recent: VecDeque<String> = VecDeque::new();
    while outcome.operations < operations && outcome.differences.len() < differences_max {
        let step = script.next();
        let (mut left, mut right) = perform(&step, theirs, ours);
        if step.ends_session() {
            sort_events(&mut left);
            sort_events(&mut right);
        }
        outcome.operations += step.operations();
        outcome.lines += left.len();
        let found = differ(&step, &left, &right, &mut outcome);
        count(&mut outcome.coverage, &step, &left);
        recent.push_back(format!("{}\n{}", shorten(&step.text), listing(&left)));
        if recent.len() > CONTEXT {
            recent.pop_front();
        }
        if let Some(found) = found {
            let before = recent.iter().take(recent.len() - 1).cloned().collect::<Vec<_>>().join("");
            outcome.differences.push(format!(
                "seed {seed}, after {} operations: {}\n{found}before:\n{before}",
                outcome.operations,
                shorten(&step.text)
            ));
        }
        let open = reconcile(theirs, ours);
        script.observe(&left, open, theirs.zxid_now());
    }
    outcome
}

/// How long two servers may take until they tell the same of connections that ended.
const SAME_WITHIN: Duration = Duration::from_secs(8);

/// Asks both servers every four-letter word; returns those answered otherwise.
pub fn words(theirs: &Side, ours: &Side) -> Vec<String> {
    let mut differences = Vec::new();
    for word in crate::words::ALL {
        // As while the script runs: a server may not yet have noticed the end of a connection.
        let deadline = Instant::now() + SAME_WITHIN;
        let (theirs, ours) = loop {
            let both = crate::words::as_far_as_zookeeper_tells(theirs.word(word), ours.word(word));
            if both.0 == both.1 || Instant::now() > deadline {
                break both;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if theirs != ours {
            differences.push(format!("{}\n    theirs: {theirs}\n    ours:   {ours}", &word[..4]));
        }
    }
    differences
}

fn perform(step: &Step, theirs: &mut Side, ours: &mut Side) -> (Vec<Seen>, Vec<Seen>) {
    // Words tell of connections that a server may not yet have noticed the end of: wait until both say the same.
    let deadline = Instant::now() + SAME_WITHIN;
    loop {
        let both = (theirs.perform(step), ours.perform(step));
        if !matches!(step.action, Action::Word(_)) || both.0 == both.1 || Instant::now() > deadline {
            return both;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Connections that only one server keeps are given up and zxids only one has spent are skipped, so that one difference
/// is not reported for ever.
fn reconcile(theirs: &mut Side, ours: &mut Side) -> Vec<bool> {
    for slot in 0..SLOTS {
        if theirs.open()[slot] != ours.open()[slot] {
            theirs.forget(slot);
            ours.forget(slot);
        }
    }
    let common = theirs.zxid_now().min(ours.zxid_now());
    theirs.fall_back_to(common);
    ours.fall_back_to(common);
    theirs.open()
}

/// The events of an ending session come znode by znode in no promised order.
fn sort_events(seen: &mut [Seen]) {
    let zxid = |seen: &Seen| render::event_zxid(&seen.line).map(|zxid| (seen.slot, zxid.to_owned()));
    for run in seen.chunk_by_mut(|a, b| zxid(a).is_some() && zxid(a) == zxid(b)) {
        run.sort_by(|a, b| a.line.cmp(&b.line));
    }
}

fn differ(step: &Step, left: &[Seen], right: &[Seen], outcome: &mut Outcome) -> Option<String> {
    let mut report = String::new();
    for slot in 0..=SLOTS {
        let of_slot = |seen: &[Seen]| seen.iter().filter(|seen| seen.slot == slot).cloned().collect::<Vec<_>>();
        let (theirs, ours) = (of_slot(left), of_slot(right));
        for at in 0..theirs.len().max(ours.len()) {
            let lines = [&theirs, &ours].map(|side| side.get(at).map_or("nothing", |seen| seen.line.as_str()));
            if lines[0] == lines[1] {
                continue;
            }
            let rank = theirs.get(at).and_then(|seen| seen.request);
            let request = rank.map(|rank| &step.requests()[rank]);
            if let Some(name) = differences::excuse(request, lines[0], lines[1]) {
                *outcome.excused.entry(name).or_default() += 1;
                continue;
            }
            report += &format!(
                "  on #{slot}, {}\n    theirs: {}\n    ours:   {}\n",
                request.map_or("no reply to this step".into(), |request| shorten(&request.text)),
                lines[0],
                lines[1]
            );
            // What follows on the same connection is a consequence, more often than not.
            break;
        }
    }
    (!report.is_empty()).then_some(report)
}

fn count(coverage: &mut BTreeMap<String, usize>, step: &Step, seen: &[Seen]) {
    for seen in seen {
        let words: Vec<_> = seen.line.split(' ').collect();
        let key = match (words.first(), seen.request) {
            (Some(&"reply"), Some(rank)) => format!("{} {}", step.requests()[rank].op, words[3]),
            (Some(&"event"), _) => format!("event {}", words[3]),
            (Some(&"handshake"), _) => {
                format!("handshake {}", if seen.line.contains("timeout=0") { "no" } else { "yes" })
            }
            (Some(&"closed"), _) => "closed".into(),
            _ => continue,
        };
        *coverage.entry(key).or_default() += 1;
    }
}

fn listing(seen: &[Seen]) -> String {
    let seen = seen.iter().filter(|seen| !seen.line.starts_with("reply xid=-2 "));
    seen.map(|seen| format!("    #{} {}\n", seen.slot, shorten(&seen.line))).collect()
}

fn shorten(text: &str) -> String {
    if text.len() < 1500 { text.to_owned() } else { text.chars().take(1500).chain(" …".chars()).collect() }
}
