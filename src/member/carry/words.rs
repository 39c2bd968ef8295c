//! What the log tells of a member's part in its ensemble.

use crate::ids::{Millis, ServerId};
use crate::zab::{RoleEnd, Silence, VotingRight};

/// A member whose vote does not count tells after so long for whom it waits, ms, and then again after this.
const SILENT_FIRST_MS: u64 = 2000;
const SILENT_EVERY_MS: u64 = 30_000;

/// When the operator is told that a member says nothing in elections, and that it votes.
pub(super) struct SilenceTelling {
    is_silent: bool,
    due: Millis,
}

impl SilenceTelling {
    /// It has said nothing yet.
    pub(super) fn new(now: Millis) -> SilenceTelling {
        SilenceTelling { is_silent: false, due: now.plus(SILENT_FIRST_MS) }
    }

    /// Whether its silence ends with this. It may fall silent again: when whom it would vote for is gone, and nobody else has that
    /// history.
    pub(super) fn ends(&mut self, is_silent: bool) -> bool {
        std::mem::replace(&mut self.is_silent, is_silent) && !is_silent
    }

    /// Whether it is to be told now for whom it waits.
    pub(super) fn is_due(&mut self, now: Millis) -> bool {
        let is_due = self.is_silent && self.due <= now;
        if is_due {
            self.due = now.plus(SILENT_EVERY_MS);
        }
        is_due
    }
}

/// What the operator is to know of a member that may not vote yet.
pub(super) fn tell_right(right: VotingRight) {
    match right {
        VotingRight::Held => {}
        VotingRight::OnceAllAreHeard => log::warn!(
            "this member's file is new: it votes once every other voter was heard, or once the leader that the others elect has \
             filled it. In a new ensemble start every member. If one will not come back, make an empty file 'initialize' in \
             dataDir, or set zookeeper.db.autocreate=true, and restart: what only lost files had is lost then"
        ),
        VotingRight::OnceFilled => log::warn!(
            "this member's file is damaged, or new with zookeeper.db.autocreate=false: it votes once the leader that the others \
             elect has filled it. A new ensemble begins with a file 'initialize' in the dataDir of each member"
        ),
    }
}

/// What a member waits for that may not vote yet.
pub(super) fn why_silent(silence: &Silence) -> String {
    match silence {
        Silence::AwaitsLeader => "it waits for a leader that the others elect".to_owned(),
        Silence::AwaitsVoters(servers) => {
            let servers: Vec<String> = servers.iter().map(ServerId::to_string).collect();
            format!("its file is new, and of the voters these were not heard yet: {}", servers.join(", "))
        }
        Silence::AwaitsHistory(zxid) => format!(
            "its file is new, and nobody who looks for a leader has zxid {zxid}, which a voter named: start that one, or make an \
             empty file 'initialize' in dataDir and restart this member; what only that voter had is lost then"
        ),
    }
}

/// Why a role ended.
pub(super) fn words(ending: &RoleEnd) -> String {
    match ending {
        RoleEnd::NoQuorum => "this member leads no longer: too few followers".to_owned(),
        RoleEnd::CounterUsedUp => "this member leads no longer: a new epoch is needed".to_owned(),
        RoleEnd::OthersPasswords => {
            "this member leads no longer: a member of ZooKeeper's has come, and from the next epoch on sessions get \
             passwords that it takes"
                .to_owned()
        }
        RoleEnd::PromisedHigher { server, epoch } => {
            format!(
                "this member leads no longer: server {server} has accepted epoch {epoch}, and one above it is needed"
            )
        }
        RoleEnd::LeaderLost(why) => format!("the leader is lost ({why:?})"),
        RoleEnd::LeaderBroke(why) => format!("the leader is left: {why}"),
        RoleEnd::CannotTruncate => {
            "this member's log cannot be made to end where the leader's does: it asks for the whole state".to_owned()
        }
        RoleEnd::Reconfigured { leader: Some(leader) } => {
            format!("another configuration is in force, in which server {leader} leads this member")
        }
        RoleEnd::Reconfigured { leader: None } => {
            "another configuration is in force, in which this member or its leader is something else".to_owned()
        }
        RoleEnd::DiskFailed => "what the leader asked for could not be carried out on this member's file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;
    use crate::zab::Leaving;

    #[test]
    fn each_end_of_a_role_has_words_of_its_own_which_name_who_leads() {
        let all = [
            RoleEnd::NoQuorum,
            RoleEnd::CounterUsedUp,
            RoleEnd::OthersPasswords,
            RoleEnd::LeaderLost(Leaving::Silent),
            RoleEnd::LeaderLost(Leaving::Lagging),
            RoleEnd::LeaderBroke("a proposal out of order"),
            RoleEnd::CannotTruncate,
            RoleEnd::Reconfigured { leader: Some(ServerId(7)) },
            RoleEnd::Reconfigured { leader: None },
            RoleEnd::DiskFailed,
            RoleEnd::PromisedHigher { server: ServerId(7), epoch: 9 },
        ];
        let mut told: Vec<String> = all.iter().map(words).collect();
        assert!(told[5].contains("a proposal out of order") && told[7].contains("server 7"), "{told:?}");
        assert!(told.iter().all(|line| line.len() > 20), "{told:?}");
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), all.len());
    }

    #[test]
    fn for_whom_a_silent_member_waits_is_told_after_two_seconds_and_each_half_minute_and_once_that_it_votes() {
        let mut telling = SilenceTelling::new(Millis(500));
        assert!(!telling.ends(false) && !telling.is_due(Millis(9000)), "it has a voice");
        assert!(!telling.ends(true) && !telling.ends(true));
        let told: Vec<u64> = (500..70_000).step_by(500).filter(|now| telling.is_due(Millis(*now))).collect();
        assert_eq!(told, [2500, 32_500, 62_500]);
        assert!(telling.ends(false) && !telling.ends(false));
        assert!(!telling.is_due(Millis(200_000)));
        assert!(!telling.ends(true) && telling.is_due(Millis(200_000)));
    }

    #[test]
    fn a_member_that_may_not_vote_names_what_it_waits_for() {
        assert!(why_silent(&Silence::AwaitsLeader).contains("leader"));
        assert!(why_silent(&Silence::AwaitsVoters(vec![ServerId(2), ServerId(5)])).ends_with("2, 5"));
        assert!(why_silent(&Silence::AwaitsHistory(Zxid::new(3, 9))).contains("0x300000009"));
    }
}
