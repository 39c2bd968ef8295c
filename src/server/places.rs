//! What is an ensemble's members' own, whether or not they run: folders, ports, configurations.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::config::{Config, PeerAddress, Role, ServerLine};
use crate::ids::ServerId;
use crate::process::Owned;
use crate::store::{hold_port, make_folder};

/// What is a member's own, whether or not it runs.
pub(super) struct MemberPlace {
    pub(super) config: Config,
    pub(super) address: String,
    /// Its ports, so that nobody else gets them.
    _ports: [Owned<TcpListener>; 3],
}

/// The configurations of so many members. All ports are held before the first line is written.
pub(super) fn places(size: usize, config: &Config, folder: &Path) -> Result<Vec<MemberPlace>, Error> {
    let mut ports = Vec::new();
    for _ in 0..size {
        let held = || Ok::<_, std::io::Error>([hold_port()?, hold_port()?, hold_port()?].map(Owned::new));
        ports.push(held().map_err(Error::system("hold a port for a member"))?);
    }
    let mut config = config.clone();
    let ticks = |ms: u64| Some((ms / config.tick_time_ms.max(1)).max(2));
    config.ensemble.init_limit = config.ensemble.init_limit.or(ticks(10_000));
    config.ensemble.sync_limit = config.ensemble.sync_limit.or(ticks(2_000));
    config.client_hosts = vec!["127.0.0.1".to_owned()];
    config.ensemble.servers.clear();
    config.ensemble.groups.clear();
    config.ensemble.weights.clear();
    let port_of = |held: &Owned<TcpListener>| {
        held.local_addr().map(|address| address.port()).map_err(Error::system("look at a port that is held"))
    };
    for (id, [quorum, election, _]) in (1..).map(ServerId).zip(&ports) {
        let (quorum_port, election_port) = (port_of(quorum)?, port_of(election)?);
        let addresses = vec![PeerAddress { host: "127.0.0.1".to_owned(), quorum_port, election_port }];
        config.ensemble.servers.insert(id, ServerLine { id, addresses, role: Role::Participant, client: None });
    }
    let place = |(id, ports): (ServerId, [Owned<TcpListener>; 3])| {
        let client_port = port_of(&ports[2])?;
        let data_dir = folder.join(id.to_string());
        let config = Config { server_id: id, client_port, data_dir, ..config.clone() };
        Ok(MemberPlace { config, address: format!("127.0.0.1:{client_port}"), _ports: ports })
    };
    (1..).map(ServerId).zip(ports).map(place).collect()
}

/// A new folder that only its owner may look into.
pub(super) fn temporary_folder() -> Result<PathBuf, Error> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(|error| Error::System {
        what: "get random numbers",
        source: std::io::Error::other(error.to_string()),
    })?;
    let folder = std::env::temp_dir().join(format!("zoarium-ensemble-{:016x}", u64::from_le_bytes(name)));
    make_folder(&folder).map_err(|source| Error::Folder { path: folder.clone(), source })?;
    Ok(folder)
}
