//! Where a configuration comes from: the arguments that `serve` and `check` share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use zoarium::config::{Config, ConfigError, Loaded};

/// A configuration: a file or ZooKeeper's positional form, and settings on top.
#[derive(Args, Clone)]
pub(crate) struct ConfigOptions {
    /// A zoo.cfg, or in ZooKeeper's other form PORT DATADIR [TICKTIME [MAXCNXNS]]. Without any: standalone,
    /// ./zoarium-data, 127.0.0.1, port 2181.
    #[arg(value_name = "ZOO_CFG", num_args = 0..=4)]
    positional: Vec<String>,
    /// Set a key, with or without the prefix `zookeeper.`: -DtickTime=2000. Beats the environment (ZOARIUM_TICKTIME),
    /// which beats the file.
    #[arg(short = 'D', value_name = "KEY=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// Folder of the data (dataDir).
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The data file itself (zoarium.file); without it zoarium.db in the folder.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Port for clients (clientPort); 0 takes a free one.
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen on (clientPortAddress); * for all.
    #[arg(long, value_name = "HOST")]
    address: Option<String>,
    /// Begin with an empty tree although ZooKeeper's own data lies in the folder (zoarium.ignoreZooKeeperData).
    #[arg(long)]
    ignore_zookeeper_data: bool,
    /// Refuse unknown keys instead of warning.
    #[arg(long)]
    strict: bool,
}

pub(crate) fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, _)) if key.trim().is_empty() => Err("the key is missing".to_owned()),
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        // `-Dkey` is how Java sets a property to nothing; no setting of ours is meant like that.
        None => Err("KEY=VALUE is needed".to_owned()),
    }
}

/// Why there is no configuration.
pub(crate) enum ConfigTrouble {
    /// The arguments do not say what to read.
    Usage(String),
    /// What was read is refused.
    Config(ConfigError),
}

impl std::fmt::Display for ConfigTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigTrouble::Usage(text) => f.write_str(text),
            ConfigTrouble::Config(error) => error.fmt(f),
        }
    }
}

impl From<ConfigError> for ConfigTrouble {
    fn from(error: ConfigError) -> ConfigTrouble {
        ConfigTrouble::Config(error)
    }
}

impl ConfigOptions {
    /// The configuration to start a server with.
    pub(crate) fn load(&self) -> Result<Loaded, ConfigTrouble> {
        self.gather(Config::load)
    }

    /// The configuration, an ensemble's too.
    pub(crate) fn read(&self) -> Result<Loaded, ConfigTrouble> {
        self.gather(Config::read)
    }

    /// The file named, if one is.
    pub(crate) fn zoo_cfg(&self) -> Option<&Path> {
        match self.positional.as_slice() {
            [file] => Some(Path::new(file)),
            _ => None,
        }
    }

    fn gather(
        &self,
        read: impl FnOnce(
            Option<&Path>,
            &[(String, String)],
            std::vec::IntoIter<(String, String)>,
        ) -> Result<Loaded, ConfigError>,
    ) -> Result<Loaded, ConfigTrouble> {
        let mut properties = self.positional_properties()?;
        properties.extend(self.properties.iter().cloned());
        let named = [
            ("dataDir", self.data_dir.as_ref().map(|path| path.as_os_str().to_owned())),
            ("zoarium.file", self.file.as_ref().map(|path| path.as_os_str().to_owned())),
            ("clientPort", self.port.map(|port| OsString::from(port.to_string()))),
            ("clientPortAddress", self.address.as_ref().map(OsString::from)),
            ("zoarium.ignoreZooKeeperData", self.ignore_zookeeper_data.then(|| OsString::from("true"))),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                let value = value
                    .into_string()
                    .map_err(|value| ConfigTrouble::Usage(format!("{key}: {value:?} is not UTF-8")))?;
                properties.push((key.to_owned(), value));
            }
        }
        // What is not UTF-8 is no setting of ours.
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let loaded = read(self.zoo_cfg(), &properties, env.into_iter())?;
        Ok(if self.strict { loaded.strict()? } else { loaded })
    }

    /// `PORT DATADIR [TICKTIME [MAXCNXNS]]` as settings. As in ZooKeeper, that form listens on every address.
    fn positional_properties(&self) -> Result<Vec<(String, String)>, ConfigTrouble> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match self.positional.as_slice() {
            [] => Ok(Vec::new()),
            [port] if is_number(port) && !Path::new(port).exists() => Err(ConfigTrouble::Usage(format!(
                "after the port {port} a folder is needed: {port} DATADIR; or say --port {port}"
            ))),
            [_] => Ok(Vec::new()),
            [port, rest @ ..] if is_number(port) => {
                let keys = ["dataDir", "tickTime", "maxClientCnxns"];
                let mut properties = vec![("clientPort".to_owned(), port.clone())];
                properties.push(("clientPortAddress".to_owned(), "*".to_owned()));
                properties.extend(keys.iter().map(|key| (*key).to_owned()).zip(rest.iter().cloned()));
                Ok(properties)
            }
            [first, ..] => {
                Err(ConfigTrouble::Usage(format!("one file is enough, or PORT DATADIR: {first} is not a port")))
            }
        }
    }
}
