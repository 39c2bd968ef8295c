//! What two servers may differ in, made comparable: zxids, times, session ids.

use std::collections::HashMap;

use zoarium::records::Stat;

/// How one server counts, as far as its replies have shown.
#[derive(Default)]
pub struct Masks {
    /// Zxids spent on what the other server may spend none on, ascending.
    skipped: Vec<i64>,
    /// The highest zxid seen.
    zxid_max: i64,
    /// Session ids by the number the script gave them.
    sessions: HashMap<i64, usize>,
    /// The time of each transaction, from the first stat that shows it.
    times: HashMap<i64, i64>,
}

impl Masks {
    /// A zxid as the script counts: what was skipped does not count.
    pub fn zxid(&self, zxid: i64) -> String {
        if zxid <= 0 { zxid.to_string() } else { format!("+{}", self.relative(zxid)) }
    }

    fn relative(&self, zxid: i64) -> i64 {
        zxid - self.skipped.iter().take_while(|&&skipped| skipped <= zxid).count() as i64
    }

    /// The way back: this server's zxid for one that the script counts.
    pub fn absolute(&self, relative: i64) -> i64 {
        let mut zxid = relative;
        for &skipped in &self.skipped {
            if skipped <= zxid {
                zxid = zxid.saturating_add(1);
            }
        }
        zxid
    }

    /// The last zxid seen, as the script counts.
    pub fn now(&self) -> i64 {
        self.relative(self.zxid_max)
    }

    /// Takes note of a reply's zxid.
    pub fn saw_zxid(&mut self, zxid: i64) {
        self.zxid_max = self.zxid_max.max(zxid);
    }

    /// Counts the last zxids as skipped until `now` is reached: after a difference, so that it is not met for ever.
    pub fn fall_back_to(&mut self, now: i64) {
        let mut zxid = self.zxid_max;
        while self.now() > now {
            if !self.skipped.contains(&zxid) {
                self.skipped.push(zxid);
                self.skipped.sort_unstable();
            }
            zxid -= 1;
        }
    }

    pub fn name_session(&mut self, id: i64, number: usize) {
        self.sessions.insert(id, number);
    }

    pub fn session(&self, id: i64) -> String {
        match self.sessions.get(&id) {
            _ if id == 0 => "0".into(),
            Some(number) => format!("S{number}"),
            None => format!("{id:#x}"),
        }
    }

    pub fn stat(&mut self, stat: &Stat) -> String {
        let mut text = format!(
            "stat(c={} m={} p={} v={} cv={} av={} owner={} len={} children={}",
            self.zxid(stat.czxid),
            self.zxid(stat.mzxid),
            self.zxid(stat.pzxid),
            stat.version,
            stat.cversion,
            stat.aversion,
            self.session(stat.ephemeral_owner),
            stat.data_length,
            stat.num_children,
        );
        // Times differ, but each transaction has one, and what no transaction made has none.
        for (what, zxid, time) in [("ctime", stat.czxid, stat.ctime), ("mtime", stat.mzxid, stat.mtime)] {
            if zxid <= 0 {
                text += &format!(" {what}={time}");
            } else if *self.times.entry(zxid).or_insert(time) != time {
                text += &format!(" {what} is not that of its transaction");
            } else if time.abs_diff(now_ms()) > 3_600_000 {
                text += &format!(" {what}={time} is not of today");
            }
        }
        text + ")"
    }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_zxids_do_not_count_in_either_direction() {
        let mut masks = Masks::default();
        for zxid in 1..=9 {
            masks.saw_zxid(zxid);
        }
        masks.skipped = vec![3, 4, 8];
        let counted: Vec<_> = (1..=9).map(|zxid| masks.relative(zxid)).collect();
        assert_eq!(counted, [1, 2, 2, 2, 3, 4, 5, 5, 6]);
        let back: Vec<_> = (0..=6).map(|zxid| masks.absolute(zxid)).collect();
        assert_eq!(back, [0, 1, 2, 5, 6, 7, 9]);
        assert_eq!(masks.absolute(i64::MAX), i64::MAX);
    }

    #[test]
    fn two_times_for_one_transaction_show() {
        let mut masks = Masks::default();
        let now = now_ms();
        let stat = Stat { czxid: 1, ctime: now, mzxid: 2, mtime: now + 1, ..Stat::default() };
        assert!(!masks.stat(&stat).contains("time"));
        assert!(masks.stat(&Stat { mtime: now, ..stat }).contains("mtime is not that"));
        assert!(masks.stat(&Stat::default()).contains("ctime=0 mtime=0"));
    }
}
