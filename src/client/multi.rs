//! Several operations as one: writes that all happen or none, and reads of one moment.

use super::blocking::Client;
use super::call::ANY;
use super::call::{self, Call, ReadError, ReadFn, TTL_HINT};
use super::connect::AnyClient;
use super::futures::AsyncClient;
use super::pending::Pending;
use super::types::{CreateOptions, Created};
use crate::Error;
use crate::client::handle::Chroot;
use crate::code;
use crate::code::Outcome;
use crate::error::{Code, Failure};
use crate::jute::{Buffer, encode};
use crate::records::multi::{self, MultiHeader, decode_results};
use crate::records::requests::{PathVersionRequest, PathWatchRequest, SetDataRequest};
use crate::records::{OpCode, Stat};

/// Operations in a row, as they are sent.
#[derive(Default)]
struct MultiParts {
    body: Vec<u8>,
    paths: Vec<String>,
    /// What is wrong with the first that cannot be sent.
    failure: Option<Failure>,
}

impl MultiParts {
    fn push(&mut self, op: OpCode, path: &str, record: impl FnOnce(&mut Vec<u8>)) {
        encode(&MultiHeader::request(op), &mut self.body);
        record(&mut self.body);
        self.paths.push(path.to_owned());
    }

    fn call<T>(mut self, op: OpCode, read: ReadFn<T>) -> Result<Call<T>, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        encode(&MultiHeader::END, &mut self.body);
        Ok(Call::of_parts(op, self.body, self.paths, read))
    }
}

/// Writes that all happen or none, gathered one by one: see [`Client::multi`], which has an example.
#[must_use = "nothing is sent before the commit"]
pub struct Multi<C> {
    client: C,
    parts: MultiParts,
}

/// What one write of a multi has done. [`Client::multi`] has an example.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteResult {
    /// It created a znode.
    Created(Created),
    /// It set data; this is the stat after it.
    Set(Stat),
    /// It deleted a znode.
    Deleted,
    /// It compared a version.
    Checked,
}

/// Reads of one moment, gathered one by one: see [`Client::multi_read`], which has an example.
#[must_use = "nothing is sent before the commit"]
pub struct MultiRead<C> {
    client: C,
    parts: MultiParts,
}

/// What one read of a multi has found. [`Client::multi_read`] has an example.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReadResult {
    /// Data and stat.
    Data(Vec<u8>, Stat),
    /// Names of children.
    Children(Vec<String>),
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Multi<C> {
    fn new(client: C) -> Multi<C> {
        Multi { client, parts: MultiParts::default() }
    }

    /// Adds a create, of a persistent znode that is open to everybody. [`Client::multi`] has an example, for this and for
    /// the others.
    pub fn create(self, path: &str, data: impl AsRef<[u8]>) -> Multi<C> {
        self.create_with(path, data, &CreateOptions::new())
    }

    /// Adds a create of another kind. [`CreateOptions`] has an example of the options.
    pub fn create_with(mut self, path: &str, data: impl AsRef<[u8]>, options: &CreateOptions) -> Multi<C> {
        match call::create_record(self.client.shared().chroot(), path, data.as_ref(), options) {
            Ok((op, record)) => self.parts.push(op, path, |body| body.extend_from_slice(&record)),
            Err(failure) => {
                let part = self.parts.paths.len();
                self.parts.paths.push(path.to_owned());
                self.parts.failure.get_or_insert(Failure { part: Some(part), ..failure });
            }
        }
        self
    }

    /// Adds a set. [`Client::multi`] has an example.
    pub fn set(self, path: &str, data: impl AsRef<[u8]>) -> Multi<C> {
        self.set_if(path, data, ANY)
    }

    /// Adds a set at one version only. [`Client::multi`] has an example.
    pub fn set_if(mut self, path: &str, data: impl AsRef<[u8]>, version: i32) -> Multi<C> {
        let outer = self.client.shared().chroot().outer(path);
        let data = Buffer::new(data.as_ref());
        let request = SetDataRequest { path: outer.as_ref().into(), data, version };
        self.parts.push(OpCode::SetData, path, |body| encode(&request, body));
        self
    }

    /// Adds a delete. [`Client::multi`] has an example.
    pub fn delete(self, path: &str) -> Multi<C> {
        self.delete_if(path, ANY)
    }

    /// Adds a delete at one version only. [`Client::multi`] has an example of [`Multi::set_if`], which is used alike.
    pub fn delete_if(mut self, path: &str, version: i32) -> Multi<C> {
        self.versioned(OpCode::Delete, path, version);
        self
    }

    /// Adds a comparison: nothing happens unless the znode has this version. [`Client::multi`] has an example.
    pub fn check(mut self, path: &str, version: i32) -> Multi<C> {
        self.versioned(OpCode::Check, path, version);
        self
    }

    fn versioned(&mut self, op: OpCode, path: &str, version: i32) {
        let outer = self.client.shared().chroot().outer(path);
        let request = PathVersionRequest { path: outer.as_ref().into(), version };
        self.parts.push(op, path, |body| encode(&request, body));
    }
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> MultiRead<C> {
    fn new(client: C) -> MultiRead<C> {
        MultiRead { client, parts: MultiParts::default() }
    }

    /// Adds a get. [`Client::multi_read`] has an example.
    pub fn get(self, path: &str) -> MultiRead<C> {
        self.read(OpCode::GetData, path)
    }

    /// Adds a list of children. [`Client::multi_read`] has an example.
    pub fn children(self, path: &str) -> MultiRead<C> {
        self.read(OpCode::GetChildren, path)
    }

    fn read(mut self, op: OpCode, path: &str) -> MultiRead<C> {
        let outer = self.client.shared().chroot().outer(path);
        let request = PathWatchRequest { path: outer.as_ref().into(), watch: false };
        self.parts.push(op, path, |body| encode(&request, body));
        self
    }
}

impl Client {
    /// Begins to gather writes that all happen or none.
    ///
    /// ```
    /// use zoarium::{Code, Config, Error, Server, WriteResult};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-multi-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client = server.client()?;
    /// client.create("/config", b"1")?;
    ///
    /// let done = client.multi().check("/config", 0).set("/config", b"2").create("/log", b"").commit()?;
    /// assert_eq!(done.len(), 3);
    /// assert!(matches!(&done[2], WriteResult::Created(znode) if znode.path == "/log"));
    ///
    /// // One part fails, so nothing happens; the error says which.
    /// let error = client.multi().delete("/log").set_if("/config", b"3", 0).commit().unwrap_err();
    /// assert_eq!((error.code(), error.part(), error.path()), (Code::BadVersion, Some(1), Some("/config")));
    /// assert!(client.exists("/log")?.is_some());
    /// # drop(client);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn multi(&self) -> Multi<Client> {
        Multi::new(self.clone())
    }

    /// Begins to gather reads that are made at one moment.
    ///
    /// ```
    /// use zoarium::{Code, Config, Error, ReadResult, Server};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-multi-read-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client = server.client()?;
    /// client.create("/a", b"1")?;
    ///
    /// let found = client.multi_read().get("/a").children("/").get("/nothing").commit()?;
    /// assert!(matches!(&found[0], Ok(ReadResult::Data(data, _)) if data == b"1"));
    /// assert!(matches!(&found[1], Ok(ReadResult::Children(names)) if names.contains(&"a".to_owned())));
    /// assert_eq!(found[2].as_ref().unwrap_err().code(), Code::NoNode);
    /// # drop(client);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn multi_read(&self) -> MultiRead<Client> {
        MultiRead::new(self.clone())
    }
}

impl AsyncClient {
    /// Begins to gather writes that all happen or none. As [`Client::multi`], which has an example.
    pub fn multi(&self) -> Multi<AsyncClient> {
        Multi::new(self.clone())
    }

    /// Begins to gather reads that are made at one moment. As [`Client::multi_read`], which has an example.
    pub fn multi_read(&self) -> MultiRead<AsyncClient> {
        MultiRead::new(self.clone())
    }
}

impl Multi<Client> {
    /// Sends them and waits: one result for each. [`Client::multi`] has an example.
    ///
    /// # Errors
    /// That of the part which failed ([`Error::part`]), and then nothing has happened; or what became of the session.
    pub fn commit(self) -> Result<Vec<WriteResult>, Error> {
        self.client.session.run(self.parts.call(OpCode::Multi, writes)?, self.client.limit)
    }
}

impl Multi<AsyncClient> {
    /// Sends them. As [`Client::multi`], which has an example.
    pub fn commit(self) -> Pending<Vec<WriteResult>> {
        self.client.send(|_| self.parts.call(OpCode::Multi, writes))
    }
}

impl MultiRead<Client> {
    /// Sends them and waits: one result for each, which may fail on its own. [`Client::multi_read`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn commit(self) -> Result<Vec<Result<ReadResult, Error>>, Error> {
        self.client.session.run(self.parts.call(OpCode::MultiRead, reads)?, self.client.limit)
    }
}

impl MultiRead<AsyncClient> {
    /// Sends them. As [`Client::multi_read`], which has an example.
    pub fn commit(self) -> Pending<Vec<Result<ReadResult, Error>>> {
        self.client.send(|_| self.parts.call(OpCode::MultiRead, reads))
    }
}

fn failure_of_part(code: i32, part: usize, paths: &[String]) -> Failure {
    let mut failure = Failure { part: Some(part), ..Failure::new(code) }.at(paths.get(part).map(String::as_str));
    if failure.code == Code::Unimplemented {
        failure.hint = TTL_HINT;
    }
    // A server that says so has not done it.
    Failure { outcome: Outcome::NotDone, ..failure }
}

fn writes(body: &[u8], chroot: &Chroot, paths: &[String]) -> Result<Vec<WriteResult>, ReadError> {
    let results = decode_results(body)?;
    let codes = results.iter().map(|result| match result {
        multi::MultiResult::Error(code) => *code,
        _ => code::OK,
    });
    let codes: Vec<i32> = codes.collect();
    // Those before the one that failed have no code, those behind it one that says no more.
    let is_culprit = |code: &i32| *code != code::OK && Code::from(*code) != Code::RuntimeInconsistency;
    let culprit = codes.iter().position(is_culprit).or_else(|| codes.iter().position(|code| *code != code::OK));
    if let Some(at) = culprit {
        return Err(ReadError::Failed(failure_of_part(codes[at], at, paths)));
    }
    let written = results.into_iter().map(|result| match result {
        multi::MultiResult::PathStat(reply) => {
            let path = chroot.inner(reply.path.as_str()).to_owned();
            Ok(WriteResult::Created(Created { path, stat: reply.stat }))
        }
        multi::MultiResult::Stat(reply) => Ok(WriteResult::Set(reply.stat)),
        multi::MultiResult::Done(OpCode::Delete) => Ok(WriteResult::Deleted),
        multi::MultiResult::Done(_) => Ok(WriteResult::Checked),
        _ => Err(ReadError::Bad),
    });
    let written: Vec<WriteResult> = written.collect::<Result<_, _>>()?;
    if written.len() == paths.len() { Ok(written) } else { Err(ReadError::Bad) }
}

fn reads(body: &[u8], _: &Chroot, paths: &[String]) -> Result<Vec<Result<ReadResult, Error>>, ReadError> {
    let results = decode_results(body)?.into_iter().enumerate();
    let found = results.map(|(part, result)| match result {
        multi::MultiResult::Data(reply) => {
            Ok(Ok(ReadResult::Data(reply.data.0.unwrap_or_default().to_vec(), reply.stat)))
        }
        multi::MultiResult::Names(reply) => {
            Ok(Ok(ReadResult::Children(reply.names.iter().map(|name| name.as_str().to_owned()).collect())))
        }
        multi::MultiResult::Error(code) => Ok(Err(failure_of_part(code, part, paths).into())),
        _ => Err(ReadError::Bad),
    });
    let found: Vec<Result<ReadResult, Error>> = found.collect::<Result<_, _>>()?;
    if found.len() == paths.len() { Ok(found) } else { Err(ReadError::Bad) }
}
