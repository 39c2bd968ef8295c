//! A connection with another server: reads and writes what the system takes at once.

use std::io::{ErrorKind, IoSlice, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;

use crate::process::Owned;
use crate::store::os_text;

/// What became of reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WireRead {
    /// So many bytes came.
    Bytes(usize),
    /// There is nothing for now; an event will tell.
    Nothing,
    /// The connection is at its end, for this reason.
    Gone(String),
}

#[derive(Debug)]
pub(super) struct QuorumWire {
    stream: Owned<TcpStream>,
    /// There may be something to read: no event will tell again.
    readable: bool,
    /// It took all that was written so far.
    writable: bool,
    hung_up: bool,
}

impl QuorumWire {
    /// Of a connection that stands. Whether something came with it is not known.
    pub(super) fn new(stream: Owned<TcpStream>) -> QuorumWire {
        QuorumWire { stream, readable: true, writable: true, hung_up: false }
    }

    pub(super) fn ready(&mut self, event: &Event) {
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.readable = true;
            self.hung_up |= event.is_read_closed() || event.is_error();
        }
        self.writable |= event.is_writable() || event.is_error();
    }

    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn read(&mut self, room: &mut [u8]) -> WireRead {
        loop {
            return match self.stream.read(room) {
                Ok(0) => WireRead::Gone("it was closed by the other end".to_owned()),
                Ok(count) => {
                    // A short read has emptied the socket. The end is told once, perhaps together with these bytes.
                    self.readable = count == room.len() || self.hung_up;
                    WireRead::Bytes(count)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    WireRead::Nothing
                }
                Err(error) => WireRead::Gone(os_text(&error)),
            };
        }
    }

    /// Writes once; how much of it was taken, 0 when nothing is for now.
    ///
    /// # Errors
    /// Why the connection is broken.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> Result<usize, String> {
        if !self.writable {
            return Ok(0);
        }
        loop {
            return match self.stream.write_vectored(pieces) {
                Ok(0) => Err("it takes nothing any more".to_owned()),
                Ok(count) => Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    Ok(0)
                }
                Err(error) => Err(os_text(&error)),
            };
        }
    }
}
