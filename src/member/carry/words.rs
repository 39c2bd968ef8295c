//! What the log tells of a member's part in its ensemble.

use crate::ids::ServerId;
use crate::zab::{RoleEnd, Silence, VotingRight};

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
    fn a_member_that_may_not_vote_names_what_it_waits_for() {
        assert!(why_silent(&Silence::AwaitsLeader).contains("leader"));
        assert!(why_silent(&Silence::AwaitsVoters(vec![ServerId(2), ServerId(5)])).ends_with("2, 5"));
        assert!(why_silent(&Silence::AwaitsHistory(Zxid::new(3, 9))).contains("0x300000009"));
    }
}
