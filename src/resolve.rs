//! Looking up names, which may take long, beside the loop that needs the addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

/// What a look-up found, or why it found nothing.
pub(crate) type LookupResult = Result<Vec<IpAddr>, String>;

/// Look-ups under way. There is one thread per name at most, for as long as the system's resolver takes; it has no way
/// of being stopped.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    waiting: BTreeMap<String, Vec<usize>>,
}

impl Lookups {
    /// Looks up `name` for the connection with this number; `done` is called on another thread. `Some` when that cannot
    /// even begin. A name that is being looked up already is not asked for again: its answer is for all who asked.
    pub(crate) fn ask(
        &mut self,
        name: &str,
        id: usize,
        done: impl FnOnce(LookupResult) + Send + 'static,
    ) -> Option<LookupResult> {
        if let Some(waiting) = self.waiting.get_mut(name) {
            // A resolver that hangs is asked again and again by clients that redial.
            if !waiting.contains(&id) {
                waiting.push(id);
            }
            return None;
        }
        let asked = name.to_owned();
        let begun = std::thread::Builder::new().name("zoarium-resolve".to_owned()).spawn(move || done(look_up(&asked)));
        match begun {
            Ok(_) => {
                self.waiting.insert(name.to_owned(), vec![id]);
                None
            }
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// The askers of a name that was found, or was not.
    pub(crate) fn answered(&mut self, name: &str) -> Vec<usize> {
        self.waiting.remove(name).unwrap_or_default()
    }
}

fn look_up(name: &str) -> LookupResult {
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    match addresses.is_empty() {
        true => Err("it has none".to_owned()),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_once_for_all_who_ask() {
        let mut lookups = Lookups::default();
        let (sender, receiver) = std::sync::mpsc::channel();
        assert!(lookups.ask("localhost", 1, move |found| sender.send(found).unwrap()).is_none());
        assert!(lookups.ask("localhost", 2, |_| unreachable!()).is_none());
        assert!(lookups.ask("localhost", 2, |_| unreachable!()).is_none());
        let found = receiver.recv().unwrap().unwrap();
        assert!(found.iter().all(|address| address.is_loopback()), "{found:?}");
        assert_eq!(lookups.answered("localhost"), [1, 2]);
        assert!(lookups.answered("localhost").is_empty());
    }
}
