//! What the watcher looks at: the part of an audit record that says who did what to which artifact, from where and how much.

use core::net::{IpAddr, SocketAddr};

use crate::audit::{Act, Decision, Record};
use crate::names::{Principal, RequestId, Timestamp};

/// One row, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number; rows come in this order.
    pub seq: u64,
    /// When, by the vault's clock.
    pub time: Timestamp,
    /// Who.
    pub actor: Principal,
    /// The call: joins the start of a stream to its end.
    pub request: RequestId,
    /// What.
    pub act: Act,
    /// `namespace/name`.
    pub object: Option<String>,
    /// Why it was refused; `None`: it was not.
    pub refused: Option<String>,
    /// The address it came from.
    pub peer: Option<IpAddr>,
    /// Bytes that left.
    pub bytes: u64,
    /// Bytes of the whole artifact version, where the row tells.
    pub size: Option<u64>,
    /// How many events the row stands for.
    pub count: u32,
    /// Labels of the artifact, where somebody who knows them says so.
    pub labels: Vec<String>,
    /// For a grant: the workload it was given to, `namespace/name`.
    pub grantee: Option<String>,
}

impl Event {
    /// A permitted act; the other fields are public.
    pub fn new(seq: u64, time: Timestamp, actor: Principal, act: Act) -> Self {
        Self {
            seq,
            time,
            actor,
            request: RequestId([0; 16]),
            act,
            object: None,
            refused: None,
            peer: None,
            bytes: 0,
            size: None,
            count: 1,
            labels: Vec::new(),
            grantee: None,
        }
    }

    /// What a record says.
    pub fn of(seq: u64, record: &Record) -> Self {
        let detail = |key: &str| record.details().iter().find(|(k, _)| k.as_str() == key).map(|(_, v)| v.as_str());
        let number = |key: &str| detail(key).and_then(|text| text.parse::<u64>().ok());
        let mut event = Self::new(seq, record.time(), record.actor().clone(), record.act());
        event.request = record.request_id();
        event.object = record.object().and_then(|o| Some(format!("{}/{}", o.namespace, o.name.as_ref()?)));
        event.refused = match record.decision() {
            Decision::Allow => None,
            Decision::Deny { reason } => Some(match detail("why") {
                Some(why) => format!("{}: {why}", reason.as_str()),
                None => reason.as_str().to_owned(),
            }),
        };
        event.peer = record.channel().and_then(|c| c.peer.as_ref()).and_then(|p| address(p.as_str()));
        event.bytes = number("bytes").unwrap_or(0);
        event.size = number("size");
        event.count = number("count").and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
        event.grantee = detail("workload").map(Into::into);
        event
    }

    /// Bytes left by this act.
    pub fn is_read(&self) -> bool {
        self.refused.is_none() && matches!(self.act, Act::ArtifactFetchEnd | Act::ArtifactExportEnd | Act::ArtifactOpen)
    }

    /// A permission to read was given, before the first byte.
    pub fn is_opening(&self) -> bool {
        self.refused.is_none() && matches!(self.act, Act::ArtifactFetchStart | Act::ArtifactExport | Act::ArtifactOpen)
    }
}

/// The address in a channel's peer: `10.0.0.1:4711`, `10.0.0.1`, `[2001:db8::1]:4711`. None for a process on this machine.
pub(super) fn address(peer: &str) -> Option<IpAddr> {
    let found = peer.parse::<SocketAddr>().map(|a| a.ip()).or_else(|_| peer.parse::<IpAddr>()).ok();
    found.map(|ip| ip.to_canonical())
}

/// The network an address is in, for comparing: its leading bits.
pub(super) fn network(ip: IpAddr, bits_v4: u8, bits_v6: u8) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let kept = u64::from(u32::from(ip)) << 32;
            // The lowest bit tells the families apart.
            kept & leading(bits_v4.min(32))
        }
        IpAddr::V6(ip) => ((u128::from(ip) >> 64) as u64 & leading(bits_v6.min(63))) | 1,
    }
}

fn leading(bits: u8) -> u64 {
    u64::MAX.checked_shl(64 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Channel, Object, Text, Transport};
    use crate::names::PrincipalKind;

    #[test]
    fn a_record_becomes_the_event_it_tells_of() {
        let actor = Principal::workload("prod".parse().unwrap(), &"serve-1".parse().unwrap());
        let mut object = Object::namespace("prod".parse().unwrap());
        object.name = Some("resnet".parse().unwrap());
        let record = Record::new(Timestamp::from_millis(5), RequestId([7; 16]), &actor, Act::ArtifactFetchEnd)
            .on(object)
            .through(Channel {
                transport: Transport::Tls,
                tls_group: None,
                peer: Some(Text::new("[::ffff:10.0.0.7]:4711")),
            })
            .detail("bytes", 123)
            .detail("size", 456)
            .detail("reason", "complete");
        let event = Event::of(9, &record);
        assert_eq!((event.seq, event.bytes, event.size, event.count), (9, 123, Some(456), 1));
        assert_eq!(event.object.as_deref(), Some("prod/resnet"));
        assert_eq!(event.peer, Some("10.0.0.7".parse().unwrap()));
        assert!(event.is_read() && !event.is_opening());
        let refused = Event::of(10, &record.denied("Denied").detail("why", "replayed"));
        assert_eq!(refused.refused.as_deref(), Some("Denied: replayed"));
        assert!(!refused.is_read());
        assert_eq!(refused.actor.kind, PrincipalKind::Workload);
    }

    #[test]
    fn networks_are_leading_bits_and_families_never_meet() {
        let net = |ip: &str, v4, v6| network(ip.parse().unwrap(), v4, v6);
        assert_eq!(net("10.1.2.3", 16, 48), net("10.1.9.9", 16, 48));
        assert_ne!(net("10.1.2.3", 16, 48), net("10.2.2.3", 16, 48));
        assert_ne!(net("10.1.2.3", 32, 48), net("10.1.2.4", 32, 48));
        assert_eq!(net("10.1.2.3", 0, 48), net("99.1.2.4", 0, 48));
        assert_eq!(net("2001:db8:1::1", 16, 48), net("2001:db8:1:ffff::9", 16, 48));
        assert_ne!(net("2001:db8:1::1", 16, 48), net("2001:db8:2::1", 16, 48));
        assert_ne!(net("::", 0, 0), net("0.0.0.0", 0, 0));
        for peer in ["uid 0 pid 1", "", "10.0.0.256", "10.0.0.1:99999"] {
            assert_eq!(address(peer), None, "{peer}");
        }
        assert_eq!(address("[2001:db8::1]:443"), Some("2001:db8::1".parse().unwrap()));
    }
}
