//! `zoarium bench --soak`: writes at full speed without pause against a server of its own, held to what it promises.
//!
//! Values of three sizes over three numbers of znodes, each on a fresh folder: the znodes are made, then set, deleted and
//! created, and both mixed. At the end the server is killed, started again, and asked for what was acknowledged.

mod watch;
mod writes;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::load::Measurement;
use super::server::BenchServer;
use super::{BenchError, machine};
use crate::out::say;
use watch::{MonitorNumbers, SoakSeen, Until, Worst};
use writes::{SoakLoad, SoakShared, Writes};

/// Bytes of all values together: the states are not to fill the file by being large.
const VALUES_BYTES_MAX: usize = 256 << 20;
const CONNECTIONS: usize = 20;
/// Least share of the rate without snapshots that a load keeps on average.
const SHARE_MIN: f64 = 0.75;
const P999_MAX: Duration = Duration::from_millis(100);
/// A client with the shortest session timeout, 4 s, pings after a third of it and waits for another.
const PAUSE_MAX: Duration = Duration::from_millis(1333);
/// Time that a restart may take for each begun half million znodes.
const RESTART_MAX: Duration = Duration::from_secs(1);
const RESTART_PATIENCE: Duration = Duration::from_secs(120);
/// A rate without snapshots is believed when it was measured for so long.
const QUIET_MIN: Duration = Duration::from_secs(1);
/// Znodes compared after a restart.
const SAMPLE: usize = 5000;
/// So many windows of log may pass between two snapshots.
const WINDOWS: u64 = 2;

/// Values of one size over some znodes.
#[derive(Clone, Copy)]
struct SoakState {
    size: usize,
    znodes: usize,
}

const KIB: usize = 1024;
/// Each size and each number once, for short runs; with all the others for longer ones.
const FEW: usize = 3;
const STATES: [SoakState; 9] = [
    SoakState { size: KIB, znodes: 10_000 },
    SoakState { size: 100 * KIB, znodes: 100 },
    SoakState { size: 100, znodes: 1_000_000 },
    SoakState { size: 100, znodes: 100 },
    SoakState { size: 100, znodes: 10_000 },
    SoakState { size: KIB, znodes: 100 },
    SoakState { size: KIB, znodes: 1_000_000 },
    SoakState { size: 100 * KIB, znodes: 10_000 },
    SoakState { size: 100 * KIB, znodes: 1_000_000 },
];

impl SoakState {
    /// Znodes that carry a value.
    fn valued(self) -> usize {
        self.znodes.min(VALUES_BYTES_MAX / self.size)
    }

    /// Requests on their way on each connection: about two megabytes in all, or latency would measure the queue.
    fn outstanding(self) -> usize {
        (100 * KIB / self.size).clamp(1, 50)
    }

    fn name(self) -> String {
        let size = if self.size < KIB { format!("{} B", self.size) } else { format!("{} KiB", self.size / KIB) };
        let znodes = if self.valued() < self.znodes {
            format!("{} of {} znodes", self.valued(), self.znodes)
        } else {
            format!("{} znodes", self.znodes)
        };
        format!("{size} in {znodes}")
    }
}

/// A state's place in the matrix, counted from 1.
pub(crate) fn state_number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=STATES.len()).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {} is needed", STATES.len()))
}

/// Runs for so many minutes, prints, and tells whether all bounds were held. `timing`: rates and times count. `numbers`:
/// the states, or none for those that belong to so many minutes.
pub(crate) fn run(minutes: f64, timing: bool, numbers: &[usize]) -> Result<bool, BenchError> {
    if !(0.1..=1440.0).contains(&minutes) {
        return Err("--soak takes 0.1 to 1440 minutes".into());
    }
    say!("{}", machine::describe(Path::new(".")));
    say!("a server with default settings, killed and started again after each state; {CONNECTIONS} connections\n");
    let states: Vec<SoakState> = match numbers {
        [] if minutes < 3.0 => STATES[..FEW].to_vec(),
        [] => STATES.to_vec(),
        numbers => numbers.iter().map(|number| STATES[number - 1]).collect(),
    };
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut missed = Missed { timing, lines: Vec::new() };
    heading();
    for (rank, state) in states.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        soak(*state, left / (states.len() - rank) as u32, &mut missed)
            .unwrap_or_else(|error| missed.add(&format!("{}: {error}", state.name())));
    }
    say!();
    for line in &missed.lines {
        say!("MISSED {line}");
    }
    say!("{}", if missed.lines.is_empty() { "all bounds held" } else { "not all bounds held" });
    Ok(missed.lines.is_empty())
}

/// The bounds that were broken.
struct Missed {
    timing: bool,
    lines: Vec<String>,
}

impl Missed {
    fn add(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    fn unless(&mut self, held: bool, line: impl FnOnce() -> String) {
        if !held {
            self.lines.push(line());
        }
    }

    /// As `unless`, where the machine has a say.
    fn unless_busy(&mut self, held: bool, line: impl FnOnce() -> String) {
        self.unless(held || !self.timing, line);
    }
}

/// All loads on one state, in `time`.
fn soak(state: SoakState, time: Duration, missed: &mut Missed) -> Result<(), BenchError> {
    say!("{}", state.name());
    let begun = Instant::now();
    let folder = std::env::current_dir()?.join(format!(".soak-{}", std::process::id()));
    // `mntr` is not among the words that a server answers by default.
    let mut server = BenchServer::spawn(&folder, &["-D4lw.commands.whitelist=mntr,srvr"])?;
    server.await_first_reply(RESTART_PATIENCE)?;
    let shared = Arc::new(SoakShared::default());
    let shape = (CONNECTIONS, state.outstanding());
    let mut writes =
        Writes::open(server.address(), shape, (state.znodes, state.valued(), state.size), Arc::clone(&shared))?;
    let mut soak = Soak { state, server: &mut server, writes: &mut writes, shared, missed };
    let result = soak.loads(begun, time).and_then(|()| soak.restart());
    for error in server.errors().iter().take(3) {
        say!("  {error}");
    }
    result
}

struct Soak<'a> {
    state: SoakState,
    server: &'a mut BenchServer,
    writes: &'a mut Writes,
    shared: Arc<SoakShared>,
    missed: &'a mut Missed,
}

/// What one load brought.
struct SoakRow {
    load: SoakLoad,
    reading: Measurement,
    quiet: Option<f64>,
    longest_read: Duration,
    seen: SoakSeen,
    snapshots: u64,
    refused: u64,
}

impl Soak<'_> {
    fn loads(&mut self, begun: Instant, time: Duration) -> Result<(), BenchError> {
        let (row, _) = self.load(SoakLoad::Fill, Until::Done)?;
        self.report(&row);
        let filled = MonitorNumbers::ask(self.server.address())?;
        // An eighth is for the end.
        let mut left = (time * 7 / 8).saturating_sub(begun.elapsed());
        for (rank, load) in [SoakLoad::Sets, SoakLoad::Churn, SoakLoad::Mix].into_iter().enumerate() {
            let each = (left / (3 - rank as u32)).max(Duration::from_secs(2));
            let started = Instant::now();
            let (mut row, quiet) = self.load(load, Until::Time(started + each * 3 / 4))?;
            row.quiet = self.rate_without_snapshots(load, quiet, started + each)?;
            self.report(&row);
            left = left.saturating_sub(started.elapsed());
        }
        self.snapshots_are_taken(&filled)
    }

    /// Runs one load with everything beside it.
    fn load(&mut self, load: SoakLoad, until: Until) -> Result<(SoakRow, (u64, Duration)), BenchError> {
        let (address, pid) = (self.server.address().to_owned(), self.server.pid());
        let before = MonitorNumbers::ask(&address)?;
        let refused = self.shared.refused.load(Ordering::Relaxed);
        self.shared.stop.store(false, Ordering::Relaxed);
        let (over, shared, writes) = (AtomicBool::new(false), &self.shared, &mut *self.writes);
        let (reading, seen, reads) = std::thread::scope(|scope| {
            let seen = scope.spawn(|| watch::watch(&address, pid, shared, until, &over).map_err(|e| e.to_string()));
            let reads = scope.spawn(|| watch::read_beside(&address, &over).map_err(|e| e.to_string()));
            let reading = writes.run(load);
            over.store(true, Ordering::Relaxed);
            (reading, seen.join(), reads.join())
        });
        let (seen, reads) = (seen.map_err(|_| "a thread panicked")??, reads.map_err(|_| "a thread panicked")??);
        let refused = self.shared.refused.load(Ordering::Relaxed) - refused;
        let snapshots =
            MonitorNumbers::ask(&address)?.of("zoarium_snapshots_taken") - before.of("zoarium_snapshots_taken");
        let quiet = seen.quiet;
        let longest_read = Duration::from_nanos(reads.max());
        Ok((SoakRow { load, reading: reading?, quiet: None, longest_read, seen, snapshots, refused }, quiet))
    }

    /// The rate of `load` while no snapshot runs. Where `quiet` is too short, runs it again between snapshots until `end`.
    fn rate_without_snapshots(
        &mut self,
        load: SoakLoad,
        mut quiet: (u64, Duration),
        end: Instant,
    ) -> Result<Option<f64>, BenchError> {
        let address = self.server.address().to_owned();
        while quiet.1 < QUIET_MIN && Instant::now() < end {
            if !watch::await_quiet(&address, end)? {
                break;
            }
            let (row, _) = self.load(load, Until::Snapshot(Instant::now() + QUIET_MIN))?;
            quiet.0 += row.reading.count;
            quiet.1 += row.reading.elapsed;
        }
        Ok((quiet.1 >= QUIET_MIN / 4).then(|| quiet.0 as f64 / quiet.1.as_secs_f64()))
    }

    fn snapshots_are_taken(&mut self, filled: &MonitorNumbers) -> Result<(), BenchError> {
        let now = MonitorNumbers::ask(self.server.address())?;
        let (log, window) = (now.of("zoarium_log_bytes") - filled.of("zoarium_log_bytes"), now.window());
        let (published, least) =
            (now.of("zoarium_snapshots_taken") - filled.of("zoarium_snapshots_taken"), log / (WINDOWS * window));
        say!(
            "  snapshots published: {published}, at least {least} for {} of log; given up: {}",
            size(log),
            now.of("snapshot_error_count")
        );
        let name = self.state.name();
        self.missed.unless(published >= least, || format!("{name}: {published} snapshots published, {least} are due"));
        Ok(())
    }

    /// Kills the server, starts it, and compares.
    fn restart(&mut self) -> Result<(), BenchError> {
        let before = MonitorNumbers::ask(self.server.address())?;
        self.server.kill_and_restart()?;
        let took = self.server.await_first_reply(RESTART_PATIENCE).map_err(|error| {
            let ended =
                if self.server.has_ended() { "the server ended by itself" } else { "the server does not serve" };
            format!("after the restart {ended}: {error}")
        })?;
        let cpu = machine::cpu(self.server.pid());
        let bound = RESTART_MAX * self.state.znodes.div_ceil(500_000) as u32;
        let after = MonitorNumbers::ask(self.server.address())?;
        let name = self.state.name();
        self.missed.unless_busy(took <= bound, || format!("{name}: the restart took {took:.2?}, bound {bound:?}"));
        for key in ["znode_count", "approximate_data_size"] {
            let (was, is) = (before.of(key), after.of(key));
            self.missed.unless(was == is, || format!("{name}: {key} was {was} and is {is} after the restart"));
        }
        let mut text = format!(
            "  killed, serves again after {:.2} s ({:.2} s of processor time), bound {} s",
            took.as_secs_f64(),
            cpu.as_secs_f64(),
            bound.as_secs()
        );
        if self.shared.refused.load(Ordering::Relaxed) == 0 {
            let mut client = writes::honest(self.server.address())?;
            let (equal, other) = self.writes.verify(&mut client, SAMPLE)?;
            text += &format!("; {} znodes, {equal} compared", after.of("znode_count"));
            if let Some(other) = other {
                self.missed.add(&format!("{name}: after the restart {other}"));
            }
        }
        let mut inspect = Command::new(std::env::current_exe()?);
        let inspected = inspect.arg("inspect").arg(self.server.folder()).arg("--brief").output()?;
        let verdict = String::from_utf8_lossy(&inspected.stdout);
        let verdict = verdict.lines().last().unwrap_or("no verdict").to_owned();
        say!("{text}; {verdict}");
        self.missed.unless(inspected.status.success(), || format!("{name}: {verdict}"));
        Ok(())
    }

    fn report(&mut self, row: &SoakRow) {
        let rate = row.reading.per_second();
        let share = row.quiet.map(|quiet| rate / quiet);
        let p999 = Duration::from_nanos(row.reading.latency.value_at_quantile(0.999));
        say!(
            "  {:<18}{rate:>9.0}{:>11}{:>7}{:>9}{:>10}{:>25}{:>25}{:>11}{:>9}",
            row.load.name(),
            row.quiet.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
            share.map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0)),
            ms(p999),
            ms(row.longest_read),
            pair(row.seen.file),
            pair(row.seen.memory),
            row.snapshots,
            row.refused,
        );
        let name = format!("{}, {}", self.state.name(), row.load.name());
        let SoakSeen { file, memory, .. } = row.seen;
        let missed = &mut *self.missed;
        missed.unless(file.held(), || format!("{name}: the file has {}", pair(file)));
        missed.unless(memory.held(), || format!("{name}: resident memory is {}", pair(memory)));
        let code = self.writes.last_refusal();
        missed.unless(row.refused == 0, || format!("{name}: {} requests refused, the last with {code}", row.refused));
        if row.load == SoakLoad::Fill {
            return;
        }
        missed.unless_busy(share.is_none_or(|share| share >= SHARE_MIN), || {
            format!("{name}: {:.0} % of the rate without snapshots", share.unwrap_or(0.0) * 100.0)
        });
        missed.unless_busy(p999 <= P999_MAX, || format!("{name}: p99.9 is {}", ms(p999)));
        missed.unless_busy(row.longest_read <= PAUSE_MAX, || format!("{name}: a read took {}", ms(row.longest_read)));
    }
}

fn heading() {
    say!(
        "  {:<18}{:>9}{:>11}{:>7}{:>9}{:>10}{:>25}{:>25}{:>11}{:>9}",
        "",
        "per s",
        "no snapsh.",
        "share",
        "p99.9",
        "longest",
        "file of its bound",
        "resident of bound",
        "snapshots",
        "refused"
    );
    say!(
        "  {:<18}{:>9}{:>11}{:>7}{:>9}{:>10}{:>25}{:>25}{:>11}{:>9}",
        "bounds",
        "",
        "",
        format!("{:.0}%", SHARE_MIN * 100.0),
        ms(P999_MAX),
        ms(PAUSE_MAX),
        "",
        "",
        "",
        0
    );
}

fn pair(worst: Worst) -> String {
    format!("{} of {}", size(worst.value), size(worst.bound))
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_soaks_have_each_size_and_each_number_of_znodes() {
        for of in [|state: &SoakState| state.size, |state: &SoakState| state.znodes] {
            let mut few: Vec<_> = STATES[..FEW].iter().map(of).collect();
            let mut all: Vec<_> = STATES.iter().map(of).collect();
            few.sort_unstable();
            all.sort_unstable();
            all.dedup();
            assert_eq!(few, all);
        }
    }
}
