//! The committed configuration in files beside `zoo.cfg`, as ZooKeeper keeps it: `zoo.cfg.dynamic.<version>` with the servers, and
//! `zoo.cfg` naming it.
//!
//! The record in our own file decides who the members are, so nothing waits for these files and nothing is lost without them; they
//! are for people, and for Apache ZooKeeper on the same folder. They are written on a thread of their own: a disk that hangs keeps
//! no vote and no client waiting.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crate::config::dynamic::{backup_file, dynamic_file, next_file, renamed};
use crate::store::os_text;

/// One configuration to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DynamicFiles {
    /// The `zoo.cfg` beside which it is written.
    pub static_file: PathBuf,
    /// Its version.
    pub version: i64,
    /// Its lines without the version, in any order.
    pub lines: Vec<String>,
    /// The server's own line says where clients connect.
    pub has_own_client_port: bool,
}

/// Writes configurations one after the other; of those that wait only the newest is.
#[derive(Default)]
pub(super) struct DynamicWriter {
    writing: Option<JoinHandle<()>>,
    next: Option<DynamicFiles>,
}

impl DynamicWriter {
    /// Sets out to write this one.
    pub(super) fn write(&mut self, files: DynamicFiles) {
        self.next = Some(files);
        self.go_on();
    }

    /// Begins with what waits, if nothing is being written.
    pub(super) fn go_on(&mut self) {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        self.writing = None;
        let Some(files) = self.next.take() else { return };
        let again = files.clone();
        let begun = std::thread::Builder::new().name("zoarium-config".to_owned()).spawn(move || files.write());
        match begun {
            Ok(writing) => self.writing = Some(writing),
            // For want of a thread the loop does it.
            Err(_) => again.write(),
        }
    }

    /// What was given last is written when this returns.
    pub(super) fn finish(&mut self) {
        while self.writing.is_some() || self.next.is_some() {
            if let Some(writing) = self.writing.take() {
                let _ = writing.join();
            }
            self.go_on();
        }
    }
}

impl DynamicFiles {
    /// Writes it, or tells loudly why not.
    fn write(&self) {
        match self.try_write() {
            Ok(path) => log::info!("the configuration of version {:x} is in {}", self.version, path.display()),
            Err((path, why)) => log::error!(
                "{}: {why}: the configuration of version {:x} is not in the files beside {}; this server keeps it in its own file \
                 and goes on",
                path.display(),
                self.version,
                self.static_file.display()
            ),
        }
    }

    fn try_write(&self) -> Result<PathBuf, (PathBuf, String)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| (path, os_text(&error))
        };
        // The place is told to the next start, which may be in another folder.
        let static_file = fs::canonicalize(&self.static_file).map_err(at(&self.static_file))?;
        let dynamic = dynamic_file(&static_file, self.version);
        let mut lines = self.lines.clone();
        lines.sort();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if fs::read(&dynamic).ok().as_deref() != Some(text.as_bytes()) {
            replace(&dynamic, text.as_bytes(), &static_file).map_err(at(&dynamic))?;
        }
        let before = fs::read(&static_file).map_err(at(&static_file))?;
        let after = renamed(&before, &dynamic, self.has_own_client_port).map_err(|why| (static_file.clone(), why))?;
        if after != before {
            let backup = backup_file(&static_file);
            if !backup.try_exists().map_err(at(&backup))? {
                replace(&backup, &before, &static_file).map_err(at(&backup))?;
            }
            replace(&static_file, &after, &static_file).map_err(at(&static_file))?;
        }
        let next = next_file(&static_file);
        match fs::remove_file(&next) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&next)(error)),
            _ => Ok(dynamic),
        }
    }
}

/// The file is this from now on: a power cut leaves the old one or the new one, whole. Whoever may read it may read it further on; a new
/// one is as `like`.
fn replace(path: &Path, bytes: &[u8], like: &Path) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".zoarium-{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // Of an earlier life, which ended in the middle.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = (|| {
        let present = fs::metadata(path).or_else(|_| fs::metadata(like))?;
        file.set_permissions(present.permissions())?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("zoarium-dynamic-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(fs::canonicalize(folder).unwrap())
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> =
                fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(folder: &Folder, version: i64, lines: &[&str]) -> DynamicFiles {
        DynamicFiles {
            static_file: folder.0.join("zoo.cfg"),
            version,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            has_own_client_port: true,
        }
    }

    #[test]
    fn each_version_has_its_file_and_the_static_one_names_the_newest_and_is_kept_once() {
        let folder = Folder::new("written");
        let first = "tickTime=2000\nserver.1=a:1:2\nclientPort=7\n";
        fs::write(folder.0.join("zoo.cfg"), first).unwrap();
        fs::set_permissions(folder.0.join("zoo.cfg"), fs::Permissions::from_mode(0o600)).unwrap();
        // Somebody else's.
        fs::write(folder.0.join("zoo.cfg.tmp"), "mine").unwrap();
        fs::write(folder.0.join("zoo.cfg.dynamic.next"), "server.1=a:1:2\nversion=1f\n").unwrap();
        let mut writer = DynamicWriter::default();
        writer.write(files(&folder, 0x1f, &["server.2=b:1:2:participant;7", "server.1=a:1:2:participant;7"]));
        writer.finish();
        assert_eq!(folder.names(), ["zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.1f", "zoo.cfg.tmp"]);
        assert_eq!(folder.text("zoo.cfg.tmp"), "mine");
        for name in ["zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.1f"] {
            let mode = fs::metadata(folder.0.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name} may be read by others");
        }
        let named =
            |version| format!("tickTime=2000\ndynamicConfigFile={}/zoo.cfg.dynamic.{version}\n", folder.0.display());
        assert_eq!((folder.text("zoo.cfg"), folder.text("zoo.cfg.bak").as_str()), (named("1f"), first));
        let lines = "server.1=a:1:2:participant;7\nserver.2=b:1:2:participant;7\n";
        assert_eq!(folder.text("zoo.cfg.dynamic.1f"), lines);
        writer.write(files(&folder, 0x20, &["server.1=a:1:2:participant;7"]));
        writer.write(files(&folder, 0x21, &["server.3=c:1:2:participant;7"]));
        writer.finish();
        assert_eq!((folder.text("zoo.cfg"), folder.text("zoo.cfg.bak").as_str()), (named("21"), first));
        assert_eq!(folder.text("zoo.cfg.dynamic.21"), "server.3=c:1:2:participant;7\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_all_as_it_was() {
        let folder = Folder::new("refused");
        let first = "server.1=a:1:2\n";
        fs::write(folder.0.join("zoo.cfg"), first).unwrap();
        // A folder is in the way.
        fs::create_dir(folder.0.join("zoo.cfg.dynamic.5")).unwrap();
        assert!(files(&folder, 5, &["server.1=a:1:2"]).try_write().is_err());
        assert_eq!(folder.names(), ["zoo.cfg", "zoo.cfg.dynamic.5"]);
        assert_eq!(folder.text("zoo.cfg"), first);
        let missing = DynamicFiles { static_file: folder.0.join("none.cfg"), ..files(&folder, 6, &[]) };
        assert!(missing.try_write().is_err());
    }
}
