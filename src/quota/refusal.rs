//! Why not, and when again.

use std::time::Duration;

use super::rules::{Cap, Scope, WHOLE, What};
use crate::error::{Error, ErrorId};
use crate::names::Principal;

/// A limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub cap: Cap,
    /// When trying again makes sense.
    pub retry_after: Duration,
    /// This is to go on record, for so many refusals since the last that did; none: it was counted.
    pub tell: Option<u64>,
}

impl Refusal {
    /// What the caller is told.
    pub fn error(&self, who: &Principal) -> Error {
        let Self { cap, retry_after, .. } = self;
        let of = match cap.scope {
            Scope::Caller => "",
            Scope::Artifact => " of this artifact",
        };
        let text = match cap.what {
            What::Streams => format!("{who} has {} streams{of} at a time", cap.limit),
            what => format!("{who} has used up {}{of}", amount(what, cap)),
        };
        let again = match cap.what {
            What::Streams => "one must end first".to_owned(),
            _ => format!("it fills again in {}", words(*retry_after)),
        };
        Error::new(ErrorId::QuotaExceeded, format!("{text} (quota {}); {again}", cap.rule))
            .detail("quota", &cap.rule)
            .detail("limit", cap.what.as_str())
            .retry_after(*retry_after)
    }
}

/// `its 100 GiB in an hour`.
fn amount(what: What, cap: &Cap) -> String {
    let most = cap.most();
    let amount = match what {
        What::Requests => format!("its {most} requests"),
        What::Bytes => format!("its {}", size(most)),
        What::Reads => format!("its {} full reads", (most as f64 / WHOLE as f64 * 100.0).round() / 100.0),
        What::Streams => String::new(),
    };
    let (one, many) = match what {
        What::Requests => ("a minute", "minutes"),
        What::Bytes => ("an hour", "hours"),
        What::Reads | What::Streams => ("a day", "days"),
    };
    match cap.burst {
        1 => format!("{amount} in {one}"),
        n => format!("{amount} in {n} {many}"),
    }
}

/// `100 GiB` where it is one, else bytes.
fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

/// `12 min`, rounded up.
fn words(time: Duration) -> String {
    let secs = time.as_millis().div_ceil(1000);
    match secs {
        0..=120 => format!("{secs} s"),
        121..=7200 => format!("{} min", secs.div_ceil(60)),
        _ => format!("{} h", secs.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_rule_what_is_used_up_and_when_it_fills() {
        let cap = |what, scope, limit, burst| Cap { rule: "serving".into(), what, scope, limit, burst };
        let told = |cap, secs| {
            let refusal = Refusal { cap, retry_after: Duration::from_secs(secs), tell: None };
            let error = refusal.error(&Principal::workload("prod".parse().unwrap(), &"serve".parse().unwrap()));
            assert_eq!((error.id(), error.retry_after_hint()), (ErrorId::QuotaExceeded, Some(refusal.retry_after)));
            error.message().to_owned()
        };
        assert_eq!(
            told(cap(What::Bytes, Scope::Artifact, 10 << 30, 2), 700),
            "workload prod/serve has used up its 20 GiB in 2 hours of this artifact (quota serving); it fills again in 12 min"
        );
        assert_eq!(
            told(cap(What::Reads, Scope::Artifact, WHOLE / 2, 1), 7201),
            "workload prod/serve has used up its 0.5 full reads in a day of this artifact (quota serving); it fills again in 3 h"
        );
        assert_eq!(
            told(cap(What::Streams, Scope::Caller, 4, 1), 1),
            "workload prod/serve has 4 streams at a time (quota serving); one must end first"
        );
        assert_eq!(size(1_000_001), "1000001 bytes");
    }
}
