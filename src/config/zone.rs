//! An IPv6 address with a zone, as in `fe80::1%eth0`: the interface through which it is meant.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

/// Address and zone of `host`, when it is an IPv6 address with one.
pub(super) fn split(host: &str) -> Option<(Ipv6Addr, &str)> {
    let (address, zone) = host.split_once('%')?;
    Some((address.parse().ok()?, zone))
}

/// The address to listen on. The system's own lookup refuses a zone behind an address that is valid on every interface,
/// such as `::1`; Java takes it.
///
/// # Errors
/// When the zone is neither a number nor the name of an interface of this machine.
pub(super) fn address(address: Ipv6Addr, zone: &str, port: u16) -> io::Result<SocketAddr> {
    let index = match zone.parse() {
        Ok(number) => number,
        Err(_) => interface_index(zone)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no network interface {zone}")))?,
    };
    Ok(SocketAddrV6::new(address, port, 0, index).into())
}

/// The number of an interface, where the system tells it in a file.
fn interface_index(name: &str) -> Option<u32> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_an_interface_or_its_number() {
        let found = |host| split(host).map(|(ip, zone)| address(ip, zone, 2181));
        let lo = found("0:0:0:0:0:0:0:1%lo").unwrap().unwrap();
        assert_eq!((lo.ip(), lo.port()), ("::1".parse().unwrap(), 2181));
        assert!(matches!(found("fe80::1%7"), Some(Ok(SocketAddr::V6(v6))) if v6.scope_id() == 7));
        let error = found("::1%nosuch").unwrap().unwrap_err().to_string();
        assert!(error.contains("no network interface nosuch"), "{error}");
        assert!(found("::1%../lo").unwrap().is_err());
        assert!(found("::1").is_none() && found("host%lo").is_none());
    }
}
