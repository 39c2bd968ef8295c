//! What the operating system answered, by the name under which manuals and search engines know it.

use std::fmt;
use std::io;

/// An answer of the operating system. Its number is kept, because not every number has a kind of its own: a device's
/// read error (EIO) has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OsError {
    /// What kind it is.
    pub kind: io::ErrorKind,
    /// Its number, when it came from the system itself.
    pub errno: Option<i32>,
}

impl From<&io::Error> for OsError {
    fn from(error: &io::Error) -> OsError {
        OsError { kind: error.kind(), errno: error.raw_os_error() }
    }
}

impl fmt::Display for OsError {
    /// As `Input/output error (EIO)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(errno) = self.errno else { return self.kind.fmt(f) };
        let text = io::Error::from_raw_os_error(errno).to_string();
        match name(errno) {
            Some(name) => write!(f, "{} ({name})", text.split(" (os error").next().unwrap_or(&text)),
            None => f.write_str(&text),
        }
    }
}

/// The text for an error of the system, by its name; of any other error its own text.
pub fn os_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => OsError::from(error).to_string(),
        None => error.to_string(),
    }
}

fn name(errno: i32) -> Option<&'static str> {
    NAMES.iter().find(|(number, _)| *number == errno).map(|(_, name)| *name)
}

/// What files, folders and sockets answer with.
const NAMES: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::EBADF, "EBADF"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENFILE, "ENFILE"),
    (libc::EMFILE, "EMFILE"),
    (libc::ETXTBSY, "ETXTBSY"),
    (libc::EFBIG, "EFBIG, see ulimit -f"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::EPIPE, "EPIPE"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENOLCK, "ENOLCK"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ELOOP, "ELOOP"),
    (libc::EOVERFLOW, "EOVERFLOW"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    (libc::EADDRINUSE, "EADDRINUSE"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::ENETUNREACH, "ENETUNREACH"),
    (libc::ECONNRESET, "ECONNRESET"),
    (libc::ENOBUFS, "ENOBUFS"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH"),
    (libc::ESTALE, "ESTALE"),
    (libc::EDQUOT, "EDQUOT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_shown_by_its_name() {
        let shown = |errno: i32| OsError::from(&io::Error::from_raw_os_error(errno)).to_string();
        assert_eq!(shown(libc::EIO), "Input/output error (EIO)");
        assert_eq!(shown(libc::ENOSPC), "No space left on device (ENOSPC)");
        assert!(shown(4242).ends_with("(os error 4242)"));
        for (errno, name) in NAMES {
            assert!(shown(*errno).ends_with(&format!("({name})")), "{name}");
        }
        assert_eq!(OsError::from(&io::Error::from(io::ErrorKind::UnexpectedEof)).to_string(), "unexpected end of file");
        assert_eq!(
            os_text(&io::Error::other("missing, and datadir.autocreate is false")),
            "missing, and datadir.autocreate is false"
        );
    }
}
