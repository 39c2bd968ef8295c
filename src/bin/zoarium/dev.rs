//! `zoarium dev`: a throw-away server or ensemble, to try things out and to test against.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use clap::Args;
use log::LevelFilter;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use zoarium::{Ensemble, EnsembleOptions, Error, ServerRole};

use crate::exit;
use crate::logging::{Logging, Volume};
use crate::options::parse_property;
use crate::out::say;
use crate::paint::complain;

/// A throw-away server or ensemble: the first line of its output is where to connect.
#[derive(Args)]
#[command(after_help = "\
Examples:
  zoarium dev                          one server on a free port; its data go with it
  zoarium dev --peers 3                an ensemble of three, whose leader you can kill
  zoarium dev --peers 3 -DtickTime=500 --folder play
                                       slower clocks, and data that stay in play/1, play/2, play/3
  read -r hosts < <(sleep 3600 | zoarium dev --peers 3)
                                       in a script: where to connect, and nothing else, is on stdout

Keys, each with Enter; N is a member's number, and without one the leader is meant:
  l      list the members: who leads, who follows, who is away
  k [N]  kill it, as kill -9 does: it keeps what it has synced, and says goodbye to nobody
  p [N]  pause it, as a machine does that swaps: its connections stay, nobody is answered
  c [N]  cut it off from the others, as where a cable is pulled; its clients reach it all the same
  r [N]  bring it back, whatever was done to it; without a number, all of them
  w N    wipe the data of one that was killed: it gets everything from the others
  q      quit

What to try: `k`, `l`, `r`, `l`: another one leads, and the killed one follows it. `c`: the leader finds out that
it hears nobody, and its clients move. Kill two of three: the last one refuses clients, and loses nothing.

It ends with q, by SIGINT or SIGTERM, and where its input is a pipe at the end of that, so that it does not outlive
the program that has started it. What keys have done is told on stderr.

Exit codes: 0 ended as told, 1 it could not start or ended by a failure, 2 a setting is wrong.")]
pub(crate) struct DevArguments {
    /// How many members; one is a server by itself.
    #[arg(long, value_name = "N", default_value_t = 1)]
    peers: usize,
    /// Folder of the data, which stays; without one it is a temporary folder.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Set a key of zoo.cfg for all members: -DtickTime=2000.
    #[arg(short = 'D', value_name = "KEY=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
}

pub(crate) fn run(arguments: &DevArguments, volume: Volume) -> ExitCode {
    Logging::start(volume, Some(LevelFilter::Warn));
    let options = match EnsembleOptions::of_keys(&arguments.properties) {
        Ok(options) => options,
        Err(error) => {
            complain(error);
            return ExitCode::from(exit::USAGE);
        }
    };
    let folder = arguments.folder.clone().or(options.folder.clone());
    match dev(arguments.peers, EnsembleOptions { folder, ..options }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::from(exit::REFUSED)
        }
    }
}

enum DevEvent {
    Key(String),
    Quit,
}

fn dev(peers: usize, options: EnsembleOptions) -> Result<(), Error> {
    let failed = |what| move |source| Error::System { what, source };
    // Before the start, so that a signal meanwhile leaves no folder behind.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed("watch for signals"))?;
    let (events, arrived) = mpsc::channel();
    let of_signals = events.clone();
    let watch = move || {
        for _ in signals.forever() {
            let _ = of_signals.send(DevEvent::Quit);
        }
    };
    let begin = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(failed("start a thread"))
    };
    begin("zoarium-signals", Box::new(watch))?;
    let ensemble = Ensemble::start_with(peers, options)?;
    say!("{}", ensemble.connect_string());
    begin("zoarium-keys", Box::new(move || read_keys(&events)))?;
    let mut members = DevEnsemble { ensemble, away: vec![Away::No; peers] };
    while let Ok(DevEvent::Key(line)) = arrived.recv() {
        let told = members.carry_out(line.trim()).unwrap_or_else(|error| error.to_string());
        if !told.is_empty() {
            let _ = writeln!(std::io::stderr(), "{told}");
        }
    }
    members.ensemble.stop()
}

/// Hands on each line of the input, and the end of a pipe. Where there is no input, only signals end it.
fn read_keys(events: &Sender<DevEvent>) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let event = if line.trim() == "q" { DevEvent::Quit } else { DevEvent::Key(line) };
        if events.send(event).is_err() {
            return;
        }
    }
    if is_pipe() {
        let _ = events.send(DevEvent::Quit);
    } else {
        // Its sender must live on: without one, nothing could arrive any more.
        loop {
            std::thread::park();
        }
    }
}

fn is_pipe() -> bool {
    use std::os::unix::fs::FileTypeExt;
    let input = std::io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    input.and_then(|input| input.metadata()).is_ok_and(|found| found.file_type().is_fifo())
}

/// What was done to a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    No,
    Killed,
    Paused,
    Cut,
}

struct DevEnsemble {
    ensemble: Ensemble,
    away: Vec<Away>,
}

/// So long after a key the members have usually found themselves again.
const SETTLE: Duration = Duration::from_secs(10);

const KEYS: &str =
    "l list, k [N] kill, p [N] pause, c [N] cut, r [N] bring back, w N wipe, q quit; `zoarium dev --help`";

impl DevEnsemble {
    /// Does what a line says; what to tell of it.
    fn carry_out(&mut self, line: &str) -> Result<String, Error> {
        let (key, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        let member = match rest.trim() {
            "" => None,
            number => match number.parse::<u64>() {
                Ok(member) if (1..=self.away.len() as u64).contains(&member) => Some(member),
                _ => return Ok(format!("{number} is no member: there are 1 to {}", self.away.len())),
            },
        };
        match (key, member) {
            ("", _) => Ok(String::new()),
            ("l", _) => Ok(self.list()),
            ("w", Some(member)) => {
                self.ensemble.wipe(member)?;
                Ok(format!("member {member} has no data any more"))
            }
            ("r", Some(member)) => {
                self.bring_back(member)?;
                Ok(self.settled(&format!("member {member} is back")))
            }
            ("r", None) => {
                for member in 1..=self.away.len() as u64 {
                    self.bring_back(member)?;
                }
                Ok(self.settled("all are back"))
            }
            ("k" | "p" | "c", member) => {
                let Some(member) = member.or_else(|| self.ensemble.leader()) else {
                    return Ok("no member leads: say which, as in `k 1`".to_owned());
                };
                let (away, told) = match key {
                    "k" => (Away::Killed, "was killed"),
                    "p" => (Away::Paused, "stands still"),
                    _ => (Away::Cut, "is cut off"),
                };
                match away {
                    Away::Killed => self.ensemble.kill(member)?,
                    Away::Paused => self.ensemble.pause(member)?,
                    _ => self.ensemble.cut(member)?,
                }
                self.away[member as usize - 1] = away;
                Ok(self.settled(&format!("member {member} {told}")))
            }
            _ => Ok(KEYS.to_owned()),
        }
    }

    fn bring_back(&mut self, member: u64) -> Result<(), Error> {
        let away = &mut self.away[member as usize - 1];
        match away {
            Away::No => {}
            Away::Killed => self.ensemble.restart(member)?,
            // One that stands still may be cut off as well.
            Away::Paused | Away::Cut => self.ensemble.resume(member).and_then(|()| self.ensemble.heal(member))?,
        }
        *away = Away::No;
        Ok(())
    }

    /// What happened, and who leads once that has been found out.
    fn settled(&self, what: &str) -> String {
        match self.ensemble.wait_until_serving(SETTLE) {
            Ok(()) => self.ensemble.leader().map_or(what.to_owned(), |leader| format!("{what}; member {leader} leads")),
            Err(error) => format!("{what}; {error}"),
        }
    }

    fn list(&self) -> String {
        let line = |(at, away): (usize, &Away)| {
            let member = at as u64 + 1;
            let role = self.ensemble.member(member).map(|server| server.role());
            let does = match (away, role.map(|state| (state.role, state.leader))) {
                (Away::Killed, _) | (_, None) => "was killed".to_owned(),
                (Away::Paused, _) => "stands still".to_owned(),
                (_, Some((ServerRole::Following | ServerRole::Observing, Some(leader)))) => format!("follows {leader}"),
                (_, Some((ServerRole::Leading, _))) => "leads".to_owned(),
                (_, Some((ServerRole::Standalone, _))) => "is a server by itself".to_owned(),
                (_, Some((ServerRole::Looking, _))) => "looks for a leader".to_owned(),
                (_, Some((role, _))) => format!("{role:?}").to_lowercase(),
            };
            let cut = if *away == Away::Cut { ", cut off" } else { "" };
            format!("{member}  {}  {does}{cut}", self.ensemble.address(member).unwrap_or_default())
        };
        self.away.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    }
}
