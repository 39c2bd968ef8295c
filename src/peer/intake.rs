//! What a turn takes in from clients, and the end of sessions whose clients sent nothing.

use super::hearing::Intake;
use super::{LISTENERS_MAX, Peer};
use crate::engine::ConnId;
use crate::ids::Millis;

impl Peer {
    /// Accepts, reads, decides; then ends the sessions of clients that have been silent for too long, if that is known by now.
    ///
    /// `has_connections`: a listening socket reported some. `events`: how many were reported, and whether there may be more.
    pub(super) fn take_in(&mut self, has_connections: bool, events: (usize, bool), now: Millis) {
        let is_due = self.member.engine.silence_is_due();
        let mut intake = Intake {
            sockets: self.listening.counts.all() + self.lingering.len() + LISTENERS_MAX,
            events: events.0,
            more_events: events.1,
            ..Intake::default()
        };
        if has_connections || is_due || self.listening.wants_retry(now) {
            (intake.accepted, intake.more_connections) = self.accept(now);
        }
        (intake.in_line, intake.read) = self.serve_input(now);
        self.serve_locals();
        self.gather_locals();
        self.member.engine.go_on();
        if self.hearing.is_complete(is_due, intake) {
            let links = &self.links;
            self.member.engine.tick_hearing(&mut |conn: ConnId| match links.get(conn.slot as usize) {
                Some(Some(link)) => link.conn == conn && link.has_unheard(),
                _ => false,
            });
        } else {
            self.member.engine.tick_unheard();
        }
    }
}
