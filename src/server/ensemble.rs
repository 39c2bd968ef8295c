//! A whole ensemble in this process, whose members can be killed, started again, paused and cut off: for tests, and to try
//! things out. Each member is a [`Server`] like any other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::options::EnsembleOptions;
use super::places::{MemberPlace, places, temporary_folder};
use super::{RoleState, Server, ServerRole};
use crate::Error;
use crate::client::Client;
use crate::error::{Code, Failure};

/// Most members of one ensemble.
const SIZE_MAX: usize = 64;
/// Where nothing tells of a change, members are looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// So many members in this process, on 127.0.0.1, each with a folder, three ports and threads of its own.
///
/// They are numbered from 1, as in `server.1`. Ports stay a member's own while it does not run: nobody else is given one, and a
/// client that knows the connect string finds a restarted member where it was. Dropping an ensemble stops it.
///
/// ```
/// use std::time::Duration;
/// use zoarium::{Ensemble, Error, ServerRole};
///
/// let ensemble = Ensemble::start(3)?;
/// println!("any ZooKeeper client may connect to {}", ensemble.connect_string());
/// let client = ensemble.client()?;
/// client.create("/kept", b"1")?;
///
/// // The leader dies, and another one is elected: what was acknowledged is there.
/// let dead = ensemble.leader().expect("all serve");
/// ensemble.kill(dead)?;
/// ensemble.wait_until_serving(Duration::from_secs(30))?;
/// let leader = ensemble.leader().expect("two of three are a majority");
/// let near = ensemble.member(leader).expect("it runs").client()?;
/// assert_eq!(near.get("/kept")?.0, b"1");
///
/// // It comes back with what it had synced, and follows. One that is cut off finds no leader.
/// ensemble.restart(dead)?;
/// ensemble.wait_until_serving(Duration::from_secs(30))?;
/// let follower = ensemble.member(dead).expect("it runs");
/// assert_eq!(follower.role().role, ServerRole::Following);
/// assert!(follower.role().role.serves() && !follower.role().role.leads());
/// let (told, roles) = std::sync::mpsc::channel();
/// follower.on_role(move |state| told.send(state.role).unwrap_or(()));
/// ensemble.cut(dead)?;
/// assert_eq!(roles.iter().take(2).collect::<Vec<_>>(), [ServerRole::Following, ServerRole::Looking]);
/// ensemble.heal(dead)?;
///
/// // Paused, it is a machine that swaps.
/// ensemble.pause(dead)?;
/// ensemble.wait_until_serving(Duration::from_secs(30))?;
/// ensemble.resume(dead)?;
/// assert_eq!((ensemble.size(), ensemble.is_running(dead)), (3, true));
/// assert_eq!(ensemble.address(dead)?, follower.addresses()[0].to_string());
/// assert!(ensemble.folder(dead)?.join("zoarium.db").exists());
/// # drop((client, near, follower));
/// ensemble.stop()?;
/// # Ok::<(), Error>(())
/// ```
pub struct Ensemble {
    folder: PathBuf,
    is_temporary: bool,
    places: Vec<MemberPlace>,
    running: Mutex<Vec<Option<RunningMember>>>,
}

/// A member that runs, and what was done to it.
struct RunningMember {
    server: Arc<Server>,
    is_paused: bool,
    is_cut: bool,
}

impl Ensemble {
    /// Starts so many members with the usual options in a temporary folder; all serve when this returns.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// As [`Ensemble::start_with`].
    pub fn start(size: usize) -> Result<Ensemble, Error> {
        Ensemble::start_with(size, EnsembleOptions::default())
    }

    /// The same with options.
    ///
    /// ```
    /// use zoarium::{Config, Ensemble, EnsembleOptions, Error};
    ///
    /// let usual = EnsembleOptions::default();
    /// let config = Config { read_only_mode: true, ..usual.config };
    /// let ensemble = Ensemble::start_with(2, EnsembleOptions { config, ..usual })?;
    /// ensemble.stop()?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Code::BadArguments`] for a size or a configuration that cannot be; [`Error`] of the member that cannot start;
    /// [`Code::Timeout`] where not all serve in time, with what each of those that do not is doing.
    pub fn start_with(size: usize, options: EnsembleOptions) -> Result<Ensemble, Error> {
        let EnsembleOptions { folder, config, limit } = options;
        if !(1..=SIZE_MAX).contains(&size) {
            return Err(refused(format!("an ensemble has from 1 to {SIZE_MAX} members, not {size}")));
        }
        if config.file.is_some() {
            return Err(refused(
                "the members of an ensemble cannot share one file: say where their folders lie".to_owned(),
            ));
        }
        let is_temporary = folder.is_none();
        let folder = match folder {
            Some(folder) => folder,
            None => temporary_folder()?,
        };
        let mut ensemble = Ensemble { folder, is_temporary, places: Vec::new(), running: Mutex::default() };
        ensemble.places = places(size, &config, &ensemble.folder)?;
        ensemble.lock().resize_with(size, || None);
        for member in ensemble.members() {
            ensemble.restart(member)?;
        }
        ensemble.wait_until_serving(limit)?;
        Ok(ensemble)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<RunningMember>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many members there are, whether or not they run.
    ///
    /// [`Ensemble`] has an example.
    pub fn size(&self) -> usize {
        self.places.len()
    }

    fn members(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.places.len() as u64
    }

    /// Where clients connect: the addresses of all members, with commas between.
    ///
    /// [`Ensemble`] has an example.
    pub fn connect_string(&self) -> String {
        self.places.iter().map(|place| place.address.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Where clients of one member connect, the same each time it runs.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] where there is no such member.
    pub fn address(&self, member: u64) -> Result<&str, Error> {
        Ok(&self.places[self.place_of(member)?].address)
    }

    /// The folder of one member's data.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] where there is no such member.
    pub fn folder(&self, member: u64) -> Result<&Path, Error> {
        Ok(&self.places[self.place_of(member)?].config.data_dir)
    }

    /// A client over TCP of all members, one after the other. [`Ensemble::member`] has clients without a socket.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn client(&self) -> Result<Client, Error> {
        Client::connect(&self.connect_string())
    }

    /// The server that a member is; `None` while it does not run, and where there is no such member.
    ///
    /// [`Ensemble`] has an example.
    pub fn member(&self, member: u64) -> Option<Arc<Server>> {
        let place = self.place_of(member).ok()?;
        self.lock()[place].as_ref().map(|running| Arc::clone(&running.server))
    }

    /// Whether a member runs: it was not killed, or was started again.
    ///
    /// [`Ensemble`] has an example.
    pub fn is_running(&self, member: u64) -> bool {
        self.place_of(member).is_ok_and(|place| self.lock()[place].is_some())
    }

    /// The member that leads, of those that are neither paused nor cut off; `None` while there is none.
    ///
    /// [`Ensemble`] has an example.
    pub fn leader(&self) -> Option<u64> {
        let leading = self.states().into_iter().filter(|(_, _, state)| state.role.leads());
        leading.max_by_key(|(_, _, state)| state.epoch).map(|(member, ..)| member)
    }

    /// What those members are that ought to serve.
    fn states(&self) -> Vec<(u64, Arc<Server>, RoleState)> {
        let running = self.lock();
        let ought = |(member, running): (u64, &Option<RunningMember>)| {
            let running = running.as_ref().filter(|running| !running.is_paused && !running.is_cut)?;
            Some((member, Arc::clone(&running.server), running.server.role()))
        };
        self.members().zip(running.iter()).filter_map(ought).collect()
    }

    /// Waits until all members serve that run and are neither paused nor cut off, and one of them leads the others.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// [`Code::Timeout`] where that is not so within `limit`, with what each of those that do not serve is doing.
    pub fn wait_until_serving(&self, limit: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let states = self.states();
            let leads = states.iter().map(|(.., state)| state).filter(|state| state.role.leads());
            let leader = leads.max_by_key(|state| state.epoch).copied();
            let is_so = |state: &RoleState| {
                leader.is_some_and(|leader| {
                    state.role.serves() && (state.leader, state.epoch) == (leader.leader, leader.epoch)
                })
            };
            // Who leads fewer has not noticed yet.
            let is_majority = states.iter().filter(|(.., state)| is_so(state)).count() > self.size() / 2;
            let missing = states.iter().find(|(.., state)| !is_so(state));
            let Some((_, missing, seen)) = missing.or(states.first().filter(|_| !is_majority)) else {
                if states.is_empty() {
                    return Err(refused("no member runs that could serve".to_owned()));
                }
                return Ok(());
            };
            let left = limit.saturating_sub(begun.elapsed());
            let has_ended = states.iter().any(|(_, server, _)| server.wait_for(Duration::ZERO));
            if left.is_zero() || has_ended {
                let missing = states.iter().filter(|(.., state)| !is_majority || !is_so(state));
                let said: Vec<String> = missing.map(described).collect();
                let said =
                    format!("after {} ms not all members serve: {}", begun.elapsed().as_millis(), said.join("; "));
                return Err(Failure::because(Code::Timeout, said).into());
            }
            missing.serving.wait_for_change(*seen, left.min(LOOK_AGAIN));
        }
    }

    /// Ends a member as `kill -9` ends a process: it keeps what was on its disk, and nobody hears of it but by the end of
    /// their connections.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] where there is no such member or it does not run; [`Error::StillStopping`] where its disk hangs.
    pub fn kill(&self, member: u64) -> Result<(), Error> {
        let server = self.taken(member)?;
        if server.kill() { Ok(()) } else { Err(Error::StillStopping) }
    }

    /// Stops a member cleanly: where it leads, another one has everything before it goes.
    ///
    /// ```
    /// use zoarium::{Ensemble, Error};
    ///
    /// let ensemble = Ensemble::start(3)?;
    /// let leader = ensemble.leader().expect("all serve");
    /// ensemble.stop_member(leader)?;
    /// assert!(!ensemble.is_running(leader));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Ensemble::kill`], and as [`Server::stop`].
    pub fn stop_member(&self, member: u64) -> Result<(), Error> {
        let server = self.taken(member)?;
        stopped(&server)
    }

    fn taken(&self, member: u64) -> Result<Arc<Server>, Error> {
        let place = self.place_of(member)?;
        let running = self.lock()[place].take();
        running.map(|running| running.server).ok_or_else(|| refused(format!("member {member} does not run")))
    }

    /// Starts a member that does not run, with the data and addresses it had. It does not serve yet when this returns:
    /// [`Ensemble::wait_until_serving`].
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] where there is no such member or it runs; as [`Server::start`].
    pub fn restart(&self, member: u64) -> Result<(), Error> {
        let place = self.place_of(member)?;
        let mut running = self.lock();
        if running[place].is_some() {
            return Err(refused(format!("member {member} runs")));
        }
        let server = Arc::new(Server::start(self.places[place].config.clone())?);
        running[place] = Some(RunningMember { server, is_paused: false, is_cut: false });
        Ok(())
    }

    /// Takes a member that does not run its data: it begins anew, and is sent everything by the others.
    ///
    /// ```
    /// use std::time::Duration;
    /// use zoarium::{Ensemble, Error};
    ///
    /// let ensemble = Ensemble::start(3)?;
    /// ensemble.client()?.create("/kept", b"")?;
    /// ensemble.kill(2)?;
    /// ensemble.wipe(2)?;
    /// ensemble.restart(2)?;
    /// ensemble.wait_until_serving(Duration::from_secs(30))?;
    /// let client = ensemble.member(2).expect("it runs").client()?;
    /// assert!(client.exists("/kept")?.is_some());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Code::BadArguments`] where there is no such member or it runs; [`Error::Folder`].
    pub fn wipe(&self, member: u64) -> Result<(), Error> {
        let place = self.place_of(member)?;
        let running = self.lock();
        if running[place].is_some() {
            return Err(refused(format!("member {member} runs")));
        }
        let file = self.places[place].config.file();
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Folder { path: file, source }),
            _ => Ok(()),
        }
    }

    /// Has a member stand still, as a machine that swaps: its connections stay, nobody is answered, until
    /// [`Ensemble::resume`].
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] where there is no such member or it does not run.
    pub fn pause(&self, member: u64) -> Result<(), Error> {
        let server = self.changed(member, |running| running.is_paused = true)?;
        server.pause(Duration::MAX);
        Ok(())
    }

    /// Lets a paused member go on.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// As [`Ensemble::pause`].
    pub fn resume(&self, member: u64) -> Result<(), Error> {
        let server = self.changed(member, |running| running.is_paused = false)?;
        server.resume();
        Ok(())
    }

    /// Cuts a member off from the others, as where a cable is pulled; its clients reach it all the same. Until
    /// [`Ensemble::heal`].
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// As [`Ensemble::pause`].
    pub fn cut(&self, member: u64) -> Result<(), Error> {
        let server = self.changed(member, |running| running.is_cut = true)?;
        server.cut();
        Ok(())
    }

    /// Connects a member with the others again.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// As [`Ensemble::pause`].
    pub fn heal(&self, member: u64) -> Result<(), Error> {
        let server = self.changed(member, |running| running.is_cut = false)?;
        server.heal();
        Ok(())
    }

    fn changed(&self, member: u64, change: impl FnOnce(&mut RunningMember)) -> Result<Arc<Server>, Error> {
        let place = self.place_of(member)?;
        let mut running = self.lock();
        let running = running[place].as_mut().ok_or_else(|| refused(format!("member {member} does not run")))?;
        change(running);
        Ok(Arc::clone(&running.server))
    }

    fn place_of(&self, member: u64) -> Result<usize, Error> {
        let place = usize::try_from(member).ok().and_then(|member| member.checked_sub(1));
        let size = self.places.len();
        let none = || refused(format!("there is no member {member}: they are numbered from 1 to {size}"));
        place.filter(|place| *place < size).ok_or_else(none)
    }

    /// Stops all members, cleanly where their data stay, and takes a temporary folder away.
    ///
    /// [`Ensemble`] has an example.
    ///
    /// # Errors
    /// What ended a member, if that was a failure; as [`Server::stop`].
    pub fn stop(self) -> Result<(), Error> {
        self.end()
    }

    /// The same of an ensemble that others may use; none of its members runs from then on.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let leader = self.leader();
        let running: Vec<Option<RunningMember>> = self.lock().iter_mut().map(Option::take).collect();
        let mut servers: Vec<(u64, Arc<Server>)> =
            self.members().zip(running).filter_map(|(member, running)| Some((member, running?.server))).collect();
        // The leader last: with nobody left it has nobody to wait for.
        servers.sort_by_key(|(member, _)| Some(*member) == leader);
        let mut result = Ok(());
        for (member, server) in &servers {
            // What is thrown away need not be tidied up.
            if self.is_temporary && server.role().role != ServerRole::Failed {
                if !server.kill() {
                    result = Err(Error::StillStopping);
                }
                continue;
            }
            if Some(*member) != leader {
                server.request_stop();
            }
        }
        if !self.is_temporary || result.is_ok() {
            for (_, server) in servers {
                result = result.and(stopped(&server));
            }
        }
        if self.is_temporary {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        result
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("the ensemble stopped with: {error}");
        }
    }
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members: Vec<_> = self.states().into_iter().map(|(member, _, state)| (member, state.role)).collect();
        f.debug_struct("Ensemble").field("folder", &self.folder).field("serving", &members).finish_non_exhaustive()
    }
}

/// Stops a server that others may hold as well, and tells how that went.
fn stopped(server: &Server) -> Result<(), Error> {
    server.request_stop();
    if !server.wait_for(super::STOP_WAIT) {
        return Err(Error::StillStopping);
    }
    server.ended.take()
}

/// What a member that does not serve is doing.
fn described((member, server, state): &(u64, Arc<Server>, RoleState)) -> String {
    let does = match (state.role, state.leader) {
        (ServerRole::Looking, _) => "looks for a leader".to_owned(),
        (ServerRole::ReadOnly, _) => "looks for a leader, and answers reads".to_owned(),
        (ServerRole::Stopped, _) => "was stopped".to_owned(),
        (ServerRole::Failed, _) => server.failure(|error| format!("has failed: {error}")).unwrap_or_default(),
        (ServerRole::Leading, _) => "leads no majority".to_owned(),
        (_, Some(leader)) => format!("follows {leader}, which does not lead any more"),
        (_, None) => "is a server by itself".to_owned(),
    };
    format!("member {member} {does}")
}

fn refused(why: String) -> Error {
    Failure::because(Code::BadArguments, why).not_done().into()
}
