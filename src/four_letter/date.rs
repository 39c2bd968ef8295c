//! Dates of the civil calendar, in UTC, from milliseconds.

use crate::ids::WallMillis;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
// Day 0 of 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment of the civil calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, 1970 is 1970.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59; there are no leap seconds in these milliseconds.
    pub second: u32,
    /// Days since Thursday, 1 January 1970.
    days: i64,
}

/// The civil date of `moment`.
pub fn civil(moment: WallMillis) -> Civil {
    let seconds = moment.0.div_euclid(1000);
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is a year's last; 400 years have 146,097 days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    Civil {
        year: era * 400 + year_of_era + i64::from(month <= 2),
        month: month as u32,
        day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u32,
        hour: (second_of_day / 3600) as u32,
        minute: (second_of_day / 60 % 60) as u32,
        second: (second_of_day % 60) as u32,
        days,
    }
}

/// `moment` as Java's `Date` prints it: `Fri Nov 20 12:47:54 UTC 2026`.
pub fn java_date(moment: WallMillis) -> String {
    let Civil { year, month, day, hour, minute, second, days } = civil(moment);
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_printed_as_java_prints_them() {
        let check = |ms: i64, expected: &str| assert_eq!(java_date(WallMillis(ms)), expected);
        check(0, "Thu Jan 01 00:00:00 UTC 1970");
        check(-1, "Wed Dec 31 23:59:59 UTC 1969");
        check(951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000");
        check(1_709_251_199_999, "Thu Feb 29 23:59:59 UTC 2024");
        check(1_795_178_874_000, "Fri Nov 20 12:47:54 UTC 2026");
        check(4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100");
        check(253_402_300_799_000, "Fri Dec 31 23:59:59 UTC 9999");
    }

    #[test]
    fn days_follow_each_other_through_eight_centuries() {
        let days_in = |year: i64, month: u32| match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..800 * 365 {
            let found = civil(WallMillis(days * 86_400_000));
            assert_eq!((found.year, found.month, found.day), (year, month, day), "day {days}");
            day += 1;
            if day > days_in(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
