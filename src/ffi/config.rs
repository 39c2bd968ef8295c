//! `zoa_config`: keys and values until a server is started with them.

use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::codes::*;
use super::guard::{Fail, Fallible, HandleHead, HandleKind, guard, out, take, text, with};
use crate::config::{Config, ConfigError, Loaded};
use crate::server::EnsembleOptions;

/// Settings to start a server with: the keys of `zoo.cfg`, and ours under `zoarium.`. `zoarium check --all`, of the command line
/// tool, lists every key with its default and what it does.
///
/// Made by `zoa_config_new`, ended by `zoa_config_free`. `zoa_server_start` copies it, so it may be changed, used again or
/// freed at once. One thread at a time is enough for everything a config does; calls from several are safe.
pub struct zoa_config {
    _private: (),
}

/// Told of a server's role: `role` is one of `ZOA_ROLE_…`, `epoch` the leader's epoch.
///
/// Runs on the thread `zoarium-callback`. It may call everything but `zoa_server_free` of its own server.
pub type zoa_role_fn = Option<unsafe extern "C" fn(role: i32, epoch: i64, user_data: *mut c_void)>;

/// A callback of the host with what it wants back.
#[derive(Clone, Copy)]
pub(super) struct RoleCallback {
    pub(super) changed: unsafe extern "C" fn(i32, i64, *mut c_void),
    pub(super) user_data: *mut c_void,
}

// SAFETY: the pointer is never looked at here, only handed back; the host was told on which thread.
unsafe impl Send for RoleCallback {}
// SAFETY: as above.
unsafe impl Sync for RoleCallback {}

#[repr(C)]
pub(super) struct ConfigBox {
    head: HandleHead,
    settings: Mutex<ConfigSettings>,
}

#[derive(Default, Clone)]
struct ConfigSettings {
    file: Option<PathBuf>,
    properties: Vec<(String, String)>,
    on_role: Option<RoleCallback>,
}

// SAFETY: it is `repr(C)` and begins with its head.
unsafe impl HandleKind for ConfigBox {
    const TAG: u32 = u32::from_le_bytes(*b"conf");
}

impl ConfigBox {
    /// What a server is started with. The environment is the host's own business and not read.
    pub(super) fn load(&self) -> Fallible<(Config, Option<RoleCallback>)> {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loaded = Config::load_called(settings.file.as_deref(), &settings.properties);
        let Loaded { config, notes, .. } = loaded.map_err(refused)?;
        for note in notes {
            log::warn!("{note}");
        }
        Ok((config, settings.on_role))
    }

    /// What an ensemble is started with: over the usual, or what a file says alone.
    pub(super) fn ensemble_options(&self) -> Fallible<EnsembleOptions> {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if settings.file.is_none() {
            return EnsembleOptions::of_keys(&settings.properties)
                .map_err(|error| Fail::because(error.code().number(), error.to_string()));
        }
        let (config, _) = self.load()?;
        Ok(EnsembleOptions { folder: Some(config.data_dir.clone()), config, ..EnsembleOptions::default() })
    }
}

fn refused(error: ConfigError) -> Fail {
    let code = match error {
        ConfigError::Unknown(_) => ZOA_UNKNOWN_KEY,
        ConfigError::Read { .. } => ZOA_SYSTEM,
        _ => ZOA_BAD_ARGUMENTS,
    };
    Fail::because(code, error.to_string())
}

/// A config with the embedded defaults: standalone, data in `./zoarium-data`, port 2181 on loopback. Yours to free.
///
/// Any thread. Errors: `ZOA_NULL_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_config_new(config_out: *mut *mut zoa_config) -> zoa_code {
    guard(|| {
        // SAFETY: the caller gives NULL or a place for a pointer.
        let place = unsafe { out(config_out, "config_out") }?;
        let config = Box::new(ConfigBox { head: HandleHead::new::<ConfigBox>(), settings: Mutex::default() });
        place.write(Box::into_raw(config).cast());
        Ok(())
    })
}

/// Takes a `zoo.cfg` as the base: what `zoa_config_set` says beats it. The file is read now, to tell errors, and again
/// by `zoa_server_start`.
///
/// With a file, an unset `clientPortAddress` means every address of the machine, as in ZooKeeper, and `dataDir` must be set,
/// in the file or by `zoa_config_set`: `zoa_server_start` refuses without it.
/// Any thread. Errors: `ZOA_SYSTEM` when it cannot be read; `ZOA_BAD_ARGUMENTS` for a line that is refused, named by
/// `zoa_last_error`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_config_load(config: *mut zoa_config, file_path: *const c_char) -> zoa_code {
    // SAFETY: the caller gives NULL or a config.
    unsafe {
        with(config.cast_const().cast(), "config", |config: &ConfigBox| {
            let path = Path::new(text(file_path, "file_path")?).to_owned();
            match Config::load_called(Some(&path), &[]) {
                // It may still be set by itself; the server's start looks again.
                Ok(_) | Err(ConfigError::NoDataDir { .. }) => {}
                Err(error) => return Err(refused(error)),
            }
            config.settings.lock().unwrap_or_else(PoisonError::into_inner).file = Some(path);
            Ok(())
        })
    }
}

/// Sets one key, such as `"dataDir"`, `"clientPort"` (0 picks a free port) or `"tickTime"`. The last value counts.
///
/// Any thread. Errors: `ZOA_UNKNOWN_KEY`; `ZOA_BAD_ARGUMENTS` for a value the key does not take, with what it takes in
/// `zoa_last_error`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_config_set(config: *mut zoa_config, key: *const c_char, value: *const c_char) -> zoa_code {
    // SAFETY: the caller gives NULL or a config, and NULL or texts.
    unsafe {
        with(config.cast_const().cast(), "config", |config: &ConfigBox| {
            let pair = (text(key, "key")?.to_owned(), text(value, "value")?.to_owned());
            let alone = Config::read_called(None, std::slice::from_ref(&pair));
            alone.and_then(Loaded::strict).map_err(refused)?;
            let mut settings = config.settings.lock().unwrap_or_else(PoisonError::into_inner);
            settings.properties.retain(|(name, _)| *name != pair.0);
            settings.properties.push(pair);
            Ok(())
        })
    }
}

/// Asks to be told of the role of servers started with this config: what each is once it has started, every change, and the end
/// last (`ZOA_ROLE_STOPPED`, `ZOA_ROLE_FAILED`), unless it is freed before. NULL: not any more.
///
/// `user_data` is handed back as it is; it must live until the last such server is freed.
/// Any thread. Errors: `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_config_on_role(
    config: *mut zoa_config,
    changed: zoa_role_fn,
    user_data: *mut c_void,
) -> zoa_code {
    // SAFETY: the caller gives NULL or a config.
    unsafe {
        with(config.cast_const().cast(), "config", |config: &ConfigBox| {
            let mut settings = config.settings.lock().unwrap_or_else(PoisonError::into_inner);
            settings.on_role = changed.map(|changed| RoleCallback { changed, user_data });
            Ok(())
        })
    }
}

/// Frees a config. NULL is fine. Any thread, once no thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_config_free(config: *mut zoa_config) {
    guard(|| {
        // SAFETY: the caller gives NULL or a config that nobody uses any more.
        drop(unsafe { take::<ConfigBox>(config.cast()) });
        Ok(())
    });
}
