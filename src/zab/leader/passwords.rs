//! How session passwords are made in a leader's epoch.

use super::{Leader, LeaderPhase};
use crate::records::peer::HandedDown;
use crate::session::SessionPasswords;
use crate::zab::own::RoleEnd;

impl Leader {
    /// What is told of them with the epoch.
    pub(super) fn handed_down(&self) -> HandedDown {
        let passwords = self.passwords.mode.map_or(0, SessionPasswords::code);
        HandedDown { passwords, secret: self.passwords.secret.0 }
    }

    /// A member of ZooKeeper's has come. What others were told of this epoch holds until it ends.
    pub(super) fn met_others(&mut self) -> Result<(), RoleEnd> {
        if self.passwords.mode == Some(SessionPasswords::Compatible) {
            return Ok(());
        }
        if self.phase >= LeaderPhase::AwaitEpochAcks {
            return Err(RoleEnd::OthersPasswords);
        }
        self.passwords.mode = Some(SessionPasswords::Compatible);
        Ok(())
    }
}
