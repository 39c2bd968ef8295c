//! How much is logged: to stderr, by `-v`, `-q`, `zoarium.logLevel` or `ZOARIUM_LOG`.

use clap::Args;
use log::LevelFilter;

/// How loud a command is.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct Volume {
    /// Say more: debug, and twice for every request.
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet")]
    verbose: u8,
    /// Say less: warnings only, and twice for errors only.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    quiet: u8,
}

impl Volume {
    /// The level asked for on the command line, if any.
    fn level(self) -> Option<LevelFilter> {
        match (self.verbose, self.quiet) {
            (0, 0) => None,
            (1, _) => Some(LevelFilter::Debug),
            (0, 1) => Some(LevelFilter::Warn),
            (0, _) => Some(LevelFilter::Error),
            _ => Some(LevelFilter::Trace),
        }
    }

    /// Whether a command keeps its friendly line to itself.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet > 0
    }
}

/// The logger of this process, whose level can change while it runs.
pub(crate) struct Logging {
    volume: Volume,
    /// `ZOARIUM_LOG` sets levels room by room; then nothing else counts.
    filtered: bool,
}

impl Logging {
    /// Starts logging to stderr. Call once.
    pub(crate) fn start(volume: Volume, configured: Option<LevelFilter>) -> Logging {
        let mut builder = env_logger::Builder::new();
        let filters = std::env::var("ZOARIUM_LOG").ok().filter(|filters| !filters.is_empty());
        match &filters {
            Some(filters) => builder.parse_filters(filters),
            // Everything passes here; the global level, which can change, decides.
            None => builder.filter_level(LevelFilter::Trace),
        };
        builder.init();
        let logging = Logging { volume, filtered: filters.is_some() };
        logging.apply(configured);
        logging
    }

    /// Takes a newly configured level; the command line's wins over it.
    pub(crate) fn apply(&self, configured: Option<LevelFilter>) {
        if !self.filtered {
            log::set_max_level(self.volume.level().or(configured).unwrap_or(LevelFilter::Info));
        }
    }
}
