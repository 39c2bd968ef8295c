//! Learners that lack more than memory holds: the log is read to them, or the state is sent, a piece at a time and as
//! their connections take it.

use std::collections::BTreeMap;

use super::{EngineSeat, Host, MemberFailure, MemberParts};
use crate::engine::Retelling;
use crate::ids::{LinkId, Zxid};
use crate::store::{LogCursor, Store, StoreError};
use crate::zab::ZabEvent;

/// Bytes of the log that are read at once.
const READ_MAX: usize = 256 << 10;
/// Bytes of the state that are handed over at once.
const PIECE_SIZE: usize = 256 << 10;
/// No more is given to a connection that has so many bytes to send.
const OUTPUT_MAX: usize = 1 << 20;

enum Feed {
    /// The log is asked for what follows.
    Read {
        after: Zxid,
        cursor: Option<LogCursor>,
    },
    /// It was given a piece; if it wants another, that is asked for at once.
    Given {
        cursor: LogCursor,
    },
    /// It is to be given the state.
    Open,
    /// The state is there and its stream not asked for yet.
    Opened(Retelling),
    Stream(Retelling),
}

/// Everybody who is being fed.
#[derive(Default)]
pub(super) struct Feeding {
    feeds: BTreeMap<LinkId, Feed>,
}

impl Feeding {
    /// Reads the log for a learner from behind `after`.
    pub(super) fn read(&mut self, link: LinkId, after: Zxid) {
        let cursor = match self.feeds.remove(&link) {
            Some(Feed::Given { cursor } | Feed::Read { cursor: Some(cursor), .. }) => Some(cursor),
            _ => None,
        };
        self.feeds.insert(link, Feed::Read { after, cursor });
    }

    /// Makes the state ready for a learner.
    pub(super) fn open_snapshot(&mut self, link: LinkId) {
        self.feeds.insert(link, Feed::Open);
    }

    /// Sends it.
    pub(super) fn stream_snapshot(&mut self, link: LinkId) {
        if let Some(Feed::Opened(retelling)) = self.feeds.remove(&link) {
            self.feeds.insert(link, Feed::Stream(retelling));
        }
    }

    /// The learner is gone.
    pub(super) fn forget(&mut self, store: &mut Store, link: LinkId) {
        if let Some(feed) = self.feeds.remove(&link) {
            close(store, feed);
        }
    }

    /// All are.
    pub(super) fn clear(&mut self, store: &mut Store) {
        for feed in std::mem::take(&mut self.feeds).into_values() {
            close(store, feed);
        }
    }

    /// A piece for everybody who can take one; what is to be told of it.
    pub(super) fn turn<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<Vec<ZabEvent>, MemberFailure> {
        let mut events = Vec::new();
        let links: Vec<LinkId> = self.feeds.keys().copied().collect();
        for link in links {
            if host.output_len(link) >= OUTPUT_MAX {
                continue;
            }
            match self.feeds.remove(&link) {
                Some(Feed::Read { after, cursor }) => {
                    let (before, txns, cursor) = read(parts.store, after, cursor)?;
                    events.push(ZabEvent::Records { link, before, txns });
                    if let Some(cursor) = cursor {
                        self.feeds.insert(link, Feed::Given { cursor });
                    }
                }
                // It did not ask for more.
                Some(Feed::Given { cursor }) => parts.store.read_close(cursor),
                // Nobody sees half of a transaction.
                Some(Feed::Open) if parts.engine.is_applying() => {
                    self.feeds.insert(link, Feed::Open);
                }
                Some(Feed::Open) => {
                    let retelling = parts.engine.retell();
                    log::info!("sending the state at zxid {}, {} bytes", retelling.zxid(), retelling.left());
                    events.push(ZabEvent::SnapshotOpened { link, zxid: retelling.zxid() });
                    self.feeds.insert(link, Feed::Opened(retelling));
                }
                Some(Feed::Stream(mut retelling)) => {
                    let left = retelling.left();
                    while host.output_len(link) < OUTPUT_MAX
                        && let Some(piece) = retelling.next_piece(PIECE_SIZE)
                    {
                        host.send_raw(link, piece.to_vec());
                    }
                    match retelling.left() {
                        0 => events.push(ZabEvent::SnapshotStreamed { link }),
                        _ => {
                            if retelling.left() < left {
                                events.push(ZabEvent::StateMoves { link });
                            }
                            self.feeds.insert(link, Feed::Stream(retelling));
                        }
                    }
                }
                Some(opened @ Feed::Opened(_)) => drop(self.feeds.insert(link, opened)),
                None => {}
            }
        }
        Ok(events)
    }
}

fn close(store: &mut Store, feed: Feed) {
    if let Feed::Read { cursor: Some(cursor), .. } | Feed::Given { cursor } = feed {
        store.read_close(cursor);
    }
}

type LogPiece = (Option<Zxid>, Vec<(Zxid, crate::zab::Payload)>, Option<LogCursor>);

fn read(store: &mut Store, after: Zxid, cursor: Option<LogCursor>) -> Result<LogPiece, MemberFailure> {
    let (before, mut cursor) = match cursor {
        Some(cursor) if cursor.upto() == after => (after, cursor),
        other => {
            if let Some(stale) = other {
                store.read_close(stale);
            }
            match store.read_open(after)? {
                Some(cursor) => (cursor.before(), cursor),
                None => return Ok((None, Vec::new(), None)),
            }
        }
    };
    match store.read(&mut cursor, READ_MAX) {
        Ok(txns) => Ok((Some(before), txns, Some(cursor))),
        // It took too long, or the room was needed.
        Err(StoreError::LogReleased) => {
            store.read_close(cursor);
            Ok((None, Vec::new(), None))
        }
        Err(error) => Err(error.into()),
    }
}
