//! Learners that lack more than memory holds: the log is read to them, or the state is sent, a piece at a time and as
//! their connections take it.

use std::collections::BTreeMap;

use super::{EngineSeat, Host, MemberFailure, MemberParts};
use crate::engine::{Retelling, Walked};
use crate::ids::{LinkId, Zxid};
use crate::store::{LogCursor, Store, StoreError};
use crate::zab::ZabEvent;

/// Bytes of the log that are read at once.
const READ_MAX: usize = 256 << 10;
/// Bytes of the state that are handed over at once.
const PIECE_SIZE: usize = 64 << 10;
/// Znodes looked at before the clock is.
const STEPS: usize = 64;
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
    /// The state is kept as it was then, and its stream not asked for yet.
    Opened(Retelling),
    Stream(Retelling),
}

impl Feed {
    /// Whether it goes on as soon as its connection takes more.
    fn goes_on(&self) -> bool {
        matches!(self, Feed::Read { .. } | Feed::Stream(_))
    }
}

/// All learners that are being fed.
#[derive(Default)]
pub(super) struct Feeding {
    feeds: BTreeMap<LinkId, Feed>,
    /// The learner that was fed last, so that the next is another one where there is not time for all.
    last: Option<LinkId>,
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
    pub(super) fn forget<S: EngineSeat>(&mut self, parts: &mut MemberParts<'_, S>, link: LinkId) {
        if let Some(feed) = self.feeds.remove(&link) {
            close(parts, feed);
        }
    }

    /// All are.
    pub(super) fn clear<S: EngineSeat>(&mut self, parts: &mut MemberParts<'_, S>) {
        for feed in std::mem::take(&mut self.feeds).into_values() {
            close(parts, feed);
        }
    }

    /// Whether somebody can be fed at once.
    pub(super) fn goes_on(&self, host: &impl Host) -> bool {
        self.feeds.iter().any(|(link, feed)| feed.goes_on() && host.output_len(*link) < OUTPUT_MAX)
    }

    /// A piece for each learner that can take one, until `until_us`; what is to be told of it.
    pub(super) fn turn<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
        until_us: u64,
    ) -> Result<Vec<ZabEvent>, MemberFailure> {
        let mut events = Vec::new();
        let mut links: Vec<LinkId> = self.feeds.keys().copied().collect();
        let behind = links.iter().position(|link| Some(*link) > self.last).unwrap_or(0);
        links.rotate_left(behind);
        for link in links {
            if host.output_len(link) >= OUTPUT_MAX {
                continue;
            }
            if host.now_us() >= until_us {
                break;
            }
            self.last = Some(link);
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
                Some(Feed::Open) => match parts.engine.retell_begin() {
                    Some(retelling) => {
                        log::info!("sending the state at zxid {}", retelling.zxid());
                        events.push(ZabEvent::SnapshotOpened { link, zxid: retelling.zxid() });
                        self.feeds.insert(link, Feed::Opened(retelling));
                    }
                    // Others are being sent it: their turn first.
                    None => drop(self.feeds.insert(link, Feed::Open)),
                },
                Some(Feed::Stream(mut retelling)) => match stream(parts, host, link, &mut retelling, until_us) {
                    Walked::Whole => events.push(ZabEvent::SnapshotStreamed { link }),
                    Walked::More => {
                        events.push(ZabEvent::StateMoves { link });
                        self.feeds.insert(link, Feed::Stream(retelling));
                    }
                    Walked::GivenUp => {
                        log::error!("the state cannot be sent any further: too much was written meanwhile");
                        host.close(link);
                        events.push(ZabEvent::Closed { link });
                    }
                },
                Some(opened @ Feed::Opened(_)) => drop(self.feeds.insert(link, opened)),
                None => {}
            }
        }
        Ok(events)
    }
}

fn close<S: EngineSeat>(parts: &mut MemberParts<'_, S>, feed: Feed) {
    match feed {
        Feed::Read { cursor: Some(cursor), .. } | Feed::Given { cursor } => parts.store.read_close(cursor),
        Feed::Opened(retelling) | Feed::Stream(retelling) => parts.engine.retell_end(&retelling),
        Feed::Read { cursor: None, .. } | Feed::Open => {}
    }
}

/// Sends as much of a state as the connection takes, until then.
fn stream<S: EngineSeat>(
    parts: &mut MemberParts<'_, S>,
    host: &mut impl Host,
    link: LinkId,
    retelling: &mut Retelling,
    until_us: u64,
) -> Walked {
    let mut piece = Vec::new();
    loop {
        let walked = parts.engine.retell_on(retelling, STEPS, PIECE_SIZE, &mut piece);
        let is_late = host.now_us() >= until_us;
        if walked != Walked::More || is_late || piece.len() >= PIECE_SIZE {
            host.send_raw(link, std::mem::take(&mut piece));
        }
        if walked != Walked::More || is_late || host.output_len(link) >= OUTPUT_MAX {
            return walked;
        }
    }
}

type LogPiece = (Option<Zxid>, Vec<(Zxid, crate::zab::Payload)>, Option<LogCursor>);

/// A piece of the log from behind `after`; nothing where the log cannot be had, and the learner is sent the state in its place.
fn read(store: &mut Store, after: Zxid, cursor: Option<LogCursor>) -> Result<LogPiece, MemberFailure> {
    match read_log(store, after, cursor) {
        Ok(piece) => Ok(piece),
        // It took too long, or the room was needed.
        Err(StoreError::LogReleased) => Ok((None, Vec::new(), None)),
        // The state in memory is whole: what is damaged here matters to this server only when it starts again.
        Err(damage @ (StoreError::Corrupt { .. } | StoreError::Io { .. })) => {
            log::error!("the log cannot be read for a learner, which is sent the state: {damage}");
            Ok((None, Vec::new(), None))
        }
        Err(error) => Err(error.into()),
    }
}

fn read_log(store: &mut Store, after: Zxid, cursor: Option<LogCursor>) -> Result<LogPiece, StoreError> {
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
        Err(error) => {
            store.read_close(cursor);
            Err(error)
        }
    }
}
