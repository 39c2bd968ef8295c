//! Folders for files that must not be lost with them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder and what is missing above it, readable by the owner only, like the file. Each name is synced into the
/// folder that holds it: else a power cut could take the file away with the folder.
///
/// # Errors
/// What the operating system refuses.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    make_synced(folder, &mut |made_in| File::open(made_in)?.sync_all())
}

fn make_synced(folder: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let here = Path::new(".");
    let above = folder.parent().map(|above| if above.as_os_str().is_empty() { here } else { above });
    if let Some(above) = above.filter(|above| !above.exists()) {
        make_synced(above, sync)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        // Somebody else was quicker, or the name ends in `..`.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => above.map_or(Ok(()), sync),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_that_is_made_is_synced_into_the_one_above() {
        let base = std::env::temp_dir().join(format!("zoarium-folders-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let mut synced = Vec::new();
        let mut sync = |folder: &Path| {
            synced.push(folder.to_owned());
            Ok(())
        };
        make_synced(&base.join("a/b/c"), &mut sync).unwrap();
        make_synced(&base.join("a/b/d"), &mut sync).unwrap();
        make_synced(&base.join("a/b/d"), &mut sync).unwrap();
        assert_eq!(synced, [base.clone(), base.join("a"), base.join("a/b"), base.join("a/b")]);
        let refused = make_synced(&base.join("e/f"), &mut |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        std::fs::write(base.join("file"), []).unwrap();
        assert_eq!(make_folder(&base.join("file")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(make_folder(&base.join("file/below")).is_err());
        std::fs::remove_dir_all(&base).unwrap();
    }
}
