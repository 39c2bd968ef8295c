//! A proxy between client and server that can be told to misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Passes bytes on until told otherwise. Ends when dropped.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    refuses: AtomicBool,
    accepted: AtomicUsize,
    /// Bytes that came from clients.
    from_client: AtomicUsize,
    holds_replies: Mutex<bool>,
    let_go: Condvar,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn start(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (of_thread, target) = (Arc::clone(&shared), target.to_owned());
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(client) = stream else { return };
                if of_thread.over.load(Ordering::SeqCst) {
                    return;
                }
                let server = match of_thread.refuses.load(Ordering::SeqCst) {
                    true => None,
                    false => TcpStream::connect(&target).ok(),
                };
                let Some(server) = server else {
                    of_thread.accepted.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ends = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                // Counted when it can be cut, not before: who has counted it and cuts waits for the next one.
                let mut streams = of_thread.streams.lock().unwrap();
                // Since it was accepted.
                if of_thread.refuses.load(Ordering::SeqCst) {
                    of_thread.accepted.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                streams.extend(ends);
                of_thread.accepted.fetch_add(1, Ordering::SeqCst);
                drop(streams);
                let (up, down) = (Arc::clone(&of_thread), Arc::clone(&of_thread));
                let (client_in, server_in) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || up.pump(client_in, server, false));
                std::thread::spawn(move || down.pump(server_in, client, true));
            }
        });
        Proxy { address, shared, acceptor: Some(acceptor) }
    }

    /// Cuts all connections of the moment.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Whether the server's bytes are kept back.
    pub fn hold_replies(&self, holds: bool) {
        *self.shared.holds_replies.lock().unwrap() = holds;
        self.shared.let_go.notify_all();
    }

    /// Connections so far, refused ones included.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Bytes that came from clients so far.
    pub fn bytes_up(&self) -> usize {
        self.shared.from_client.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, is_reply: bool) {
        let mut room = vec![0; 64 << 10];
        while let Ok(size) = from.read(&mut room) {
            if size == 0 {
                break;
            }
            if is_reply {
                let held = self.holds_replies.lock().unwrap();
                drop(self.let_go.wait_while(held, |held| *held).unwrap());
            }
            if to.write_all(&room[..size]).is_err() {
                break;
            }
            // Counted when they are on their way, not before: what has been counted arrives, whatever is cut then.
            if !is_reply {
                self.from_client.fetch_add(size, Ordering::SeqCst);
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.hold_replies(false);
        self.cut();
    }
}
