//! `zoa_result`: what came back, owned by whoever got it.

use std::ffi::{CString, c_char, c_void};
use std::sync::OnceLock;

use super::codes::*;
use super::guard::{HandleHead, HandleKind, c_text, guard, guard_value, look, take_if, unsent_sentence, with};
use crate::client::handle::code::Outcome;
use crate::client::handle::{Chroot, Refused, Reply};
use crate::jute::{Buffer, Decoder, JuteError};
use crate::records::multi::{MultiResult, decode_results};
use crate::records::replies::{
    AclReply, ChildrenStatReply, NamesReply, NumberReply, PathReply, PathStatReply, StatReply, WhoAmIReply,
};
use crate::records::{OpCode, Stat};

/// What an operation brought: a code, and whatever the operation returns, of any length.
///
/// Made by an operation, ended by `zoa_result_free`. Immutable: any thread may read it. Pointers from it live as long
/// as it does. Asking a result for what it does not hold gives NULL or 0, and so does asking NULL.
pub struct zoa_result {
    _private: (),
}

/// One entry of an access control list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zoa_acl {
    /// Bits of `ZOA_PERM_…`.
    pub perms: u32,
    /// `"world"`, `"auth"`, `"digest"`, `"ip"` …
    pub scheme: *const c_char,
    /// What it means is the scheme's business; `"anyone"` for `"world"`.
    pub id: *const c_char,
}

/// May read data and children.
pub const ZOA_PERM_READ: u32 = 1;
/// May set data.
pub const ZOA_PERM_WRITE: u32 = 2;
/// May create children.
pub const ZOA_PERM_CREATE: u32 = 4;
/// May delete children.
pub const ZOA_PERM_DELETE: u32 = 8;
/// May set the ACL.
pub const ZOA_PERM_ADMIN: u32 = 16;
/// All of them.
pub const ZOA_PERM_ALL: u32 = 31;

/// What a znode's metadata looks like: the wire's eleven fields, in its order.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct zoa_stat {
    /// The transaction that created it.
    pub czxid: i64,
    /// The transaction that set its data last.
    pub mzxid: i64,
    /// When it was created, ms since 1970.
    pub ctime_ms: i64,
    /// When its data were set last, ms since 1970.
    pub mtime_ms: i64,
    /// How often its data were set.
    pub version: i32,
    /// How often its children changed.
    pub cversion: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// The session it goes with; 0 for none.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// The transaction that changed its children last.
    pub pzxid: i64,
}

impl From<Stat> for zoa_stat {
    fn from(stat: Stat) -> zoa_stat {
        zoa_stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime_ms: stat.ctime,
            mtime_ms: stat.mtime,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            ephemeral_owner: stat.ephemeral_owner,
            data_length: stat.data_length,
            num_children: stat.num_children,
            pzxid: stat.pzxid,
        }
    }
}

#[repr(C)]
pub(super) struct ResultBox {
    head: HandleHead,
    code: zoa_code,
    /// It lies within another and is freed with it.
    is_part: bool,
    zxid: i64,
    /// Whether a write happened.
    outcome: Outcome,
    /// Why it never reached a server.
    unsent: Option<Refused>,
    content: ResultContent,
    /// Of `ResultContent::Data` it is read from the record when somebody asks.
    stat: OnceLock<zoa_stat>,
    path: Option<CString>,
    /// Made when somebody asks.
    error: OnceLock<CString>,
    /// What was asked of which path, for the sentence.
    about: Option<Box<str>>,
    /// What else to say of a failure.
    hint: &'static str,
}

// SAFETY: it is `repr(C)` and begins with its head.
unsafe impl HandleKind for ResultBox {
    const TAG: u32 = u32::from_le_bytes(*b"resu");
}

/// What there may be any number of.
enum ResultContent {
    Nothing,
    /// A reply's record, and where in it the data lie; no range is null data.
    Data(Vec<u8>, Option<std::ops::Range<usize>>),
    Names(Vec<CString>),
    Acls(Vec<AclEntry>),
    Parts(Vec<ResultBox>),
    Number(usize),
}

/// An entry with the texts it points to.
struct AclEntry {
    acl: zoa_acl,
    _texts: [CString; 2],
}

// SAFETY: the pointers in it are to its own texts, which never change.
unsafe impl Send for AclEntry {}
// SAFETY: as above.
unsafe impl Sync for AclEntry {}

impl AclEntry {
    fn new(perms: u32, scheme: &str, id: &str) -> AclEntry {
        let texts = [c_text(scheme), c_text(id)];
        AclEntry { acl: zoa_acl { perms, scheme: texts[0].as_ptr(), id: texts[1].as_ptr() }, _texts: texts }
    }
}

/// How long the record of a stat is.
const STAT_SIZE: usize = 68;

impl ResultBox {
    fn new(code: zoa_code, zxid: i64) -> ResultBox {
        ResultBox {
            head: HandleHead::new::<ResultBox>(),
            code,
            is_part: false,
            zxid,
            outcome: crate::client::handle::code::outcome(code),
            unsent: None,
            content: ResultContent::Nothing,
            stat: OnceLock::new(),
            path: None,
            error: OnceLock::new(),
            about: None,
            hint: "",
        }
    }

    /// The result of an operation from its reply. `about` is the path asked for.
    pub(super) fn from_reply(op: OpCode, reply: Reply, chroot: &Chroot, about: Option<&str>) -> Box<ResultBox> {
        let mut result = Box::new(ResultBox::new(reply.code, reply.zxid));
        (result.outcome, result.unsent) = (reply.outcome(), reply.unsent);
        let paths = about.filter(|_| matches!(op, OpCode::Multi | OpCode::MultiRead));
        if reply.code != ZOA_OK {
            result.about = about.filter(|_| paths.is_none()).map(Into::into);
            if op == OpCode::CreateTtl && reply.code == ZOA_UNIMPLEMENTED {
                result.hint = TTL_HINT;
            }
            return result;
        }
        if result.fill(op, reply.body, chroot).is_err() {
            // The server has done something, and what it says of it cannot be read.
            result =
                Box::new(ResultBox { outcome: Outcome::Unknown, ..ResultBox::new(ZOA_MARSHALLING_ERROR, reply.zxid) });
        }
        if let Some(paths) = paths {
            result.name_the_culprits(paths);
        }
        result
    }

    /// Of the parts of a multi, says which path each that failed was about, and what the whole says is what the first of
    /// them does. `paths` has those of all parts, each ended by a NUL.
    fn name_the_culprits(&mut self, paths: &str) {
        let ResultContent::Parts(parts) = &mut self.content else { return };
        for (at, (part, path)) in parts.iter_mut().zip(paths.split('\0')).enumerate() {
            if matches!(part.code, ZOA_OK | ZOA_RUNTIME_INCONSISTENCY) {
                continue;
            }
            part.about = Some(format!("{path} (part {at} of the multi, counted from 0)").into());
            if part.code == ZOA_UNIMPLEMENTED {
                part.hint = TTL_HINT;
            }
            if self.code == part.code && self.about.is_none() {
                (self.about, self.hint) = (part.about.clone(), part.hint);
            }
        }
    }

    fn fill(&mut self, op: OpCode, body: Vec<u8>, chroot: &Chroot) -> Result<(), JuteError> {
        let mut decoder = Decoder::with_limit(&body, body.len());
        match op {
            OpCode::GetData | OpCode::Reconfig => {
                let data: Buffer<'_> = decoder.read()?;
                let left = decoder.rest().len();
                if left < STAT_SIZE {
                    return Err(JuteError::Truncated { needed: STAT_SIZE, left });
                }
                let range = data.0.map(|data| 4..4 + data.len());
                self.content = ResultContent::Data(body, range);
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => {
                self.stat = OnceLock::from(zoa_stat::from(decoder.read::<StatReply>()?.stat));
            }
            OpCode::Create | OpCode::Sync => {
                self.path = Some(c_text(chroot.inner(decoder.read::<PathReply<'_>>()?.path.as_str())));
            }
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                let reply: PathStatReply<'_> = decoder.read()?;
                self.path = Some(c_text(chroot.inner(reply.path.as_str())));
                self.stat = OnceLock::from(zoa_stat::from(reply.stat));
            }
            OpCode::GetChildren2 => {
                let reply: ChildrenStatReply<'_> = decoder.read()?;
                self.content = ResultContent::Names(reply.names.iter().map(|name| c_text(name.as_str())).collect());
                self.stat = OnceLock::from(zoa_stat::from(reply.stat));
            }
            OpCode::GetChildren => {
                let reply: NamesReply<'_> = decoder.read()?;
                self.content = ResultContent::Names(reply.names.iter().map(|name| c_text(name.as_str())).collect());
            }
            OpCode::GetEphemerals => {
                let reply: NamesReply<'_> = decoder.read()?;
                let names = reply.names.iter().map(|path| c_text(chroot.inner(path.as_str())));
                self.content = ResultContent::Names(names.collect());
            }
            OpCode::GetAcl => {
                let reply: AclReply<'_> = decoder.read()?;
                let entries = reply.acl.iter();
                let entries =
                    entries.map(|acl| AclEntry::new(acl.perms as u32, acl.id.scheme.as_str(), acl.id.id.as_str()));
                self.content = ResultContent::Acls(entries.collect());
                self.stat = OnceLock::from(zoa_stat::from(reply.stat));
            }
            OpCode::WhoAmI => {
                let reply: WhoAmIReply<'_> = decoder.read()?;
                let entries = reply.infos.iter();
                let entries = entries.map(|info| AclEntry::new(0, info.scheme.as_str(), info.user.as_str()));
                self.content = ResultContent::Acls(entries.collect());
            }
            OpCode::GetAllChildrenNumber => {
                let total = decoder.read::<NumberReply>()?.total;
                self.content = ResultContent::Number(usize::try_from(total).unwrap_or(0));
            }
            OpCode::Multi | OpCode::MultiRead => {
                let parts = decode_results(&body)?;
                let mut parts: Vec<ResultBox> =
                    parts.into_iter().map(|part| ResultBox::part(part, self.zxid, chroot)).collect();
                // A failed multi is a success on the wire; here its code is the culprit's.
                let culprit = parts.iter().find(|part| !matches!(part.code, ZOA_OK | ZOA_RUNTIME_INCONSISTENCY));
                let any = culprit.or_else(|| parts.iter().find(|part| part.code != ZOA_OK));
                if op == OpCode::Multi {
                    self.code = any.map_or(ZOA_OK, |part| part.code);
                    if self.code != ZOA_OK {
                        self.outcome = Outcome::NotDone;
                        parts.iter_mut().for_each(|part| part.outcome = Outcome::NotDone);
                    }
                }
                self.content = ResultContent::Parts(parts);
            }
            _ => {}
        }
        Ok(())
    }

    fn part(part: MultiResult<'_>, zxid: i64, chroot: &Chroot) -> ResultBox {
        let mut result = ResultBox { is_part: true, ..ResultBox::new(ZOA_OK, zxid) };
        match part {
            MultiResult::Path(reply) => result.path = Some(c_text(chroot.inner(reply.path.as_str()))),
            MultiResult::PathStat(reply) => {
                result.path = Some(c_text(chroot.inner(reply.path.as_str())));
                result.stat = OnceLock::from(zoa_stat::from(reply.stat));
            }
            MultiResult::Done(_) => {}
            MultiResult::Stat(reply) => result.stat = OnceLock::from(zoa_stat::from(reply.stat)),
            MultiResult::Data(reply) => {
                let range = reply.data.0.map(|data| 0..data.len());
                result.content = ResultContent::Data(reply.data.0.unwrap_or_default().to_vec(), range);
                result.stat = OnceLock::from(zoa_stat::from(reply.stat));
            }
            MultiResult::Names(reply) => {
                result.content = ResultContent::Names(reply.names.iter().map(|name| c_text(name.as_str())).collect());
            }
            MultiResult::Error(code) => result.code = code,
        }
        result
    }

    pub(super) fn code(&self) -> zoa_code {
        self.code
    }

    pub(super) fn has_parts(&self) -> bool {
        matches!(self.content, ResultContent::Parts(_))
    }

    pub(super) fn stat(&self) -> Option<&zoa_stat> {
        if let (None, ResultContent::Data(record, data)) = (self.stat.get(), &self.content) {
            let record = &record[data.as_ref().map_or(4, |data| data.end)..];
            let stat: Stat = Decoder::new(record).read().expect("the record was seen to be long enough");
            let _ = self.stat.set(stat.into());
        }
        self.stat.get()
    }

    /// Hands it to C.
    pub(super) fn give(self: Box<Self>) -> *mut zoa_result {
        Box::into_raw(self).cast()
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub(super) fn sentence(&self) -> String {
        if let Some(why) = self.unsent {
            return unsent_sentence(self.code, why, self.about.as_deref());
        }
        let text = text_of(self.code).to_string_lossy();
        match &self.about {
            Some(path) => format!("{path}: {text}{}", self.hint),
            None => format!("{text}{}", self.hint),
        }
    }
}

/// Why a server that knows the operation does not do it.
const TTL_HINT: &str = "; znodes with a time to live need extendedTypesEnabled=true on the server";

/// What `read` finds in a result; `otherwise` when there is none.
unsafe fn ask<T>(result: *const zoa_result, otherwise: T, read: impl FnOnce(&ResultBox) -> Option<T>) -> T {
    let found = guard_value(None, || {
        // SAFETY: the caller gives NULL or a result.
        let result = unsafe { look::<ResultBox>(result.cast::<c_void>(), "result") }?;
        Ok(read(result))
    });
    found.unwrap_or(otherwise)
}

/// The operation's code. For a failed multi it is that of the part that failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_code(result: *const zoa_result) -> zoa_code {
    let mut code = ZOA_OK;
    // SAFETY: the caller gives NULL or a result.
    let looked = unsafe {
        with(result.cast(), "result", |result: &ResultBox| {
            code = result.code;
            Ok(())
        })
    };
    if looked == ZOA_OK { code } else { looked }
}

/// What went wrong, in words; NULL when nothing did. Lives as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_error(result: *const zoa_result) -> *const c_char {
    // SAFETY: the caller gives NULL or a result.
    unsafe {
        ask(result, std::ptr::null(), |result| {
            let error = || result.error.get_or_init(|| c_text(&result.sentence())).as_ptr();
            (result.code != ZOA_OK).then(error)
        })
    }
}

/// Whether the write that brought this result happened, `ZOA_OUTCOME_DONE` and so on: what `zoa_code_outcome` says of its code,
/// and `ZOA_OUTCOME_NOT_DONE` wherever that is certain besides. No part of a failed multi has happened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_outcome(result: *const zoa_result) -> i32 {
    // SAFETY: the caller gives NULL or a result.
    unsafe { ask(result, ZOA_OUTCOME_UNKNOWN, |result| Some(outcome_number(result.outcome))) }
}

/// The last transaction the server had applied when it answered: of a write, the write itself. −1 when no server answered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_zxid(result: *const zoa_result) -> i64 {
    // SAFETY: the caller gives NULL or a result.
    unsafe { ask(result, -1, |result| Some(result.zxid)) }
}

/// The path of a created znode, with its sequence number; NULL for other operations. Lives as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_path(result: *const zoa_result) -> *const c_char {
    // SAFETY: the caller gives NULL or a result.
    unsafe { ask(result, std::ptr::null(), |result| result.path.as_ref().map(|path| path.as_ptr())) }
}

/// A znode's data, with their length in `len_out` (may be NULL). NULL for null data and for operations that read none;
/// empty data are not NULL. Not NUL-terminated. Lives as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_data(result: *const zoa_result, len_out: *mut usize) -> *const c_void {
    // SAFETY: the caller gives NULL or a result, and NULL or a place for a length.
    unsafe {
        let (data, len) = ask(result, (std::ptr::null(), 0), |result| match &result.content {
            ResultContent::Data(bytes, Some(range)) => Some((bytes[range.clone()].as_ptr().cast(), range.len())),
            _ => None,
        });
        if !len_out.is_null() {
            len_out.write_unaligned(len);
        }
        data
    }
}

/// The znode's stat; NULL for operations that bring none. Lives as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_stat(result: *const zoa_result) -> *const zoa_stat {
    // SAFETY: the caller gives NULL or a result.
    unsafe { ask(result, std::ptr::null(), |result| result.stat().map(std::ptr::from_ref)) }
}

/// How many names, ACL entries or parts there are; of `ZOA_OP_COUNT`, how many descendants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_count(result: *const zoa_result) -> usize {
    // SAFETY: the caller gives NULL or a result.
    unsafe {
        ask(result, 0, |result| {
            Some(match &result.content {
                ResultContent::Names(names) => names.len(),
                ResultContent::Acls(entries) => entries.len(),
                ResultContent::Parts(parts) => parts.len(),
                ResultContent::Number(number) => *number,
                ResultContent::Nothing | ResultContent::Data(..) => 0,
            })
        })
    }
}

/// The name of a child, or the path of an ephemeral znode; NULL past the end. In no particular order. Lives as long as
/// the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_name(result: *const zoa_result, index: usize) -> *const c_char {
    // SAFETY: the caller gives NULL or a result.
    unsafe {
        ask(result, std::ptr::null(), |result| match &result.content {
            ResultContent::Names(names) => names.get(index).map(|name| name.as_ptr()),
            _ => None,
        })
    }
}

/// An ACL entry, or an identity of `ZOA_OP_WHO_AM_I` (with `perms` 0); NULL past the end. Lives as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_acl(result: *const zoa_result, index: usize) -> *const zoa_acl {
    // SAFETY: the caller gives NULL or a result.
    unsafe {
        ask(result, std::ptr::null(), |result| match &result.content {
            ResultContent::Acls(entries) => entries.get(index).map(|entry| std::ptr::from_ref(&entry.acl)),
            _ => None,
        })
    }
}

/// The result of one operation of a multi; NULL past the end. Borrowed: it lives as long as the whole, and is not to be
/// freed.
///
/// In a failed multi the parts before the culprit have `ZOA_OK` and those behind it `ZOA_RUNTIME_INCONSISTENCY`, as the
/// server says; none of them happened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_part(result: *const zoa_result, index: usize) -> *const zoa_result {
    // SAFETY: the caller gives NULL or a result.
    unsafe {
        ask(result, std::ptr::null(), |result| match &result.content {
            ResultContent::Parts(parts) => parts.get(index).map(|part| std::ptr::from_ref(part).cast()),
            _ => None,
        })
    }
}

/// Frees a result. NULL is fine, and a part of another is left alone. Any thread, once no thread uses it or pointers from it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_result_free(result: *mut zoa_result) {
    guard(|| {
        // SAFETY: the caller gives NULL or a result that nobody uses any more. It shares nothing with a thread, so a forked
        // child may free it as well.
        drop(unsafe { take_if::<ResultBox>(result.cast(), |_, result| !result.is_part) });
        Ok(())
    });
}
