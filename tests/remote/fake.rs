//! A server that says what a test wants, however wrong.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use zoarium::jute::{Buffer, encode, encoded};
use zoarium::records::connect::{ConnectRequest, ConnectResponse};
use zoarium::records::replies::ReplyHeader;

/// Accepts connections and lets a function talk, each on a thread. Ends when dropped.
pub struct Fake {
    pub address: String,
    over: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    acceptor: Option<JoinHandle<()>>,
}

/// One connection of a client's.
pub struct Talk {
    pub stream: TcpStream,
    /// Which connection this is, from 0.
    pub number: usize,
}

impl Fake {
    pub fn start(talk: impl Fn(&mut Talk) -> std::io::Result<()> + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (over, accepted, talk) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(talk));
        let (is_over, count) = (Arc::clone(&over), Arc::clone(&accepted));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let number = count.fetch_add(1, Ordering::SeqCst);
                let talk = Arc::clone(&talk);
                std::thread::spawn(move || {
                    let _ = talk(&mut Talk { stream, number });
                });
            }
        });
        Fake { address, over, accepted, acceptor: Some(acceptor) }
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// What a handshake asked for.
pub struct Hello {
    pub session: i64,
    pub last_zxid: i64,
    pub read_only: Option<bool>,
}

impl Talk {
    pub fn frame(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut payload = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(payload)
    }

    pub fn hello(&mut self) -> std::io::Result<Hello> {
        let payload = self.frame()?;
        let (request, read_only) = ConnectRequest::decode(&payload).unwrap();
        Ok(Hello { session: request.session_id, last_zxid: request.last_zxid_seen, read_only })
    }

    /// A request: its xid and its operation. Pings are answered on the way.
    pub fn request(&mut self) -> std::io::Result<(i32, i32)> {
        loop {
            let payload = self.frame()?;
            let word = |at: usize| i32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            if word(4) != 11 {
                return Ok((word(0), word(4)));
            }
            self.reply(-2, 1, 0)?;
        }
    }

    pub fn send(&mut self, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    pub fn welcome(&mut self, session: i64, timeout: i32, read_only: Option<bool>) -> std::io::Result<()> {
        let mut payload = Vec::new();
        let response =
            ConnectResponse { protocol_version: 0, timeout, session_id: session, password: Buffer::new(&[7; 16]) };
        response.encode(read_only, &mut payload);
        self.send(&payload)
    }

    /// The usual beginning.
    pub fn shake(&mut self) -> std::io::Result<Hello> {
        let hello = self.hello()?;
        self.welcome(if hello.session == 0 { 77 } else { hello.session }, 10_000, Some(false))?;
        Ok(hello)
    }

    pub fn reply(&mut self, xid: i32, zxid: i64, err: i32) -> std::io::Result<()> {
        self.send(&encoded(&ReplyHeader { xid, zxid, err }))
    }

    /// An honest answer to everything: the bare header.
    pub fn serve(&mut self) -> std::io::Result<()> {
        loop {
            let (xid, op) = self.request()?;
            self.reply(xid, 5, 0)?;
            if op == -11 {
                return Ok(());
            }
        }
    }

    pub fn raw(&mut self, words: &[i32]) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for word in words {
            encode(word, &mut bytes);
        }
        self.stream.write_all(&bytes)
    }

    /// Waits until the client hangs up.
    pub fn linger(&mut self) {
        let mut room = [0; 4096];
        while matches!(self.stream.read(&mut room), Ok(size) if size > 0) {}
    }
}
