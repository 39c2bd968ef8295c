//! What a script is made of: steps, the same for both servers until they are sent.

/// One request as bytes behind its header, with what the other files need to know about it.
#[derive(Clone, Debug)]
pub struct Request {
    pub op: i32,
    pub xid: i32,
    pub body: Vec<u8>,
    /// The body begins with this zxid, to be put in as the server at hand counts (setWatches).
    pub zxid: Option<i64>,
    /// For people.
    pub text: String,
}

impl Request {
    pub fn new(op: i32, xid: i32, body: Body, text: String) -> Request {
        Request { op, xid, body: body.0, zxid: None, text }
    }
}

/// Which session a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Session {
    /// A new one, to be called by this number.
    New(usize),
    /// The one with this number.
    Resume(usize),
    /// One that never was.
    Unknown(i64),
}

/// What is sent as the password.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Password {
    /// The right one; zeros for a new session.
    Right,
    Wrong,
    Null,
    Empty,
    Long,
}

#[derive(Clone, Debug)]
pub struct Connect {
    pub slot: usize,
    pub session: Session,
    pub password: Password,
    pub protocol: i32,
    pub timeout: i32,
    /// Relative to the last one the server is known to have given out; `None` sends 0.
    pub last_zxid: Option<i64>,
    pub read_only: Option<u8>,
    /// Sent right behind, before the handshake is answered.
    pub behind: Vec<Request>,
}

#[derive(Clone, Debug)]
pub enum Action {
    Connect(Connect),
    /// Requests in one write, or byte-wise in two; `tail` follows them as it is.
    Send {
        slot: usize,
        requests: Vec<Request>,
        tail: Vec<u8>,
        split: bool,
    },
    /// The client closes its socket; the session goes on.
    Drop {
        slot: usize,
    },
    /// A connection of its own on which these bytes are sent, and the server hangs up.
    Raw {
        bytes: Vec<u8>,
    },
    /// A four-letter word.
    Word(&'static str),
}

#[derive(Clone, Debug)]
pub struct Step {
    pub action: Action,
    pub text: String,
}

impl Step {
    /// How many operations it counts for.
    pub fn operations(&self) -> usize {
        match &self.action {
            Action::Send { requests, tail, .. } => requests.len() + usize::from(!tail.is_empty()),
            Action::Connect(connect) => 1 + connect.behind.len(),
            _ => 1,
        }
    }

    pub fn requests(&self) -> &[Request] {
        match &self.action {
            Action::Send { requests, .. } => requests,
            Action::Connect(connect) => &connect.behind,
            _ => &[],
        }
    }

    /// Whether a session ends in it: its ephemerals go in no order that anyone promises.
    pub fn ends_session(&self) -> bool {
        self.requests().iter().any(|request| request.op == -11)
    }
}

/// Jute by hand: what goes out must not depend on the encoder under test, and must be able to be wrong.
#[derive(Clone, Debug, Default)]
pub struct Body(pub Vec<u8>);

/// Perms, scheme, id.
pub type Entry = (i32, Option<Vec<u8>>, Option<Vec<u8>>);

impl Body {
    pub fn new() -> Body {
        Body::default()
    }

    pub fn i32(mut self, value: i32) -> Body {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i64(mut self, value: i64) -> Body {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn byte(mut self, value: u8) -> Body {
        self.0.push(value);
        self
    }

    pub fn buf(self, bytes: Option<&[u8]>) -> Body {
        match bytes {
            None => self.i32(-1),
            Some(bytes) => self.i32(bytes.len() as i32).raw(bytes),
        }
    }

    pub fn raw(mut self, bytes: &[u8]) -> Body {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn acl(mut self, acl: &Option<Vec<Entry>>) -> Body {
        let Some(entries) = acl else { return self.i32(-1) };
        self = self.i32(entries.len() as i32);
        for (perms, scheme, id) in entries {
            self = self.i32(*perms).buf(scheme.as_deref()).buf(id.as_deref());
        }
        self
    }

    pub fn paths(mut self, paths: &[Vec<u8>]) -> Body {
        self = self.i32(paths.len() as i32);
        for path in paths {
            self = self.buf(Some(path));
        }
        self
    }

    pub fn multi_header(self, op: i32, done: u8, err: i32) -> Body {
        self.i32(op).byte(done).i32(err)
    }
}
