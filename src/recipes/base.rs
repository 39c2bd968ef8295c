//! What recipes have in common: trying again, and leaving nothing behind.

use std::sync::{Arc, Weak};

use crate::Error;
use crate::client::handle::Reply;
use crate::client::{AsyncClient, ClientSession};
use crate::error::{Code, Failure};
use crate::records::Stat;

/// Failures that pass with the connection they came from. A request that finds no connection waits for one, so trying again
/// is no busy loop.
pub(super) fn is_passing(error: &Error) -> bool {
    is_passing_code(error.code())
}

pub(super) fn is_passing_code(code: Code) -> bool {
    matches!(code, Code::ConnectionLoss | Code::OperationTimeout | Code::SessionMoved)
}

/// Makes a call that does no harm when it is made twice, until the connection lasts long enough for its answer.
pub(super) async fn persist<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match call().await {
            Err(error) if is_passing(&error) => {}
            other => return other,
        }
    }
}

/// A recipe's path: with a slash in front and none behind.
pub(super) fn clean(path: &str) -> String {
    format!("/{}", path.trim_matches('/'))
}

/// The path of a child.
pub(super) fn below(path: &str, name: &str) -> String {
    format!("{}/{name}", path.trim_end_matches('/'))
}

/// What the children of a path have as their data, of those whose names are wanted, in no order.
pub(super) async fn texts_below(
    client: &AsyncClient,
    path: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Error> {
    let names = names_below(client, path).await?;
    texts_of(client, path, names.iter().map(String::as_str).filter(|name| is_wanted(name))).await
}

/// The data of these children, but for those that are gone.
pub(super) async fn texts_of<'a>(
    client: &AsyncClient,
    path: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for name in names {
        match persist(async || client.get(&below(path, name)).await).await {
            Ok((data, _)) => found.push(String::from_utf8_lossy(&data).into_owned()),
            Err(error) if error.code() == Code::NoNode => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The names of the children of a path; none where there is no such znode.
pub(super) async fn names_below(client: &AsyncClient, path: &str) -> Result<Vec<String>, Error> {
    match persist(async || client.children(path).await).await {
        Err(error) if error.code() == Code::NoNode => Ok(Vec::new()),
        names => names,
    }
}

/// A name that nobody else has.
pub(super) fn unique() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::because(Code::System, error.to_string()).not_done())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The number at the end of a sequential znode's name, and what stands before it: ten digits, or a minus and ten.
pub(super) fn split_number(name: &str) -> Option<(&str, i32)> {
    let digits = name.len().checked_sub(10)?;
    let (front, number) = (name.get(..digits)?, name.get(digits..)?);
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A counter that wrapped round has a minus in front of as many digits; else a dash belongs to the name.
    match front.strip_suffix('-').filter(|front| front.ends_with("__")) {
        Some(front) => Some((front, format!("-{number}").parse().ok()?)),
        None => Some((front, number.parse().ok()?)),
    }
}

/// Whether one sequence number was given out before another; they are counted in 32 bits and wrap round.
pub(super) fn comes_before(one: i32, other: i32) -> bool {
    one.wrapping_sub(other) < 0
}

/// Deletes znodes of one's own for certain: again after every lost connection, for as long as the session lives. Nobody has
/// to wait for it.
pub(super) struct Removal {
    session: Weak<ClientSession>,
    path: String,
    what: What,
}

enum What {
    /// The one of this name.
    Name(String),
    /// Those whose names begin so: what to do when it is not known whether a create has happened.
    Prefix(String),
    /// The one of this name, if it has this data: else it is somebody else's.
    Marked(String, Vec<u8>),
}

impl Removal {
    pub(super) fn of_name(client: &AsyncClient, path: &str, name: &str) {
        Removal::begin(client, path, What::Name(name.to_owned()));
    }

    pub(super) fn of_prefix(client: &AsyncClient, path: &str, prefix: &str) {
        Removal::begin(client, path, What::Prefix(prefix.to_owned()));
    }

    pub(super) fn of_mark(client: &AsyncClient, path: &str, name: &str, mark: &[u8]) {
        Removal::begin(client, path, What::Marked(name.to_owned(), mark.to_vec()));
    }

    fn begin(client: &AsyncClient, path: &str, what: What) {
        let session = Arc::downgrade(&client.session);
        Arc::new(Removal { session, path: path.to_owned(), what }).go_on();
    }

    fn go_on(self: Arc<Removal>) {
        // Without a session they are gone.
        let Some(session) = self.session.upgrade() else { return };
        match &self.what {
            What::Name(name) => {
                let again = Arc::clone(&self);
                session.submit_delete(&below(&self.path, name), move |reply| again.deleted(reply));
            }
            What::Prefix(_) => {
                let listed = Arc::clone(&self);
                session.submit_names(&self.path, move |names| listed.listed(names));
            }
            What::Marked(name, _) => {
                let got = Arc::clone(&self);
                session.submit_get(&below(&self.path, name), move |found| got.got(found));
            }
        }
    }

    fn listed(self: Arc<Removal>, names: Result<Vec<String>, Error>) {
        let (Some(session), What::Prefix(prefix)) = (self.session.upgrade(), &self.what) else { return };
        match names {
            Ok(names) => {
                for name in names.iter().filter(|name| name.starts_with(prefix)) {
                    let again = Arc::clone(&self);
                    session.submit_delete(&below(&self.path, name), move |reply| again.deleted(reply));
                }
            }
            Err(error) if is_passing(&error) => Arc::clone(&self).go_on(),
            Err(_) => {}
        }
    }

    fn got(self: Arc<Removal>, found: Result<(Vec<u8>, Stat), Error>) {
        let (Some(session), What::Marked(name, mark)) = (self.session.upgrade(), &self.what) else { return };
        match found {
            Ok((data, _)) if data == *mark => {
                let again = Arc::clone(&self);
                session.submit_delete(&below(&self.path, name), move |reply| again.deleted(reply));
            }
            Err(error) if is_passing(&error) => Arc::clone(&self).go_on(),
            Ok(_) | Err(_) => {}
        }
    }

    fn deleted(self: Arc<Removal>, reply: &Reply) {
        if is_passing_code(Code::from(reply.code)) {
            self.go_on();
        }
    }
}

/// Removes what an attempt may have left, unless that has succeeded.
pub(super) struct Undo<'a> {
    pub(super) client: &'a AsyncClient,
    pub(super) path: &'a str,
    pub(super) prefix: &'a str,
    pub(super) is_due: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.is_due {
            Removal::of_prefix(self.client, self.path, self.prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_wrap_round() {
        assert_eq!(split_number("x__lock__0000000007"), Some(("x__lock__", 7)));
        assert_eq!(split_number("x__lock__-2147483648"), Some(("x__lock__", i32::MIN)));
        assert_eq!(split_number("entry-100-0000000003"), Some(("entry-100-", 3)));
        assert_eq!(split_number("ready"), None);
        assert_eq!(split_number("é23456789"), None);
        assert!(comes_before(7, 8) && !comes_before(8, 7) && comes_before(i32::MAX, i32::MIN));
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!((clean("locks/a/"), clean("/")), ("/locks/a".to_owned(), "/".to_owned()));
        assert_eq!((below("/a", "b"), below("/", "b")), ("/a/b".to_owned(), "/b".to_owned()));
    }
}
