use super::*;
use crate::audit::{Act, Log, Record};
use crate::crypto::keys::Key;
use crate::crypto::sign::SigningIdentity;
use crate::names::{Principal, RequestId, Timestamp};

const ORIGIN: &str = "modelvault.example/00/audit";

fn vkey() -> VerifierKey {
    VerifierKey::of(ORIGIN, *identity().public())
}

fn identity() -> SigningIdentity {
    SigningIdentity::from_seed(Key::take(&mut [1; 32]))
}

fn record(seq: u64) -> Vec<u8> {
    let actor = Principal::local_operator(1000);
    let time = Timestamp::from_millis(1_000 * seq as i64);
    Record::new(time, RequestId([seq as u8; 16]), &actor, Act::ArtifactOpen).detail("n", seq).to_leaf()
}

/// Hands rows `writer.next_seq()` to `size` on, a checkpoint after every `every`.
fn write(dir: &Path, size: u64, every: u64, record: impl Fn(u64) -> Vec<u8>) -> Result<Checkpoint> {
    let mut writer = Archive::at(dir).writer(&vkey())?;
    let mut log = Log::new(ORIGIN, identity(), Timestamp::from_millis(0));
    let from = writer.next_seq();
    for seq in 1..=size {
        log.absorb(seq, &record(seq)).unwrap();
        if seq >= from {
            writer.row(seq, &record(seq))?;
            if seq % every == 0 || seq == size {
                writer.checkpoint(log.sign().checkpoint.note())?;
            }
        }
    }
    writer.finish()
}

fn verify(dir: &Path, kept: &[String]) -> Result<Report> {
    Archive::at(dir).verify(Some(&vkey()), kept).map(|(_, report)| report)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_log_written_in_pieces_is_the_same_log() {
    let (whole, pieces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = write(whole.path(), 700, 100, record).unwrap();
    let mut notes = Vec::new();
    for size in [1, 2, 255, 256, 300, 512, 699, 700] {
        notes.push(write(pieces.path(), size, 100, record).unwrap().note().to_owned());
        assert_eq!(verify(pieces.path(), &notes).unwrap().kept, notes.len() as u64, "{size}");
    }
    assert_eq!(notes.last().unwrap(), kept.note());
    for file in files(whole.path()) {
        let other = pieces.path().join(file.strip_prefix(whole.path()).unwrap());
        assert_eq!(fs::read(&file).unwrap(), fs::read(&other).unwrap(), "{}", other.display());
    }
    let report = verify(whole.path(), &[]).unwrap();
    assert_eq!((report.records, report.checkpoints, report.uncovered), (700, 1, 0));
    // The same again changes nothing.
    assert_eq!(write(whole.path(), 700, 100, record).unwrap(), kept);
}

#[test]
fn a_log_that_does_not_extend_what_is_there_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 50, record).unwrap();
    let forged = |seq| if seq == 290 { record(7) } else { record(seq) };
    let broken = write(dir.path(), 400, 50, forged).unwrap_err();
    assert_eq!(broken.id(), ErrorId::AuditBroken, "{broken}");
    let rolled_back = write(dir.path(), 299, 50, record).unwrap_err();
    assert_eq!(rolled_back.id(), ErrorId::AuditBroken, "{rolled_back}");
    assert_eq!(verify(dir.path(), &[]).unwrap().records, 300, "what was there is whole");
    let other = VerifierKey::of("modelvault.example/01/audit", vkey().key);
    assert!(Archive::at(dir.path()).writer(&other).is_err());
    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("notes.txt"), "x").unwrap();
    assert_eq!(Archive::at(foreign.path()).writer(&vkey()).err().unwrap().id(), ErrorId::AlreadyExists);
}

#[test]
fn every_altered_missing_or_cut_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 50, record).unwrap();
    for file in files(dir.path()) {
        if file.ends_with(VKEY) {
            continue;
        }
        let good = fs::read(&file).unwrap();
        for at in (0..good.len()).step_by(97) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, bad).unwrap();
            assert_eq!(verify(dir.path(), &[]).unwrap_err().id(), ErrorId::AuditBroken, "{} {at}", file.display());
        }
        for cut in [0, good.len() / 2, good.len() - 1] {
            fs::write(&file, &good[..cut]).unwrap();
            assert_eq!(verify(dir.path(), &[]).unwrap_err().id(), ErrorId::AuditBroken, "{} cut", file.display());
        }
        fs::remove_file(&file).unwrap();
        let expected = if file.ends_with(CHECKPOINT) { ErrorId::NotFound } else { ErrorId::AuditBroken };
        assert_eq!(verify(dir.path(), &[]).unwrap_err().id(), expected, "{} missing", file.display());
        fs::write(&file, &good).unwrap();
    }
    verify(dir.path(), &[]).unwrap();
}

#[test]
fn the_record_that_was_altered_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 50, record).unwrap();
    let bundle = dir.path().join("tile/entries/001.p/44");
    let text = fs::read(&bundle).unwrap();
    let at = text.windows(9).position(|w| w == br#""n":"270""#).unwrap();
    let mut bad = text.clone();
    bad[at + 6] = b'1';
    fs::write(&bundle, bad).unwrap();
    let found = verify(dir.path(), &[]).unwrap_err();
    assert!(found.to_string().contains("record 270 "), "{found}");
}

#[test]
fn a_checkpoint_kept_elsewhere_finds_a_log_that_was_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    write(old.path(), 200, 50, record).unwrap();
    let kept = write(dir.path(), 300, 50, record).unwrap();
    let found = verify(old.path(), &[kept.note().into()]).unwrap_err();
    assert!(found.to_string().contains("its end was cut off"), "{found}");
}
