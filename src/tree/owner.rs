//! What ties a znode's life to something: a session, its children, a time to live.

use crate::ids::SessionId;

/// What decides when a znode goes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Owner {
    /// Nothing: it stays until it is deleted.
    #[default]
    None,
    /// An ephemeral: it goes with this session.
    Session(SessionId),
    /// A container: it goes some time after its last child.
    Container,
    /// It goes when it is childless and was not set for this many ms, 1 to [`Owner::TTL_MAX`].
    Ttl(u64),
}

const CONTAINER: i64 = i64::MIN;
const TTL_PREFIX: u64 = 0xff_0000;
const TTL_BITS: u32 = 40;

impl Owner {
    /// The longest time to live, in ms: 40 bits of ones.
    pub const TTL_MAX: u64 = (1 << TTL_BITS) - 1;

    /// The one number that ZooKeeper's logs and snapshots hold for it.
    pub fn to_i64(self) -> i64 {
        match self {
            Owner::None => 0,
            Owner::Session(session) => session.0,
            Owner::Container => CONTAINER,
            Owner::Ttl(ttl) => ((TTL_PREFIX << TTL_BITS) | (ttl & Owner::TTL_MAX)) as i64,
        }
    }

    /// The meaning of that number. The prefix 0xff0000 means a time to live whatever the configuration says: no session
    /// id has it, for a server of id 255 passes over such ids.
    pub fn from_i64(value: i64) -> Owner {
        match value {
            0 => Owner::None,
            CONTAINER => Owner::Container,
            _ if value as u64 >> TTL_BITS == TTL_PREFIX => Owner::Ttl(value as u64 & Owner::TTL_MAX),
            _ => Owner::Session(SessionId(value)),
        }
    }

    /// What clients see in a Stat: the session of an ephemeral, 0 for all others.
    pub fn on_the_wire(self) -> i64 {
        match self {
            Owner::Session(session) => session.0,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_survives_its_number() {
        for owner in [
            Owner::None,
            Owner::Container,
            Owner::Ttl(1),
            Owner::Ttl(Owner::TTL_MAX),
            Owner::Session(SessionId(1)),
            Owner::Session(SessionId(0x0fe0_0000_0000_0001)),
            Owner::Session(SessionId(i64::MAX)),
            Owner::Session(SessionId(-1)),
        ] {
            assert_eq!(Owner::from_i64(owner.to_i64()), owner);
        }
    }

    #[test]
    fn the_numbers_are_zookeepers() {
        // S-27, SC-45
        assert_eq!(Owner::Container.to_i64() as u64, 0x8000_0000_0000_0000);
        assert_eq!(Owner::Ttl(5000).to_i64() as u64, 0xff00_0000_0000_1388);
        assert_eq!(Owner::from_i64(0xfe00_0000_0000_0001_u64 as i64).on_the_wire() as u64, 0xfe00_0000_0000_0001);
        assert_eq!(Owner::Container.on_the_wire(), 0);
        assert_eq!(Owner::Ttl(1).on_the_wire(), 0);
    }
}
