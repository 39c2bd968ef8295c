//! Requests and frames that are wrong.

use crate::requests::{Source, name};
use crate::rng::Rng;
use crate::step::{Body, Request};

/// A body cut short, with bytes changed, or with bytes behind it. The connection survives all of it.
pub fn request(source: &mut Source<'_>) -> Request {
    let mut request = source.any();
    // Not every byte may be anything: some would do harm to the reference server, or name a zxid.
    let may_change = !matches!(request.op, 14 | 21 | 101 | 105);
    match source.rng.below(10) {
        0..=4 if !request.body.is_empty() => {
            let cut = source.rng.below(request.body.len());
            request.body.truncate(cut);
            request.text += &format!(" cut after {cut}");
        }
        5..=6 if may_change && !request.body.is_empty() => {
            // Where an ACL follows only the path is changed, so that no list comes out that nobody may read by.
            let end = if matches!(request.op, 1 | 7 | 15 | 19) { 12 } else { request.body.len() };
            for _ in 0..1 + source.rng.below(3) {
                let at = source.rng.below(end.min(request.body.len()));
                request.body[at] = source.rng.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff, b'/', b'.']);
                request.text += &format!(" byte {at} = {}", request.body[at]);
            }
            guard(&mut request);
        }
        7 if may_change => {
            // The first field's length is anything but right.
            let length = source.rng.pick(&[-2, i32::MIN, i32::MAX, 0x10_0000, 0x1f_ffff, 0x20_0000, 70]);
            let rest = request.body.split_off(request.body.len().min(4));
            request.body = Body::new().i32(length).raw(&rest).0;
            request.text += &format!(" first length {length}");
        }
        _ => {
            let extra: Vec<u8> = (0..1 + source.rng.below(40)).map(|_| source.rng.next() as u8).collect();
            request.text += &format!(" and {} bytes more", extra.len());
            request.body.extend(extra);
        }
    }
    request
}

/// A usage count that cannot be parsed kills the reference server; so would a changed byte in one.
fn guard(request: &mut Request) {
    if matches!(request.op, 1 | 5 | 15 | 19) && request.body.windows(5).any(|part| part == b"stats") {
        request.body.clear();
        request.text += " (emptied)";
    }
}

/// An operation that no client may ask for. The server answers −6 and hangs up.
pub fn unknown_operation(source: &mut Source<'_>) -> Request {
    let op = source.rng.pick(&[0, -1, 10, 13, 23, 50, 99, 108, 1000, -2, -12, i32::MAX, i32::MIN]);
    source.xid += 1;
    let body = Body::new().buf(Some(b"/t/a")).i32(-1);
    Request::new(op, source.xid, body, format!("{} alone", name(op)))
}

/// Bytes in the place of a frame, after which no server goes on.
pub fn tail(rng: &mut Rng) -> (Vec<u8>, &'static str) {
    match rng.below(7) {
        0 => (vec![0; 4], "a frame of no bytes"),
        1 => (Body::new().i32(4).i32(1).0, "a frame too short for a header"),
        2 => (Body::new().i32(7).i32(1).raw(&[0; 3]).0, "a frame one byte short of a header"),
        3 => (Body::new().i32(-1).i32(1).i32(1).0, "a frame of negative length"),
        4 => (Body::new().i32(0x10_0000).i32(1).i32(11).0, "a frame one byte over the limit"),
        5 => (Body::new().i32(i32::MAX).i32(1).0, "a frame of two gigabytes"),
        _ => (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "an HTTP request"),
    }
}

/// First bytes of a connection that lead nowhere.
pub fn greeting(rng: &mut Rng) -> (Vec<u8>, &'static str) {
    let hello = Body::new().i32(0).i64(0).i32(30_000).i64(0);
    match rng.below(9) {
        0 => (Body::new().buf(Some(&hello.0[..20])).0, "half a handshake"),
        1 => (Body::new().buf(Some(&[])).0, "an empty handshake"),
        2 => (Body::new().buf(Some(&hello.i32(-2).byte(0).0)).0, "a password of length -2"),
        3 => (Body::new().buf(Some(&hello.i32(1000).byte(0).0)).0, "a password longer than its frame"),
        4 => (Body::new().i32(0x10_0000).raw(&hello.0).0, "a handshake over the limit"),
        5 => (Body::new().i32(-5).raw(&hello.0).0, "a handshake of negative length"),
        6 => (b"GET / HTTP/1.0\r\n\r\n".to_vec(), "an HTTP request"),
        7 => (b"help".to_vec(), "a word nobody knows"),
        _ => (vec![0xff, 0xf4, 0xff, 0xfd], "a telnet interrupt"),
    }
}
