//! Frames over TCP, with no idea of what is in them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The longest frame taken from a server, in bytes. Servers do not bound their replies; this only stops nonsense.
const REPLY_SIZE_MAX: usize = 256 << 20;
/// Room for a read when nothing is known about the next frame, in bytes.
const READ_SIZE: usize = 64 << 10;

/// A TCP connection that speaks in length-prefixed frames.
#[derive(Debug)]
pub struct RawWire {
    stream: TcpStream,
    wait: Duration,
    input: Vec<u8>,
    start: usize,
}

impl RawWire {
    /// Connects to `address` (`host:port`), trying each of the host's addresses; `wait` holds for every later read too.
    ///
    /// # Errors
    /// That of the last address tried.
    pub fn connect(address: &str, wait: Duration) -> io::Result<RawWire> {
        let mut failure = io::Error::new(ErrorKind::NotFound, format!("{address} has no address"));
        for candidate in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&candidate, wait) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(wait))?;
                    return Ok(RawWire { stream, wait, input: Vec::new(), start: 0 });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends `payload` behind its length.
    ///
    /// # Errors
    /// Those of the socket; `InvalidInput` for a payload no length can express.
    pub fn send_frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = i32::try_from(payload.len()).map_err(|_| ErrorKind::InvalidInput)?;
        // In one write: a length that leaves on its own costs a packet.
        let mut frame = Vec::with_capacity(4 + payload.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(payload);
        self.send_raw(&frame)
    }

    /// Sends bytes as they are: several frames at once, or none at all.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for a frame and returns its payload.
    ///
    /// # Errors
    /// `TimedOut` when none comes in time, `UnexpectedEof` when the server closed the connection.
    pub fn receive_frame(&mut self) -> io::Result<Vec<u8>> {
        self.poll_frame(self.wait)?.ok_or_else(|| io::Error::new(ErrorKind::TimedOut, "no reply in time"))
    }

    /// Waits up to `wait` for a frame.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closed the connection, `InvalidData` for a length no frame has.
    pub fn poll_frame(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(payload) = self.buffered_frame()? {
                return Ok(Some(payload));
            }
            // A zero time-out would mean "for ever"; one read without patience is due in any case.
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left))?;
            match self.fill() {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed by the server")),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the connection; the session, if there is one, goes on.
    pub fn shut_down(&self) {
        // Fails only when the peer was first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn buffered_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((length, rest)) = self.input[self.start..].split_first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        let length = usize::try_from(length).ok().filter(|&length| length <= REPLY_SIZE_MAX);
        let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no frame has this length"))?;
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let payload = payload.to_vec();
        self.start += 4 + length;
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
        Ok(Some(payload))
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.input.drain(..self.start);
        self.start = 0;
        let filled = self.input.len();
        self.input.resize(filled + READ_SIZE, 0);
        let result = self.stream.read(&mut self.input[filled..]);
        self.input.truncate(filled + *result.as_ref().unwrap_or(&0));
        result
    }
}

/// Sends a four-letter word to `address` (`host:port`) and returns what the server says until it hangs up.
///
/// # Errors
/// Those of the socket.
pub fn four_letter(address: &str, word: &str, wait: Duration) -> io::Result<String> {
    let mut wire = RawWire::connect(address, wait)?;
    wire.stream.set_read_timeout(Some(wait))?;
    wire.send_raw(word.as_bytes())?;
    let mut answer = Vec::new();
    wire.stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
