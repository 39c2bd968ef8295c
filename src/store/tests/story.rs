//! Stories of one file. Each line says what is done to it; below it, indented, stands what was answered, and every figure of the
//! store that is not what it was before: who owns which extent, how much room there is and for whom, what is due, what it
//! did. So what is released and what is kept, what waits and what goes on is read in one place, and nothing changes unseen.
//!
//! `UPDATE=1 cargo test --lib store::tests::story` writes them anew: whoever changes a rule reads what that changes.
//! In the map `L` is log, `.` free, `A` and `B` a snapshot, `r` retired, `M` the rest of the map, `x` bad.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::Model;
use super::sim_disk::{Rng, SimDisk, Trap};
use super::world::tiny;
use crate::ids::{Millis, Zxid};
use crate::store::access::ReadAt;
use crate::store::superblock::ExtentState;
use crate::store::{
    Disk, InspectLine, LogCursor, LogWrite, MemberState, Record, Space, Store, StoreError, StoreOptions, StoreStats,
    SyncMode, inspect_bytes,
};

/// Columns of a line of figures.
const WIDTH: usize = 120;

/// Tells one story.
struct Teller {
    disk: Arc<SimDisk>,
    options: StoreOptions,
    store: Option<Store>,
    now: u64,
    readers: BTreeMap<String, LogCursor>,
    write: Option<LogWrite>,
    figures: BTreeMap<&'static str, String>,
    inspected: BTreeSet<String>,
}

fn told<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("refused: {error:?}"),
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("a number: {word}"))
}

fn zxid(word: &str) -> Zxid {
    Zxid(number(word) as i64)
}

/// With the number of those of which there are many in a row.
fn shortened(letters: impl Iterator<Item = char>) -> String {
    let letters: Vec<char> = letters.collect();
    let runs = letters.chunk_by(|a, b| a == b);
    let told = |run: &[char]| match run.len() {
        0..40 => run.iter().collect(),
        many => format!("{}({many})", run[0]),
    };
    runs.map(told).collect()
}

impl Teller {
    fn new() -> Teller {
        Teller {
            disk: Arc::new(SimDisk::new(1)),
            options: tiny(),
            store: None,
            now: 0,
            readers: BTreeMap::new(),
            write: None,
            figures: BTreeMap::new(),
            inspected: BTreeSet::new(),
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("the file is open")
    }

    fn set(&mut self, option: &str) {
        let (name, value) = option.split_once('=').unwrap_or_else(|| panic!("an option: {option}"));
        let options = &mut self.options;
        match name {
            "extent_size" => options.extent_size = number(value),
            "initial_size" => options.initial_size = number(value),
            "max_size" => options.max_size = number(value),
            "extents" => options.max_size = (128 << 10) + number(value) * options.extent_size,
            "log_window" => options.log_window = number(value),
            "follower_window" => options.follower_window = number(value),
            "keep_snapshots" => options.keep_snapshots = number(value) as u32,
            "snapshot_rate" => options.snapshot_rate = number(value),
            "mark_after_ms" => options.mark_after_ms = number(value),
            "max_record" => options.max_record = number(value),
            "server_id" => options.server_id = Some(number(value)),
            "sync" => options.sync = if value == "never" { SyncMode::Never } else { SyncMode::Always },
            _ => panic!("no option: {name}"),
        }
    }

    fn open(&mut self) -> String {
        let disk: Arc<dyn Disk> = Arc::clone(&self.disk) as _;
        match Store::open_on(disk, &self.options, &mut Model::default()) {
            Ok((store, report)) => {
                self.store = Some(store);
                format!("{report:?}")
            }
            Err(error) => format!("refused: {error:?}"),
        }
    }

    /// Everything that the store says of itself, by name.
    fn look(&self) -> BTreeMap<&'static str, String> {
        let Some(store) = &self.store else { return BTreeMap::new() };
        let (sb, log, budget) = (store.sb(), &store.log, store.budget());
        let letter = |state: ExtentState| match state {
            ExtentState::Free => '.',
            ExtentState::Log => 'L',
            ExtentState::SnapA => 'A',
            ExtentState::SnapB => 'B',
            ExtentState::Retired => 'r',
            ExtentState::Map => 'M',
            ExtentState::Bad => 'x',
        };
        let zxids = |extent: &crate::store::chain::LogExtent| {
            format!("{}:{}-{}", extent.lseq, extent.base_zxid.0, extent.last_zxid.0)
        };
        let kept = |slot: usize| sb.snapshots[slot].map(|k| (k.id, k.zxid.0, k.bytes, k.entries, k.chunks));
        let StoreStats {
            frames,
            records,
            log_bytes,
            fsync_count,
            fsync_total_us,
            fsync_max_us,
            superblock_updates,
            waited_for_extent,
            snapshots,
            snapshots_failed,
            snapshot_zxid,
            snapshot_bytes,
            snapshot_log_after,
            snapshots_leaving,
            log_since_snapshot,
            log_window,
            file_bytes,
            file_bound,
            file_max,
            writer: _,
            durable,
            direct: _,
            incarnation,
            poisoned,
        } = store.stats();
        let Space { extent_size, free, growable, disk_full, reserve, most, level } = store.space();
        let left = budget.left();
        BTreeMap::from([
            ("map", shortened(sb.map.iter().map(|extent| letter(extent.state)))),
            ("kept", format!("{:?} {:?}", kept(0), kept(1))),
            ("generation", sb.generation.to_string()),
            ("first_len", sb.first_len.to_string()),
            ("end", format!("{}@{}", sb.end_zxid.0, sb.end_fseq)),
            ("epochs", format!("{:?}", store.epochs())),
            ("zxid", store.last_zxid().0.to_string()),
            ("log", format!("{}-{}", sb.log_base_lseq, sb.log_head_lseq)),
            ("at", format!("{}+{}", log.lseq, log.at - sb.extent_at(log.index))),
            ("known", log.extents.iter().map(zxids).collect::<Vec<_>>().join(",")),
            ("earlier", format!("{:?}", log.earlier)),
            ("truncs", format!("{:?}", log.truncs)),
            ("records_to", format!("{} marked {}", log.last_txns_fseq, log.marked_fseq)),
            ("frames", frames.to_string()),
            ("records", records.to_string()),
            ("log_bytes", log_bytes.to_string()),
            ("syncs", format!("{fsync_count} in {fsync_total_us} most {fsync_max_us}")),
            ("updates", superblock_updates.to_string()),
            ("waited", waited_for_extent.to_string()),
            ("snapshots", format!("{snapshots} failed {snapshots_failed}")),
            ("newest", format!("{}, {snapshot_bytes} bytes", snapshot_zxid.0)),
            ("left_to_log", format!("{snapshots_leaving} after {}", snapshot_log_after.0)),
            ("since", format!("{log_since_snapshot} of {log_window}")),
            ("file", format!("{file_bytes} bound {file_bound} max {file_max}")),
            ("durable", durable.to_string()),
            ("incarnation", incarnation.to_string()),
            ("poisoned", format!("{poisoned:?}")),
            ("extent_size", extent_size.to_string()),
            ("free", free.to_string()),
            ("growable", format!("{growable} of {most}")),
            ("disk_full", disk_full.to_string()),
            ("reserve", reserve.to_string()),
            ("level", format!("{level:?}")),
            ("left", format!("{} now {}", left.in_all, left.present)),
            ("snapshot", format!("wanted {}, makes room {}", store.wants_snapshot(), budget.snapshot_makes_room())),
            ("running", format!("{} backlog {}", store.snapshot_running(), store.snapshot_backlog())),
            ("due", format!("{:?}", store.poll_timeout(Millis(self.now)))),
            ("writing", format!("{} {}", store.is_writing(), store.is_rearranging())),
            ("readers", format!("{:?} most {}", store.pins.first(), store.demand.readers_most)),
            ("linked", store.has_room_linked(&[700, 700]).to_string()),
            ("jitter", store.demand.jitter.to_string()),
            ("disk", self.disk_figures()),
        ])
    }

    fn disk_figures(&self) -> String {
        let (calls, unsynced) = (self.disk.calls(), self.disk.unsynced());
        format!("{} bytes, {calls} calls, {unsynced} sectors not synced", self.disk.len().unwrap())
    }

    fn append(&mut self, range: &str, size: &str, together: bool) -> String {
        let (from, to) = range.split_once("..").expect("from..to");
        let txns: Vec<(i64, Vec<u8>)> =
            (number(from)..=number(to)).map(|zxid| (zxid as i64, vec![zxid as u8; number(size) as usize])).collect();
        let records: Vec<Record<'_>> = txns.iter().map(|(zxid, txn)| Record { zxid: Zxid(*zxid), txn }).collect();
        let pieces = records.chunks(if together { records.len() } else { 1 });
        let store = self.store.as_mut().expect("the file is open");
        for piece in pieces {
            if let Err(error) = store.append(piece) {
                return format!("at {}: refused: {error:?}", piece[0].zxid.0);
            }
        }
        String::new()
    }

    /// So many turns, each so many milliseconds later.
    fn turns(&mut self, count: u64, ms: u64) -> String {
        let mut ends = Vec::new();
        for turn in 1..=count {
            self.now += ms;
            let now = Millis(self.now);
            match self.store().tick(now) {
                Ok(None) => {}
                ended => ends.push(format!("turn {turn}: {}", told(ended.map(Option::unwrap)))),
            }
        }
        ends.join("\n")
    }

    /// Carries out what the store has to write where it was told to leave that.
    fn upkeep(&mut self) -> String {
        match self.store().upkeep_begin() {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(write)) => {
                let what = format!("{write:?}");
                let ended = self.store().append_end(write.carry_out());
                format!("{what} {}", told(ended))
            }
            Err(error) => format!("refused: {error:?}"),
        }
    }

    fn do_it(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let disk = Arc::clone(&self.disk);
        match words[..] {
            ["new", "file", ref options @ ..] => {
                *self = Teller::new();
                options.iter().for_each(|option| self.set(option));
                self.open()
            }
            ["open", ref options @ ..] => {
                self.store = None;
                options.iter().for_each(|option| self.set(option));
                self.open()
            }
            ["stop"] => told(self.store.take().expect("the file is open").close()),
            ["power", seed] => {
                self.store = None;
                self.disk = Arc::new(disk.after_power_cut(&mut Rng(number(seed))));
                String::new()
            }
            ["append", range, "of", size] => self.append(range, size, false),
            ["append", range, "of", size, "together"] => self.append(range, size, true),
            ["turn", ms] => self.turns(1, number(ms)),
            ["turns", count, "of", ms] => self.turns(number(count), number(ms)),
            ["apart"] => {
                self.store().set_writes_apart();
                String::new()
            }
            ["upkeep"] => self.upkeep(),
            ["upkeep", "begins"] => match self.store().upkeep_begin() {
                Ok(write) => {
                    self.write = write;
                    format!("{:?}", self.write)
                }
                Err(error) => format!("refused: {error:?}"),
            },
            ["upkeep", "ends"] => {
                let write = self.write.take().expect("a write was begun");
                told(self.store().append_end(write.carry_out()))
            }
            ["snapshot", estimate] => {
                let last = self.store().last_zxid();
                told(self.store().snapshot_begin(last, number(estimate)))
            }
            ["install", at, estimate] => {
                let state = MemberState { accepted_epoch: 9, current_epoch: 9, ..self.store().member_state().clone() };
                told(self.store().install_begin(zxid(at), number(estimate), &state))
            }
            ["push", count, "of", size] => {
                let entry = vec![7; number(size) as usize];
                let refused = (0..number(count)).find_map(|i| Some((i, self.store().snapshot_push(&entry).err()?)));
                refused.map_or(String::new(), |(i, error)| format!("at {i}: refused: {error:?}"))
            }
            ["finish"] => told(self.store().snapshot_finish()),
            ["wait"] => told(self.store().snapshot_wait()),
            ["await", "room"] => told(self.store().snapshot_await_room()),
            ["abort"] => {
                self.store().snapshot_abort();
                String::new()
            }
            ["state", bytes] => {
                self.store().set_state_size(number(bytes));
                String::new()
            }
            ["budget", waiting] => {
                let (load, grows) = self.store().budget().load(number(waiting));
                let budget = self.store().log_budget(number(waiting));
                let mut told = format!("{load:?}").replace("LogLoad ", "");
                write!(told, "\ngrows {grows}, {budget} bytes").unwrap();
                told.replace(&u64::MAX.to_string(), "all")
            }
            ["reserve", count, "of", size] => {
                told(self.store().reserve(&vec![number(size) as usize; number(count) as usize]))
            }
            ["epochs", accepted, current] => told(self.store().set_epochs(number(accepted), number(current))),
            ["cut", to] => told(self.store().truncate(zxid(to))),
            ["reload"] => {
                let mut state = Model::default();
                let from = self.store().reload(&mut state);
                format!("{}, then {:?}", told(from), state.seen)
            }
            ["reader", name, "after", after] => match self.store().read_open(zxid(after)) {
                Ok(Some(cursor)) => {
                    let answer = format!("before {} in {}", cursor.before().0, cursor.lseq());
                    self.readers.insert(name.to_owned(), cursor);
                    answer
                }
                other => told(other),
            },
            ["reader", name, "reads", bytes] => {
                let cursor = self.readers.get_mut(name).expect("the reader");
                let found = self.store.as_mut().expect("the file is open").read(cursor, number(bytes) as usize);
                let zxids = |found: Vec<(Zxid, Arc<[u8]>)>| found.iter().map(|(zxid, _)| zxid.0).collect::<Vec<_>>();
                format!("{}, in {}", told(found.map(zxids)), cursor.lseq())
            }
            ["reader", name, "ends"] => {
                let cursor = self.readers.remove(name).expect("the reader");
                self.store().read_close(cursor);
                String::new()
            }
            ["disk", "has", "no", "more"] => {
                disk.set_room(disk.len().unwrap());
                String::new()
            }
            ["disk", "has", bytes, "more"] => {
                disk.set_room(disk.len().unwrap() + number(bytes));
                String::new()
            }
            ["disk", "fails", "at", call] => {
                disk.set_trap(number(call), Trap::Error(ErrorKind::Other));
                String::new()
            }
            ["disk", "is", "full", "at", call] => {
                disk.set_trap(number(call), Trap::Error(ErrorKind::StorageFull));
                String::new()
            }
            ["disk", "writes", bytes] => {
                disk.set_speed(number(bytes));
                String::new()
            }
            ["disk", "heals"] => {
                disk.heal();
                String::new()
            }
            ["disk", "passes", us] => {
                disk.pass_us(number(us));
                String::new()
            }
            ["extent", index, "cannot", "be", "read"] => {
                let sb = self.store().sb().clone();
                let index = number(index) as u32;
                disk.fail_reads(sb.extent_at(index), sb.extent_end(index));
                String::new()
            }
            ["inspect"] => self.inspect(false),
            ["inspect", "in", "use"] => self.inspect(true),
            ["byte", at, "rots"] => self.change(|image| image[number(at) as usize] ^= 1),
            ["file", "is", bytes, "shorter"] => {
                self.change(|image| image.truncate(image.len() - number(bytes) as usize))
            }
            ["file", "is", bytes, "longer"] => {
                self.change(|image| image.resize(image.len() + number(bytes) as usize, 7))
            }
            _ => panic!("nobody knows what that is: {line}"),
        }
    }

    /// What inspect says of the file and did not say when it was last asked, and its verdict.
    fn inspect(&mut self, in_use: bool) -> String {
        let mut lines = Vec::new();
        let verdict = inspect_bytes(&*self.disk, in_use, &mut |line| {
            lines.push(match line {
                InspectLine::Record { zxid, txn } => format!("Record {} of {} bytes", zxid.0, txn.len()),
                line => format!("{line:?}").replace(" { ", " ").replace(" }", ""),
            });
        });
        let before = std::mem::replace(&mut self.inspected, lines.iter().cloned().collect());
        lines.retain(|line| !before.contains(line));
        let gone = before.difference(&self.inspected).count();
        lines.push(format!("{} lines in all, {gone} gone: {}", self.inspected.len(), told(verdict)));
        lines.join("\n")
    }

    /// The file with something else in it, while nobody has it open.
    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) -> String {
        self.store = None;
        let mut image = self.disk.image();
        change(&mut image);
        self.disk = Arc::new(SimDisk::of_image(image, 1));
        String::new()
    }

    /// One line, and what it did.
    fn tell(&mut self, line: &str) -> String {
        let mut out = format!("{line}\n");
        for answer in self.do_it(line).lines().filter(|answer| *answer != "()") {
            writeln!(out, "    {answer}").unwrap();
        }
        let now = self.look();
        let mut row = String::new();
        for (name, figure) in now.iter().filter(|(name, figure)| self.figures.get(*name) != Some(*figure)) {
            let figure = format!("{name} {figure}; ");
            if !row.is_empty() && row.len() + figure.len() > WIDTH {
                writeln!(out, "    {}", row.trim_end()).unwrap();
                row.clear();
            }
            row.push_str(&figure);
        }
        if !row.is_empty() {
            writeln!(out, "    {}", row.trim_end()).unwrap();
        }
        self.figures = now;
        out
    }
}

/// Tells the story of this name anew, and compares.
fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/tests/stories/{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut teller = Teller::new();
    let is_said = |line: &&str| !line.starts_with("    ");
    let lines = text.lines().filter(is_said);
    let told: String = lines
        .map(|line| if line.is_empty() || line.starts_with('#') { format!("{line}\n") } else { teller.tell(line) })
        .collect();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, told).unwrap();
        return;
    }
    let differs = text.lines().zip(told.lines()).position(|(written, told)| written != told);
    if let Some(at) = differs {
        let done = told.lines().take(at + 1).filter(is_said).last().unwrap_or_default();
        let (written, told) = (text.lines().nth(at).unwrap_or_default(), told.lines().nth(at).unwrap_or_default());
        panic!("{name}.txt, line {}, after `{done}`:\nwritten: {written}\nnow:     {told}", at + 1);
    }
    assert_eq!(text.lines().count(), told.lines().count(), "{name}.txt has another length");
}

macro_rules! stories {
    ($($(#[$doc:meta])* $test:ident: $name:literal;)*) => {
        $($(#[$doc])* #[test] fn $test() { check($name); })*
    };
}

stories! {
    /// D-09, S-43, L-12
    what_is_replaced_is_free_again_and_what_is_needed_is_kept: "life";
    /// S-40
    what_is_appended_together_shares_frames_as_far_as_they_go: "frames";
    /// L-03, S-43
    a_new_file_has_no_more_than_it_needs_and_grows_ahead_of_what_is_written: "young";
    /// G-16, S-43
    log_is_kept_for_who_reads_it_within_limits: "readers";
    /// R-22, L-12, SC-52
    a_file_at_its_limit_says_so_and_makes_room_by_what_can_be_missed: "full";
    /// F-09
    a_disk_without_space_is_asked_again_after_a_while_and_not_before: "no_space";
    ///
    the_log_goes_forward_as_the_running_snapshot_does: "paced";
    /// S-43
    what_is_written_when_there_is_time_counts_only_then: "apart";
    /// S-08, D-08
    a_state_that_is_installed_and_a_log_that_is_cut_leave_nothing_of_what_was: "replaced";
    /// D-11: without syncs only a clean stop says where the log ends.
    a_store_without_syncs_waits_for_none_and_syncs_when_it_stops: "never";
    /// S-43, P6
    a_map_that_goes_on_in_an_extent_is_written_with_every_generation: "large";
    /// S-41
    inspect_tells_everything_that_is_in_a_file_and_what_it_is_worth: "inspected";
    /// F-07, F-08, S-42
    what_fails_is_given_up_and_nothing_else: "failing";
}
