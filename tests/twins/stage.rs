//! Sessions with names, and a transcript of all they do and hear.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use zoarium::handle::watching::WatchFn;
use zoarium::handle::{Code, Event, Handle, Options, Reply, SessionInfo, State, WatchMode};
use zoarium::records::OpCode;
use zoarium::records::replies::ReplyHeader;

use crate::masks::Masks;
use crate::render;
use crate::requests::{Request, read};

const LIMIT: Option<Duration> = Some(Duration::from_secs(30));

/// Begins a session in one of three ways.
pub type Open = Box<dyn Fn(&Options) -> Handle>;

pub struct Stage {
    open: Open,
    masks: Masks,
    lines: Vec<String>,
    actors: BTreeMap<&'static str, Actor>,
    sessions: usize,
}

struct Actor {
    handle: Handle,
    heard: Arc<Mutex<Vec<(String, Event)>>>,
    states: Arc<Mutex<Vec<State>>>,
    watch_ids: Vec<u64>,
}

impl Stage {
    pub fn new(open: Open) -> Stage {
        Stage { open, masks: Masks::default(), lines: Vec::new(), actors: BTreeMap::new(), sessions: 0 }
    }

    fn line(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Begins a session, and tells of it once a server has answered, or will not.
    pub fn enter(&mut self, name: &'static str, options: Options) {
        let (heard, states) = (Arc::default(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&states);
        let on_state: Arc<dyn Fn(State) + Send + Sync> = Arc::new(move |state| seen.lock().unwrap().push(state));
        let handle = (self.open)(&Options { on_state: Some(on_state), ..options });
        let result = handle.wait(LIMIT);
        let session = handle.session();
        if result.is_ok() && self.masks.session(session.id.0).starts_with("0x") {
            self.sessions += 1;
            self.masks.name_session(session.id.0, self.sessions);
        }
        let line = format!(
            "{name} enters: {result:?} {} timeout={} {:?}",
            self.masks.session(session.id.0),
            session.timeout_ms,
            session.state
        );
        self.line(line);
        self.actors.insert(name, Actor { handle, heard, states, watch_ids: Vec::new() });
    }

    pub fn session(&self, name: &str) -> SessionInfo {
        self.actors[name].handle.session()
    }

    fn tell(&mut self, name: &str, what: &str, op: OpCode, reply: &Reply) {
        self.masks.saw_zxid(reply.zxid);
        let header = ReplyHeader { xid: 0, zxid: reply.zxid, err: reply.code };
        let (text, _) = render::reply(&mut self.masks, op.to_i32(), &header, &reply.body);
        self.line(format!("{name} {what}: {text}"));
    }

    /// A request, and what came of it: the reply, and the events of everybody.
    pub fn call(&mut self, name: &'static str, request: Request) {
        let (op, body) = request;
        let reply = self.actors[name].handle.call(op, &body, LIMIT);
        self.tell(name, &format!("{op} {}", render::bytes(&body)), op, &reply);
        self.hear();
    }

    /// A plain read by path, the chroot's business included.
    pub fn read(&mut self, name: &'static str, op: OpCode, path: &str) {
        let reply = self.actors[name].handle.read(op, path, LIMIT);
        self.tell(name, &format!("reads {op} {path:?}"), op, &reply);
    }

    fn watcher(&self, name: &str, label: String) -> WatchFn {
        let heard = Arc::clone(&self.actors[name].heard);
        Box::new(move |event: &Event| heard.lock().unwrap().push((label.clone(), event.clone())))
    }

    /// A read that leaves a watch.
    pub fn read_watched(&mut self, name: &'static str, op: OpCode, path: &str) {
        let watch = self.watcher(name, format!("{op} of {path:?}"));
        let reply = self.actors[name].handle.read_watched(op, path, watch, LIMIT);
        self.tell(name, &format!("reads and watches {op} {path:?}"), op, &reply);
    }

    /// A standing watch, or one that is not; it is the actor's next.
    pub fn watch(&mut self, name: &'static str, path: &str, mode: WatchMode) {
        let watch = self.watcher(name, format!("{mode:?} at {path:?}"));
        let result = self.actors[name].handle.watch(path, mode, watch, LIMIT).map_err(|reply| reply.code);
        self.line(format!("{name} watches {path:?} {mode:?}: {:?}", result.map(|_| ())));
        self.actors.get_mut(name).unwrap().watch_ids.push(result.unwrap_or(0));
    }

    /// Ends the actor's watch of this number.
    pub fn unwatch(&mut self, name: &'static str, number: usize) {
        let actor = &self.actors[name];
        let result = actor.handle.unwatch(actor.watch_ids[number], LIMIT);
        self.line(format!("{name} unwatches {number}: {result:?}"));
    }

    pub fn add_auth(&mut self, name: &'static str, scheme: &str, credentials: &str) {
        let reply = self.actors[name].handle.add_auth(scheme, credentials.as_bytes(), LIMIT);
        self.line(format!("{name} is also {scheme} {credentials}: {}", render::code(reply.code)));
    }

    /// Tells of the events that have come, once all that must have come have.
    fn hear(&mut self) {
        let mut lines = Vec::new();
        for (name, actor) in &self.actors {
            // Events come before the reply to a later read, also where callbacks run.
            let (done, finished) = mpsc::channel();
            let (op, body) = read(OpCode::Sync, "/");
            if actor.handle.submit(op, &body, move |_| done.send(()).unwrap()).is_err() {
                continue;
            }
            finished.recv_timeout(Duration::from_secs(30)).expect("a reply");
            for (label, event) in actor.heard.lock().unwrap().drain(..) {
                let zxid = self.masks.zxid(event.zxid);
                lines.push(format!("  {name} hears by {label}: {} {:?} zxid={zxid}", event.kind, event.path));
            }
        }
        self.lines.append(&mut lines);
    }

    /// What follows from leaving comes in no promised order.
    fn hear_sorted(&mut self) {
        let start = self.lines.len();
        self.hear();
        self.lines[start..].sort();
    }

    fn leave(&mut self, name: &'static str, how: &str, result: Result<(), Code>) {
        let actor = self.actors.remove(name).unwrap();
        let refused = actor.handle.read(OpCode::Exists, "/", LIMIT).code;
        let states = actor.states.lock().unwrap().clone();
        self.line(format!("{name} {how}: {result:?} then {}", render::code(refused)));
        self.line(format!("{name} was {states:?}"));
        self.hear_sorted();
    }

    pub fn close(&mut self, name: &'static str) {
        let result = self.actors[name].handle.close(LIMIT);
        self.leave(name, "closes", result);
    }

    pub fn detach(&mut self, name: &'static str) {
        self.actors[name].handle.detach();
        self.leave(name, "detaches", Ok(()));
    }

    pub fn end(self) -> Vec<String> {
        self.lines
    }
}
