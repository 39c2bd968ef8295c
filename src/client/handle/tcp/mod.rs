//! A session with servers elsewhere, over TCP.
//!
//! One thread, `zoarium-io`, moves the bytes of all such sessions of a process: it is there while one of them is, and it
//! calls nobody who could hold it up. It finds a server, resumes the session there, re-sends on reconnect what every
//! connection needs (identities, then watches, then waiting requests), pings, and gives a silent server up. A request is sent once:
//! when the connection is lost, those of which a byte has left end in [`code::CONNECTION_LOSS`], and those of which none
//! has wait for the next connection.

use std::sync::{Arc, Weak};

use super::Options;
use super::code;
use super::core::{Closing, ServerAddress};
use super::transport::{Completion, Listener, Refused, Reply, SessionInfo, State, Transport};
use crate::records::OpCode;

mod conn;
mod io;
mod probe;
mod session;
#[cfg(test)]
mod tests;

use io::{Io, TcpLink};
use session::TcpSession;

/// A session over TCP.
pub(super) struct Tcp {
    link: Arc<TcpLink>,
    io: Arc<Io>,
}

impl Tcp {
    /// Begins a session, or resumes one, with one of `hosts`, of which there is at least one. Returns at once; the
    /// listener hears when it is connected.
    ///
    /// # Errors
    /// What the system says when it has no thread or no descriptors left.
    pub(super) fn connect(
        hosts: Vec<ServerAddress>,
        options: &Options,
        listener: Weak<dyn Listener>,
    ) -> std::io::Result<Tcp> {
        let io = Io::shared()?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
        let session = Arc::new(TcpSession::new(options, listener));
        let link = TcpLink::begin(&io, session, hosts, u64::from_ne_bytes(seed));
        Ok(Tcp { link, io })
    }
}

impl Transport for Tcp {
    fn submit(&self, op: OpCode, body: &[u8], done: Completion) -> Result<(), Refused> {
        if self.link.session.submit(op, body, done)? {
            self.link.poke();
        }
        Ok(())
    }

    fn read_on(&self) {
        self.link.poke();
    }

    fn add_auth(&self, scheme: &str, credentials: &[u8], done: Completion) -> Result<(), Refused> {
        if self.link.session.add_auth(scheme, credentials, done)? {
            self.link.poke();
        }
        Ok(())
    }

    fn session(&self) -> SessionInfo {
        self.link.session.info()
    }

    fn close(&self, done: Completion) {
        match self.link.session.close(done) {
            Closing::Over(done) => {
                self.link.settle();
                done.complete(Reply::failed(code::OK));
            }
            Closing::Asked => self.link.poke(),
            Closing::Waits => {}
            Closing::NobodyToAsk => self.link.end(|session| {
                session.change(|core| {
                    // A server that has answered meanwhile was asked at once.
                    if !core.is_up() {
                        core.end(State::Ended, code::CLOSED, code::CONNECTION_LOSS);
                    }
                });
            }),
        }
    }

    fn detach(&self) {
        self.link.end(TcpSession::detach);
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        // Once it is over there is nothing to wait for, and it may be the I/O thread that lets go last.
        if self.io.is_here() && !self.link.session.is_over() {
            self.detach();
        }
    }
}
