//! A plain model of the tree: an ordered map, no cleverness, no code of the tree's.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::SessionId;
use crate::jute::Decoder;
use crate::records::txn::{Txn, TxnHeader, decode_txn};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub data: Option<Vec<u8>>,
    pub version: i32,
    pub owner: Option<SessionId>,
    pub czxid: i64,
    pub mzxid: i64,
}

/// The state after some history.
#[derive(Default)]
pub(super) struct Model {
    pub nodes: BTreeMap<String, Node>,
    pub sessions: BTreeSet<SessionId>,
}

impl Model {
    pub(super) fn apply(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (header, txn, _) = decode_txn(bytes).map_err(|error| error.to_string())?;
        self.apply_txn(&header, &txn)
    }

    fn apply_txn(&mut self, header: &TxnHeader, txn: &Txn<'_>) -> Result<(), String> {
        let zxid = header.zxid.0;
        match txn {
            Txn::Create(t) | Txn::Create2(t) => {
                let owner = t.ephemeral.then_some(header.session);
                if owner.is_some() && !self.sessions.contains(&header.session) {
                    return Err(format!("S-28: {} is created for a session that ended", t.path.as_str()));
                }
                let node = Node { data: t.data.0.map(<[u8]>::to_vec), version: 0, owner, czxid: zxid, mzxid: zxid };
                match self.nodes.insert(t.path.as_str().to_owned(), node) {
                    None => Ok(()),
                    Some(_) => Err(format!("{} is created twice", t.path.as_str())),
                }
            }
            Txn::Delete(t) => match self.nodes.remove(t.path.as_str()) {
                Some(_) => Ok(()),
                None => Err(format!("{} is deleted and was not there", t.path.as_str())),
            },
            Txn::SetData(t) => {
                let node = self.nodes.get_mut(t.path.as_str()).ok_or("data for a znode that is not there")?;
                if t.version != node.version + 1 {
                    return Err(format!("S-26: version {} after {}", t.version, node.version));
                }
                (node.version, node.mzxid) = (t.version, zxid);
                node.data = t.data.0.map(<[u8]>::to_vec);
                Ok(())
            }
            Txn::Multi(parts) => {
                if parts.iter().any(|part| part.op == -1) {
                    return Ok(());
                }
                for part in parts {
                    let bytes = part.data.0.unwrap_or(&[]);
                    let txn = Txn::decode(part.op, &mut Decoder::new(bytes)).map_err(|error| error.to_string())?;
                    self.apply_txn(header, &txn)?;
                }
                Ok(())
            }
            Txn::CreateSession(_) if self.sessions.insert(header.session) => Ok(()),
            Txn::CreateSession(_) => Err(format!("S-27: session {} was issued twice", header.session)),
            Txn::CloseSession(_) => {
                self.nodes.retain(|_, node| node.owner != Some(header.session));
                self.sessions.remove(&header.session);
                Ok(())
            }
            Txn::Check(_) | Txn::Error(_) => Ok(()),
            other => Err(format!("no client here asks for {}", other.op())),
        }
    }

    /// Names of the children of `path`.
    pub(super) fn children(&self, path: &str) -> BTreeSet<String> {
        let prefix = format!("{path}/");
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        below.map(|(path, _)| path[prefix.len()..].to_owned()).filter(|name| !name.contains('/')).collect()
    }
}
