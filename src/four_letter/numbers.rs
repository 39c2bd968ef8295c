//! Latencies, decimals and addresses in ZooKeeper's form.

use std::net::{IpAddr, SocketAddr};

/// How long requests took, in milliseconds. Copy it to show it; a new one starts the count again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Latency {
    count: u64,
    sum_ms: u64,
    min_ms: u64,
    max_ms: u64,
}

impl Latency {
    /// Counts one request.
    pub fn record(&mut self, ms: u64) {
        self.min_ms = if self.count == 0 { ms } else { self.min_ms.min(ms) };
        self.max_ms = self.max_ms.max(ms);
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.count += 1;
    }

    /// Shortest, 0 when none was counted.
    pub fn min_ms(&self) -> u64 {
        self.min_ms
    }

    /// Longest, 0 when none was counted.
    pub fn max_ms(&self) -> u64 {
        self.max_ms
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// Average without its fraction, 0 when none was counted: the form of `cons`.
    pub fn average_whole(&self) -> u64 {
        self.sum_ms.checked_div(self.count).unwrap_or(0)
    }

    /// Average with 1 to 4 decimals: `0.0`, `1.2149`, `22.0`.
    ///
    /// Java turns to `5.0E-4` below a thousandth, which go-zk's parser does not read; here it is `0.0005`.
    pub fn average(&self) -> String {
        average(self.sum_ms, self.count)
    }
}

/// Sizes in bytes: the last, the smallest, the largest; -1 before there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named after what they are
pub struct SizeSummary {
    pub last: i64,
    pub min: i64,
    pub max: i64,
}

impl Default for SizeSummary {
    fn default() -> SizeSummary {
        SizeSummary { last: -1, min: -1, max: -1 }
    }
}

impl SizeSummary {
    /// Takes one in.
    pub fn record(&mut self, size: usize) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.min = if self.min < 0 { size } else { self.min.min(size) };
        self.max = self.max.max(size);
        self.last = size;
    }
}

/// How latencies are spread, in milliseconds: exact below 64, in steps of an eighth above.
#[derive(Clone, Debug)]
pub struct Spread {
    latency: Latency,
    buckets: Box<[u64; Spread::BUCKETS]>,
}

impl Default for Spread {
    fn default() -> Self {
        Spread { latency: Latency::default(), buckets: Box::new([0; Spread::BUCKETS]) }
    }
}

impl Spread {
    const EXACT: u64 = 64;
    const BUCKETS: usize = 64 + 8 * 26;

    /// Counts one request.
    pub fn record(&mut self, ms: u64) {
        self.latency.record(ms);
        self.buckets[Spread::bucket(ms)] += 1;
    }

    fn bucket(ms: u64) -> usize {
        if ms < Spread::EXACT {
            return ms as usize;
        }
        let power = u64::from(ms.ilog2());
        let eighth = (ms >> (power - 3)) & 7;
        let index = Spread::EXACT + (power - 6) * 8 + eighth;
        (index as usize).min(Spread::BUCKETS - 1)
    }

    /// The smallest value of a bucket.
    fn value(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < Spread::EXACT {
            return bucket;
        }
        let (power, eighth) = ((bucket - Spread::EXACT) / 8 + 6, (bucket - Spread::EXACT) % 8);
        (8 + eighth) << (power - 3)
    }

    /// Smallest, largest, sum and count.
    pub fn latency(&self) -> Latency {
        self.latency
    }

    /// The value that `thousandths` of all do not exceed, to within an eighth; 0 of nothing.
    pub fn percentile(&self, thousandths: u64) -> u64 {
        let wanted = (self.latency.count * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Spread::value(bucket);
            }
        }
        0
    }
}

/// `sum / count` with 1 to 4 decimals, rounded half up; `0.0` without a count.
pub(super) fn average(sum: u64, count: u64) -> String {
    if count == 0 {
        return "0.0".to_owned();
    }
    let (sum, count) = (u128::from(sum), u128::from(count));
    let scaled = (sum * 20_000 + count) / (2 * count);
    let fraction = format!("{:04}", scaled % 10_000);
    let fraction = fraction.trim_end_matches('0');
    format!("{}.{}", scaled / 10_000, if fraction.is_empty() { "0" } else { fraction })
}

/// An address as Java prints it: `/127.0.0.1:2181`, `/[0:0:0:0:0:0:0:1]:2181`.
///
/// An IPv4 client of a socket that takes both shows as IPv4, as it does there.
pub fn java_address(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/{ip}:{}", address.port()),
        IpAddr::V6(ip) => {
            let groups: Vec<String> = ip.segments().iter().map(|group| format!("{group:x}")).collect();
            format!("/[{}]:{}", groups.join(":"), address.port())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_have_one_to_four_decimals_rounded_half_up() {
        let check = |sum, count, expected: &str| assert_eq!(average(sum, count), expected, "{sum}/{count}");
        check(0, 0, "0.0");
        check(0, 7, "0.0");
        check(22, 1, "22.0");
        check(1, 3, "0.3333");
        check(2, 3, "0.6667");
        check(1, 20_000, "0.0001");
        check(1, 20_001, "0.0");
        check(5, 10_000, "0.0005");
        check(12_149, 10_000, "1.2149");
        check(15, 10, "1.5");
        check(u64::MAX, 1, "18446744073709551615.0");
    }

    #[test]
    fn a_latency_knows_its_bounds() {
        let mut latency = Latency::default();
        assert_eq!((latency.min_ms(), latency.average_whole(), latency.max_ms()), (0, 0, 0));
        for ms in [4, 2, 7] {
            latency.record(ms);
        }
        assert_eq!((latency.min_ms(), latency.average_whole(), latency.max_ms()), (2, 4, 7));
        assert_eq!((latency.count(), latency.sum_ms(), latency.average().as_str()), (3, 13, "4.3333"));
    }

    #[test]
    fn sizes_are_minus_one_before_the_first() {
        let mut sizes = SizeSummary::default();
        assert_eq!((sizes.last, sizes.min, sizes.max), (-1, -1, -1));
        for size in [16, 84, 0, 24] {
            sizes.record(size);
        }
        assert_eq!((sizes.last, sizes.min, sizes.max), (24, 0, 84));
    }

    #[test]
    fn addresses_look_like_javas() {
        let check = |text: &str, expected: &str| assert_eq!(java_address(text.parse().unwrap()), expected);
        check("127.0.0.1:2181", "/127.0.0.1:2181");
        check("[::1]:2181", "/[0:0:0:0:0:0:0:1]:2181");
        check("[::ffff:10.0.0.1]:2181", "/10.0.0.1:2181");
        check("[2001:db8::ab]:1", "/[2001:db8:0:0:0:0:0:ab]:1");
    }

    #[test]
    fn percentiles_are_exact_where_it_matters_and_close_elsewhere() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentile(500), 0);
        (1..=100).for_each(|ms| spread.record(ms));
        assert_eq!((spread.percentile(500), spread.percentile(10)), (50, 1));
        assert!((88..=99).contains(&spread.percentile(990)));
        spread.record(u64::MAX);
        assert!(spread.percentile(1000) > 1 << 30);
        for bucket in 0..Spread::BUCKETS - 1 {
            assert_eq!(Spread::bucket(Spread::value(bucket)), bucket);
        }
    }
}
