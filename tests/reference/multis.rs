//! Random multis and multiReads, well-formed and not.

use crate::requests::{Source, name};
use crate::step::{Body, Request};

pub fn multi(source: &mut Source<'_>, xid: i32) -> Request {
    const TYPES: &[(usize, i32)] = &[(30, 1), (20, 15), (4, 19), (4, 21), (22, 2), (22, 5), (18, 13)];
    // Refused as a whole: reads, what no multi may hold, what is no operation at all.
    const WRONG: &[i32] = &[4, 8, 7, 3, 16, 20, 14, -11, 0, 99, -1];
    let mut body = Body::new();
    let mut texts = Vec::new();
    let mut whole = true;
    for _ in 0..source.rng.weighted(&[(2, 0), (20, 1), (30, 2), (25, 3), (15, 4), (8, 6)]) {
        let op = if source.rng.chance(2) { source.rng.pick(WRONG) } else { source.rng.weighted(TYPES) };
        let (inner, text) = operation(source, op);
        whole &= TYPES.iter().any(|&(_, good)| good == op);
        body = body.multi_header(op, 0, -1).raw(&inner.0);
        texts.push(format!("{} {text}", name(op)));
    }
    let mut text = format!("multi [{}]", texts.join("; "));
    if source.rng.chance(2) {
        text += " without end";
        whole = false;
    } else {
        body = body.multi_header(-1, 1, -1);
    }
    let mut request = Request::new(14, xid, body, text);
    if whole && source.rng.chance(2) {
        let cut = source.rng.below(request.body.len());
        request.body.truncate(cut);
        request.text += &format!(" cut after {cut}");
    }
    request
}

pub fn multi_read(source: &mut Source<'_>, xid: i32) -> Request {
    let mut body = Body::new();
    let mut texts = Vec::new();
    for _ in 0..source.rng.below(5) {
        let op = source.rng.weighted(&[(50, 4), (48, 8), (1, 5), (1, 12)]);
        let (inner, text) = match source.rng.chance(4) {
            true => (Body::new().buf(None).byte(0), "null".into()),
            false => operation(source, op),
        };
        body = body.multi_header(op, 0, -1).raw(&inner.0);
        texts.push(format!("{} {text}", name(op)));
    }
    Request::new(22, xid, body.multi_header(-1, 1, -1), format!("multiRead [{}]", texts.join("; ")))
}

fn operation(source: &mut Source<'_>, op: i32) -> (Body, String) {
    match op {
        1 | 15 | 19 => source.create(op),
        21 => source.create_ttl(),
        2 | 13 => source.path_and_version(),
        5 => source.set_data(),
        3 | 4 | 8 | 12 => source.path_and_watch(),
        20 => (Body::new().buf(Some(b"/t/a")), "/t/a".into()),
        _ => (Body::new(), String::new()),
    }
}
