//! Gathers settings from file, environment and command line, and applies the winners.

use std::path::{Path, PathBuf};

use super::apply::{Given, apply, shown};
use super::dynamic::{is_membership, version_of_name};
use super::key::{Key, KeyKind};
use super::keys::{self, FoundKey};
use super::{Config, ConfigError, Fate, Limits, Note, Origin, properties};
use crate::ids::ServerId;
use crate::store::os_text;

/// A configuration as it was read, with everything worth saying about it.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What to start a server with.
    pub config: Config,
    /// Lines for the log.
    pub notes: Vec<Note>,
    /// Every setting that was given and counts, in the order of the sources.
    pub settings: Vec<Setting>,
    /// This server's number, where one is given.
    pub(super) myid: Option<ServerId>,
}

/// One setting that was given, for programs that explain it.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key, without the prefix `zookeeper.`; as written when unknown.
    pub name: String,
    /// Its value, stars for a secret.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// What it won over, weakest first.
    pub overrides: Vec<Origin>,
    /// What becomes of it.
    pub fate: Fate,
    /// What the key means; empty when unknown.
    pub meaning: &'static str,
    /// Why it has no effect; empty when it has.
    pub reason: &'static str,
    /// The value without it; empty when unknown.
    pub default: &'static str,
}

/// One key of the table, for programs that list them all.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name; `.N` at the end stands for any number, `.X` for any text.
    pub name: &'static str,
    /// The value without it.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// Why it has no effect; empty when it has.
    pub reason: &'static str,
}

fn fate(key: &Key) -> (Fate, &'static str) {
    match &key.kind {
        KeyKind::Honoured(_) => (Fate::Honoured, ""),
        KeyKind::Ensemble(_) => (Fate::Ensemble, "matters only in an ensemble"),
        KeyKind::Kept(_, reason) | KeyKind::WithoutEffect(reason) | KeyKind::RefusedIfTrue(reason) => {
            (Fate::WithoutEffect, reason)
        }
        KeyKind::NotYet(reason) => (Fate::NotYet, reason),
    }
}

/// Environment variables of ours that are no keys: the log filter, and what test harnesses hand down.
const NO_KEYS: &[&str] = &["ZOARIUM_LOG", "ZOARIUM_BIN"];

impl Config {
    /// Every key there is.
    ///
    /// [`Config`] has an example.
    pub fn keys() -> impl Iterator<Item = KeyInfo> {
        keys::all().map(|key| {
            let (fate, reason) = fate(key);
            KeyInfo { name: key.name, default: key.default, meaning: key.meaning, fate, reason }
        })
    }

    /// Reads a configuration to start a server with: [`Config::read`], and what an ensemble needs must be there.
    ///
    /// `file` is a `zoo.cfg`, `properties` are `-Dkey=value` pairs, with or without the prefix `zookeeper.`,
    /// and `env` is the environment, of which `ZOARIUM_KEY` variables count. The command line beats the
    /// environment, which beats the file.
    ///
    /// [`Config`] has an example.
    ///
    /// # Errors
    /// Those of [`Config::read`]; what an ensemble lacks, contradicts itself in, or asks for and cannot have.
    pub fn load(
        file: Option<&Path>,
        properties: &[(String, String)],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        Config::read(file, properties, env)?.startable()
    }

    /// As [`Config::load`], for settings that came by calls of the program and without an environment.
    pub(crate) fn load_called(file: Option<&Path>, properties: &[(String, String)]) -> Result<Loaded, ConfigError> {
        Config::read_called(file, properties)?.startable()
    }

    /// As [`Config::read`], for settings that came by calls of the program and without an environment.
    pub(crate) fn read_called(file: Option<&Path>, properties: &[(String, String)]) -> Result<Loaded, ConfigError> {
        Config::gather(file, properties, &Origin::Program, std::iter::empty())
    }

    /// Reads a configuration, an ensemble's too, from the same sources as [`Config::load`].
    ///
    /// Besides `file` it reads the `dynamicConfigFile` named there, and `myid` in the data folder if it exists.
    ///
    /// [`Config`] has an example.
    ///
    /// # Errors
    /// A file that cannot be read, a value that is not accepted, settings that contradict each other.
    pub fn read(
        file: Option<&Path>,
        properties: &[(String, String)],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        Config::gather(file, properties, &Origin::CommandLine, env)
    }

    fn gather(
        file: Option<&Path>,
        properties: &[(String, String)],
        properties_from: &Origin,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        let mut gathered = Gathered::default();
        if let Some(path) = file {
            for (name, value, origin) in read_file(path)? {
                gathered.add(keys::find(&name), &name, value, origin);
            }
        }
        for (variable, value) in env {
            // An empty variable is how many launchers say "not set".
            let is_key = !value.is_empty() && !NO_KEYS.contains(&variable.as_str());
            if let Some(name) = variable.strip_prefix("ZOARIUM_").filter(|_| is_key) {
                let origin = Origin::Environment(variable.clone());
                gathered.add(keys::find_variable(name), &variable, value.trim().to_owned(), origin);
            }
        }
        for (name, value) in properties {
            gathered.add(keys::find(name), name, value.trim().to_owned(), properties_from.clone());
        }
        gathered.add_dynamic_file()?;

        let mut config = Config { limits: Limits { tree_bytes_max: None, ..Limits::default() }, ..Config::default() };
        if file.is_some() {
            config.client_hosts.clear();
        }
        gathered.apply(&mut config)?;
        gathered.settle_files(&mut config, file);
        let myid = gathered.settle(&mut config, file)?;
        Ok(Loaded { config, notes: gathered.notes, settings: gathered.settings, myid })
    }
}

impl Loaded {
    /// Refuses unknown keys: what `--strict` asks for.
    ///
    /// [`Config`] has an example.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] with all of them.
    pub fn strict(self) -> Result<Loaded, ConfigError> {
        let unknown: Vec<String> = self.notes.iter().filter_map(Note::unknown).collect();
        if unknown.is_empty() { Ok(self) } else { Err(ConfigError::Unknown(unknown)) }
    }
}

fn read_file(path: &Path) -> Result<Vec<(String, String, Origin)>, ConfigError> {
    let bytes =
        std::fs::read(path).map_err(|error| ConfigError::Read { path: path.to_owned(), reason: os_text(&error) })?;
    let at = |line| Origin::File(path.to_owned(), line);
    let properties = properties::parse(&properties::text_of(&bytes))
        .map_err(|(line, reason)| ConfigError::Syntax { origin: at(line), reason })?;
    Ok(properties.into_iter().map(|p| (p.key, p.value, at(p.line))).collect())
}

/// The winners so far. `raw` runs beside `settings`, with the values as they are.
#[derive(Default)]
struct Gathered {
    settings: Vec<Setting>,
    raw: Vec<Raw>,
    notes: Vec<Note>,
}

struct Raw {
    key: &'static Key,
    instance: Option<String>,
    value: String,
}

impl Gathered {
    fn add(&mut self, found: Option<FoundKey>, written: &str, value: String, origin: Origin) {
        let Some(FoundKey { key, name, instance }) = found else {
            let nearest = match &origin {
                Origin::Environment(variable) => keys::nearest_variable(variable),
                _ => keys::nearest(written),
            };
            self.notes.push(Note::Unknown { key: written.to_owned(), origin, nearest });
            return;
        };
        let (fate, reason) = fate(key);
        let mut setting = Setting {
            value: shown(&name, &value).to_owned(),
            name,
            origin,
            overrides: Vec::new(),
            fate,
            meaning: key.meaning,
            reason,
            default: key.default,
        };
        let raw = Raw { key, instance, value };
        let Some(at) = self.settings.iter().position(|earlier| earlier.name == setting.name) else {
            self.settings.push(setting);
            self.raw.push(raw);
            return;
        };
        let earlier = &self.settings[at];
        let same_source = matches!((&earlier.origin, &setting.origin), (Origin::File(..), Origin::File(..)))
            || earlier.origin == setting.origin;
        if same_source && self.raw[at].value != raw.value {
            self.notes.push(Note::Repeated {
                key: setting.name.clone(),
                earlier: earlier.origin.clone(),
                later: setting.origin.clone(),
            });
        }
        setting.overrides = earlier.overrides.clone();
        setting.overrides.push(earlier.origin.clone());
        self.settings[at] = setting;
        self.raw[at] = raw;
    }

    fn given(&self, name: &str) -> Option<&str> {
        let at = self.settings.iter().position(|setting| setting.name == name)?;
        Some(&self.raw[at].value)
    }

    /// `dynamicConfigFile`: the membership lives there, and may then not be in the static file.
    fn add_dynamic_file(&mut self) -> Result<(), ConfigError> {
        let Some(path) = self.given("dynamicConfigFile").filter(|path| !path.is_empty()).map(PathBuf::from) else {
            return Ok(());
        };
        if let Some(setting) = self.settings.iter().find(|setting| is_membership(&setting.name)) {
            return Err(ConfigError::Conflict(format!(
                "{} ({}) may not be set beside dynamicConfigFile: the membership belongs into {}",
                setting.name,
                setting.origin,
                path.display()
            )));
        }
        for (name, value, origin) in read_file(&path)? {
            match keys::find(&name) {
                Some(found) if is_membership(&found.name) || found.name == "version" => {
                    self.add(Some(found), &name, value, origin);
                }
                _ => {
                    let reason = format!("{} has no place in a dynamic configuration file", name.escape_debug());
                    return Err(ConfigError::Syntax { origin, reason });
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, config: &mut Config) -> Result<(), ConfigError> {
        for (setting, raw) in self.settings.iter_mut().zip(&self.raw) {
            let given = Given {
                key: raw.key,
                name: &setting.name,
                instance: raw.instance.as_deref(),
                value: &raw.value,
                origin: &setting.origin,
            };
            setting.fate = apply(config, &given, &mut self.notes)?;
        }
        let ignored: Vec<String> = self
            .settings
            .iter()
            .filter(|setting| setting.fate == Fate::WithoutEffect)
            .map(|setting| setting.name.clone())
            .collect();
        if !ignored.is_empty() {
            self.notes.push(Note::WithoutEffect(ignored));
        }
        Ok(())
    }

    /// Of a dynamic file without a `version` the name tells it, as ZooKeeper names such files. Who the members are is kept in
    /// files only if it came from there: what a program or the environment says would contradict them at the next start.
    fn settle_files(&self, config: &mut Config, file: Option<&Path>) {
        let ensemble = &mut config.ensemble;
        if ensemble.version.is_none() {
            ensemble.version = ensemble.dynamic_config_file.as_deref().and_then(version_of_name);
        }
        let mut members = self.settings.iter().filter(|setting| is_membership(&setting.name));
        if members.all(|setting| matches!(setting.origin, Origin::File(..))) {
            config.config_file = file.map(Path::to_owned);
        }
    }

    /// What depends on more than one setting.
    fn settle(&mut self, config: &mut Config, file: Option<&Path>) -> Result<Option<ServerId>, ConfigError> {
        let has_file = file.is_some();
        self.settle_auth(config)?;
        self.settle_handshake(config);
        let myid = self.settle_id(config)?;
        self.settle_client_port(config, has_file, myid)?;
        let (min, max) = (config.session_timeout_min_ms(), config.session_timeout_max_ms());
        if min > max {
            return conflict(format!("minSessionTimeout ({min} ms) is above maxSessionTimeout ({max} ms)"));
        }
        if !config.ensemble.is_standalone() {
            for setting in self.settings.iter_mut().filter(|setting| setting.fate == Fate::Ensemble) {
                setting.fate = Fate::Honoured;
            }
        }
        self.settle_local_sessions(config);
        let (limits, storage) = (&config.limits, &config.storage);
        if limits.output_soft_max > limits.output_hard_max {
            return conflict("zoarium.outputSoftMax is above zoarium.outputHardMax".to_owned());
        }
        if storage.file_size_initial > storage.file_size_max {
            return conflict("zoarium.fileSizeInitial is above zoarium.fileSizeMax".to_owned());
        }
        if !storage.extent_size.is_power_of_two() {
            return conflict("zoarium.extentSize is a power of two".to_owned());
        }
        let options = config.store_options();
        if options.max_size / options.extent_size < 8 {
            return conflict(format!(
                "zoarium.fileSizeMax holds less than 8 extents of {} bytes (zoarium.extentSize, or twice what \
                 jute.maxbuffer needs)",
                options.extent_size
            ));
        }
        if config.record_size_max() > options.max_record {
            self.notes.push(Note::Remark(format!(
                "jute.maxbuffer={}: writes that make a record of more than {} bytes are refused",
                config.jute_maxbuffer, options.max_record
            )));
        }
        // Last, so that what is wrong inside the file is told before what is missing from it.
        match file {
            Some(path) if self.given("dataDir").is_none() && config.file.is_none() => {
                Err(ConfigError::NoDataDir { path: path.to_owned(), meant: self.meant("dataDir") })
            }
            _ => Ok(myid),
        }
    }

    /// A setting to which another one leaves no effect, for this reason.
    fn overrule(&mut self, name: &str, reason: &'static str) {
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.name == name) {
            (setting.fate, setting.reason) = (Fate::WithoutEffect, reason);
        }
    }

    /// The unknown key that is nearest to `name`, and where it stands.
    fn meant(&self, name: &str) -> Option<(String, Origin)> {
        self.notes.iter().find_map(|note| match note {
            Note::Unknown { key, origin, nearest: Some(nearest) } if *nearest == name => {
                Some((key.clone(), origin.clone()))
            }
            _ => None,
        })
    }

    /// What one of the two keys means without the other.
    fn settle_local_sessions(&mut self, config: &Config) {
        let ensemble = &config.ensemble;
        let text = match (ensemble.local_sessions, ensemble.local_sessions_upgrading) {
            _ if ensemble.is_standalone() => return,
            (true, false) => {
                "localSessionsEnabled=true without localSessionsUpgradingEnabled=true: no client gets an ephemeral"
            }
            (false, true) => "localSessionsUpgradingEnabled has no effect without localSessionsEnabled=true",
            (true, true) | (false, false) => return,
        };
        self.notes.push(Note::Remark(text.to_owned()));
    }

    /// ZooKeeper's name of the handshake's time and ours: ours is the more precise one.
    fn settle_handshake(&mut self, config: &mut Config) {
        let Some(ours) = self.given("zoarium.handshakeTimeoutMs").and_then(|value| value.parse().ok()) else { return };
        if self.given("nio.sessionlessCnxnTimeout").is_some() && config.limits.handshake_timeout_ms != ours {
            config.limits.handshake_timeout_ms = ours;
            self.overrule("nio.sessionlessCnxnTimeout", "zoarium.handshakeTimeoutMs counts");
            let text = format!("zoarium.handshakeTimeoutMs={ours} counts, nio.sessionlessCnxnTimeout does not");
            self.notes.push(Note::Remark(text));
        }
    }

    fn settle_auth(&mut self, config: &mut Config) -> Result<(), ConfigError> {
        let enabled = self.given("enforce.auth.enabled").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if enabled && config.enforce_auth_schemes.is_empty() {
            return conflict("enforce.auth.enabled=true needs enforce.auth.schemes".to_owned());
        }
        if !enabled && !config.enforce_auth_schemes.is_empty() {
            self.notes
                .push(Note::Remark("enforce.auth.schemes has no effect without enforce.auth.enabled=true".into()));
            config.enforce_auth_schemes.clear();
            self.overrule("enforce.auth.schemes", "enforce.auth.enabled is not true");
        }
        if config.enforce_auth_schemes == ["digest"] && !config.digest_auth_enabled {
            return conflict("enforce.auth.schemes=digest, but DigestAuthenticationProvider.enabled=false".to_owned());
        }
        if config.skip_acl {
            self.notes.push(Note::Remark("skipACL=yes: no ACL is checked, everybody may do everything".to_owned()));
        }
        if !config.force_sync {
            self.notes.push(Note::Remark("forceSync=no: a power cut may lose acknowledged writes".to_owned()));
        }
        Ok(())
    }

    /// `myid`: the number in that file, where there is one.
    fn settle_client_port(
        &mut self,
        config: &mut Config,
        has_file: bool,
        myid: Option<ServerId>,
    ) -> Result<(), ConfigError> {
        let mut port_given = self.given("clientPort").is_some();
        let standalone = config.ensemble.is_standalone();
        let line = match standalone {
            true => config.ensemble.servers.values().next(),
            false => myid.and_then(|myid| config.ensemble.servers.get(&myid)),
        };
        // The line of another server says nothing of this one. ZooKeeper goes by clientPort then, and without it runs
        // and listens nowhere.
        let stranger = line.filter(|line| myid.is_some_and(|myid| myid != line.id)).map(|line| line.id);
        let client = line.filter(|_| stranger.is_none()).and_then(|line| line.client.clone());
        if let (Some(line), Some(myid)) = (stranger, myid) {
            let text = format!(
                "myid in {} is {myid}, and there is no line server.{myid}, only server.{line}",
                config.data_dir.display()
            );
            if !port_given {
                return conflict(format!("{text}: correct one of them, or set clientPort to serve all the same"));
            }
            self.notes.push(Note::Remark(format!("{text}, which does not count; clientPort does")));
        }
        if let Some(client) = client {
            let hosts: Vec<String> = client.host.into_iter().collect();
            let host_clash = !config.client_hosts.is_empty() && has_file && config.client_hosts != hosts;
            if port_given && (config.client_port != client.port || host_clash) {
                return conflict(format!(
                    "the server line says clients connect to port {}, clientPort and clientPortAddress say {} {}",
                    client.port,
                    config.client_port,
                    config.client_hosts.join(",")
                ));
            }
            (config.client_port, config.client_hosts, port_given) = (client.port, hosts, true);
        }
        if port_given {
            return Ok(());
        }
        if standalone && config.secure_client_port.is_some() {
            return conflict(
                "secureClientPort is the only client port, and TLS is not served yet; set clientPort to serve without it"
                    .to_owned(),
            );
        }
        if standalone && self.given("clientPortAddress").is_some() && has_file {
            return conflict("clientPortAddress is set and clientPort is not".to_owned());
        }
        if has_file {
            self.notes.push(Note::Remark(format!("clientPort is not set: serving on {}", config.client_port)));
        }
        Ok(())
    }

    /// This server's number: `zoarium.serverId`, or what is in `myid`; `None` where neither says one.
    fn settle_id(&mut self, config: &mut Config) -> Result<Option<ServerId>, ConfigError> {
        let highest = if config.extended_types_enabled { 254 } else { 255 };
        let given = self.given("zoarium.serverId").map(|_| config.server_id);
        let path = config.data_dir.join("myid");
        let text = match std::fs::read(&path) {
            Ok(bytes) => Some(properties::text_of(&bytes)),
            // A standalone server needs none, and one whose number is set does not either.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(ConfigError::Read { path, reason: os_text(&error) }),
        };
        let id = text.as_deref().map(|text| text.lines().next().unwrap_or_default().trim());
        let number = id.and_then(|id| id.parse().ok()).filter(|number| *number <= highest).map(ServerId);
        let myid = match (given, number) {
            (Some(given), _) if given.0 > highest => {
                return conflict(format!(
                    "zoarium.serverId={given}, and with extendedTypesEnabled {highest} is the highest"
                ));
            }
            (Some(given), Some(number)) if given != number => {
                return conflict(format!("zoarium.serverId is {given}, and {} says {number}", path.display()));
            }
            (given, number) => given.or(number),
        };
        config.server_id = myid.unwrap_or_default();
        let Some(myid) = myid else {
            match id {
                None => {}
                // Debian's package leaves a sentence there that asks to be replaced; a standalone server needs no number.
                Some(_) if config.ensemble.is_standalone() => {
                    let text = format!("{} holds no number from 0 to {highest}: using 0", path.display());
                    self.notes.push(Note::Remark(text));
                }
                Some(id) => {
                    return Err(ConfigError::Value {
                        key: "myid".to_owned(),
                        value: id.chars().take(32).collect(),
                        origin: Origin::File(path, 1),
                        allowed: format!("a whole number from 0 to {highest}"),
                    });
                }
            }
            return Ok(None);
        };
        let line = config.ensemble.servers.get(&myid);
        if let Some(line) =
            line.filter(|line| line.role != config.ensemble.peer_type && self.given("peerType").is_some())
        {
            let text =
                format!("peerType={} differs from server.{myid}, which says {}", config.ensemble.peer_type, line.role);
            self.notes.push(Note::Remark(format!("{text}; the server line counts")));
        }
        Ok(Some(myid))
    }
}

fn conflict<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Conflict(text))
}
