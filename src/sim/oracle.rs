//! What each request ought to come to, by the model: the transaction of a write, the answer to a read.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Model, ModelOwner, parent_of};
use super::request::{SimRequest, Write};
use super::who::{ADMIN, CREATE, DELETE, ModelAcl, READ, SimUsers, WRITE, masked};
use crate::jute::Decoder;
use crate::records::multi::{MultiResult, decode_results};
use crate::records::replies::{
    AclReply, ChildrenStatReply, DataReply, ErrorReply, NamesReply, NumberReply, PathReply, PathStatReply, StatReply,
    WhoAmIReply,
};
use crate::records::txn::{CreateTxn, Txn};
use crate::records::{Acl, OpCode, Stat};

pub(super) const OK: i32 = 0;
const INCONSISTENT: i32 = -2;
const BAD_ARGUMENTS: i32 = -8;
const NO_NODE: i32 = -101;
const NO_AUTH: i32 = -102;
const BAD_VERSION: i32 = -103;
const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
const NODE_EXISTS: i32 = -110;
const NOT_EMPTY: i32 = -111;
const SESSION_EXPIRED: i32 = -112;
const EPHEMERAL_ON_LOCAL_SESSION: i32 = -120;
const INVALID_ACL: i32 = -114;
const NO_WATCHER: i32 = -121;
pub(super) const QUOTA_EXCEEDED: i32 = -125;

/// The hard limits of a quota, −1 for none, and what is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OracleQuota {
    pub count_max: i64,
    pub bytes_max: i64,
    pub used: Option<(i64, i64)>,
}

pub(super) type OracleQuotas = BTreeMap<String, OracleQuota>;

/// What a transaction does to one znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OracleChange {
    Create {
        op: OpCode,
        path: String,
        data: Option<Vec<u8>>,
        acl: Vec<ModelAcl>,
        owner: ModelOwner,
        parent_creations: i32,
        sequential: bool,
    },
    Delete {
        path: String,
    },
    Set {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Vec<ModelAcl>,
        version: i32,
    },
    Check {
        path: String,
    },
}

/// A change, or the code that refuses it.
pub(super) type Decision = Result<OracleChange, i32>;

/// What a client is told of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeReply {
    Path(String),
    PathStat(String, Stat),
    Stat(Stat),
    Done,
    Error(i32),
}

/// What a write ought to become, given the state before it and the quotas as they were when it was decided.
pub(super) fn decide(
    model: &Model,
    request: &SimRequest,
    who: &SimUsers,
    session: i64,
    quotas: &OracleQuotas,
) -> Vec<Decision> {
    match request {
        SimRequest::Multi(writes) => {
            let mut state = model.clone();
            let mut decided: Vec<Decision> = Vec::new();
            for write in writes {
                let one = decide_one(&state, write, who, session, quotas);
                match &one {
                    Ok(change) => drop(state.apply(change, model.zxid + 1, 0)),
                    Err(_) => {
                        // All or nothing, and each part says which it was (G-13).
                        let failed = decided.len();
                        decided = writes.iter().map(|_| Err(INCONSISTENT)).collect();
                        decided[..failed].fill(Err(OK));
                        decided[failed] = one;
                        return decided;
                    }
                }
                decided.push(one);
            }
            decided
        }
        SimRequest::Write(write) => vec![decide_one(model, write, who, session, quotas)],
        _ => Vec::new(),
    }
}

fn decide_one(model: &Model, write: &Write, who: &SimUsers, session: i64, quotas: &OracleQuotas) -> Decision {
    if let Write::Create { op: OpCode::CreateTtl, ttl: ..=0, .. } = write {
        return Err(BAD_ARGUMENTS);
    }
    if !model.sessions.contains_key(&session) {
        match (model.is_local(session), write) {
            (false, _) => return Err(SESSION_EXPIRED),
            (true, Write::Create { flags: 1 | 3, .. }) => return Err(EPHEMERAL_ON_LOCAL_SESSION),
            (true, _) => {}
        }
    }
    let quota = |path: &str| {
        let mut at = path;
        loop {
            match quotas.get(at) {
                Some(quota) => return Some(quota),
                None if at == "/" => return None,
                None => at = parent_of(at),
            }
        }
    };
    match write {
        Write::Create { op, path, data, acl, flags, ttl } => {
            let acl = who.resolve(acl).ok_or(INVALID_ACL)?;
            let parent = parent_of(path);
            let above = model.nodes.get(parent).ok_or(NO_NODE)?;
            if !who.may(&above.acl, CREATE) {
                return Err(NO_AUTH);
            }
            let sequential = matches!(flags, 2 | 3 | 6);
            let path = if sequential { format!("{path}{:010}", above.creations) } else { path.clone() };
            if model.nodes.contains_key(&path) {
                return Err(NODE_EXISTS);
            }
            if matches!(above.owner, ModelOwner::Session(_)) {
                return Err(NO_CHILDREN_FOR_EPHEMERALS);
            }
            let length = data.as_ref().map_or(0, Vec::len) as i64;
            if let Some(OracleQuota { count_max, bytes_max, used: Some((count, bytes)) }) = quota(&path)
                && ((*count_max >= 0 && count + 1 > *count_max)
                    || (*bytes_max >= 0 && length > 0 && bytes + length > *bytes_max))
            {
                return Err(QUOTA_EXCEEDED);
            }
            let owner = match flags {
                1 | 3 => ModelOwner::Session(session),
                5 | 6 => ModelOwner::Ttl(*ttl),
                _ if *op == OpCode::CreateContainer => ModelOwner::Container,
                _ => ModelOwner::Nobody,
            };
            let parent_creations = above.creations + 1;
            Ok(OracleChange::Create { op: *op, path, data: data.clone(), acl, owner, parent_creations, sequential })
        }
        Write::Delete { path, version } => {
            if ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path.as_str()) {
                return Err(BAD_ARGUMENTS);
            }
            let above = model.nodes.get(parent_of(path)).ok_or(NO_NODE)?;
            if !who.may(&above.acl, DELETE) {
                return Err(NO_AUTH);
            }
            let node = model.nodes.get(path).ok_or(NO_NODE)?;
            expect(*version, node.version)?;
            if !model.children(path).is_empty() {
                return Err(NOT_EMPTY);
            }
            Ok(OracleChange::Delete { path: path.clone() })
        }
        Write::Set { path, data, version } => {
            let node = model.nodes.get(path).ok_or(NO_NODE)?;
            if !who.may(&node.acl, WRITE) {
                return Err(NO_AUTH);
            }
            let length = |data: &Option<Vec<u8>>| data.as_ref().map_or(0, Vec::len) as i64;
            let growth = length(data) - length(&node.data);
            if let Some(OracleQuota { bytes_max, used: Some((_, bytes)), .. }) = quota(path)
                && growth != 0
                && *bytes_max >= 0
                && bytes + growth > *bytes_max
            {
                return Err(QUOTA_EXCEEDED);
            }
            expect(*version, node.version)?;
            Ok(OracleChange::Set { path: path.clone(), data: data.clone(), version: node.version + 1 })
        }
        Write::SetAcl { path, acl, version } => {
            let acl = who.resolve(acl).ok_or(INVALID_ACL)?;
            let node = model.nodes.get(path).ok_or(NO_NODE)?;
            if !who.may(&node.acl, ADMIN) {
                return Err(NO_AUTH);
            }
            expect(*version, node.aversion)?;
            Ok(OracleChange::SetAcl { path: path.clone(), acl, version: node.aversion + 1 })
        }
        Write::Check { path, version } => {
            let node = model.nodes.get(path).ok_or(NO_NODE)?;
            if !who.may(&node.acl, READ) {
                return Err(NO_AUTH);
            }
            expect(*version, node.version)?;
            Ok(OracleChange::Check { path: path.clone() })
        }
    }
}

fn expect(expected: i32, present: i32) -> Result<(), i32> {
    if expected == -1 || expected == present { Ok(()) } else { Err(BAD_VERSION) }
}

/// What a transaction of a client says that it does. `asked` tells what the bytes do not: which names are numbered.
pub(super) fn decisions(txn: &Txn<'_>, session: i64, asked: &SimRequest) -> Result<Vec<Decision>, String> {
    match txn {
        Txn::Multi(parts) => {
            let numbered = |at: usize| match asked {
                SimRequest::Multi(writes) => writes.get(at).is_some_and(is_sequential),
                _ => false,
            };
            let mut decided = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                let bytes = part.data.0.unwrap_or_default();
                let txn = Txn::decode(part.op, &mut Decoder::new(bytes)).map_err(|error| error.to_string())?;
                decided.push(decision(&txn, session, numbered(at))?);
            }
            if let Some(failed) = decided.iter().position(Result::is_err) {
                decided[..failed].fill(Err(OK));
            }
            Ok(decided)
        }
        txn => Ok(vec![decision(txn, session, matches!(asked, SimRequest::Write(write) if is_sequential(write)))?]),
    }
}

fn is_sequential(write: &Write) -> bool {
    matches!(write, Write::Create { flags: 2 | 3 | 6, .. })
}

fn decision(txn: &Txn<'_>, session: i64, sequential: bool) -> Result<Decision, String> {
    let bytes = |data: &crate::jute::Buffer<'_>| data.0.map(<[u8]>::to_vec);
    let rules = |acl: &[Acl<'_>]| acl.iter().map(ModelAcl::of).collect::<Vec<_>>();
    let create = |t: &CreateTxn<'_>, owner| OracleChange::Create {
        op: txn.op(),
        path: t.path.as_str().to_owned(),
        data: bytes(&t.data),
        acl: rules(&t.acl),
        owner,
        parent_creations: t.parent_cversion,
        sequential,
    };
    Ok(Ok(match txn {
        Txn::Create(t) | Txn::Create2(t) => {
            create(t, if t.ephemeral { ModelOwner::Session(session) } else { ModelOwner::Nobody })
        }
        Txn::CreateContainer(t) => OracleChange::Create {
            op: txn.op(),
            path: t.path.as_str().to_owned(),
            data: bytes(&t.data),
            acl: rules(&t.acl),
            owner: ModelOwner::Container,
            parent_creations: t.parent_cversion,
            sequential,
        },
        Txn::CreateTtl(t) => OracleChange::Create {
            op: txn.op(),
            path: t.path.as_str().to_owned(),
            data: bytes(&t.data),
            acl: rules(&t.acl),
            owner: ModelOwner::Ttl(t.ttl),
            parent_creations: t.parent_cversion,
            sequential,
        },
        Txn::Delete(t) => OracleChange::Delete { path: t.path.as_str().to_owned() },
        Txn::SetData(t) => {
            OracleChange::Set { path: t.path.as_str().to_owned(), data: bytes(&t.data), version: t.version }
        }
        Txn::SetAcl(t) => {
            OracleChange::SetAcl { path: t.path.as_str().to_owned(), acl: rules(&t.acl), version: t.version }
        }
        Txn::Check(t) => OracleChange::Check { path: t.path.as_str().to_owned() },
        Txn::Error(t) => return Ok(Err(t.err)),
        other => return Err(format!("S-03: no client asks for {}", other.op())),
    }))
}

/// The promise that is broken where `made` was decided and `expected` ought to have been.
pub(super) fn verdict(expected: &[Decision], made: &[Decision], asked: &SimRequest) -> &'static str {
    let differs = expected.iter().zip(made).find(|(expected, made)| expected != made);
    match differs {
        None => "G-13",
        Some((Err(NO_AUTH), Ok(_))) => "SC-70, S-36",
        Some((Err(NO_AUTH), Err(code))) if *code != OK => "SC-70, S-36",
        Some((Err(QUOTA_EXCEEDED), _) | (_, Err(QUOTA_EXCEEDED))) => "R-21",
        Some((Err(SESSION_EXPIRED), _)) => "S-28, G-11",
        Some((Err(_), Ok(_)) | (Ok(_), Err(_))) if matches!(asked, SimRequest::Multi(_)) => "G-13",
        Some((
            Ok(OracleChange::Create { path, sequential: true, .. }),
            Ok(OracleChange::Create { path: made, .. }),
        )) if path != made => "G-12",
        Some((Ok(_), Ok(_))) => "S-26",
        Some(_) => "S-20",
    }
}

/// An answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadAnswer {
    Error(i32),
    Nothing,
    Stat(Stat),
    Data(Option<Vec<u8>>, Stat),
    Names(BTreeSet<String>, Option<Stat>),
    Acl(Vec<ModelAcl>, Stat),
    Number(i32),
    Who(Vec<(String, String)>),
    Many(Vec<ReadAnswer>),
}

/// What the model answers. `None` for what is no read of the state.
pub(super) fn answer(model: &Model, request: &SimRequest, who: &SimUsers, session: i64) -> Option<ReadAnswer> {
    let readable = |path: &str| match model.nodes.get(path) {
        None => Err(ReadAnswer::Error(NO_NODE)),
        Some(node) if !who.may(&node.acl, READ) => Err(ReadAnswer::Error(NO_AUTH)),
        Some(node) => Ok((node, model.stat(path).unwrap_or_default())),
    };
    let answer = match request {
        SimRequest::Exists { path, .. } => readable(path).map(|(_, stat)| ReadAnswer::Stat(stat)),
        SimRequest::GetData { path, .. } => {
            readable(path).map(|(node, stat)| ReadAnswer::Data(node.data.clone(), stat))
        }
        SimRequest::GetChildren { path, stat: wanted, .. } => {
            readable(path).map(|(_, stat)| ReadAnswer::Names(model.children(path), wanted.then_some(stat)))
        }
        SimRequest::GetAcl(path) => match model.nodes.get(path) {
            None => Err(ReadAnswer::Error(NO_NODE)),
            Some(node) if !who.may(&node.acl, READ | ADMIN) => Err(ReadAnswer::Error(NO_AUTH)),
            Some(node) => {
                let shown = |rule: &ModelAcl| if who.may(&node.acl, ADMIN) { rule.clone() } else { masked(rule) };
                Ok(ReadAnswer::Acl(node.acl.iter().map(shown).collect(), model.stat(path).unwrap_or_default()))
            }
        },
        SimRequest::GetEphemerals(prefix) => {
            let owned = model.ephemerals(session).into_iter().filter(|path| path.starts_with(prefix));
            Ok(ReadAnswer::Names(owned.collect(), None))
        }
        SimRequest::Descendants(path) => readable(path).map(|_| ReadAnswer::Number(model.below(path).count() as i32)),
        SimRequest::WhoAmI => Ok(ReadAnswer::Who(who.names())),
        SimRequest::MultiRead(reads) => {
            let one = |(path, names): &(String, bool)| {
                readable(path).map_or_else(
                    |error| error,
                    |(node, stat)| match names {
                        true => ReadAnswer::Names(model.children(path), None),
                        false => ReadAnswer::Data(node.data.clone(), stat),
                    },
                )
            };
            Ok(ReadAnswer::Many(reads.iter().map(one).collect()))
        }
        _ => return None,
    };
    Some(answer.unwrap_or_else(|error| error))
}

/// The answer to a watch that is asked for or removed.
pub(super) fn found(there: bool) -> ReadAnswer {
    if there { ReadAnswer::Nothing } else { ReadAnswer::Error(NO_WATCHER) }
}

/// What the server answered, as the model would say it.
pub(super) fn read_answer(request: &SimRequest, err: i32, body: &[u8]) -> Result<ReadAnswer, String> {
    if err != OK {
        return if body.is_empty() {
            Ok(ReadAnswer::Error(err))
        } else {
            Err("S-30: a body behind an error".to_owned())
        };
    }
    let mut decoder = Decoder::new(body);
    let broken = |error: crate::jute::JuteError| format!("S-30: the reply cannot be read: {error}");
    let data = |reply: &DataReply<'_>| ReadAnswer::Data(reply.data.0.map(<[u8]>::to_vec), reply.stat);
    let names = |names: &[crate::jute::Text<'_>], stat| {
        let set: BTreeSet<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
        if set.len() == names.len() {
            Ok(ReadAnswer::Names(set, stat))
        } else {
            Err("G-03: a name comes twice".to_owned())
        }
    };
    let answer = match request {
        SimRequest::Exists { .. } => ReadAnswer::Stat(decoder.read::<StatReply>().map_err(broken)?.stat),
        SimRequest::GetData { .. } => data(&decoder.read().map_err(broken)?),
        SimRequest::GetChildren { stat: false, .. } | SimRequest::GetEphemerals(_) => {
            names(&decoder.read::<NamesReply<'_>>().map_err(broken)?.names, None)?
        }
        SimRequest::GetChildren { .. } => {
            let reply: ChildrenStatReply<'_> = decoder.read().map_err(broken)?;
            names(&reply.names, Some(reply.stat))?
        }
        SimRequest::GetAcl(_) => {
            let reply: AclReply<'_> = decoder.read().map_err(broken)?;
            ReadAnswer::Acl(reply.acl.iter().map(ModelAcl::of).collect(), reply.stat)
        }
        SimRequest::Descendants(_) => ReadAnswer::Number(decoder.read::<NumberReply>().map_err(broken)?.total),
        SimRequest::WhoAmI => {
            let reply: WhoAmIReply<'_> = decoder.read().map_err(broken)?;
            ReadAnswer::Who(
                reply.infos.iter().map(|i| (i.scheme.as_str().to_owned(), i.user.as_str().to_owned())).collect(),
            )
        }
        SimRequest::AddWatch { .. } => {
            decoder.read::<ErrorReply>().map_err(broken)?;
            ReadAnswer::Nothing
        }
        SimRequest::MultiRead(_) => {
            let results = decode_results(body).map_err(broken)?;
            let one = |result: &MultiResult<'_>| match result {
                MultiResult::Data(reply) => Ok(data(reply)),
                MultiResult::Names(reply) => names(&reply.names, None),
                MultiResult::Error(code) => Ok(ReadAnswer::Error(*code)),
                other => Err(format!("S-30: {other:?} in a multiRead")),
            };
            return Ok(ReadAnswer::Many(results.iter().map(one).collect::<Result<_, String>>()?));
        }
        _ => {
            return if body.is_empty() {
                Ok(ReadAnswer::Nothing)
            } else {
                Err("S-30: a body where none is due".to_owned())
            };
        }
    };
    if decoder.rest().is_empty() { Ok(answer) } else { Err("S-30: bytes behind the reply".to_owned()) }
}

/// What the server told of a write, as the model would say it.
pub(super) fn read_outcomes(request: &SimRequest, err: i32, body: &[u8]) -> Result<Vec<ChangeReply>, String> {
    let broken = |error: crate::jute::JuteError| format!("S-30: the reply cannot be read: {error}");
    if err != OK {
        return if body.is_empty() {
            Ok(vec![ChangeReply::Error(err)])
        } else {
            Err("S-30: a body behind an error".to_owned())
        };
    }
    let path_stat = |reply: PathStatReply<'_>| ChangeReply::PathStat(reply.path.as_str().to_owned(), reply.stat);
    let path = |reply: PathReply<'_>| ChangeReply::Path(reply.path.as_str().to_owned());
    let mut decoder = Decoder::new(body);
    Ok(vec![match request {
        SimRequest::Write(Write::Create { op: OpCode::Create, .. }) => path(decoder.read().map_err(broken)?),
        SimRequest::Write(Write::Create { .. }) => path_stat(decoder.read().map_err(broken)?),
        SimRequest::Write(Write::Set { .. } | Write::SetAcl { .. }) => {
            ChangeReply::Stat(decoder.read::<StatReply>().map_err(broken)?.stat)
        }
        SimRequest::Multi(_) => {
            let results = decode_results(body).map_err(broken)?;
            let one = |result| match result {
                MultiResult::Path(reply) => path(reply),
                MultiResult::PathStat(reply) => path_stat(reply),
                MultiResult::Stat(reply) => ChangeReply::Stat(reply.stat),
                MultiResult::Error(code) => ChangeReply::Error(code),
                _ => ChangeReply::Done,
            };
            return Ok(results.into_iter().map(one).collect());
        }
        _ if body.is_empty() => ChangeReply::Done,
        _ => return Err("S-30: a body where none is due".to_owned()),
    }])
}

/// What the client of a change is told, the state being the one right after it.
pub(super) fn outcome(model: &Model, decision: &Decision) -> ChangeReply {
    match decision {
        Err(code) => ChangeReply::Error(*code),
        Ok(OracleChange::Create { op: OpCode::Create, path, .. }) => ChangeReply::Path(path.clone()),
        Ok(OracleChange::Create { path, .. }) => {
            ChangeReply::PathStat(path.clone(), model.stat(path).unwrap_or_default())
        }
        Ok(OracleChange::Set { path, .. } | OracleChange::SetAcl { path, .. }) => {
            ChangeReply::Stat(model.stat(path).unwrap_or_default())
        }
        Ok(OracleChange::Delete { .. } | OracleChange::Check { .. }) => ChangeReply::Done,
    }
}
