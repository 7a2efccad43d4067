//! A principal reads a sensitive artifact for the first time, and nothing announced it.

use super::{Finding, Scene};
use crate::watch::document::parameters;
use crate::watch::profile::Profile;

parameters! {
    /// A first time that no grant, enrolment or seal of the last week explains. A stranger is told of before its first byte;
    /// somebody who is known, when a part worth mentioning has left: to look at a header is no matter (many are, to
    /// `artifact-sweep`).
    FirstSeen = "first-seen", Medium, quiet 60;
    /// Days on which a principal must have been active to be no stranger.
    known_days: u16 = 2, 1..=365;
    /// The share of an artifact that somebody who is known may look at, in percent.
    look_percent: u64 = 10, 0..=100;
}

pub(in crate::watch) fn check(parameters: &FirstSeen, scene: &Scene<'_>, profile: &mut Profile) -> Option<Finding> {
    let (event, artifact) = (scene.event, scene.artifact?);
    let stranger = profile.days < parameters.known_days;
    let look =
        u128::from(event.bytes) * 100 < u128::from(scene.size.unwrap_or(0)) * u128::from(parameters.look_percent);
    let telling = if stranger { event.is_opening() } else { event.is_read() && !look };
    if !telling || profile.artifacts.is_marked(artifact) {
        return None;
    }
    profile.artifacts.learn(artifact, scene.flow.day());
    profile.artifacts.mark(artifact);
    if !scene.sensitive || !scene.learned || scene.announced {
        return None;
    }
    let known = if stranger { "a principal that is not known" } else { "never read by it before" };
    Some(Finding::new(known, "a grant, an enrolment or a seal within the last 7 days"))
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, GIB, ids};
    use crate::watch::Rules;

    #[test]
    fn it_speaks_of_a_first_time_that_nobody_announced_and_of_no_other() {
        let mut fed = Fed::new();
        assert_eq!(ids(&fed.read(0, "stranger", "prod/model", GIB, GIB)), ["first-seen"]);
        // Known from then on.
        assert!(fed.read(200, "stranger", "prod/model", GIB, GIB).is_empty());
        assert_eq!(ids(&fed.read(300, "stranger", "prod/other", GIB, GIB)), ["first-seen"]);
        // The nearest benign: a deployment that was granted what it reads.
        fed.grant(400, "serve-2", "prod/model");
        assert!(fed.read(401, "serve-2", "prod/model", GIB, GIB).is_empty());
        // A grant is no announcement for ever, nor for another artifact.
        fed.grant(500, "serve-3", "prod/model");
        for day in 0..9 {
            fed.read(500 + day * 1440, "stranger", "prod/model", 1, GIB);
        }
        assert_eq!(ids(&fed.read(500 + 9 * 1440, "serve-3", "prod/model", GIB, GIB)), ["first-seen"]);
        fed.grant(20_000, "serve-4", "prod/model");
        assert_eq!(ids(&fed.read(20_001, "serve-4", "prod/other", GIB, GIB)), ["first-seen"]);
    }

    #[test]
    fn it_is_silent_while_the_watcher_learns_and_about_what_is_not_sensitive() {
        let mut fed = Fed::under(Rules { learn_days: 3, ..Rules::default() });
        assert!(fed.read(0, "a", "prod/model", GIB, GIB).is_empty());
        let mut fed =
            Fed::under(crate::settings::Setting::parse("learn-days = 0\nsensitive = [\"prod/secret-*\"]").unwrap());
        assert!(fed.read(0, "a", "prod/model", GIB, GIB).is_empty());
        assert_eq!(ids(&fed.read(1, "a", "prod/secret-1", GIB, GIB)), ["first-seen"]);
    }

    #[test]
    fn a_label_makes_an_artifact_sensitive() {
        for (label, told) in [("sensitive", 1), ("gold-1", 1), ("silver", 0)] {
            let text = "learn-days = 0\nsensitive = [\"prod/secret-*\", \"label:gold-*\"]";
            let mut fed = Fed::under(crate::settings::Setting::parse(text).unwrap());
            let mut start = fed.event(0, "a", crate::audit::Act::ArtifactFetchStart);
            start.labels = vec!["other".into(), label.into()];
            assert_eq!(fed.feed(&start).len(), told, "{label}");
        }
    }
}
