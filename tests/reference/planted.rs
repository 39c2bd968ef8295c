//! Small lies put into what one server says. A comparison that misses one is worth nothing.

use crate::side::Tamper;

/// What is changed, and the change: of one frame into none, one or more.
pub type Lie = (&'static str, fn() -> Tamper);

pub const LIES: &[Lie] = &[
    ("an error code", || nth_reply(9, |frame| error(frame) == -101, |frame| put(frame, 12, &(-110i32).to_be_bytes()))),
    ("success for failure", || nth_reply(2, |frame| error(frame) == -103, |frame| put(frame, 12, &[0; 4]))),
    ("failure with a body", || nth_reply(3, |frame| error(frame) == -110, |frame| frame.push(0))),
    ("a byte behind a reply", || nth_reply(20, |frame| error(frame) == 0, |frame| frame.push(7))),
    ("a reply's zxid", || nth_reply(30, |_| true, |frame| frame[11] = frame[11].wrapping_add(1))),
    ("an echoed xid", || nth_reply(40, |_| true, |frame| frame[3] ^= 1)),
    ("cversion", || nth_reply(4, is_stat, |frame| add(frame, 16 + 36))),
    ("aversion", || nth_reply(4, is_stat, |frame| add(frame, 16 + 40))),
    ("pzxid", || nth_reply(4, is_stat, |frame| frame[16 + 67] ^= 1)),
    ("the owner", || nth_reply(4, is_stat, |frame| frame[16 + 51] ^= 1)),
    ("the time of a change", || every_second(is_stat, |frame| frame[16 + 31] ^= 1)),
    ("a missing event", || nth(8, is_event, |_| Vec::new())),
    ("an event twice", || nth(8, is_event, |frame| vec![frame.clone(), frame])),
    ("an event's type", || {
        nth(5, is_event, |mut frame| {
            frame[19] = if frame[19] == 1 { 3 } else { 1 };
            vec![frame]
        })
    }),
    ("an event after the reply it belongs before", late_event),
    ("the read-only byte", || {
        nth(
            1,
            |frame| frame.len() == 37,
            |mut frame| {
                frame.pop();
                vec![frame]
            },
        )
    }),
    ("the session timeout", || {
        nth(
            2,
            |frame| frame.len() == 37,
            |mut frame| {
                frame[7] ^= 1;
                vec![frame]
            },
        )
    }),
];

fn error(frame: &[u8]) -> i32 {
    i32::from_be_bytes(*frame[12..].first_chunk().expect("replies have a header"))
}

fn is_event(frame: &[u8]) -> bool {
    frame.len() > 24 && frame.starts_with(&[0xff; 4])
}

fn is_reply(frame: &[u8]) -> bool {
    frame.len() >= 16 && frame.len() != 37 && frame.len() != 36 && !is_event(frame)
}

/// A reply that is nothing but a stat.
fn is_stat(frame: &[u8]) -> bool {
    frame.len() == 16 + 68 && error(frame) == 0
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

fn add(frame: &mut [u8], at: usize) {
    let value = i32::from_be_bytes(*frame[at..].first_chunk().expect("a stat is complete"));
    put(frame, at, &(value + 1).to_be_bytes());
}

fn nth(n: usize, which: fn(&[u8]) -> bool, change: fn(Vec<u8>) -> Vec<Vec<u8>>) -> Tamper {
    let mut seen = 0;
    Box::new(move |frame| {
        seen += usize::from(which(&frame));
        if which(&frame) && seen == n { change(frame) } else { vec![frame] }
    })
}

fn nth_reply(n: usize, which: fn(&[u8]) -> bool, change: fn(&mut Vec<u8>)) -> Tamper {
    let mut seen = 0;
    Box::new(move |mut frame| {
        if is_reply(&frame) && which(&frame) {
            seen += 1;
            if seen == n {
                change(&mut frame);
            }
        }
        vec![frame]
    })
}

fn every_second(which: fn(&[u8]) -> bool, change: fn(&mut Vec<u8>)) -> Tamper {
    let mut seen = 0;
    Box::new(move |mut frame| {
        if is_reply(&frame) && which(&frame) {
            seen += 1;
            if seen % 2 == 0 {
                change(&mut frame);
            }
        }
        vec![frame]
    })
}

fn late_event() -> Tamper {
    let mut held: Option<Vec<u8>> = None;
    let mut seen = 0;
    Box::new(move |frame| {
        if is_event(&frame) {
            seen += 1;
            if seen == 6 {
                held = Some(frame);
                return Vec::new();
            }
        }
        let mut frames = vec![frame];
        frames.extend(held.take());
        frames
    })
}
