//! One random request of each kind.

use crate::pools;
use crate::render::bytes;
use crate::rng::Rng;
use crate::step::{Body, Entry, Request};

/// Opcodes as often as they are to come.
const KINDS: &[(usize, i32)] = &[
    (16, 1),
    (16, 15),
    (3, 19),
    (5, 21),
    (18, 2),
    (10, 3),
    (12, 4),
    (14, 5),
    (5, 6),
    (7, 7),
    (6, 8),
    (7, 12),
    (3, 9),
    (2, 11),
    (14, 14),
    (5, 22),
    (1, 16),
    (4, 17),
    (5, 18),
    (3, 101),
    (4, 105),
    (6, 106),
    (2, 103),
    (2, 104),
    (2, 107),
];

/// Which requests may be made where: what earlier replies taught, and the xid counter.
pub struct Source<'a> {
    pub rng: &'a mut Rng,
    pub made: &'a [String],
    pub zxid_now: i64,
    pub xid: i32,
}

impl Source<'_> {
    /// A request of any kind that leaves the connection open.
    pub fn any(&mut self) -> Request {
        let op = self.rng.weighted(KINDS);
        self.of_kind(op)
    }

    pub fn of_kind(&mut self, op: i32) -> Request {
        let xid = self.xid();
        let (body, text) = match op {
            1 | 15 | 19 => self.create(op),
            21 => self.create_ttl(),
            2 | 13 => self.path_and_version(),
            3 | 4 | 8 | 12 => self.path_and_watch(),
            5 => self.set_data(),
            6 | 9 | 103 | 104 => self.path_only(),
            7 => self.set_acl(),
            14 => return crate::multis::multi(self, xid),
            22 => return crate::multis::multi_read(self, xid),
            16 => self.reconfig(),
            17 | 18 | 106 => self.watch(op),
            101 | 105 => return self.set_watches(op, xid),
            _ => (Body::new(), String::new()),
        };
        Request::new(op, xid, body, format!("{} {text}", name(op)))
    }

    fn xid(&mut self) -> i32 {
        self.xid += 1;
        match self.rng.below(200) {
            0 => self.rng.pick(&[0, -2, -4, -8, i32::MIN, i32::MAX, -100]),
            _ => self.xid,
        }
    }

    fn path(&mut self) -> Option<Vec<u8>> {
        pools::nullable_path(self.rng, self.made)
    }

    /// Lists that shut out everybody stay below `/acl`.
    fn acl_for(&mut self, path: &Option<Vec<u8>>) -> Option<Vec<Entry>> {
        match shielded(path) {
            true => pools::acl(self.rng, 20),
            false => pools::readable_acl(self.rng, 90),
        }
    }

    /// The fields that all creates begin with.
    fn create_fields(&mut self, modes: &[(usize, i32)]) -> (Body, String) {
        let (path, data, mode) = (self.path(), pools::data(self.rng), self.rng.weighted(modes));
        let acl = self.acl_for(&path);
        let text = format!("{} data {} acl {} flags {mode}", opt(&path), opt(&data), acl_text(&acl));
        (Body::new().buf(path.as_deref()).buf(data.as_deref()).acl(&acl).i32(mode), text)
    }

    pub fn create(&mut self, op: i32) -> (Body, String) {
        const PLAIN: &[(usize, i32)] =
            &[(45, 0), (17, 1), (17, 2), (12, 3), (4, 4), (2, 5), (1, 6), (1, 7), (1, 9), (1, -1), (1, i32::MAX)];
        const CONTAINER: &[(usize, i32)] = &[(70, 4), (20, 0), (5, 2), (3, 5), (2, 7)];
        self.create_fields(if op == 19 { CONTAINER } else { PLAIN })
    }

    pub fn create_ttl(&mut self) -> (Body, String) {
        const MODES: &[(usize, i32)] = &[(60, 5), (32, 6), (2, 0), (2, 2), (1, 7), (1, 1), (1, 4)];
        let (mut body, text) = self.create_fields(MODES);
        let mode = i32::from_be_bytes(*body.0.last_chunk().expect("flags come last"));
        let mut ttl = if self.rng.chance(50) { 1_000_000_000 } else { pools::ttl(self.rng) };
        // A mode without TTL and a TTL that says "none" pass Apache ZooKeeper's checks and then kill it for good.
        if !matches!(mode, 5 | 6) {
            ttl = ttl.saturating_abs();
        }
        body = body.i64(ttl);
        (body, format!("{text} ttl {ttl}"))
    }

    pub fn path_and_version(&mut self) -> (Body, String) {
        let (path, version) = (self.path(), pools::version(self.rng));
        (Body::new().buf(path.as_deref()).i32(version), format!("{} version {version}", opt(&path)))
    }

    pub fn path_and_watch(&mut self) -> (Body, String) {
        let (path, watch) = (self.path(), self.rng.pick(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 2, 255]));
        (Body::new().buf(path.as_deref()).byte(watch), format!("{} watch {watch}", opt(&path)))
    }

    pub fn set_data(&mut self) -> (Body, String) {
        let mut path = self.path();
        // Apache ZooKeeper parses a quota's usage while it applies a transaction, and dies of what it cannot parse.
        if path.as_deref().is_some_and(|path| path.ends_with(b"zookeeper_stats")) {
            path = Some(b"/q".to_vec());
        }
        let (data, version) = (pools::data(self.rng), pools::version(self.rng));
        let text = format!("{} data {} version {version}", opt(&path), opt(&data));
        (Body::new().buf(path.as_deref()).buf(data.as_deref()).i32(version), text)
    }

    fn path_only(&mut self) -> (Body, String) {
        let path = self.path();
        (Body::new().buf(path.as_deref()), opt(&path))
    }

    fn set_acl(&mut self) -> (Body, String) {
        let path = self.path();
        let acl = self.acl_for(&path);
        let version = pools::version(self.rng);
        let text = format!("{} acl {} version {version}", opt(&path), acl_text(&acl));
        (Body::new().buf(path.as_deref()).acl(&acl).i32(version), text)
    }

    fn reconfig(&mut self) -> (Body, String) {
        let joining = self.rng.pick(&[None, Some("server.2=127.0.0.1:1:2:observer;3"), Some("some thing"), Some("")]);
        let leaving = self.rng.pick(&[None, Some("1"), Some("x")]);
        let members = self.rng.pick(&[None, None, Some("server.1=127.0.0.1:1:2;3"), Some("nonsense")]);
        let config = self.rng.pick(&[-1, 0, i64::MAX]);
        let mut body = Body::new();
        for text in [joining, leaving, members] {
            body = body.buf(text.map(str::as_bytes));
        }
        (body.i64(config), format!("joining {joining:?} leaving {leaving:?} members {members:?} config {config}"))
    }

    fn watch(&mut self, op: i32) -> (Body, String) {
        let path = self.path();
        let kind = match op {
            106 => self.rng.pick(&[0, 0, 0, 0, 1, 1, 1, 1, 2, -1]),
            _ => self.rng.pick(&[1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0, 6, -1]),
        };
        (Body::new().buf(path.as_deref()).i32(kind), format!("{} kind {kind}", opt(&path)))
    }

    fn set_watches(&mut self, op: i32, xid: i32) -> Request {
        let relative = match self.rng.below(10) {
            0 => 0,
            1 => -1,
            2 => i64::MAX,
            3 | 4 => self.zxid_now,
            5 => self.zxid_now + 7,
            _ => (self.zxid_now - self.rng.below(60) as i64).max(0),
        };
        let mut body = Body::new();
        let mut text = format!("{} since {relative}", name(op));
        // Behind other lists a null one is the difference `null-list-of-watches`.
        let first_is_null = self.rng.chance(3);
        for rank in 0..if op == 101 { 3 } else { 5 } {
            if rank == 0 && first_is_null {
                body = body.i32(-1);
                text += " null";
                continue;
            }
            let mut paths: Vec<_> = (0..self.rng.below(4)).map(|_| pools::path(self.rng, self.made)).collect();
            paths.retain(|path| !path.starts_with(b"/acl"));
            text += &format!(" [{}]", paths.iter().map(|path| bytes(path)).collect::<Vec<_>>().join(" "));
            body = body.paths(&paths);
        }
        Request { zxid: Some(relative), ..Request::new(op, xid, body, text) }
    }
}

/// Whether a znode there may shut everybody out.
fn shielded(path: &Option<Vec<u8>>) -> bool {
    path.as_deref().is_some_and(|path| path.starts_with(b"/acl"))
}

pub fn opt(bytes: &Option<Vec<u8>>) -> String {
    bytes.as_deref().map_or("null".into(), self::bytes)
}

fn acl_text(acl: &Option<Vec<Entry>>) -> String {
    let Some(entries) = acl else { return "null".into() };
    let entries: Vec<_> =
        entries.iter().map(|(perms, scheme, id)| format!("{perms}:{}:{}", opt(scheme), opt(id))).collect();
    format!("[{}]", entries.join(" "))
}

pub fn name(op: i32) -> String {
    zoarium::records::OpCode::from_i32(op).map_or(format!("opcode {op}"), |op| op.name().to_owned())
}
