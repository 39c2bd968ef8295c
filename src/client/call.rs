//! Verbs as values: what to send, and what its reply means. How it is sent is the caller's.

use super::types::{Acl, CreateOptions, Created, Reconfig};
use crate::client::handle::{Chroot, Reply};
use crate::code;
use crate::error::{Code, Failure};
use crate::jute::{Buffer, Decoder, JuteError, encoded};
use crate::records::replies::{
    AclReply, ChildrenStatReply, DataReply, NamesReply, NumberReply, PathStatReply, StatReply, WhoAmIReply,
};
use crate::records::requests::{
    CreateRequest, CreateTtlRequest, PathRequest, PathVersionRequest, PathWatchRequest, SetAclRequest, SetDataRequest,
};
use crate::records::{CreateMode, OpCode, Stat};

/// The version that stands for any.
pub(super) const ANY: i32 = -1;

/// One request, and how to read its reply.
pub(super) struct Call<T> {
    pub(super) op: OpCode,
    /// Its record, with the server's paths. Of a plain read it is made where it has to be sent.
    body: Vec<u8>,
    /// Its record is there whatever the operation: no chroot is put in front of its path.
    is_made: bool,
    pub(super) reading: ReplyReader<T>,
}

/// How to read a reply.
pub(super) struct ReplyReader<T> {
    op: OpCode,
    /// The client's path, for what is said of a failure.
    pub(super) path: String,
    /// Of a multi, those of its parts.
    pub(super) paths: Vec<String>,
    read: ReadFn<T>,
    /// What a missing znode means, where that is no failure.
    missing: Option<fn() -> T>,
}

/// Why a reply with code 0 is a failure.
pub(super) enum ReadError {
    /// It cannot be read.
    Bad,
    /// It says so itself.
    Failed(Failure),
}

impl From<JuteError> for ReadError {
    fn from(_: JuteError) -> ReadError {
        ReadError::Bad
    }
}

type Read<T> = Result<T, ReadError>;
/// Reads a reply's record, given the chroot and the paths of the parts.
pub(super) type ReadFn<T> = fn(&[u8], &Chroot, &[String]) -> Read<T>;

impl<T> Call<T> {
    fn new(op: OpCode, path: &str, body: Vec<u8>, read: ReadFn<T>) -> Call<T> {
        Call {
            op,
            body,
            is_made: false,
            reading: ReplyReader { op, path: path.to_owned(), paths: Vec::new(), read, missing: None },
        }
    }

    pub(super) fn of_parts(op: OpCode, body: Vec<u8>, paths: Vec<String>, read: ReadFn<T>) -> Call<T> {
        Call { op, body, is_made: false, reading: ReplyReader { op, path: String::new(), paths, read, missing: None } }
    }

    /// Whether the handle knows a shorter way than a request: its record is made there.
    pub(super) fn is_plain_read(&self) -> bool {
        let is_read = matches!(self.op, OpCode::GetData | OpCode::Exists | OpCode::GetChildren2 | OpCode::GetAcl);
        is_read && !self.is_made
    }

    /// Its record.
    pub(super) fn into_record(self, chroot: &Chroot) -> (Vec<u8>, ReplyReader<T>) {
        let path = chroot.outer(&self.reading.path);
        let body = match self.op {
            _ if self.is_made => self.body,
            OpCode::GetAcl => encoded(&PathRequest { path: path.as_ref().into() }),
            _ if self.is_plain_read() => encoded(&PathWatchRequest { path: path.as_ref().into(), watch: false }),
            _ => self.body,
        };
        (body, self.reading)
    }
}

impl<T> ReplyReader<T> {
    /// What the reply means.
    pub(super) fn finish(&self, reply: &Reply, chroot: &Chroot) -> Result<T, Failure> {
        if let (code::NO_NODE, Some(missing)) = (reply.code, self.missing) {
            return Ok(missing());
        }
        if reply.code != code::OK {
            return Err(self.failure(reply));
        }
        (self.read)(&reply.body, chroot, &self.paths).map_err(|error| match error {
            ReadError::Failed(failure) => failure,
            // The server has done something, and what it says of it cannot be read.
            ReadError::Bad => {
                Failure { outcome: code::Outcome::Unknown, ..Failure::new(Code::MarshallingError) }.at(self.path())
            }
        })
    }

    pub(super) fn failure(&self, reply: &Reply) -> Failure {
        let mut failure = failure_of(reply).at(self.path());
        if self.op == OpCode::CreateTtl && failure.code == Code::Unimplemented {
            failure.hint = TTL_HINT;
        }
        failure
    }

    /// Whether its paths are such that a chroot in front of them makes sense. All else is the server's to judge.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let has_path = !matches!(self.op, OpCode::WhoAmI | OpCode::Multi | OpCode::MultiRead);
        let of_parts = self.paths.iter().enumerate();
        if has_path {
            check_path(&self.path)?;
        }
        for (part, path) in of_parts {
            check_path(path).map_err(|failure| Failure { part: Some(part), ..failure })?;
        }
        Ok(())
    }

    fn path(&self) -> Option<&str> {
        (!self.path.is_empty()).then_some(self.path.as_str())
    }
}

/// Whether a chroot in front of a path makes sense.
pub(super) fn check_path(path: &str) -> Result<(), Failure> {
    if path.starts_with('/') {
        return Ok(());
    }
    let failure = Failure::because(Code::BadArguments, "a path begins with a slash");
    Err(failure.at(Some(path)).not_done())
}

/// Why a server that knows the operation does not do it.
pub(super) const TTL_HINT: &str = "; znodes with a time to live need extendedTypesEnabled=true on the server";

/// What a reply with another code than 0 says.
pub(crate) fn failure_of(reply: &Reply) -> Failure {
    use crate::client::handle::Refused;
    let mut failure = Failure::new(reply.code);
    failure.outcome = reply.outcome();
    if let Some(why) = reply.unsent {
        if !matches!(why, Refused::Closed | Refused::Expired | Refused::AuthFailed) {
            failure.text = Some(why.to_string().into());
        }
        failure.hint = "; the request was not sent";
    }
    failure
}

fn record(decoder: &[u8]) -> Decoder<'_> {
    Decoder::with_limit(decoder, decoder.len())
}

pub(super) fn create(
    chroot: &Chroot,
    path: &str,
    data: &[u8],
    options: &CreateOptions,
) -> Result<Call<Created>, Failure> {
    let (op, body) = create_record(chroot, path, data, options)?;
    Ok(Call::new(op, path, body, |body, chroot, _| {
        let reply: PathStatReply<'_> = record(body).read()?;
        Ok(Created { path: chroot.inner(reply.path.as_str()).to_owned(), stat: reply.stat })
    }))
}

/// The same, of which only the path is wanted.
pub(super) fn create_path(
    chroot: &Chroot,
    path: &str,
    data: &[u8],
    options: &CreateOptions,
) -> Result<Call<String>, Failure> {
    let (op, body) = create_record(chroot, path, data, options)?;
    Ok(Call::new(op, path, body, |body, chroot, _| {
        let reply: PathStatReply<'_> = record(body).read()?;
        Ok(chroot.inner(reply.path.as_str()).to_owned())
    }))
}

pub(super) fn create_record(
    chroot: &Chroot,
    path: &str,
    data: &[u8],
    options: &CreateOptions,
) -> Result<(OpCode, Vec<u8>), Failure> {
    let (mode, ttl) = options.mode().map_err(|failure| failure.at(Some(path)))?;
    let outer = chroot.outer(path);
    let acl = Some(options.acl_records());
    let create = CreateRequest { path: outer.as_ref().into(), data: Buffer::new(data), acl, flags: mode.to_i32() };
    Ok(match mode {
        _ if mode.is_ttl() => (OpCode::CreateTtl, encoded(&CreateTtlRequest { create, ttl })),
        CreateMode::Container => (OpCode::CreateContainer, encoded(&create)),
        _ => (OpCode::Create2, encoded(&create)),
    })
}

pub(super) fn get(path: &str) -> Call<(Vec<u8>, Stat)> {
    Call::new(OpCode::GetData, path, Vec::new(), |body, _, _| {
        let reply: DataReply<'_> = record(body).read()?;
        Ok((reply.data.0.unwrap_or_default().to_vec(), reply.stat))
    })
}

/// The configuration's znode, which has no chroot in front of it.
pub(super) fn config() -> Call<(Vec<u8>, Stat)> {
    let body = encoded(&PathWatchRequest { path: crate::path::CONFIG.into(), watch: false });
    Call { body, is_made: true, ..get(crate::path::CONFIG) }
}

pub(super) fn reconfig(change: &Reconfig) -> Call<(Vec<u8>, Stat)> {
    let mut call = get(crate::path::CONFIG);
    call.reading.op = OpCode::Reconfig;
    Call { op: OpCode::Reconfig, body: encoded(&change.record()), is_made: true, ..call }
}

pub(super) fn exists(path: &str) -> Call<Option<Stat>> {
    let mut call =
        Call::new(OpCode::Exists, path, Vec::new(), |body, _, _| Ok(Some(record(body).read::<StatReply>()?.stat)));
    call.reading.missing = Some(|| None);
    call
}

pub(super) fn children(path: &str) -> Call<(Vec<String>, Stat)> {
    Call::new(OpCode::GetChildren2, path, Vec::new(), |body, _, _| {
        let reply: ChildrenStatReply<'_> = record(body).read()?;
        Ok((reply.names.iter().map(|name| name.as_str().to_owned()).collect(), reply.stat))
    })
}

/// The same without the stat.
pub(super) fn names(path: &str) -> Call<Vec<String>> {
    Call::new(OpCode::GetChildren2, path, Vec::new(), |body, _, _| {
        let reply: ChildrenStatReply<'_> = record(body).read()?;
        Ok(reply.names.iter().map(|name| name.as_str().to_owned()).collect())
    })
}

pub(super) fn acl(path: &str) -> Call<(Vec<Acl>, Stat)> {
    Call::new(OpCode::GetAcl, path, Vec::new(), |body, _, _| {
        let reply: AclReply<'_> = record(body).read()?;
        Ok((reply.acl.iter().map(Acl::from_record).collect(), reply.stat))
    })
}

fn stat(body: &[u8], _: &Chroot, _: &[String]) -> Read<Stat> {
    Ok(record(body).read::<StatReply>()?.stat)
}

fn nothing(_: &[u8], _: &Chroot, _: &[String]) -> Read<()> {
    Ok(())
}

pub(super) fn set(chroot: &Chroot, path: &str, data: &[u8], version: i32) -> Call<Stat> {
    let outer = chroot.outer(path);
    let request = SetDataRequest { path: outer.as_ref().into(), data: Buffer::new(data), version };
    Call::new(OpCode::SetData, path, encoded(&request), stat)
}

pub(super) fn delete(chroot: &Chroot, path: &str, version: i32) -> Call<()> {
    let outer = chroot.outer(path);
    let request = PathVersionRequest { path: outer.as_ref().into(), version };
    Call::new(OpCode::Delete, path, encoded(&request), nothing)
}

pub(super) fn set_acl(chroot: &Chroot, path: &str, acl: &[Acl], version: i32) -> Call<Stat> {
    let outer = chroot.outer(path);
    let acl = Some(acl.iter().map(Acl::record).collect());
    Call::new(OpCode::SetAcl, path, encoded(&SetAclRequest { path: outer.as_ref().into(), acl, version }), stat)
}

fn path_record(chroot: &Chroot, path: &str) -> Vec<u8> {
    encoded(&PathRequest { path: chroot.outer(path).as_ref().into() })
}

pub(super) fn sync(chroot: &Chroot, path: &str) -> Call<()> {
    Call::new(OpCode::Sync, path, path_record(chroot, path), nothing)
}

pub(super) fn ephemerals(chroot: &Chroot, prefix: &str) -> Call<Vec<String>> {
    Call::new(OpCode::GetEphemerals, prefix, path_record(chroot, prefix), |body, chroot, _| {
        let reply: NamesReply<'_> = record(body).read()?;
        Ok(reply.names.iter().map(|path| chroot.inner(path.as_str()).to_owned()).collect())
    })
}

pub(super) fn descendants(chroot: &Chroot, path: &str) -> Call<usize> {
    Call::new(OpCode::GetAllChildrenNumber, path, path_record(chroot, path), |body, _, _| {
        Ok(usize::try_from(record(body).read::<NumberReply>()?.total).unwrap_or(0))
    })
}

pub(super) fn who_am_i() -> Call<Vec<(String, String)>> {
    Call::new(OpCode::WhoAmI, "", Vec::new(), |body, _, _| {
        let reply: WhoAmIReply<'_> = record(body).read()?;
        let infos = reply.infos.iter();
        Ok(infos.map(|info| (info.scheme.as_str().to_owned(), info.user.as_str().to_owned())).collect())
    })
}

/// Of these the handle makes the record.
pub(super) fn reading_nothing(op: OpCode) -> ReplyReader<()> {
    ReplyReader { op, path: String::new(), paths: Vec::new(), read: nothing, missing: None }
}
