//! `zoarium check`: explains a configuration and starts nothing.

use std::process::ExitCode;

use clap::Args;
use zoarium::config::{Config, Fate, KeyInfo, Loaded, Origin, Role};

use crate::exit;
use crate::options::{ConfigOptions, ConfigTrouble};
use crate::out::{self, say};
use crate::paint::{Ink, Paint, complain};

/// Explain a configuration: every setting, where it came from, what it means, what is ignored.
#[derive(Args)]
#[command(after_help = "\
Examples:
  zoarium check zoo.cfg                what becomes of each line of the file
  zoarium check zoo.cfg -DtickTime=500 --all
                                       the same with a setting on top, and every key that was not set

Exit codes: 0 `serve` would start with it, 1 it would refuse, 2 the configuration is wrong.")]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    config: ConfigOptions,
    /// List the keys that were not set, too, with their defaults.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &CheckArguments) -> ExitCode {
    let loaded = match arguments.config.read() {
        Ok(loaded) => loaded,
        Err(trouble) => {
            complain(&trouble);
            return ExitCode::from(exit::USAGE);
        }
    };
    let paint = Paint::stdout();
    out::print(format_args!("{}", summary(&loaded.config, paint)));
    out::print(format_args!("{}", settings(&loaded, paint)));
    if arguments.all {
        out::print(format_args!("{}", defaults(&loaded, paint)));
    }
    let warnings: Vec<String> =
        loaded.notes.iter().filter(|note| note.is_warning()).map(|note| format!("  {note}\n")).collect();
    if !warnings.is_empty() {
        out::print(format_args!("\n{}\n{}", paint.paint(Ink::Warning, "Warnings"), warnings.concat()));
    }
    match arguments.config.load() {
        Ok(Loaded { config, .. }) if config.zookeeper_data().is_some() => {
            let folder = config.zookeeper_data().unwrap_or_default();
            let error = zoarium::Error::ZooKeeperData { folder, file: config.file() };
            say!("\n{} {error}.", paint.paint(Ink::Error, "Refused:"));
            ExitCode::from(exit::REFUSED)
        }
        Ok(_) => {
            say!("\n{} `zoarium serve` starts with this.", paint.paint(Ink::Good, "Good:"));
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            say!("\n{} {trouble}.", paint.paint(Ink::Error, "Refused:"));
            ExitCode::from(match trouble {
                ConfigTrouble::Usage(_) => exit::USAGE,
                ConfigTrouble::Config(_) => exit::REFUSED,
            })
        }
    }
}

fn summary(config: &Config, paint: Paint) -> String {
    let hosts = match config.client_hosts.as_slice() {
        [] => "every address".to_owned(),
        hosts => hosts.join(", "),
    };
    let role = if config.ensemble.is_standalone() {
        "alone".to_owned()
    } else {
        let (voters, observers) = (config.ensemble.count(Role::Participant), config.ensemble.count(Role::Observer));
        format!("server {} of an ensemble: {voters} participants, {observers} observers", config.server_id)
    };
    let lines = [
        ("serves", role),
        ("clients", format!("{hosts}, port {}", config.client_port)),
        ("data", config.file().display().to_string()),
        (
            "sessions",
            format!(
                "{} to {} ms, tick {} ms",
                config.session_timeout_min_ms(),
                config.session_timeout_max_ms(),
                config.tick_time_ms
            ),
        ),
        ("requests", format!("{} bytes at most (jute.maxbuffer)", config.jute_maxbuffer)),
        ("connections", connections(config)),
        ("space", space(config)),
    ];
    let lines: String = lines.iter().map(|(name, value)| format!("  {name:<10} {value}\n")).collect();
    format!("{}\n{lines}", paint.paint(Ink::Heading, "In short"))
}

fn connections(config: &Config) -> String {
    let most = config.connections_max();
    let from = if config.max_cnxns > 0 { "maxCnxns" } else { "zoarium.connectionsMax" };
    match descriptors_max().map(|descriptors| descriptors / 2) {
        Some(here) if here < most => {
            format!("{here} at most, half of the open files allowed here (ulimit -n), although {from} allows {most}")
        }
        _ => format!("{most} at most ({from})"),
    }
}

/// The limit on open files that a server started from here would have.
fn descriptors_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find(|line| line.starts_with("Max open files"))?.split_whitespace().nth(3)?.parse().ok()
}

fn space(config: &Config) -> String {
    let (options, wanted) = (config.store_options(), config.storage.extent_size);
    let raised = match options.extent_size > wanted {
        true => format!("; raised from {wanted}, because jute.maxbuffer lets in requests that need it"),
        false => String::new(),
    };
    format!(
        "{} bytes at most (zoarium.fileSizeMax), a new file in units of {} (zoarium.extentSize{raised})",
        options.max_size, options.extent_size
    )
}

/// Where a value stands to its default, when both are numbers: limits are mostly told by that.
fn beside_the_default(value: &str, default: &str) -> &'static str {
    match (bytes(value), bytes(default)) {
        (Some(value), Some(default)) if value > default => ", this is above it",
        (Some(value), Some(default)) if value < default => ", this is below it",
        _ => "",
    }
}

/// A number as settings write it: decimal, hexadecimal, or with K, M, G.
fn bytes(text: &str) -> Option<i128> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x") {
        return i128::from_str_radix(digits, 16).ok();
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let shift = match text[end..].trim().to_ascii_lowercase().chars().next() {
        None | Some('b') => 0,
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some(_) => return None,
    };
    text[..end].parse::<i128>().ok()?.checked_mul(1 << shift)
}

fn settings(loaded: &Loaded, paint: Paint) -> String {
    let mut text = format!("\n{}\n", paint.paint(Ink::Heading, "Settings given"));
    if loaded.settings.is_empty() {
        return text + "  none: the embedded default\n";
    }
    for setting in &loaded.settings {
        let fate = colored(setting.fate, paint);
        text += &format!("  {}={}\n      {fate}: {}", setting.name, setting.value, setting.meaning);
        if !setting.reason.is_empty() && setting.fate != Fate::Honoured {
            text += &format!("; {}", setting.reason);
        }
        let beside = beside_the_default(&setting.value, setting.default);
        text += &format!(" (default {}{beside})\n      from {}", setting.default, setting.origin);
        if !setting.overrides.is_empty() {
            let overrides: Vec<String> = setting.overrides.iter().map(Origin::to_string).collect();
            text += &format!(", instead of {}", overrides.join(", "));
        }
        text += "\n";
    }
    text
}

fn defaults(loaded: &Loaded, paint: Paint) -> String {
    let is_given = |key: &KeyInfo| loaded.settings.iter().any(|setting| setting.name == key.name);
    let mut text = format!("\n{}\n", paint.paint(Ink::Heading, "Keys not set, with their defaults"));
    for key in Config::keys().filter(|key| !is_given(key)) {
        text += &format!("  {}={}\n      {}: {}", key.name, key.default, colored(key.fate, paint), key.meaning);
        if !key.reason.is_empty() {
            text += &format!("; {}", key.reason);
        }
        text += "\n";
    }
    text
}

fn colored(fate: Fate, paint: Paint) -> String {
    let ink = match fate {
        Fate::Honoured => Ink::Good,
        Fate::Unknown => Ink::Error,
        _ => Ink::Warning,
    };
    paint.paint(ink, &fate.to_string())
}
