//! An artifact leaves in small pieces, over days, until all of it is out.

use super::{Finding, Scene, amount};
use crate::watch::document::parameters;
use crate::watch::profile::{Pieces, Profile};

parameters! {
    /// Bytes of one artifact that one principal read in small pieces, against the size of the artifact.
    ///
    /// Of each principal the eight artifacts furthest along are followed; more at the same time is for `artifact-sweep` and
    /// `read-volume`. Who reads at least half of it in one go or within a day reads it whole: pieces say nothing about it then.
    SlowExtraction = "slow-extraction", High, quiet 1440;
    /// A read of less than this share of the artifact is a piece, in percent.
    piece_percent: u64 = 10, 1..=50;
    /// So much of the artifact, in percent of its size, is too much.
    covered_percent: u64 = 80, 10..=1000;
    /// At least so many pieces.
    pieces: u32 = 12, 2..=1_000_000;
    /// Days over which pieces are added up; then they count half.
    days: u32 = 30, 2..=365;
}

pub(in crate::watch) fn check(
    parameters: &SlowExtraction,
    scene: &Scene<'_>,
    profile: &mut Profile,
) -> Option<Finding> {
    let event = scene.event;
    let (artifact, size) = (scene.artifact?, scene.size.filter(|size| *size > 0)?);
    if event.bytes == 0 || !event.is_read() {
        return None;
    }
    let hour = scene.flow.hour();
    let pieces = slot(&mut profile.pieces, artifact, size, hour)?;
    if hour.saturating_sub(pieces.day_hour) >= 24 {
        (pieces.day_hour, pieces.day_bytes) = (hour, 0);
    }
    pieces.day_bytes = pieces.day_bytes.saturating_add(event.bytes);
    pieces.whole |= pieces.day_bytes >= size / 2;
    let age = hour.saturating_sub(pieces.since_hour);
    let span = parameters.days * 24;
    if age > span {
        // What was read whole a month ago may be read in pieces now.
        let kept = if std::mem::take(&mut pieces.whole) { 0 } else { pieces.bytes / 2 };
        (pieces.bytes, pieces.reads, pieces.since_hour) = (kept, pieces.reads / 2, hour - span / 2);
    }
    if u128::from(event.bytes) * 100 >= u128::from(size) * u128::from(parameters.piece_percent) {
        return None;
    }
    pieces.bytes = pieces.bytes.saturating_add(event.bytes);
    pieces.reads = pieces.reads.saturating_add(1);
    let covered = u128::from(pieces.bytes) * 100 >= u128::from(size) * u128::from(parameters.covered_percent);
    if pieces.whole || !covered || pieces.reads < parameters.pieces {
        return None;
    }
    let days = age / 24 + 1;
    let seen = format!("{} of {} in {} pieces within {days} days", amount(pieces.bytes), amount(size), pieces.reads);
    // Begins anew, so that it is told of again when as much has left again.
    (pieces.bytes, pieces.reads, pieces.since_hour) = (0, 0, hour);
    Some(Finding::new(seen, "it reads parts of this artifact, never the whole"))
}

/// The place of an artifact. A newcomer takes that of the artifact least far along, if it is not further.
fn slot(places: &mut [Pieces; 8], artifact: u64, size: u64, hour: u32) -> Option<&mut Pieces> {
    let share = |p: &Pieces| if p.whole { u128::MAX } else { (u128::from(p.bytes) << 32) / u128::from(p.size.max(1)) };
    let at = places.iter().position(|p| p.size > 0 && p.artifact == artifact);
    let at = at.or_else(|| (0..places.len()).min_by_key(|at| (share(&places[*at]), places[*at].since_hour)))?;
    let place = &mut places[at];
    if place.size == 0 || place.artifact != artifact {
        *place = Pieces { artifact, size, since_hour: hour, day_hour: hour, ..Pieces::default() };
    }
    // Versions of an artifact differ in size.
    place.size = size;
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, GIB, MIB, ids};
    use crate::audit::Act;
    use crate::names::RequestId;

    /// Reads pieces of 10 GiB every so many minutes; how many it took to be told of.
    fn until_told(fed: &mut Fed, object: &str, piece: u64, every: i64, times: i64) -> Option<i64> {
        (0..times).find(|i| ids(&fed.read(i * every, "viewer", object, piece, 10 * GIB)).contains(&"slow-extraction"))
    }

    #[test]
    fn it_speaks_when_small_pieces_add_up_to_the_artifact() {
        let mut fed = Fed::new();
        fed.grant(0, "viewer", "prod/model");
        // 100 MiB every two hours: a week for 8 GiB.
        let told = until_told(&mut fed, "prod/model", 100 * MIB, 120, 200).unwrap();
        assert!((80..84).contains(&told), "{told}");
    }

    #[test]
    fn it_is_silent_about_who_reads_it_whole_and_about_who_looks_into_a_part() {
        // Ranks of a server that start each day, each with its share.
        let mut fed = Fed::new();
        fed.grant(0, "viewer", "prod/model");
        assert_eq!(until_told(&mut fed, "prod/model", 10 * GIB / 8, 1440, 60), None);
        // A data loader that goes through all of it each day, in ranges.
        let mut fed = Fed::new();
        fed.grant(0, "viewer", "prod/model");
        assert_eq!(until_told(&mut fed, "prod/model", 100 * MIB, 6, 2000), None);
        // A tool that reads the same header over and over for months.
        let mut fed = Fed::new();
        fed.grant(0, "viewer", "prod/model");
        assert_eq!(until_told(&mut fed, "prod/model", MIB, 120, 2000), None);
    }

    #[test]
    fn other_artifacts_do_not_hide_the_one_that_is_taken() {
        let mut fed = Fed::new();
        let mut told = 0;
        for i in 0..200 {
            for other in 0..7 {
                fed.read(i * 120 + 1 + other, "viewer", &format!("prod/other-{}", i % 3 * 7 + other), MIB, 10 * GIB);
            }
            let alerts = fed.read(i * 120 + 30, "viewer", "prod/model", 100 * MIB, 10 * GIB);
            told += i64::from(ids(&alerts).contains(&"slow-extraction"));
        }
        assert_eq!(told, 2);
    }

    #[test]
    fn request_ids_that_are_used_again_hide_nothing() {
        let mut fed = Fed::new();
        fed.grant(0, "viewer", "prod/model");
        let mut told = Vec::new();
        for i in 0..200 {
            // Another stream under the same id ends within the one that matters.
            let mut stream = |act, object: &str, bytes| {
                let mut event = fed.event(i * 120, "viewer", act);
                event.request = RequestId([7; 16]);
                (event.object, event.bytes) = (Some(object.into()), bytes);
                event.size = (act == Act::ArtifactFetchEnd).then_some(10 * GIB);
                told.extend(fed.feed(&event));
            };
            stream(Act::ArtifactFetchStart, "prod/model", 0);
            stream(Act::ArtifactFetchStart, "prod/other", 0);
            stream(Act::ArtifactFetchEnd, "prod/other", 1);
            stream(Act::ArtifactFetchStart, "prod/model", 0);
            stream(Act::ArtifactFetchEnd, "prod/model", 1);
            stream(Act::ArtifactFetchEnd, "prod/model", 100 * MIB);
        }
        assert_eq!(ids(&told).into_iter().filter(|id| *id == "slow-extraction").count(), 2);
    }
}
