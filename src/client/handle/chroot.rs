//! A prefix that a client does not see.

use std::borrow::Cow;

/// A path under which all paths of a client lie; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chroot(String);

impl Chroot {
    /// From what a user wrote: `/app`; `/` and the empty text are none. `None` when it is no path.
    pub fn new(path: &str) -> Option<Chroot> {
        match path {
            "" | "/" => Some(Chroot::default()),
            path if crate::path::is_valid(path) => Some(Chroot(path.to_owned())),
            _ => None,
        }
    }

    /// The server's name for a client's path.
    pub fn outer<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match (self.0.as_str(), path) {
            ("", path) => Cow::Borrowed(path),
            (prefix, "/") => Cow::Owned(prefix.to_owned()),
            (prefix, path) => Cow::Owned(format!("{prefix}{path}")),
        }
    }

    /// The client's name for a server's path; one that lies elsewhere stays as it is.
    pub fn inner<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.0.as_str()) {
            _ if self.0.is_empty() => path,
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_out_and_come_back() {
        let chroot = Chroot::new("/app").unwrap();
        for path in ["/", "/a", "/a/b", "/app"] {
            assert_eq!(chroot.inner(&chroot.outer(path)), path);
        }
        assert_eq!(chroot.outer("/"), "/app");
        assert_eq!(chroot.inner("/apple"), "/apple", "a neighbour is not inside");
        assert_eq!(Chroot::new("/").unwrap().outer("/a"), "/a");
        assert_eq!(Chroot::new("app"), None);
    }

    #[test]
    fn what_events_tell_is_inside_or_whole() {
        // SC-64: never a piece of a path, whatever the server tells of what lies elsewhere.
        let chroot = Chroot::new("/app/one").unwrap();
        for (told, expected) in [
            ("/app/one", "/"),
            ("/app/one/a", "/a"),
            ("/app/one/zookeeper", "/zookeeper"),
            ("/zookeeper/config", "/zookeeper/config"),
            ("/zookeeper/quota/app/one/zookeeper_limits", "/zookeeper/quota/app/one/zookeeper_limits"),
            ("/app/one-too", "/app/one-too"),
            ("/app", "/app"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(chroot.inner(told), expected, "{told:?}");
        }
        assert_eq!(Chroot::new("/zookeeper").unwrap().inner("/zookeeper/config"), "/config");
    }
}
