//! What servers say to each other: the packets of the quorum port, the notifications of the election port, and the
//! message that opens a connection there.
//!
//! Everything is read from a growing buffer: `Ok(None)` asks for more bytes, and no length is believed before it was
//! held against its limit. Layouts: ZooKeeper 3.9 `QuorumPacket`, `FastLeaderElection.buildMsg`, `QuorumCnxManager`.

use std::fmt;
use std::sync::Arc;

use super::Id;
pub use super::extension::HandedDown;
use super::extension::{encode_learner, learner_takes_passwords};
use crate::ids::{ServerId, Zxid};
use crate::jute::{Decoder, FIELD_SIZE_MAX, JuteError, encode};

/// Identities that a REQUEST carries, at most. A client's connection has fewer.
const IDS_MAX: i32 = 1_000;
/// Bytes of the text in an identity, at most.
const ID_SIZE_MAX: usize = 64 << 10;
/// Bytes of addresses in an initial message, at most, as ZooKeeper has it.
const ADDRESSES_SIZE_MAX: usize = 2_048;
/// Bytes of a notification, at most, as ZooKeeper has it.
pub const NOTIFICATION_SIZE_MAX: usize = 512 << 10;
/// The protocol version that LearnerInfo and LEADERINFO carry.
const LEARNER_PROTOCOL: i32 = 0x1_0000;

/// Why bytes of another server are no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// A length that is negative or above its limit.
    Length {
        /// Of what.
        what: &'static str,
        /// As it came.
        found: i64,
        /// The largest allowed.
        limit: usize,
    },
    /// A first long that is no version of the initial message.
    Version(i64),
    /// A record inside is broken.
    Jute(JuteError),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Length { what, found, limit } => write!(f, "{what} has length {found}, the limit is {limit}"),
            PeerError::Version(version) => write!(f, "{version} is no version of an initial message"),
            PeerError::Jute(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PeerError {}

impl From<JuteError> for PeerError {
    fn from(error: JuteError) -> PeerError {
        PeerError::Jute(error)
    }
}

/// The type of a [`QuorumPacket`]. Unknown ones are kept: ZooKeeper ignores them, and so do we.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketType(pub i32);

impl PacketType {
    /// A learner forwards a client's request.
    pub const REQUEST: PacketType = PacketType(1);
    /// A transaction to log.
    pub const PROPOSAL: PacketType = PacketType(2);
    /// The transaction with this zxid is on disk here; for `epoch << 32`, the leader's whole history is.
    pub const ACK: PacketType = PacketType(3);
    /// The oldest proposal sent and not committed yet is committed.
    pub const COMMIT: PacketType = PacketType(4);
    /// The leader is alive; the reply has the sessions heard of.
    pub const PING: PacketType = PacketType(5);
    /// Is this session alive? And the answer.
    pub const REVALIDATE: PacketType = PacketType(6);
    /// Every commit before the oldest unanswered sync has been sent.
    pub const SYNC: PacketType = PacketType(7);
    /// A committed transaction, for observers.
    pub const INFORM: PacketType = PacketType(8);
    /// The commit of a reconfiguration.
    pub const COMMITANDACTIVATE: PacketType = PacketType(9);
    /// End of the history; `zxid` is `epoch << 32`.
    pub const NEWLEADER: PacketType = PacketType(10);
    /// A follower presents itself.
    pub const FOLLOWERINFO: PacketType = PacketType(11);
    /// The leader is established: serve.
    pub const UPTODATE: PacketType = PacketType(12);
    /// History follows.
    pub const DIFF: PacketType = PacketType(13);
    /// Drop what is above `zxid`; history may follow.
    pub const TRUNC: PacketType = PacketType(14);
    /// A stream of the whole state as of `zxid` follows.
    pub const SNAP: PacketType = PacketType(15);
    /// An observer presents itself.
    pub const OBSERVERINFO: PacketType = PacketType(16);
    /// The epoch that begins.
    pub const LEADERINFO: PacketType = PacketType(17);
    /// The epoch is accepted; the learner's last zxid and current epoch.
    pub const ACKEPOCH: PacketType = PacketType(18);
    /// The commit of a reconfiguration, for observers.
    pub const INFORMANDACTIVATE: PacketType = PacketType(19);

    fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 19] = [
            "REQUEST",
            "PROPOSAL",
            "ACK",
            "COMMIT",
            "PING",
            "REVALIDATE",
            "SYNC",
            "INFORM",
            "COMMITANDACTIVATE",
            "NEWLEADER",
            "FOLLOWERINFO",
            "UPTODATE",
            "DIFF",
            "TRUNC",
            "SNAP",
            "OBSERVERINFO",
            "LEADERINFO",
            "ACKEPOCH",
            "INFORMANDACTIVATE",
        ];
        usize::try_from(self.0).ok().and_then(|number| NAMES.get(number.wrapping_sub(1))).copied()
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "packet type {}", self.0),
        }
    }
}

/// What travels on the quorum port, both ways. Its data is shared: a proposal, its log record and its INFORM are the same
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuorumPacket {
    /// What it says.
    pub kind: PacketType,
    /// What about; −1 where unused.
    pub zxid: Zxid,
    /// More, by type; `None` is a null buffer.
    pub data: Option<Arc<[u8]>>,
    /// The client's identities; only a REQUEST has them.
    pub authinfo: Option<Vec<Id<'static>>>,
}

impl QuorumPacket {
    /// A packet of 20 bytes.
    pub fn bare(kind: PacketType, zxid: Zxid) -> QuorumPacket {
        QuorumPacket { kind, zxid, data: None, authinfo: None }
    }

    /// A packet with data.
    pub fn with_data(kind: PacketType, zxid: Zxid, data: Arc<[u8]>) -> QuorumPacket {
        QuorumPacket { kind, zxid, data: Some(data), authinfo: None }
    }

    /// Its data; a null buffer as an empty one.
    pub fn data(&self) -> &[u8] {
        self.data.as_deref().unwrap_or(&[])
    }

    /// Reads the packet at the front of `input` and the number of its bytes, or `None` when it is not whole yet.
    ///
    /// `data_max` limits the data: before a learner is accepted a few bytes are enough, later
    /// [`FIELD_SIZE_MAX`], as in ZooKeeper.
    ///
    /// # Errors
    /// [`PeerError`] as soon as a length is wrong, however few bytes are there.
    pub fn decode(input: &[u8], data_max: usize) -> Result<Option<(QuorumPacket, usize)>, PeerError> {
        let mut rest = input;
        let (Some(kind), Some(zxid)) = (take_int(&mut rest), take_long(&mut rest)) else { return Ok(None) };
        let Some(data) = take_buffer(&mut rest, "a packet's data", data_max.min(FIELD_SIZE_MAX))? else {
            return Ok(None);
        };
        let Some(count) = take_int(&mut rest) else { return Ok(None) };
        let authinfo = if count == -1 {
            None
        } else {
            check_length("a packet's authinfo", count, IDS_MAX as usize)?;
            let mut ids = Vec::new();
            for _ in 0..count {
                let begin = rest;
                for _ in 0..2 {
                    if take_buffer(&mut rest, "an identity", ID_SIZE_MAX)?.is_none() {
                        return Ok(None);
                    }
                }
                let bytes = &begin[..begin.len() - rest.len()];
                ids.push(Decoder::new(bytes).read::<Id<'_>>()?.into_owned());
            }
            Some(ids)
        };
        let packet = QuorumPacket { kind: PacketType(kind), zxid: Zxid(zxid), data: data.map(Arc::from), authinfo };
        Ok(Some((packet, input.len() - rest.len())))
    }

    /// Appends the packet's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_before_data(out);
        out.extend_from_slice(self.data());
        self.encode_behind_data(out);
    }

    /// Appends what comes before the bytes of its data, for a caller that has those elsewhere and need not copy them.
    pub fn encode_before_data(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(&self.zxid.0.to_be_bytes());
        let length = self.data.as_ref().map_or(-1, |data| data.len() as i32);
        out.extend_from_slice(&length.to_be_bytes());
    }

    /// Appends what comes behind the bytes of its data.
    pub fn encode_behind_data(&self, out: &mut Vec<u8>) {
        encode(&self.authinfo, out);
    }
}

impl fmt::Display for QuorumPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} zxid={}", self.kind, self.zxid)?;
        if let Some(data) = &self.data {
            write!(f, " data={}", data.len())?;
        }
        Ok(())
    }
}

/// How a learner presents itself: the data of FOLLOWERINFO and OBSERVERINFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LearnerInfo {
    /// Who it is.
    pub server: ServerId,
    /// The version of its committed configuration; 0 without reconfiguration.
    pub config_version: i64,
    /// It takes from its leader how session passwords are made. No server of ZooKeeper's does.
    pub takes_passwords: bool,
}

impl LearnerInfo {
    /// Reads what is there: 20 bytes from every server since 3.5, fewer from older ones. Bytes behind that are not known are
    /// ignored.
    ///
    /// # Errors
    /// [`PeerError::Length`] below 12 bytes: no server without a protocol version is accepted.
    pub fn decode(mut data: &[u8]) -> Result<LearnerInfo, PeerError> {
        let length = data.len() as i64;
        let (Some(server), Some(_)) = (take_long(&mut data), take_int(&mut data)) else {
            return Err(PeerError::Length { what: "a learner's introduction", found: length, limit: 20 });
        };
        let config_version = take_long(&mut data);
        let takes_passwords = config_version.is_some() && learner_takes_passwords(data);
        Ok(LearnerInfo {
            server: ServerId(server as u64),
            config_version: config_version.unwrap_or(0),
            takes_passwords,
        })
    }

    /// The data of the packet.
    pub fn encoded(&self) -> Arc<[u8]> {
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&self.server.0.to_be_bytes());
        out.extend_from_slice(&LEARNER_PROTOCOL.to_be_bytes());
        out.extend_from_slice(&self.config_version.to_be_bytes());
        if self.takes_passwords {
            encode_learner(&mut out);
        }
        out.into()
    }
}

/// The data of LEADERINFO: the protocol version, and what a leader of ours hands down.
pub fn leader_info(handed: Option<&HandedDown>) -> Arc<[u8]> {
    let mut out = LEARNER_PROTOCOL.to_be_bytes().to_vec();
    if let Some(handed) = handed {
        handed.encode(&mut out);
    }
    out.into()
}

/// What a leader of ours hands down in the data of LEADERINFO; `None` from one of ZooKeeper's.
pub fn decode_leader_info(data: &[u8]) -> Option<HandedDown> {
    HandedDown::decode(data.get(4..)?)
}

/// The data of ACKEPOCH: the learner's current epoch, or −1 when it must not be counted.
pub fn epoch_ack(current_epoch: i32) -> Arc<[u8]> {
    current_epoch.to_be_bytes().into()
}

/// The epoch in the data of ACKEPOCH; bytes behind it are ignored.
///
/// # Errors
/// [`PeerError::Length`] below four bytes.
pub fn decode_epoch_ack(mut data: &[u8]) -> Result<i32, PeerError> {
    let length = data.len() as i64;
    take_int(&mut data).ok_or(PeerError::Length { what: "an epoch's acknowledgement", found: length, limit: 4 })
}

/// What a server is doing, as its notifications say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerState {
    /// Looks for a leader.
    Looking,
    /// Follows one, with a vote.
    Following,
    /// Leads.
    Leading,
    /// Follows one without a vote.
    Observing,
}

impl PeerState {
    fn of_code(code: i32) -> Option<PeerState> {
        Some(match code {
            0 => PeerState::Looking,
            1 => PeerState::Following,
            2 => PeerState::Leading,
            3 => PeerState::Observing,
            _ => return None,
        })
    }

    fn code(self) -> i32 {
        match self {
            PeerState::Looking => 0,
            PeerState::Following => 1,
            PeerState::Leading => 2,
            PeerState::Observing => 3,
        }
    }
}

/// One vote in an election, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// What the sender is doing.
    pub state: PeerState,
    /// Whom it votes for, or follows.
    pub leader: ServerId,
    /// The candidate's last zxid, as the sender knows it.
    pub zxid: Zxid,
    /// The sender's round: the election's logical clock, `electionEpoch` in ZooKeeper.
    pub round: i64,
    /// The candidate's current epoch.
    pub peer_epoch: i64,
    /// 2 today; 0 from servers before 3.4.6.
    pub version: i32,
    /// Text of the sender's committed configuration; empty where none came.
    pub config: Arc<str>,
}

impl Notification {
    /// Reads a message, the length in front taken off; `None` for one that ZooKeeper ignores as well.
    pub fn decode(message: &[u8]) -> Option<Notification> {
        let mut rest = message;
        let state = PeerState::of_code(take_int(&mut rest)?)?;
        let leader = ServerId(take_long(&mut rest)? as u64);
        let zxid = Zxid(take_long(&mut rest)?);
        let round = take_long(&mut rest)?;
        let peer_epoch = take_long(&mut rest).unwrap_or(i64::from(zxid.epoch()));
        let mut notification =
            Notification { state, leader, zxid, round, peer_epoch, version: 0, config: Arc::from("") };
        // 40 bytes are read as a message without a version.
        if message.len() > 40
            && let Some(version) = take_int(&mut rest)
        {
            notification.version = version;
            if version > 1 {
                let length = usize::try_from(take_int(&mut rest)?).ok()?;
                notification.config = String::from_utf8_lossy(rest.get(..length)?).into();
            }
        }
        Some(notification)
    }

    /// Appends the message with its length in front.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = 44 + self.config.len();
        out.extend_from_slice(&(length as i32).to_be_bytes());
        out.extend_from_slice(&self.state.code().to_be_bytes());
        out.extend_from_slice(&self.leader.0.to_be_bytes());
        out.extend_from_slice(&self.zxid.0.to_be_bytes());
        out.extend_from_slice(&self.round.to_be_bytes());
        out.extend_from_slice(&self.peer_epoch.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        put_buffer(Some(self.config.as_bytes()), out);
    }

    /// The message at the front of `input`, and the bytes that it and its length take.
    ///
    /// # Errors
    /// [`PeerError::Length`] outside 1 to [`NOTIFICATION_SIZE_MAX`].
    pub fn split(input: &[u8]) -> Result<Option<(&[u8], usize)>, PeerError> {
        let mut rest = input;
        let Some(length) = take_int(&mut rest) else { return Ok(None) };
        let size = check_length("a notification", length, NOTIFICATION_SIZE_MAX)?;
        if size == 0 {
            return Err(PeerError::Length { what: "a notification", found: 0, limit: NOTIFICATION_SIZE_MAX });
        }
        Ok(rest.get(..size).map(|message| (message, 4 + size)))
    }
}

/// What the dialling side of an election connection says first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InitialMessage {
    /// Who dials.
    pub server: ServerId,
    /// Its election addresses as `host:port`, as configured; none from servers before 3.5.
    pub addresses: Vec<String>,
}

impl InitialMessage {
    /// With one address.
    const VERSION_1: i64 = -65_536;
    /// With several, joined by a bar.
    const VERSION_2: i64 = -65_535;

    /// Reads the message at the front of `input` and the number of its bytes, or `None` when it is not whole yet.
    ///
    /// # Errors
    /// [`PeerError`] for an unknown version or a length outside 1 to 2,048.
    pub fn decode(input: &[u8]) -> Result<Option<(InitialMessage, usize)>, PeerError> {
        let mut rest = input;
        let Some(first) = take_long(&mut rest) else { return Ok(None) };
        if first >= 0 {
            return Ok(Some((InitialMessage { server: ServerId(first as u64), addresses: Vec::new() }, 8)));
        }
        if first != Self::VERSION_1 && first != Self::VERSION_2 {
            return Err(PeerError::Version(first));
        }
        let (Some(server), Some(length)) = (take_long(&mut rest), take_int(&mut rest)) else { return Ok(None) };
        let size = check_length("the addresses of an initial message", length, ADDRESSES_SIZE_MAX)?;
        if size == 0 {
            let what = "the addresses of an initial message";
            return Err(PeerError::Length { what, found: 0, limit: ADDRESSES_SIZE_MAX });
        }
        let Some(text) = rest.get(..size) else { return Ok(None) };
        let text = String::from_utf8_lossy(text);
        let addresses = match first {
            Self::VERSION_2 => text.split('|').map(str::to_owned).collect(),
            _ => vec![text.into_owned()],
        };
        Ok(Some((InitialMessage { server: ServerId(server as u64), addresses }, 20 + size)))
    }

    /// Appends the message: with one address in the form that every version from 3.5 on reads, with several in that of 3.6.
    /// To be written in one piece: ZooKeeper takes the addresses with a single read.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let version = if self.addresses.len() > 1 { Self::VERSION_2 } else { Self::VERSION_1 };
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&self.server.0.to_be_bytes());
        put_buffer(Some(self.addresses.join("|").as_bytes()), out);
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

fn take_int(rest: &mut &[u8]) -> Option<i32> {
    take(rest).map(i32::from_be_bytes)
}

fn take_long(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(i64::from_be_bytes)
}

fn check_length(what: &'static str, length: i32, limit: usize) -> Result<usize, PeerError> {
    usize::try_from(length).ok().filter(|&size| size <= limit).ok_or(PeerError::Length {
        what,
        found: i64::from(length),
        limit,
    })
}

/// A buffer that may be null; the outer `None` when it is not whole yet.
#[allow(clippy::option_option)]
fn take_buffer<'a>(
    rest: &mut &'a [u8],
    what: &'static str,
    limit: usize,
) -> Result<Option<Option<&'a [u8]>>, PeerError> {
    let mut ahead = *rest;
    let Some(length) = take_int(&mut ahead) else { return Ok(None) };
    if length == -1 {
        *rest = ahead;
        return Ok(Some(None));
    }
    let size = check_length(what, length, limit)?;
    let Some((bytes, behind)) = ahead.split_at_checked(size) else { return Ok(None) };
    *rest = behind;
    Ok(Some(Some(bytes)))
}

fn put_buffer(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let length = bytes.map_or(-1, |bytes| bytes.len() as i32);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.unwrap_or(&[]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn check(bytes: &str, packet: &QuorumPacket) {
        let bytes = hex(bytes);
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(out, bytes, "{packet}");
        for end in 0..bytes.len() {
            assert_eq!(QuorumPacket::decode(&bytes[..end], FIELD_SIZE_MAX), Ok(None), "{packet} cut at {end}");
        }
        let mut followed = bytes.clone();
        followed.extend_from_slice(b"next");
        assert_eq!(QuorumPacket::decode(&followed, FIELD_SIZE_MAX), Ok(Some((packet.clone(), bytes.len()))));
    }

    #[test]
    fn packets_are_those_that_real_servers_exchanged_when_a_follower_joined() {
        let follower = LearnerInfo { server: ServerId(3), config_version: 0, takes_passwords: false };
        let with = QuorumPacket::with_data;
        let bare = QuorumPacket::bare;
        let epoch = Zxid::new(1, 0);
        check(
            "0000000b 0000000000000000 00000014 0000000000000003 00010000 0000000000000000 ffffffff",
            &with(PacketType::FOLLOWERINFO, Zxid(0), follower.encoded()),
        );
        check(
            "00000011 0000000100000000 00000004 00010000 ffffffff",
            &with(PacketType::LEADERINFO, epoch, leader_info(None)),
        );
        check(
            "00000012 0000000000000000 00000004 00000000 ffffffff",
            &with(PacketType::ACKEPOCH, Zxid(0), epoch_ack(0)),
        );
        check("0000000f 0000000100000000 ffffffff ffffffff", &bare(PacketType::SNAP, epoch));
        check("00000003 0000000100000000 ffffffff ffffffff", &bare(PacketType::ACK, epoch));
        check("0000000c ffffffffffffffff ffffffff ffffffff", &bare(PacketType::UPTODATE, Zxid(-1)));
        // The reply to a ping without touches has an empty buffer: a null one closes the link.
        check("00000005 0000000100000000 00000000 ffffffff", &with(PacketType::PING, epoch, Arc::from([])));
        let revalidate = hex("0100002664020000 00001770");
        check(
            "00000006 ffffffffffffffff 0000000c 0100002664020000 00001770 ffffffff",
            &with(PacketType::REVALIDATE, Zxid(-1), revalidate.into()),
        );
    }

    #[test]
    fn a_request_carries_the_identities_of_its_client() {
        let data = hex("01000016b69b0000 00000007 00000009 00000001 2f");
        let mut packet = QuorumPacket::with_data(PacketType::REQUEST, Zxid(-1), data.into());
        packet.authinfo = Some(vec![Id::new("ip", "127.0.0.1")]);
        check(
            "00000001 ffffffffffffffff 00000015 01000016b69b0000 00000007 00000009 00000001 2f
             00000001 00000002 6970 00000009 3132372e302e302e31",
            &packet,
        );
    }

    #[test]
    fn a_length_above_its_limit_is_refused_before_its_bytes_come() {
        //
        let long = hex("00000002 0000000100000001 00200000");
        let refused = |found| Err(PeerError::Length { what: "a packet's data", found, limit: FIELD_SIZE_MAX });
        assert_eq!(QuorumPacket::decode(&long, usize::MAX), refused(0x20_0000));
        let negative = hex("00000002 0000000100000001 fffffffe");
        assert_eq!(QuorumPacket::decode(&negative, usize::MAX), refused(-2));
        let ids = hex("00000001 ffffffffffffffff ffffffff 7fffffff");
        assert!(QuorumPacket::decode(&ids, usize::MAX).is_err());
        let early = hex("00000002 0000000100000001 00000401");
        assert!(QuorumPacket::decode(&early, 1 << 10).is_err());
        assert_eq!(QuorumPacket::decode(&early, 2 << 10), Ok(None));
    }

    #[test]
    fn a_learner_may_add_bytes_that_are_not_known_yet() {
        let info = LearnerInfo { server: ServerId(200), config_version: 0x1_0000_0002, takes_passwords: false };
        let mut bytes = info.encoded().to_vec();
        bytes.extend_from_slice(b"ZOAR more");
        assert_eq!(LearnerInfo::decode(&bytes), Ok(info));
        let ours = LearnerInfo { takes_passwords: true, ..info };
        assert_eq!(LearnerInfo::decode(&ours.encoded()), Ok(ours));
        assert_eq!(ours.encoded()[..20], info.encoded()[..], "ZooKeeper reads the same of both");
        let handed = HandedDown { passwords: 3, secret: [5; 32] };
        assert_eq!(decode_leader_info(&leader_info(Some(&handed))), Some(handed));
        assert_eq!(decode_leader_info(&leader_info(None)), None);
        assert_eq!(LearnerInfo::decode(&bytes[..12]).map(|old| old.config_version), Ok(0));
        assert!(LearnerInfo::decode(&bytes[..11]).is_err());
        assert_eq!(decode_epoch_ack(&hex("ffffffff 01")), Ok(-1));
        assert!(decode_epoch_ack(&[0, 0, 0]).is_err());
    }

    const CONFIG: &str = "server.1=127.0.0.1:33281:33381:participant\nserver.2=127.0.0.1:33282:33382:participant\n\
        server.3=127.0.0.1:33283:33383:participant\nversion=0";

    fn looking() -> Notification {
        Notification {
            state: PeerState::Looking,
            leader: ServerId(2),
            zxid: Zxid(0),
            round: 1,
            peer_epoch: 0,
            version: 2,
            config: CONFIG.into(),
        }
    }

    #[test]
    fn a_notification_is_what_a_real_server_sent() {
        let mut bytes = hex(
            "000000b6 00000000 0000000000000002 0000000000000000 0000000000000001 0000000000000000 00000002 0000008a",
        );
        bytes.extend_from_slice(CONFIG.as_bytes());
        let mut out = Vec::new();
        looking().encode(&mut out);
        assert_eq!(out, bytes);
        let (message, size) = Notification::split(&bytes).unwrap().unwrap();
        assert_eq!((Notification::decode(message), size), (Some(looking()), bytes.len()));
    }

    #[test]
    fn notifications_of_every_age_are_read_and_broken_ones_ignored() {
        // SC-24
        let mut out = Vec::new();
        looking().encode(&mut out);
        let message = &out[4..];
        let version =
            |length: usize| Notification::decode(&message[..length]).map(|read| (read.version, read.config.len()));
        for (length, expected) in [
            (27, None),
            (28, Some((0, 0))),
            (36, Some((0, 0))),
            (40, Some((0, 0))),
            (43, None),
            (44, None),
            (message.len() - 1, None),
            (message.len(), Some((2, CONFIG.len()))),
        ] {
            assert_eq!(version(length), expected, "{length} bytes");
        }
        let mut longer = message.to_vec();
        longer[39] = 3;
        longer.extend_from_slice(b"more");
        assert_eq!(Notification::decode(&longer).map(|read| read.version), Some(3), "bytes behind are ignored");
        let mut strange = message.to_vec();
        strange[3] = 4;
        assert_eq!(Notification::decode(&strange), None, "a state that does not exist");
        let mut config = message.to_vec();
        config[40] = 0x80;
        assert_eq!(Notification::decode(&config), None, "a negative length");
        for length in ["00000000", "ffffffff", "00080001"] {
            assert!(Notification::split(&hex(length)).is_err(), "{length}");
        }
        assert_eq!(Notification::split(&hex("00080000")), Ok(None));
        // Before there was a peer epoch it was the zxid's.
        let old = Notification { zxid: Zxid::new(5, 1), ..looking() };
        out.clear();
        old.encode(&mut out);
        assert_eq!(Notification::decode(&out[4..32]).map(|read| read.peer_epoch), Some(5));
    }

    #[test]
    fn the_initial_message_is_that_of_a_real_server() {
        let bytes = hex("ffffffffffff0000 0000000000000003 0000000f 3132372e302e302e313a3333333833");
        let initial = InitialMessage { server: ServerId(3), addresses: vec!["127.0.0.1:33383".to_owned()] };
        let mut out = Vec::new();
        initial.encode(&mut out);
        assert_eq!(out, bytes);
        for end in 0..bytes.len() {
            assert_eq!(InitialMessage::decode(&bytes[..end]), Ok(None), "cut at {end}");
        }
        assert_eq!(InitialMessage::decode(&bytes), Ok(Some((initial, bytes.len()))));

        let several = hex("ffffffffffff0001 0000000000000003 00000007 613a317c623a32");
        let addresses = |input: &[u8]| InitialMessage::decode(input).map(|read| read.unwrap().0.addresses);
        assert_eq!(addresses(&several), Ok(vec!["a:1".to_owned(), "b:2".to_owned()]));
        let mut out = Vec::new();
        InitialMessage { server: ServerId(3), addresses: addresses(&several).unwrap() }.encode(&mut out);
        assert_eq!(out, several);
        assert_eq!(addresses(&hex("0000000000000009")), Ok(vec![]), "from before 3.5");
        for wrong in [
            "ffffffffffff0002",
            "ffffffffffff0000 0000000000000003 00000801",
            "ffffffffffff0000 0000000000000003 00000000",
        ] {
            assert!(InitialMessage::decode(&hex(wrong)).is_err(), "{wrong}");
        }
    }
}
