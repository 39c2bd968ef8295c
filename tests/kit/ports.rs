//! Ports for servers in processes of their own: a test's own also while nobody listens at them.

use std::net::TcpListener;

/// Where they begin and end: below those that systems give to whoever asks for any, so that none is given away between the choice
/// and the use, or while a server is down.
const PORTS: std::ops::Range<u16> = 11_000..19_000;
/// Ports in one block. The first is held by the test that uses the others.
const BLOCK: usize = 16;

/// Some ports in a row, which are this test's for as long as this lives.
pub(crate) struct Ports {
    _held: TcpListener,
    pub(crate) first: u16,
}

impl Ports {
    /// So many.
    pub(crate) fn take(count: usize) -> Ports {
        assert!(count < BLOCK, "a block is too small for {count} ports");
        let blocks = PORTS.len() / BLOCK;
        let begin = std::process::id() as usize;
        for block in (0..blocks).map(|at| PORTS.start + (BLOCK * ((begin + at) % blocks)) as u16) {
            let Ok(held) = TcpListener::bind(("127.0.0.1", block)) else { continue };
            // Of somebody who does not know of this.
            let are_free = (1..=count as u16).all(|at| TcpListener::bind(("127.0.0.1", block + at)).is_ok());
            if are_free {
                return Ports { _held: held, first: block + 1 };
            }
        }
        panic!("no {count} free ports in a row in {PORTS:?}");
    }
}
