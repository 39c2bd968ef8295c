//! How many new sessions an address may begin.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ids::Millis;

/// New sessions per address lately: a bucket of tokens each.
#[derive(Default)]
pub(super) struct Arrivals {
    tokens: BTreeMap<IpAddr, (Millis, u64)>,
    /// When the full buckets were last forgotten.
    swept: Millis,
}

impl Arrivals {
    /// Takes a token; false if the address has to wait.
    pub(super) fn admit(&mut self, now: Millis, address: IpAddr, per_second: u64, burst: u64) -> bool {
        // Once a second: with many addresses a look at all of them for each would be what makes a flood succeed.
        if self.tokens.len() > 10_000 && now.since(self.swept) >= 1000 {
            self.swept = now;
            // Full again after this long, so nothing is forgotten.
            let refill_ms = burst * 1000 / per_second.max(1);
            self.tokens.retain(|_, (at, _)| now.since(*at) < refill_ms);
        }
        // Counted in thousandths, so that a millisecond's worth is not lost.
        let (at, tokens) = self.tokens.entry(address).or_insert((now, burst * 1000));
        *tokens = (*tokens + now.since(*at) * per_second).min(burst * 1000);
        *at = now;
        let admitted = *tokens >= 1000;
        if admitted {
            *tokens -= 1000;
        }
        admitted
    }

    /// Addresses that are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_sessions_is_admitted_and_then_a_rate() {
        //
        let mut arrivals = Arrivals::default();
        let address = "10.0.0.1".parse().unwrap();
        let admitted = (0..50).filter(|_| arrivals.admit(Millis(0), address, 10, 20)).count();
        assert_eq!(admitted, 20);
        assert!(!arrivals.admit(Millis(99), address, 10, 20));
        assert!(arrivals.admit(Millis(100), address, 10, 20));
        assert!(!arrivals.admit(Millis(100), address, 10, 20));
        assert!(arrivals.admit(Millis(100), "10.0.0.2".parse().unwrap(), 10, 20), "others do not wait");
    }

    #[test]
    fn addresses_that_may_begin_a_burst_again_are_forgotten_once_a_second_at_most() {
        // a look at all of them for each that comes would be what makes a flood succeed.
        let mut arrivals = Arrivals::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        // A burst is full again after two seconds.
        let mut admit = |now: u64, number: u32| {
            arrivals.admit(Millis(now), address(number), 10, 20);
            arrivals.len()
        };
        (0..10_001).for_each(|number| assert_eq!(admit(3600, number), number as usize + 1));
        assert_eq!(admit(5000, 20_000), 10_002, "none is full yet");
        assert_eq!(admit(5900, 20_001), 10_003, "they were looked at less than a second ago");
        assert_eq!(admit(6000, 20_002), 3);
        assert_eq!(admit(9000, 20_003), 4, "so few may stay");
    }
}
