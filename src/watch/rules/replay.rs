//! Something that is good once was used again, and refused.

use super::{Finding, Scene};
use crate::watch::document::parameters;
use crate::watch::profile::Profile;

parameters! {
    /// Refused uses of a token, a one-time code or a request id that had been used before, and streams under a request id of
    /// somebody else's stream.
    Replay = "replay", High, quiet 60;
    /// Minutes of a span; this one and the one before count.
    minutes: u32 = 10, 1..=1440;
    /// So many: a person types a code twice now and then.
    times: u32 = 3, 1..=1000;
}

pub(in crate::watch) fn check(parameters: &Replay, scene: &Scene<'_>, profile: &mut Profile) -> Option<Finding> {
    let again = ["replay", "used before", "already used"];
    let refused = scene.event.refused.as_ref().map(|reason| reason.to_ascii_lowercase());
    if !scene.foreign && !refused.is_some_and(|reason| again.iter().any(|word| reason.contains(word))) {
        return None;
    }
    let times = profile.replays.add(scene.flow.minute(), parameters.minutes, scene.event.count);
    (times >= parameters.times).then(|| {
        let usual = format!("fewer than {} within {} minutes", parameters.times, 2 * parameters.minutes);
        Finding::new(format!("{times} replays"), usual)
    })
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, ids};
    use crate::audit::Act;
    use crate::names::RequestId;

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
        assert_eq!(replay(200, "AlreadyExists: the request id was used before").len(), 0);
    }

    #[test]
    fn it_speaks_of_streams_under_anothers_request_ids_and_not_of_ones_own_again() {
        let mut fed = Fed::new();
        let mut read = |minutes, who: &str, id: u8| {
            let mut start = fed.event(minutes, who, Act::ArtifactFetchStart);
            start.request = RequestId([id; 16]);
            ids(&fed.feed(&start)).contains(&"replay")
        };
        for id in 1..6 {
            assert!(!read(0, "serve-1", id));
        }
        for again in 1..20 {
            assert!(!read(again, "serve-1", 1));
        }
        assert!(!read(30, "serve-2", 1) && !read(31, "serve-2", 2));
        assert!(read(32, "serve-2", 3));
    }
}
