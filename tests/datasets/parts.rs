//! A dataset in more files than one sealed file holds: sealed as parts, and one version that names them.

use super::*;
use model_vault::crypto::hash::blake3;
use model_vault::facts::VersionFacts;
use model_vault::manifest::{Part, Parts};
use model_vault::names::{Root, Tag};
use model_vault::vault::{HoldSpec, HoldTarget, Published};

/// Path and bytes, in the order of the paths.
type Files = Vec<(String, Vec<u8>)>;

fn refer(version: u64) -> Reference {
    format!("d@v{version}").parse().unwrap()
}

/// So many images in directories, and the signed statement of them all.
struct Pictures {
    files: Files,
    signed: Vec<u8>,
}

impl Pictures {
    fn new(f: &Fixture, count: usize) -> Self {
        let mut files: Files =
            (0..count).map(|n| (format!("train/n{}/{n:05}.png", n % 7), n.to_le_bytes().to_vec())).collect();
        files.push(("labels.csv".into(), b"file,label\nx,y\n".to_vec()));
        files.sort();
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in &files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let folder = Folder::find(dir.path(), Ignored::default(), None).unwrap();
        let schema = folder.survey(1).unwrap();
        let mut follow = |_: &str, _: &[Sha256], _: &[RecordKey]| Ok(());
        let measured = folder.measure(&schema, None, 1, &mut follow, &|_| ()).unwrap();
        let statement = f.statement(&Vec::new());
        let mut attribution = statement.attribution.clone();
        attribution.contributors[0].records = measured.iter().map(|file| file.records).sum();
        attribution.files = measured.iter().map(|file| (file.path.clone(), sha256(b"who supplied what"))).collect();
        let statement = DatasetStatement { schema, files: measured, attribution, ..statement };
        let signed = bundle(&statement, &f.curator).to_json().into_bytes();
        Self { files, signed }
    }

    /// What the version holds that names these parts.
    fn naming(&self, parts: Vec<Part>) -> Files {
        let beside = "dataset.tree/images/pieces";
        vec![
            ("dataset.parts".into(), Parts::new(parts).unwrap().to_json().into_bytes()),
            ("dataset.sig".into(), self.signed.clone()),
            (beside.into(), b"pieces".to_vec()),
        ]
    }
}

impl Fixture {
    fn seal_files(&self, of: &str, files: &Files, part: bool, allow: Option<&str>) -> Result<VersionFacts> {
        self.seal_some(of, files, part.then_some(&[]), allow)
    }

    fn seal_some(&self, of: &str, files: &Files, part: Option<&[u8]>, allow: Option<&str>) -> Result<VersionFacts> {
        let member =
            |(path, bytes): &(String, Vec<u8>)| SealMember { path: path.clone(), source: Box::new(bytes.clone()) };
        let sealing = Sealing {
            members: files.iter().map(member).collect(),
            kind: ArtifactKind::Dataset,
            sha256: true,
            sequential: false,
            signer: None,
            allow_unsigned: allow.map(Into::into),
            progress: Box::new(|_| {}),
        };
        let input = SealInput { namespace: name("default"), name: name(of), tag: None, sealing };
        let caller = self.caller();
        let sealed = match part {
            Some(statement) => self.vault.seal_part(&caller, input, statement).map(|(published, _)| published),
            None => self.vault.seal(&caller, input),
        };
        sealed.map(|Published { version, .. }| version)
    }

    fn seal_part(&self, files: &[(String, Vec<u8>)]) -> Part {
        self.seal_part_of("d", files)
    }

    fn seal_part_of(&self, of: &str, files: &[(String, Vec<u8>)]) -> Part {
        let sealed = self.seal_files(of, &files.to_vec(), true, None).unwrap();
        assert_eq!((sealed.part_of, sealed.tags), (Some(0), Vec::new()));
        let members = files.iter().map(|(path, bytes)| (path.as_str(), bytes.len() as u64, blake3(bytes)));
        Part::of(sealed.version, sealed.root, members)
    }

    fn parts(&self, of: &Pictures, each: usize) -> Vec<Part> {
        of.files.chunks(each).map(|files| self.seal_part(files)).collect()
    }

    fn head(&self, of: &Pictures, parts: &[Part], allow: Option<&str>) -> Result<VersionFacts> {
        self.seal_files("d", &of.naming(parts.to_vec()), false, allow)
    }

    fn seen(&self, version: u64) -> Result<VersionFacts> {
        self.vault.version(&self.caller(), &refer(version))
    }
}

#[test]
fn parts_are_known_and_readable_as_what_the_version_that_names_them_is() {
    let f = Fixture::new();
    let pictures = Pictures::new(&f, 2500);
    let parts = f.parts(&pictures, 400);
    assert_eq!(parts.len(), 7);
    assert!(f.vault.version(&f.caller(), &"d".parse().unwrap()).is_err(), "no tag is at a part");
    assert!(!f.opens(&refer(1)), "nothing is known of a part that no version names");

    let head = f.head(&pictures, &parts, None).unwrap();
    assert_eq!((head.version, head.part_of, head.tags.len()), (8, None, 1));
    assert_eq!(f.said(&refer(8)).len(), 1);
    assert_eq!(f.seen(3).unwrap().part_of, Some(8));
    assert!((1..=8).all(|version| f.opens(&refer(version))));
    assert!(f.rows(START).pop().unwrap().contains("\"dataset\":\"reviews v3\""));
    let verified = f.vault.verify(&f.caller(), &refer(8)).unwrap();
    assert!(verified.payload_size > head.payload_size, "all parts are read");

    // It is asked again at each opening, and what holds for the version holds for its parts.
    f.untrust("curator");
    assert!(!f.opens(&refer(8)) && !f.opens(&refer(2)));
    f.trust("curator", &f.curator);
    let target = HoldTarget::parse("artifact", "d@v8").unwrap();
    let hold = HoldSpec { target, kind: "suspend".into(), reason: "looked at".into(), lasts: None };
    f.vault.quarantine(&f.caller(), &hold).unwrap();
    assert_eq!(f.vault.open(&f.caller(), &refer(3)).map(drop).unwrap_err().id(), ErrorId::OnHold);
}

#[test]
fn parts_come_and_go_with_the_version_that_names_them() {
    let f = Fixture::new();
    let pictures = Pictures::new(&f, 50);
    let head = f.head(&pictures, &f.parts(&pictures, 20), None).unwrap().version;
    let (vault, caller) = (&f.vault, || f.caller());
    for alone in [
        vault.remove(&caller(), &refer(1), false).map(drop),
        vault.shred(&caller(), &refer(1)).map(drop),
        vault.set_tag(&caller(), &refer(1), &"prod".parse::<Tag>().unwrap(), None).map(drop),
        vault.export(&caller(), &refer(1)).map(drop),
        vault.export(&caller(), &refer(head)).map(drop),
    ] {
        let error = alone.unwrap_err();
        assert_eq!(error.id(), ErrorId::InvalidArgument, "{error}");
    }
    let listed = || (1..=head).filter(|n| f.seen(*n).is_ok()).count();
    assert_eq!(vault.remove(&caller(), &refer(head), false).unwrap(), head);
    assert_eq!(listed(), 0);
    assert_eq!(vault.restore(&caller(), &refer(head), false).unwrap(), head);
    assert_eq!(listed(), head as usize);
    vault.shred(&caller(), &refer(head)).unwrap();
    assert!(f.rows("artifact.shred").pop().unwrap().contains("\"parts\":"));
    for n in 1..=head {
        assert_eq!(vault.open(&caller(), &refer(n)).map(drop).unwrap_err().id(), ErrorId::Shredded, "v{n}");
    }
    // What a sealing left that broke off is shredded by itself.
    let orphan = f.parts(&pictures, 100).pop().unwrap();
    vault.shred(&caller(), &refer(orphan.version)).unwrap();
    let checked = vault.check(&caller()).unwrap();
    assert!(checked.findings.is_empty(), "{checked:?}");
}

#[test]
fn a_statement_that_is_no_good_is_refused_with_the_first_part() {
    let f = Fixture::new();
    let pictures = Pictures::new(&f, 20);
    let part = |statement: &[u8], allow: Option<&str>| {
        f.seal_some("d", &pictures.files, Some(statement), allow).map(|version| version.version)
    };
    let mut forged = pictures.signed.clone();
    let at = forged.windows(9).position(|w| w == b"\"payload\"").unwrap() + 20;
    forged[at] ^= 1;
    for (why, statement) in [("forged", &forged[..]), ("none at all", b"{}")] {
        part(statement, None).expect_err(why);
    }
    assert!(f.rows("artifact.seal").iter().all(|row| row.contains("\"deny\"")), "{:?}", f.rows("artifact.seal"));
    assert!(f.seen(1).is_err(), "nothing was sealed");
    part(&forged, Some("looked at by hand")).unwrap();
    part(&pictures.signed, None).unwrap();
}

#[test]
fn a_version_names_its_own_parts_all_of_them_and_no_others() {
    let f = Fixture::new();
    let pictures = Pictures::new(&f, 60);
    let good = f.parts(&pictures, 20);
    let half = good.len() / 2;
    let refused = |why: &str, id: ErrorId, parts: Vec<Part>| {
        let error = f.head(&pictures, &parts, None).unwrap_err();
        assert_eq!(error.id(), id, "{why}: {error}");
        // What names parts names those that are there, whoever signed them.
        let all_the_same = f.head(&pictures, &parts, Some("looked at by hand"));
        match id {
            ErrorId::DatasetChanged => {
                let head = all_the_same.unwrap().version;
                assert!(
                    f.said(&refer(head)).is_empty() && !f.opens(&refer(head)) && !f.opens(&refer(parts[0].version)),
                    "{why}"
                );
            }
            _ => assert_eq!(all_the_same.unwrap_err().id(), id, "{why}"),
        }
    };
    let with = |change: &dyn Fn(&mut Vec<Part>)| {
        let mut parts = good.clone();
        change(&mut parts);
        parts
    };
    refused("another root", ErrorId::InvalidArgument, with(&|p| p[half].root = Root([1; 32])));
    refused("another number", ErrorId::NotFound, with(&|p| p[half].version = 99));
    refused("more files than it has", ErrorId::InvalidArgument, with(&|p| p[half].files += 1));
    refused("another first path", ErrorId::InvalidArgument, with(&|p| p[half].first.push('x')));
    refused("other content", ErrorId::InvalidArgument, with(&|p| p[half].content.0[0] ^= 1));

    // Versions that are no parts, those of others, and those that another version names.
    let alone = f.seal_files("d", &pictures.files[..20].to_vec(), false, None).unwrap();
    refused(
        "sealed by itself",
        ErrorId::InvalidArgument,
        with(&|p| (p[0].version, p[0].root) = (alone.version, alone.root)),
    );
    let other = f.seal_part_of("other", &pictures.files[..20]);
    let of_other = with(&|p| p[0] = Part { version: p[0].version, ..other.clone() });
    refused("of another artifact", ErrorId::InvalidArgument, of_other);

    // Files that were not signed, and such as are missing.
    let seal = |change: &dyn Fn(&mut Files)| {
        let mut files = pictures.files.clone();
        change(&mut files);
        files.sort();
        files.chunks(25).map(|some| f.seal_part(some)).collect::<Vec<_>>()
    };
    refused("a changed image", ErrorId::DatasetChanged, seal(&|files| files[30].1[0] ^= 1));
    refused("one image more", ErrorId::DatasetChanged, seal(&|files| files.push(("train/n3/x.png".into(), vec![1]))));
    refused("one file more", ErrorId::DatasetChanged, seal(&|files| files.push(("model.sig".into(), vec![1]))));
    refused("an image that is missing", ErrorId::DatasetChanged, seal(&|files| drop(files.remove(40))));
    refused("a part that is missing", ErrorId::DatasetChanged, seal(&|_| ()).split_off(1));

    let head = f.head(&pictures, &good, None).unwrap();
    assert_eq!(f.said(&refer(head.version)).len(), 1);
    refused("named by another version", ErrorId::InvalidArgument, good);
    let removed = f.parts(&pictures, 20);
    f.vault.remove(&f.caller(), &refer(removed[1].version), false).unwrap();
    refused("removed", ErrorId::NotFound, removed);
    let shredded = f.parts(&pictures, 20);
    f.vault.shred(&f.caller(), &refer(shredded[2].version)).unwrap();
    refused("shredded", ErrorId::Shredded, shredded);
}

#[test]
fn what_lies_beside_the_files_is_in_no_part_and_files_are_in_no_version_that_names_parts() {
    let f = Fixture::new();
    let pictures = Pictures::new(&f, 10);
    for beside in ["dataset.sig", "dataset.parts", "dataset.tree/x"] {
        let files = vec![("a.png".to_owned(), vec![1]), (beside.to_owned(), vec![2])];
        let error = f.seal_files("d", &files, true, Some("all the same")).unwrap_err();
        assert_eq!(error.id(), ErrorId::InvalidArgument, "{beside}");
    }
    let mut head = pictures.naming(f.parts(&pictures, 4));
    head.push(("z.png".into(), vec![1]));
    assert_eq!(f.seal_files("d", &head, false, None).unwrap_err().id(), ErrorId::InvalidArgument);
    let mut garbage = pictures.naming(f.parts(&pictures, 4));
    garbage[0].1.insert(0, b' ');
    assert_eq!(f.seal_files("d", &garbage, false, None).unwrap_err().id(), ErrorId::ManifestInvalid);
    // Without a signed statement beside it, a file of that name is one like others.
    garbage.remove(1);
    assert_eq!(f.seal_files("d", &garbage, false, None).unwrap().part_of, None);
}
