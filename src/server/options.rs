//! How an ensemble in this process is made.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::config::{Config, Limits};
use crate::four_letter::Whitelist;

/// An ensemble serves within this time unless told otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// How an ensemble is made.
///
/// [`Ensemble`](crate::Ensemble) has an example.
#[derive(Clone, Debug)]
pub struct EnsembleOptions {
    /// Where the members' folders lie, `1`, `2` and so on; made where it is missing, and kept. `None` is a temporary folder,
    /// which goes with the ensemble.
    pub folder: Option<PathBuf>,
    /// What all members are told. Folder, number, ports and server lines are the ensemble's own business; `initLimit` and
    /// `syncLimit` are 10 s and 2 s where they are not set.
    pub config: Config,
    /// How long it may take until all members serve.
    pub limit: Duration,
}

impl EnsembleOptions {
    /// What the usual configuration says, as keys of `zoo.cfg`.
    const KEYS: &[(&str, &str)] = &[
        ("tickTime", "100"),
        ("minSessionTimeout", "200"),
        ("maxSessionTimeout", "120000"),
        ("maxClientCnxns", "0"),
        ("4lw.commands.whitelist", "*"),
    ];

    /// The usual options with these keys of `zoo.cfg` on top. `dataDir` is where the members' folders lie.
    ///
    /// ```
    /// use zoarium::{EnsembleOptions, Error};
    ///
    /// let options = EnsembleOptions::of_keys(&[("tickTime".to_owned(), "500".to_owned())])?;
    /// assert_eq!((options.config.tick_time_ms, options.folder), (500, None));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a key that there is not, or a value that it does not take.
    pub fn of_keys(keys: &[(String, String)]) -> Result<EnsembleOptions, Error> {
        let under = EnsembleOptions::KEYS.iter().filter(|(name, _)| !keys.iter().any(|(key, _)| key == name));
        let under = under.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let loaded = Config::load_called(None, &under.chain(keys.iter().cloned()).collect::<Vec<_>>())?.strict()?;
        let folder = keys.iter().any(|(key, _)| key == "dataDir").then(|| loaded.config.data_dir.clone());
        Ok(EnsembleOptions { folder, config: loaded.config, limit: LIMIT })
    }
}

impl Default for EnsembleOptions {
    /// Ticks of 100 ms, sessions from 200 ms to two minutes, as many connections as come, all four-letter words.
    fn default() -> EnsembleOptions {
        let config = Config {
            tick_time_ms: 100,
            min_session_timeout_ms: Some(200),
            max_session_timeout_ms: Some(120_000),
            max_client_cnxns: 0,
            whitelist: Whitelist::parse("*"),
            // As for a server with a configuration file.
            limits: Limits { tree_bytes_max: None, ..Limits::default() },
            ..Config::default()
        };
        EnsembleOptions { folder: None, config, limit: LIMIT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_configuration_is_what_its_keys_say() {
        let (of_keys, usual) = (EnsembleOptions::of_keys(&[]).unwrap(), EnsembleOptions::default());
        assert_eq!((of_keys.config, of_keys.folder), (usual.config, usual.folder));
    }
}
