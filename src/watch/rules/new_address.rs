//! A principal that is known reads a sensitive artifact from a network it was never seen in.

use super::{Finding, Scene};
use crate::watch::document::parameters;
use crate::watch::event::network;
use crate::watch::profile::Profile;

parameters! {
    /// A network that is new for this principal. Networks are learned from sensitive reads alone, each of which is judged: nobody
    /// makes an address known by harmless calls.
    NewAddress = "new-address", High, quiet 60;
    /// Leading bits of an IPv4 address that make its network.
    ipv4_bits: u8 = 16, 0..=32;
    /// The same of an IPv6 address.
    ipv6_bits: u8 = 48, 0..=63;
    /// Days on which a principal must have been active.
    known_days: u16 = 5, 1..=365;
}

impl NewAddress {
    /// The network of an event.
    pub(in crate::watch) fn network(&self, scene: &Scene<'_>) -> Option<u64> {
        scene.event.peer.map(|ip| network(ip, self.ipv4_bits, self.ipv6_bits))
    }
}

pub(in crate::watch) fn check(parameters: &NewAddress, scene: &Scene<'_>, profile: &Profile) -> Option<Finding> {
    let network = parameters.network(scene).filter(|_| scene.event.is_opening())?;
    let judged = scene.sensitive && scene.learned && profile.days >= parameters.known_days;
    if !judged || profile.networks.knows(network) {
        return None;
    }
    let address = scene.event.peer.map(|ip| ip.to_string()).unwrap_or_default();
    Some(Finding::new(address, format!("networks it was seen in on {} days", profile.days)))
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, GIB, ids};
    use crate::audit::Act;
    use crate::watch::Alert;

    fn read_from(fed: &mut Fed, minutes: i64, address: &str) -> Vec<Alert> {
        let mut event = fed.event(minutes, "serve-1", Act::ArtifactFetchStart);
        event.peer = Some(address.parse().unwrap());
        fed.feed(&event)
    }

    #[test]
    fn it_speaks_of_a_stolen_credential_used_elsewhere_and_not_of_a_new_node_of_the_cluster() {
        let mut fed = Fed::new();
        fed.grant(0, "serve-1", "prod/model");
        for day in 0..6 {
            assert!(fed.read(1 + day * 1440, "serve-1", "prod/model", GIB, GIB).is_empty());
        }
        assert!(read_from(&mut fed, 9000, "10.0.77.9").is_empty(), "another node");
        let alerts = read_from(&mut fed, 9001, "203.0.113.9");
        assert_eq!(ids(&alerts), ["new-address"]);
        assert_eq!(alerts[0].seen, "203.0.113.9");
        assert!(read_from(&mut fed, 9999, "203.0.113.10").is_empty(), "told of once");
    }

    #[test]
    fn refused_and_harmless_calls_make_no_address_known() {
        let mut fed = Fed::new();
        fed.grant(0, "serve-1", "prod/model");
        for day in 0..6 {
            fed.read(1 + day * 1440, "serve-1", "prod/model", GIB, GIB);
            for act in [Act::ArtifactList, Act::ArtifactFetchStart] {
                let mut event = fed.event(2 + day * 1440, "serve-1", act);
                event.peer = Some("203.0.113.9".parse().unwrap());
                event.refused = (act == Act::ArtifactFetchStart).then(|| "Denied".into());
                assert!(fed.feed(&event).is_empty());
            }
        }
        assert_eq!(ids(&read_from(&mut fed, 9001, "203.0.113.9")), ["new-address"]);
    }
}
