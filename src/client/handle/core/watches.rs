//! Registering watches again after a reconnect, in frames that every server accepts.

use crate::client::handle::transport::{SizeLimit, WatchedPaths};
use crate::jute::{Text, encode, encoded};
use crate::records::OpCode;
use crate::records::requests::{PersistentWatches, SetWatchesRequest};

/// Bytes of paths in one request. A server's limit on frames is 1 MiB unless configured smaller; ZooKeeper's own client
/// splits here.
const PATHS_SIZE_MAX: usize = 128 << 10;

/// The `setWatches` requests that register `watched` on a new connection: operation and record of each.
///
/// `last_zxid` is the highest the session has seen: what changed after it is told at once instead of being watched.
/// Persistent watches ask for `setWatches2`, which servers before 3.6 do not have; without them it is not used.
pub(super) fn set_watches(last_zxid: i64, watched: &WatchedPaths, limit: SizeLimit) -> Vec<(OpCode, Vec<u8>)> {
    // What is around the paths takes less than half of the smallest frame that servers may be limited to.
    let size_max = PATHS_SIZE_MAX.min(limit.bytes() as usize / 2);
    let lists = [&watched.data, &watched.exist, &watched.child, &watched.persistent, &watched.recursive];
    let mut all =
        lists.iter().enumerate().flat_map(|(list, paths)| paths.iter().map(move |path| (list, path.as_str())));
    let mut requests = Vec::new();
    let mut next = all.next();
    while next.is_some() {
        let mut chunk: [Vec<Text<'_>>; 5] = Default::default();
        let mut size = 0;
        while let Some((list, path)) = next {
            if size > 0 && size + path.len() > size_max {
                break;
            }
            size += path.len() + 4;
            chunk[list].push(path.into());
            next = all.next();
        }
        let [data, exist, child, persistent, recursive] = chunk;
        let needs_two = !persistent.is_empty() || !recursive.is_empty();
        let mut body = encoded(&SetWatchesRequest { relative_zxid: last_zxid, data, exist, child });
        if needs_two {
            encode(&PersistentWatches { persistent, recursive }, &mut body);
        }
        requests.push((if needs_two { OpCode::SetWatches2 } else { OpCode::SetWatches }, body));
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Decoder;

    const NO_LIMIT: SizeLimit = SizeLimit::Queue(u32::MAX);

    #[test]
    fn requests_stay_below_a_small_limit() {
        let data = (0..100).map(|n| format!("/{n:060}")).collect::<Vec<_>>();
        let watched = WatchedPaths { data, ..WatchedPaths::default() };
        for (_, body) in set_watches(7, &watched, SizeLimit::Server(1024)) {
            assert!(body.len() + 8 <= 1024, "{}", body.len());
        }
    }

    #[test]
    fn nothing_watched_asks_for_nothing() {
        assert!(set_watches(7, &WatchedPaths::default(), NO_LIMIT).is_empty());
    }

    #[test]
    fn many_watches_are_split_and_none_is_lost() {
        let paths = |kind: &str| (0..5000).map(|n| format!("/{kind}/{n:060}")).collect::<Vec<_>>();
        let watched = WatchedPaths { data: paths("d"), recursive: paths("r"), ..WatchedPaths::default() };
        let requests = set_watches(7, &watched, NO_LIMIT);
        assert!(requests.len() > 4, "{}", requests.len());
        let (mut data, mut recursive) = (Vec::new(), Vec::new());
        for (op, body) in &requests {
            assert!(body.len() < PATHS_SIZE_MAX + 1000, "{}", body.len());
            let mut decoder = Decoder::new(body);
            let one: SetWatchesRequest<'_> = decoder.read().unwrap();
            assert_eq!(one.relative_zxid, 7);
            data.extend(one.data.iter().map(|path| path.as_str().to_owned()));
            if *op == OpCode::SetWatches2 {
                let two: PersistentWatches<'_> = decoder.read().unwrap();
                recursive.extend(two.recursive.iter().map(|path| path.as_str().to_owned()));
            }
        }
        assert_eq!((data, recursive), (watched.data, watched.recursive));
    }
}
