//! What the ids of scheme `ip` mean: an address, or an address and how many of its bits count.
//!
//! Source: ZooKeeper 3.9 `IPAuthenticationProvider`.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// `address` or `address/bits`, as ZooKeeper reads them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpNetwork {
    address: IpAddr,
    bits: u32,
}

/// It is no address, or has more bits than there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoNetwork;

/// Bits in front of an IPv4 address that is written as an IPv6 one, `::ffff:0:0/96`.
const MAPPED_BITS: u32 = 96;

impl FromStr for IpNetwork {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<IpNetwork, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = if address.contains(':') { v6(address) } else { v4(address) }.ok_or(NoNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => number(bits, 10).and_then(|bits| u32::try_from(bits).ok()).ok_or(NoNetwork)?,
            None => width,
        };
        if bits > width { Err(NoNetwork) } else { Ok(IpNetwork { address, bits }) }
    }
}

impl IpNetwork {
    /// Whether a client with this address is meant. An IPv4 client is one of an IPv6 network only within `::ffff:0:0/96`.
    pub fn contains(&self, client: IpAddr) -> bool {
        match (self.address, client.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(client)) => {
                same(u128::from(u32::from(own)), u128::from(u32::from(client)), 32 - self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(client)) => same(u128::from(own), u128::from(client), 128 - self.bits),
            (IpAddr::V6(own), IpAddr::V4(client)) => {
                let client = u128::from(client.to_ipv6_mapped());
                self.bits >= MAPPED_BITS && same(u128::from(own), client, 128 - self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}

/// Whether two addresses are alike but for the last bits.
fn same(one: u128, other: u128, last: u32) -> bool {
    (one ^ other).checked_shr(last).unwrap_or(0) == 0
}

/// Four numbers, with signs and leading zeros as Java's `Integer.parseInt` takes them.
fn v4(text: &str) -> Option<IpAddr> {
    let mut bytes = [0; 4];
    let mut parts = text.split('.');
    for byte in &mut bytes {
        *byte = u8::try_from(number(parts.next()?, 10)?).ok()?;
    }
    parts.next().is_none().then(|| IpAddr::from(bytes))
}

/// Eight groups of up to four characters, or fewer around one `::`. No IPv4 address at the end, no zone.
fn v6(text: &str) -> Option<IpAddr> {
    let mut groups = [0; 8];
    match text.split_once("::") {
        None => {
            if fill(&mut groups, text)? != 8 {
                return None;
            }
        }
        Some((head, tail)) => {
            let mut behind = [0; 8];
            let head = if head.is_empty() { 0 } else { fill(&mut groups, head)? };
            let tail = if tail.is_empty() { 0 } else { fill(&mut behind, tail)? };
            if head + tail >= 8 {
                return None;
            }
            groups[8 - tail..].copy_from_slice(&behind[..tail]);
        }
    }
    Some(IpAddr::V6(Ipv6Addr::from(groups)))
}

/// Reads groups into the front of `groups`; how many there were.
fn fill(groups: &mut [u16; 8], text: &str) -> Option<usize> {
    let mut count = 0;
    for part in text.split(':') {
        if part.len() > 4 {
            return None;
        }
        // A sign is none of an address, but ZooKeeper takes it.
        *groups.get_mut(count)? = number(part, 16)? as u16;
        count += 1;
    }
    Some(count)
}

/// As Java's `Integer.parseInt` does it.
fn number(text: &str, radix: u32) -> Option<i32> {
    i32::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ZooKeeper 3.9.5 says to each id: whether it is valid, and whether these clients match it.
    const CLIENTS: [&str; 4] = ["1.2.3.4", "127.0.0.1", "::1", "fe80::1"];

    fn check(id: &str, expected: &str) {
        let network = IpNetwork::from_str(id);
        let found: String = match network {
            Err(NoNetwork) => "invalid".to_owned(),
            Ok(network) => {
                CLIENTS.iter().map(|client| if network.contains(client.parse().unwrap()) { 'Y' } else { 'n' }).collect()
            }
        };
        assert_eq!(found, expected, "{id}");
    }

    #[test]
    fn addresses_are_read_as_zookeeper_reads_them() {
        for (id, expected) in [
            ("1.2.3.4", "Ynnn"),
            ("01.002.3.4", "Ynnn"),
            ("0000000000000000000000010.2.3.4", "nnnn"),
            ("+1.+2.+3.+4", "Ynnn"),
            ("-0.-0.-0.-0/0", "YYnn"),
            ("1.2.3.4/+8", "Ynnn"),
            ("1.2.3.4/08", "Ynnn"),
            ("1.2.3.4/00000000000000000032", "Ynnn"),
            ("1.2.3.4/-1", "invalid"),
            ("1.2.3.4/", "invalid"),
            ("1.2.3.4/8/9", "invalid"),
            ("1.2.3.4/33", "invalid"),
            ("1.2.3.4/2147483648", "invalid"),
            ("256.1.1.1", "invalid"),
            ("99999999999.1.1.1", "invalid"),
            ("1.2.3", "invalid"),
            ("1.2.3.4.", "invalid"),
            ("1..3.4", "invalid"),
            (" 1.2.3.4", "invalid"),
            ("0x1.2.3.4", "invalid"),
            ("1.2.3.4/ 8", "invalid"),
            ("1.2.3.4/8 ", "invalid"),
            ("", "invalid"),
            ("/8", "invalid"),
            ("::", "nnnn"),
            ("::1", "nnYn"),
            ("::0001", "nnYn"),
            ("0:0:0:0:0:0:0:1", "nnYn"),
            ("::1/0128", "nnYn"),
            ("::1/129", "invalid"),
            ("::1/", "invalid"),
            ("1:2:3:4:5:6:7:8", "nnnn"),
            ("1:2:3:4:5:6:7", "invalid"),
            ("1:2:3:4:5:6:7:8:9", "invalid"),
            ("1:2:3:4:5:6:7::", "nnnn"),
            ("::2:3:4:5:6:7:8", "nnnn"),
            ("1:2:3:4:5:6:7:8::", "invalid"),
            ("::1:2:3:4:5:6:7:8", "invalid"),
            ("1::2:3:4:5:6:7:8", "invalid"),
            (":1:2:3:4:5:6:7", "invalid"),
            ("1:2:3:4:5:6:7:", "invalid"),
            (":", "invalid"),
            (":::", "invalid"),
            ("1:::2", "invalid"),
            ("1::2::3", "invalid"),
            ("00001::", "invalid"),
            ("g::", "invalid"),
            ("+1::", "nnnn"),
            ("::-1", "nnnn"),
            ("::ffff:1.2.3.4", "invalid"),
            ("::1%lo", "invalid"),
            ("[::1]", "invalid"),
            ("fe80::/16", "nnnY"),
            ("FE80::1", "nnnY"),
        ] {
            check(id, expected);
        }
    }

    #[test]
    fn an_ipv6_network_has_ipv4_clients_only_among_the_mapped_addresses() {
        for (id, expected) in [
            ("::1/64", "nnYn"),
            ("::/0", "nnYY"),
            ("::/1", "nnYn"),
            ("::ffff:0:0/95", "nnnn"),
            ("::ffff:0:0/96", "YYnn"),
            ("::ffff:102:304", "Ynnn"),
            ("::ffff:7f00:0/104", "nYnn"),
            ("::fffe:0:0/96", "nnnn"),
            ("0.0.0.0/0", "YYnn"),
        ] {
            check(id, expected);
        }
        assert!(IpNetwork::from_str("10.0.0.1").unwrap().contains("::ffff:10.0.0.1".parse().unwrap()));
    }
}
