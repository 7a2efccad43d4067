//! Something that is good once was used again, and refused.

use super::{Finding, Scene};
use crate::watch::document::parameters;
use crate::watch::profile::Profile;

parameters! {
    /// Refused uses of a token, a one-time code or a request id that had been used before.
    Replay = "replay", High, quiet 60;
    /// Minutes of a span; this one and the one before count.
    minutes: u32 = 10, 1..=1440;
    /// So many: a person types a code twice now and then.
    times: u32 = 3, 1..=1000;
}

pub(in crate::watch) fn check(parameters: &Replay, scene: &Scene<'_>, profile: &mut Profile) -> Option<Finding> {
    let reason = scene.event.refused.as_ref()?;
    let again = ["replay", "used before", "already used"];
    if !again.iter().any(|word| reason.to_ascii_lowercase().contains(word)) {
        return None;
    }
    let times = profile.replays.add(scene.flow.minute(), parameters.minutes, scene.event.count);
    (times >= parameters.times).then(|| {
        let usual = format!("fewer than {} within {} minutes", parameters.times, 2 * parameters.minutes);
        Finding::new(format!("{times} replays refused"), usual)
    })
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, ids};
    use crate::audit::Act;

    #[test]
    fn it_speaks_of_replays_and_not_of_one_code_typed_twice() {
        let mut fed = Fed::new();
        let mut replay = |minutes, reason: &str| {
            let mut event = fed.event(minutes, "op:bob", Act::MfaVerify);
            event.refused = Some(reason.into());
            ids(&fed.feed(&event))
        };
        assert!(replay(0, "BadCredential: the code was used before").is_empty());
        assert!(replay(60, "BadCredential: the code was used before").is_empty());
        assert!(replay(61, "BadCredential: wrong code").is_empty());
        assert!(replay(62, "TokenReplayed").is_empty());
        assert_eq!(replay(63, "TokenReplayed"), ["replay"]);
    }
}
