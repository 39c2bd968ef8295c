//! Runs the tests that reach a change, with the change on.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// What the tests said of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A test failed.
    Killed,
    /// The tests did not end, or used many times the processor time they need.
    Timeout,
    /// All tests passed.
    Survived,
    /// No test comes by.
    Unreached,
}

/// The test program, and which test reaches what.
pub(crate) struct Tests {
    program: PathBuf,
    project: PathBuf,
    scratch: PathBuf,
    names: Vec<String>,
    seconds: Vec<f64>,
    /// By a change's number: the tests that reach it.
    reach: HashMap<u32, Vec<usize>>,
}

/// Tests that wait for real sockets and clocks: whether they pass is for a busy machine to decide, so none may kill.
const LEFT_OUT: &[&str] = &["client::", "raw::", "ffi::", "peer::", "server::"];

/// Processor seconds that tests may take which take `seconds` as a rule.
fn limit(seconds: f64) -> u64 {
    (1.0 + 5.0 * seconds).ceil() as u64
}

/// Processor seconds of the children that have ended, or those of a child.
fn used(process: &str, fields: [usize; 2]) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is a name in brackets, which may hold spaces.
    let rest: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |field: usize| rest.get(field - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(fields[0]) + ticks(fields[1])) / 100.0
}

/// Processor seconds of tests up to which each stage goes.
pub(crate) const STAGES: [f64; 3] = [0.6, 4.0, f64::INFINITY];

/// Tests of other rooms than the change's are taken as if they were so many times slower: few of them are about it.
const STRANGE: f64 = 4.0;

impl Tests {
    /// Runs every test alone once, and writes down what it reaches. Tests that are too slow for all of the first `stages` are not
    /// run to their end.
    pub(crate) fn look(program: &Path, project: &Path, scratch: &Path, stages: usize) -> Tests {
        let mut tests = Tests {
            program: program.to_owned(),
            project: project.to_owned(),
            scratch: scratch.to_owned(),
            names: Vec::new(),
            seconds: Vec::new(),
            reach: HashMap::new(),
        };
        let listed =
            Command::new(program).args(["--list", "--format=terse"]).output().expect("the tests can be listed");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut reached = Vec::new();
        let (most, mut too_slow) = (STAGES[stages - 1].min(300.0).ceil() as u64, 0);
        for name in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
            if LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let list = tests.scratch.join("reached");
            let before = used("self", [16, 17]);
            let fate = tests.run(&[name], most, "ZOA_MUTANTS_REACHED", &list.to_string_lossy());
            let seconds = used("self", [16, 17]) - before;
            let ids = fs::read_to_string(&list).unwrap_or_default();
            if stages < STAGES.len() && fate == Fate::Timeout {
                too_slow += 1;
                continue;
            }
            if fate != Fate::Survived {
                eprintln!("{name} fails without any change, so it is left out");
                continue;
            }
            reached.push(ids.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>());
            tests.names.push(name.to_owned());
            tests.seconds.push(seconds);
        }
        for (test, ids) in reached.iter().enumerate() {
            for id in ids {
                tests.reach.entry(*id).or_default().push(test);
            }
        }
        let seconds: f64 = tests.seconds.iter().sum();
        eprintln!("{} tests, {seconds:.1} s; {too_slow} are too slow to take part", tests.names.len());
        tests
    }

    /// Tries one change of a room with the tests of one stage: the quick ones, slower ones, the rest.
    pub(crate) fn fate(&self, id: u32, room: &str, stage: usize) -> Fate {
        let Some(mut reaching) = self.reach.get(&id).cloned() else { return Fate::Unreached };
        let is_own = |test: usize| self.names[test].strip_prefix(room).is_some_and(|rest| rest.starts_with("::"));
        let weight = |test: &usize| self.seconds[*test] * if is_own(*test) { 1.0 } else { STRANGE };
        reaching.sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        let from = if stage == 0 { -1.0 } else { STAGES[stage - 1] };
        let mut sum = 0.0;
        let in_stage = reaching.iter().filter(|test| {
            sum += self.seconds[**test];
            from < sum && sum <= STAGES[stage]
        });
        let now: Vec<usize> = in_stage.copied().collect();
        if now.is_empty() {
            return Fate::Survived;
        }
        let seconds = now.iter().map(|test| self.seconds[*test]).sum();
        let names: Vec<&str> = now.iter().map(|test| self.names[*test].as_str()).collect();
        self.run(&names, limit(seconds), "ZOA_MUTANT", &id.to_string())
    }

    fn run(&self, names: &[&str], most: u64, variable: &str, value: &str) -> Fate {
        let _ = fs::remove_dir_all(&self.scratch);
        fs::create_dir_all(&self.scratch).expect("there is room for temporary files");
        // A change may make a test eat the machine: processor time, memory (KiB) and files are bounded.
        let mut child = Command::new("bash")
            .args(["-c", "ulimit -c 0 -t \"$1\" -v 8000000 -f 4000000; shift; exec \"$@\"", "limited"])
            .arg(most.to_string())
            .arg(&self.program)
            .args(["--exact", "--test-threads=1"])
            .args(names)
            .env(variable, value)
            .env("TMPDIR", &self.scratch)
            .env("RUST_BACKTRACE", "0")
            .current_dir(&self.project)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is there");
        let out = BufReader::new(child.stdout.take().expect("it was asked for"));
        let (tell, told) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if line.ends_with("FAILED") {
                    let _ = tell.send(());
                    return;
                }
            }
        });
        // Wakes at the first failure and at the end of the output. Who uses no processor time for long waits for ever.
        let (process, mut idle, mut seen) = (child.id().to_string(), 0, 0.0);
        let fate = loop {
            match told.recv_timeout(Duration::from_secs(2)) {
                Ok(()) => break Fate::Killed,
                Err(RecvTimeoutError::Disconnected) => break ended(&mut child, Duration::from_secs(60)),
                Err(RecvTimeoutError::Timeout) => {
                    let now = used(&process, [14, 15]);
                    idle = if now > seen { 0 } else { idle + 1 };
                    seen = now;
                    if idle > 15 {
                        break Fate::Timeout;
                    }
                }
            }
        };
        let _ = child.kill();
        let _ = child.wait();
        let _ = reader.join();
        fate
    }
}

/// How a program ended that has closed its output.
fn ended(child: &mut Child, wait: Duration) -> Fate {
    const SIGXCPU: i32 = 24;
    const SIGKILL: i32 = 9;
    let begin = Instant::now();
    loop {
        match child.try_wait().expect("the program is ours") {
            Some(status) if status.success() => return Fate::Survived,
            Some(status) if [Some(SIGXCPU), Some(SIGKILL)].contains(&status.signal()) => return Fate::Timeout,
            Some(_) => return Fate::Killed,
            None if begin.elapsed() > wait => return Fate::Timeout,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
