//! `zoa_op`: any operation as one struct, and the records it becomes.

use std::ffi::{c_char, c_void};

use super::client::zoa_watch_fn;
use super::codes::*;
use super::guard::{Fail, Fallible, SizedStruct, bytes, path, sized, text};
use super::result::zoa_acl;
use crate::client::handle::Chroot;
use crate::jute::{Buffer, Text, encode, encoded};
use crate::records::multi::MultiHeader;
use crate::records::requests::{
    CreateRequest, CreateTtlRequest, PathRequest, PathVersionRequest, PathWatchRequest, ReconfigRequest, SetAclRequest,
    SetDataRequest, WatchRequest,
};
use crate::records::{Acl, CreateMode, OpCode};

/// Create `path` with `data`, `acl` (none: open to everybody), `mode` and, for the TTL modes, `ttl_ms`. Brings path, stat.
pub const ZOA_OP_CREATE: i32 = 1;
/// Delete `path` at `version`.
pub const ZOA_OP_DELETE: i32 = 2;
/// Stat of `path`; `watch` also where it does not exist. Brings the stat.
pub const ZOA_OP_EXISTS: i32 = 3;
/// Data of `path`. Brings data and stat.
pub const ZOA_OP_GET: i32 = 4;
/// Replace the data of `path` at `version`. Brings the stat.
pub const ZOA_OP_SET: i32 = 5;
/// ACL of `path`. Brings entries and stat.
pub const ZOA_OP_ACL: i32 = 6;
/// Replace the ACL of `path` at ACL version `version`. Brings the stat.
pub const ZOA_OP_SET_ACL: i32 = 7;
/// Wait until this server has caught up with the leader. `path` may be NULL.
pub const ZOA_OP_SYNC: i32 = 9;
/// Names of the children of `path`. Brings names and stat.
pub const ZOA_OP_CHILDREN: i32 = 12;
/// Compare the version of `path` with `version`; only in a multi.
pub const ZOA_OP_CHECK: i32 = 13;
/// Change the ensemble: `path` is the list of servers that join (`server.4=host:2888:3888;2181`, commas between), `data` the text
/// of numbers that leave; with `mode` 1 `path` is a complete new list. `config_version` is the configuration expected. Brings
/// data and stat of the new one. Errors: `ZOA_RECONFIG_DISABLED`, `ZOA_NO_AUTH` for all but the super user, `ZOA_BAD_VERSION`,
/// `ZOA_BAD_ARGUMENTS`, `ZOA_NEW_CONFIG_NO_QUORUM`, `ZOA_RECONFIG_IN_PROGRESS`; `ZOA_UNIMPLEMENTED` from a server that is alone.
pub const ZOA_OP_RECONFIG: i32 = 16;
/// Who the members of the ensemble are: text and stat of `/zookeeper/config`, whatever the chroot. `path` and `watch` are not used.
/// Brings data and stat.
pub const ZOA_OP_CONFIG: i32 = 2004;
/// Whether a watch of kind `mode` (1 children, 2 data, 3 any, 4 persistent, 5 recursive) is set on `path`.
pub const ZOA_OP_CHECK_WATCHES: i32 = 17;
/// Paths of this session's ephemeral znodes that begin with `path` (NULL: all). Brings names.
pub const ZOA_OP_EPHEMERALS: i32 = 103;
/// The number of descendants of `path`. Brings a count.
pub const ZOA_OP_COUNT: i32 = 104;
/// The session's identities. Brings entries.
pub const ZOA_OP_WHO_AM_I: i32 = 107;

/// Stays until deleted.
pub const ZOA_PERSISTENT: i32 = 0;
/// Goes with its session.
pub const ZOA_EPHEMERAL: i32 = 1;
/// Stays; a sequence number is appended to its name.
pub const ZOA_PERSISTENT_SEQUENTIAL: i32 = 2;
/// Goes with its session; a sequence number is appended to its name.
pub const ZOA_EPHEMERAL_SEQUENTIAL: i32 = 3;
/// Goes some time after its last child has gone.
pub const ZOA_CONTAINER: i32 = 4;
/// Goes when it was childless and unchanged for its time to live. Only where the server has `extendedTypesEnabled=true`;
/// elsewhere `ZOA_UNIMPLEMENTED`.
pub const ZOA_TTL: i32 = 5;
/// The same, with a sequence number appended to its name.
pub const ZOA_TTL_SEQUENTIAL: i32 = 6;

/// Any operation. Begin with `ZOA_OP_INIT`, which asks for any version. What `kind` does not use is ignored.
///
/// All pointers in it are read before the call that gets it returns, and not after: path, data and ACL may be freed or used
/// again at once, by `zoa_client_submit` and `zoa_client_begin` too, whatever becomes of the request.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zoa_op {
    /// `sizeof(zoa_op)`.
    pub struct_size: u32,
    /// One of `ZOA_OP_…`.
    pub kind: i32,
    /// NUL-terminated UTF-8.
    pub path: *const c_char,
    /// NULL with `len` 0 is null data.
    pub data: *const c_void,
    /// Bytes of `data`.
    pub len: usize,
    /// The version expected, −1 for any.
    pub version: i32,
    /// A create mode, `ZOA_PERSISTENT` and so on.
    pub mode: i32,
    /// For the TTL modes, ms.
    pub ttl_ms: i64,
    /// NULL: open to everybody.
    pub acl: *const zoa_acl,
    /// Entries in `acl`.
    pub acl_count: usize,
    /// Set in one step with `ZOA_OP_GET`, `ZOA_OP_EXISTS` or `ZOA_OP_CHILDREN`; told of one event. It cannot be ended: it is
    /// over once it was told, or with the client. What can be ended is set by `zoa_client_watch`. NULL: none.
    pub watch: zoa_watch_fn,
    /// Handed to `watch`; it must live until that was called, or the client is freed.
    pub watch_data: *mut c_void,
    /// For `ZOA_OP_RECONFIG`: the version of the configuration expected, the number behind `version=` in its text; 0 for any.
    pub config_version: i64,
}

// SAFETY: zeros are NULL and 0 in all of its fields.
unsafe impl SizedStruct for zoa_op {}

impl zoa_op {
    /// What the everyday functions fill in.
    pub(super) fn plain(kind: i32, path: *const c_char) -> zoa_op {
        zoa_op {
            struct_size: size_of::<zoa_op>() as u32,
            kind,
            path,
            data: std::ptr::null(),
            len: 0,
            version: -1,
            mode: 0,
            ttl_ms: 0,
            acl: std::ptr::null(),
            acl_count: 0,
            watch: None,
            watch_data: std::ptr::null_mut(),
            config_version: 0,
        }
    }
}

/// A request ready to be sent.
pub(super) struct PreparedRequest {
    pub(super) op: OpCode,
    pub(super) body: Vec<u8>,
    /// The path as the caller named it. Of several operations all paths, each ended by a NUL.
    pub(super) about: Option<String>,
}

/// Reads an operation from C.
///
/// # Safety
/// Its pointers are what its fields say.
pub(super) unsafe fn request(op: &zoa_op, chroot: &Chroot) -> Fallible<PreparedRequest> {
    // SAFETY: as the caller says, here and below.
    unsafe {
        let about = if op.path.is_null() { None } else { Some(text(op.path, "op.path")?.to_owned()) };
        let (code, body) = match op.kind {
            ZOA_OP_EXISTS | ZOA_OP_GET | ZOA_OP_CHILDREN => {
                let path = chroot.outer(path(op.path)?);
                let watch = op.watch.is_some();
                (read_op(op.kind), encoded(&PathWatchRequest { path: path.as_ref().into(), watch }))
            }
            ZOA_OP_ACL => (OpCode::GetAcl, path_body(chroot, path(op.path)?)),
            ZOA_OP_COUNT => (OpCode::GetAllChildrenNumber, path_body(chroot, path(op.path)?)),
            ZOA_OP_SYNC | ZOA_OP_EPHEMERALS => {
                let path = if op.path.is_null() { "/" } else { path(op.path)? };
                let code = if op.kind == ZOA_OP_SYNC { OpCode::Sync } else { OpCode::GetEphemerals };
                (code, path_body(chroot, path))
            }
            ZOA_OP_SET_ACL => {
                let path = chroot.outer(path(op.path)?);
                let acl = Some(acl_of(op)?);
                let request = SetAclRequest { path: path.as_ref().into(), acl, version: op.version };
                (OpCode::SetAcl, encoded(&request))
            }
            ZOA_OP_RECONFIG => {
                let leaving = bytes(op.data, op.len)?;
                let leaving = leaving.map(std::str::from_utf8).transpose().map_err(|_| Fail::new(ZOA_BAD_UTF8))?;
                let servers = about.as_deref();
                // To a server an empty list of members is one without members: what is not given is null.
                let (joining, new_members) = if op.mode == 1 { (None, servers) } else { (servers, None) };
                let text = |text: Option<&str>| {
                    text.filter(|text| !text.is_empty()).map_or(Text(None), |text| text.to_owned().into())
                };
                let request = ReconfigRequest {
                    joining: text(joining),
                    leaving: text(leaving.filter(|_| op.mode != 1)),
                    new_members: if op.mode == 1 { new_members.unwrap_or_default().into() } else { Text(None) },
                    config_id: if op.config_version == 0 { i64::from(op.version) } else { op.config_version },
                };
                (OpCode::Reconfig, encoded(&request))
            }
            ZOA_OP_CONFIG => {
                (OpCode::GetData, encoded(&PathWatchRequest { path: crate::path::CONFIG.into(), watch: false }))
            }
            ZOA_OP_CHECK_WATCHES => {
                let path = chroot.outer(path(op.path)?);
                (OpCode::CheckWatches, encoded(&WatchRequest { path: path.as_ref().into(), kind: op.mode }))
            }
            ZOA_OP_WHO_AM_I => (OpCode::WhoAmI, Vec::new()),
            ZOA_OP_CHECK => return Err(Fail::because(ZOA_BAD_ARGUMENTS, "ZOA_OP_CHECK has its place in a multi")),
            ZOA_OP_CREATE | ZOA_OP_DELETE | ZOA_OP_SET => {
                let mut body = Vec::with_capacity(128);
                let code = write(op, chroot, &mut body)?;
                (code, body)
            }
            other => return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("there is no operation {other}"))),
        };
        Ok(PreparedRequest { op: code, body, about })
    }
}

fn read_op(kind: i32) -> OpCode {
    match kind {
        ZOA_OP_EXISTS => OpCode::Exists,
        ZOA_OP_GET => OpCode::GetData,
        _ => OpCode::GetChildren2,
    }
}

fn path_body(chroot: &Chroot, path: &str) -> Vec<u8> {
    encoded(&PathRequest { path: chroot.outer(path).as_ref().into() })
}

/// One of the operations that may stand in a multi, appended to `body`.
unsafe fn write(op: &zoa_op, chroot: &Chroot, body: &mut Vec<u8>) -> Fallible<OpCode> {
    // SAFETY: as the caller says.
    unsafe {
        let path = chroot.outer(path(op.path)?);
        let path = path.as_ref().into();
        Ok(match op.kind {
            ZOA_OP_CREATE => {
                let mode = CreateMode::from_i32(op.mode);
                let no_mode = || Fail::because(ZOA_BAD_ARGUMENTS, format!("there is no create mode {}", op.mode));
                let mode = mode.ok_or_else(no_mode)?;
                let acl = if op.acl.is_null() && op.acl_count == 0 { vec![Acl::open()] } else { acl_of(op)? };
                let data = Buffer(bytes(op.data, op.len)?);
                let create = CreateRequest { path, data, acl: Some(acl), flags: mode.to_i32() };
                if mode.is_ttl() {
                    encode(&CreateTtlRequest { create, ttl: op.ttl_ms }, body);
                    OpCode::CreateTtl
                } else {
                    encode(&create, body);
                    if mode == CreateMode::Container { OpCode::CreateContainer } else { OpCode::Create2 }
                }
            }
            ZOA_OP_DELETE | ZOA_OP_CHECK => {
                encode(&PathVersionRequest { path, version: op.version }, body);
                if op.kind == ZOA_OP_DELETE { OpCode::Delete } else { OpCode::Check }
            }
            ZOA_OP_SET => {
                let data = Buffer(bytes(op.data, op.len)?);
                encode(&SetDataRequest { path, data, version: op.version }, body);
                OpCode::SetData
            }
            other => {
                let text = format!("operation {other} has no place in a multi of writes");
                return Err(Fail::because(ZOA_BAD_ARGUMENTS, text));
            }
        })
    }
}

unsafe fn acl_of(op: &zoa_op) -> Fallible<Vec<Acl<'_>>> {
    if op.acl.is_null() {
        return Err(Fail::null("op.acl"));
    }
    if op.acl_count > isize::MAX as usize / 2 / size_of::<zoa_acl>() {
        return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("{} ACL entries cannot be", op.acl_count)));
    }
    // SAFETY: the caller says that so many entries are there, with texts behind them.
    unsafe {
        let entries = (0..op.acl_count).map(|at| op.acl.add(at).read_unaligned());
        entries
            .map(|entry| Ok(Acl::new(entry.perms as i32, text(entry.scheme, "acl.scheme")?, text(entry.id, "acl.id")?)))
            .collect()
    }
}

/// Reads several operations from C, all reads or all writes, into one request.
///
/// # Safety
/// `ops` are `count` operations, each as large as the first one's `struct_size` says.
pub(super) unsafe fn multi(ops: *const zoa_op, count: usize, chroot: &Chroot) -> Fallible<PreparedRequest> {
    if ops.is_null() && count > 0 {
        return Err(Fail::null("ops"));
    }
    if count > 1 << 20 {
        return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("{count} operations are too many")));
    }
    let mut body = Vec::with_capacity(128 * count + 16);
    let (mut reads, mut stride) = (0, 0);
    let mut paths = String::new();
    for at in 0..count {
        // SAFETY: the caller vouches for the array.
        unsafe {
            let op = sized(ops.byte_add(at * stride), "op")?;
            if at == 0 {
                stride = op.struct_size as usize;
            } else if op.struct_size as usize != stride {
                return Err(Fail::because(ZOA_BAD_ARGUMENTS, "the operations differ in struct_size"));
            }
            if !op.path.is_null() {
                paths.push_str(text(op.path, "op.path")?);
            }
            paths.push('\0');
            let start = body.len();
            encode(&MultiHeader::request(OpCode::Check), &mut body);
            let header_size = body.len() - start;
            let code = match op.kind {
                ZOA_OP_GET | ZOA_OP_CHILDREN => {
                    reads += 1;
                    let path = chroot.outer(path(op.path)?);
                    encode(&PathWatchRequest { path: path.as_ref().into(), watch: false }, &mut body);
                    if op.kind == ZOA_OP_GET { OpCode::GetData } else { OpCode::GetChildren }
                }
                _ => write(&op, chroot, &mut body)?,
            };
            body[start..start + header_size].copy_from_slice(&encoded(&MultiHeader::request(code)));
        }
    }
    if reads != 0 && reads != count {
        return Err(Fail::because(ZOA_BAD_ARGUMENTS, "a multi is all reads or all writes"));
    }
    encode(&MultiHeader::END, &mut body);
    let op = if reads > 0 { OpCode::MultiRead } else { OpCode::Multi };
    Ok(PreparedRequest { op, body, about: Some(paths) })
}
