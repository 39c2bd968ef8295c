//! `zoarium serve`: the server, until a signal ends it.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use zoarium::config::{Config, ConfigError, Loaded};
use zoarium::server::{Reload, Server};

use crate::exit;
use crate::logging::{Logging, Volume};
use crate::options::{ConfigOptions, ConfigTrouble};
use crate::paint::complain;

/// Serve ZooKeeper clients until SIGTERM or SIGINT.
#[derive(Args)]
#[command(after_help = "\
Examples:
  zoarium serve                        standalone: ./zoarium-data/zoarium.db, 127.0.0.1, port 2181
  zoarium serve /etc/zookeeper/conf/zoo.cfg
                                       what a ZooKeeper server would do with that file
  zoarium serve 2181 /var/lib/zookeeper
                                       ZooKeeper's other form: port and folder, on every address
  zoarium serve zoo.cfg -Dzookeeper.4lw.commands.whitelist=* --port 2182
                                       a file with two settings on top
  ZOARIUM_TICKTIME=500 zoarium serve   a setting from the environment
  ZOARIUM_LOG=warn,zoarium::peer=debug zoarium serve
                                       the log level, room by room

`zoarium check` explains a configuration without starting anything.

Signals: SIGTERM and SIGINT stop cleanly, sessions live on in the file; a second one ends at once. The
process ends within two seconds; where the disk hangs for longer, with code 1 and without a clean end of
the file, which loses nothing that was acknowledged.
SIGHUP reads the configuration again and takes zoarium.logLevel and 4lw.commands.whitelist from it;
anything else needs a restart, and the log says so.

Exit codes: 0 stopped cleanly, 1 the server could not start or failed, 2 the configuration is wrong.")]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    config: ConfigOptions,
}

pub(crate) fn run(arguments: ServeArguments, volume: Volume) -> ExitCode {
    let loaded = match arguments.config.load() {
        Ok(loaded) => loaded,
        Err(trouble) => {
            complain(&trouble);
            return ExitCode::from(match trouble {
                ConfigTrouble::Config(ConfigError::Refused { .. }) => exit::REFUSED,
                _ => exit::USAGE,
            });
        }
    };
    let logging = Logging::start(volume, loaded.config.log_level);
    log_notes(&loaded);
    match serve(arguments.config, loaded.config, logging, volume) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::from(exit::REFUSED)
        }
    }
}

fn serve(
    options: ConfigOptions,
    config: Config,
    logging: Logging,
    volume: Volume,
) -> Result<(), Box<dyn std::error::Error>> {
    // A log that is written to a file may reach its limit too (`ulimit -f`): then lines are lost, not the server.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    // Before the start, so that a signal during recovery is not lost.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = signals.handle();
    let started = Arc::new(OnceLock::new());
    let mut watcher =
        SignalWatcher { server: Arc::clone(&started), options, config: config.clone(), logging, stopping_since: None };
    let thread = std::thread::Builder::new().name("zoarium-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            watcher.handle(signal);
        }
    })?;
    let server = Arc::new(Server::start(config.clone())?);
    let _ = started.set(Arc::clone(&server));
    if !volume.is_quiet() {
        // A closed stdout is no reason not to serve.
        if !server.is_serving() {
            let _ = writeln!(std::io::stdout(), "{}", greeting(server.addresses(), &config, false));
        }
        while !server.wait_until_serving(Duration::from_secs(3600)) && !server.wait_for(Duration::ZERO) {}
        if !server.wait_for(Duration::ZERO) {
            let _ = writeln!(std::io::stdout(), "{}", greeting(server.addresses(), &config, true));
        }
    }
    server.wait();
    handle.close();
    let _ = thread.join();
    drop(started);
    // The watcher's share went with its thread, so this one is the last.
    match Arc::try_unwrap(server) {
        Ok(server) => Ok(server.stop()?),
        Err(_) => Ok(()),
    }
}

/// Launchers such as `timeout` signal a process and its group: what comes this soon is the same wish again.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// The process ends this long after the signal at the latest.
const STOP_LIMIT: Duration = Duration::from_millis(1900);

/// What signals act upon; lives on the thread `zoarium-signals`.
struct SignalWatcher {
    /// Once it has started.
    server: Arc<OnceLock<Arc<Server>>>,
    options: ConfigOptions,
    /// As last read.
    config: Config,
    logging: Logging,
    stopping_since: Option<Instant>,
}

impl SignalWatcher {
    fn handle(&mut self, signal: i32) {
        match signal {
            SIGHUP => self.reload(),
            _ if self.stopping_since.is_some_and(|since| since.elapsed() >= SAME_SIGNAL) => {
                log::warn!("second signal: ending at once");
                std::process::exit(i32::from(exit::REFUSED));
            }
            _ if self.stopping_since.is_some() => {}
            signal => {
                log::info!("stopping on {}", if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
                self.stopping_since = Some(Instant::now());
                self.stop();
            }
        }
    }

    /// Has the server stop, and ends the process in two seconds all the same: a disk that hangs holds nobody up.
    fn stop(&self) {
        let Some(server) = self.server.get() else {
            // Recovery reads; what it writes at its end bears a cut at any point.
            log::info!("stopped while starting; nothing was served");
            std::process::exit(0);
        };
        server.request_stop();
        let late = std::thread::Builder::new().name("zoarium-late".to_owned()).spawn(|| {
            std::thread::sleep(STOP_LIMIT);
            log::error!(
                "the disk has not finished a write within {} ms: ending without it; what was acknowledged is on disk",
                STOP_LIMIT.as_millis()
            );
            std::process::exit(i32::from(exit::REFUSED));
        });
        if let Err(error) = late {
            log::warn!("stopping takes as long as the disk does: {error}");
        }
    }

    fn reload(&mut self) {
        let loaded = match self.options.load() {
            Ok(loaded) => loaded,
            Err(trouble) => {
                log::error!("SIGHUP: the configuration stays as it was: {trouble}");
                return;
            }
        };
        log_notes(&loaded);
        let config = loaded.config;
        self.logging.apply(config.log_level);
        if let Some(server) = self.server.get() {
            server.reload(Reload { whitelist: config.whitelist.clone() });
        }
        self.config.log_level = config.log_level;
        self.config.whitelist = config.whitelist.clone();
        // The members may have changed while it runs, and the files with them.
        if config.reconfig_enabled {
            self.config.ensemble = config.ensemble.clone();
            (self.config.client_port, self.config.client_hosts) = (config.client_port, config.client_hosts.clone());
        }
        if self.config != config {
            log::warn!("SIGHUP: log level and whitelist are taken over; other settings changed and need a restart");
        } else {
            log::info!("SIGHUP: log level and whitelist are taken over");
        }
    }
}

fn log_notes(loaded: &Loaded) {
    for note in &loaded.notes {
        if note.is_warning() {
            log::warn!("configuration: {note}");
        } else {
            log::info!("configuration: {note}");
        }
    }
}

/// The line that says how to connect, once clients are served and before.
fn greeting(addresses: &[SocketAddr], config: &Config, serves: bool) -> String {
    let file = config.file();
    let Some(first) = addresses.first() else { return format!("Zoarium runs on {}", file.display()) };
    let place = if addresses.iter().any(|address| address.ip().is_unspecified()) {
        format!("every address, port {}", first.port())
    } else {
        let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let only_here = addresses.iter().all(|address| address.ip().is_loopback());
        format!("{}{}", list.join(" and "), if only_here { " (this machine only)" } else { "" })
    };
    let (does, until) = match serves {
        true => ("serves", ""),
        false => ("listens", ", and looks for a leader; clients are refused until there is one"),
    };
    format!(
        "Zoarium {does} on {place}, data in {}{until}; connect with: zkCli.sh -server {}",
        file.display(),
        reachable(*first)
    )
}

/// An address that a client on this machine can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut reachable = address;
    match address {
        // A socket for every IPv6 address takes IPv4 too.
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => reachable.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if *v6.ip() == Ipv6Addr::UNSPECIFIED => reachable.set_ip(Ipv4Addr::LOCALHOST.into()),
        _ => {}
    }
    reachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_names_an_address_that_works() {
        let config = Config::default();
        let check = |addresses: &[&str], expected: &[&str]| {
            let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            for (serves, does) in [(true, "Zoarium serves on "), (false, "Zoarium listens on ")] {
                let text = greeting(&addresses, &config, serves);
                assert!(expected.iter().all(|part| text.contains(part)) && text.starts_with(does), "{text}");
                assert_eq!((text.lines().count(), text.contains("looks for a leader")), (1, !serves));
            }
        };
        check(&["127.0.0.1:2181"], &["127.0.0.1:2181 (this machine only)", "-server 127.0.0.1:2181", "zoarium.db"]);
        check(&["[::]:2181"], &["every address, port 2181", "-server 127.0.0.1:2181"]);
        check(&["10.0.0.1:2181", "[::1]:2181"], &["10.0.0.1:2181 and [::1]:2181", "-server 10.0.0.1:2181"]);
    }
}
