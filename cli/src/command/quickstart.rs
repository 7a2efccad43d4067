//! `vault quickstart`: the whole story on this machine. It runs the ordinary commands of this very program, shows each as it
//! would be typed, and checks what each promises; the only thing done in process is to be a stranger without a certificate.

mod play;

use std::fs;
use std::path::{Path, PathBuf};

use model_vault::client::{Client, Endpoint, FetchPlan, InMemory};
use model_vault::identity::Enrolment;
use model_vault::names::Name;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use self::play::{Play, Stage};
use super::Context;
use crate::args;

/// The model that is used when none is named: `examples/digits`, a real one.
const DIGITS: &[u8] = include_bytes!("../../../examples/digits/digits.onnx");

/// The JSON document of `vault quickstart`.
#[derive(Debug, Serialize)]
struct Told {
    /// Where it all lies; absent unless `--keep`.
    kept: Option<PathBuf>,
    /// Bytes of the model that was sealed, streamed and compared.
    model_bytes: u64,
    /// What was done, in order.
    steps: Vec<play::Step>,
}

/// Plays it.
pub fn run(cx: &Context<'_>, args: &args::Quickstart) -> Result<()> {
    let stage = Stage::set(args.keep.as_deref())?;
    let model = model(&stage, args.model.as_deref())?;
    let mut play = Play::new(cx, &stage);
    play.say(format!("Everything happens in {}{}", stage.dir().display(), stage.fate()));

    play.chapter("A vault of your own, and a real model sealed into it")?;
    play.run(&["init", "--key-file", "root.key"])?;
    let name = Name::from_path(&model)?.to_string();
    let name = name.as_str();
    play.run(&["seal", &path_text(model.strip_prefix(stage.dir()).unwrap_or(&model))?, "--name", name])?;
    play.run(&["inspect", name])?;

    play.chapter("A daemon with mutual TLS, and a workload that may read the model")?;
    let daemon = play.serve()?;
    play.run(&["workload", "enroll", "serving", "-o", "serving"])?;
    play.run(&["grant", "serving", name])?;

    play.chapter("The workload fetches: decrypted by the daemon, verified group by group before a byte is used")?;
    play.run(&["fetch", name, "-o", "fetched", "--server", &daemon.address, "--enrolment", "serving"])?;
    let bytes = compare(&model, &stage.dir().join("fetched"))?;
    play.say(format!("identical to the original: {bytes} bytes"));

    play.chapter("Everyone else is refused")?;
    let stranger = be_a_stranger(cx, &stage, &daemon.address, name)?;
    play.refused_in_process("a caller without a certificate", &stranger)?;
    play.run(&["workload", "enroll", "intruder", "-o", "intruder"])?;
    let fetch = ["fetch", name, "-o", "stolen", "--server", &daemon.address, "--enrolment", "intruder"];
    play.refused(&fetch, &[ErrorId::NotFound])?;
    play.stop(daemon)?;

    play.chapter("One flipped byte in a copy of the vault is found")?;
    let blob = flip_a_byte(&stage)?;
    play.say(format!("copied home to tampered, flipped one byte in {}", blob.display()));
    play.refused(
        &["--home", "tampered", "open", name, "-o", "opened"],
        &[ErrorId::IndexMismatch, ErrorId::FooterAuthFailed, ErrorId::BindingMismatch],
    )?;
    if stage.dir().join("stolen").exists() || stage.dir().join("opened").exists() {
        return Err(Error::new(ErrorId::Internal, "a refused command left something behind"));
    }

    play.chapter("All of it is on the record")?;
    play.run(&["audit", "verify"])?;
    play.run(&["audit", "tail", "-n", "6"])?;

    let steps = play.end()?;
    let told = Told { kept: args.keep.as_ref().map(|_| stage.dir().to_owned()), model_bytes: bytes, steps };
    cx.out.report(&told, |_| closing(&stage))
}

/// The model to seal, under a name of its own in the stage.
fn model(stage: &Stage, given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(path) => path.canonicalize().map_err(|e| Error::from(e).on(path.display())),
        None => {
            let path = stage.dir().join("digits.onnx");
            fs::write(&path, DIGITS).map_err(|e| Error::from(e).on(path.display()))?;
            Ok(path)
        }
    }
}

fn path_text(path: &Path) -> Result<String> {
    let text = path.to_str().map(Into::into);
    text.ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("{} is not UTF-8", path.display())))
}

/// Compares a file, or a directory with all below it, with what was fetched. Returns the bytes compared.
fn compare(original: &Path, fetched: &Path) -> Result<u64> {
    if original.is_file() {
        let name = original.file_name().unwrap_or_default();
        return compare_files(original, &fetched.join(name));
    }
    let mut total = 0;
    for entry in fs::read_dir(original)? {
        let entry = entry?;
        let (theirs, ours) = (entry.path(), fetched.join(entry.file_name()));
        total += if theirs.is_dir() { compare(&theirs, &ours)? } else { compare_files(&theirs, &ours)? };
    }
    Ok(total)
}

fn compare_files(original: &Path, fetched: &Path) -> Result<u64> {
    use std::io::Read;
    let (mut a, mut b) = (fs::File::open(original)?, fs::File::open(fetched)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut total = 0;
    loop {
        let read = a.read(&mut left)?;
        let same = if read == 0 {
            b.read(&mut right)? == 0
        } else {
            b.read_exact(&mut right[..read]).is_ok() && left[..read] == right[..read]
        };
        if !same {
            let text = format!("{} differs from {}", fetched.display(), original.display());
            return Err(Error::new(ErrorId::MemberMismatch, text));
        }
        if read == 0 {
            return Ok(total);
        }
        total += read as u64;
    }
}

/// Asks for the model without a certificate. Returns the refusal.
fn be_a_stranger(cx: &Context<'_>, stage: &Stage, address: &str, name: &str) -> Result<Error> {
    let enrolment = Enrolment::read(&stage.dir().join("serving"))?;
    let endpoint = Endpoint::Anonymous { address: address.into(), ca: enrolment.ca };
    let plan = FetchPlan::whole(name.parse()?, enrolment.signers);
    let fetched = cx.session.wait(async {
        let client = Client::connect(endpoint).await?;
        client.fetch(plan, &mut InMemory::default()).await
    });
    match fetched {
        Err(e) if e.id() == ErrorId::NoCredential => Ok(e),
        Err(e) => Err(e),
        Ok(_) => Err(Error::new(ErrorId::Internal, "a stranger was served")),
    }
}

/// Copies the home and flips one byte in the middle of the sealed body. Returns the file, as seen from the stage.
fn flip_a_byte(stage: &Stage) -> Result<PathBuf> {
    let tampered = stage.dir().join("tampered");
    copy_tree(&stage.home(), &tampered)?;
    let body = find(&tampered.join("blobs"), ".body")?;
    let mut bytes = fs::read(&body)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&body, bytes)?;
    Ok(body.strip_prefix(stage.dir()).unwrap_or(&body).to_owned())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn find(dir: &Path, suffix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Ok(found) = find(&path, suffix) {
                return Ok(found);
            }
        } else if path.to_string_lossy().ends_with(suffix) {
            return Ok(path);
        }
    }
    Err(Error::new(ErrorId::NotFound, format!("no {suffix} below {}", dir.display())))
}

fn closing(stage: &Stage) -> String {
    let mut text = String::from(
        "\nThat is the whole story. The ordinary commands, in a home of your own:\n\n\
         \x20   vault init                                    # asks for a passphrase; --key-file FILE for services\n\
         \x20   vault seal model.onnx                         # or a directory\n\
         \x20   vault serve                                   # mTLS on 127.0.0.1:7443, and a Unix socket\n\
         \x20   vault workload enroll serving -o serving      # certificate for serving code\n\
         \x20   vault grant serving model\n\
         \x20   vault fetch model -o DIR --server 127.0.0.1:7443 --enrolment serving\n\
         \x20   vault audit verify\n",
    );
    if stage.is_kept() {
        let dir = stage.dir().display();
        text += &format!("\nKept to play with:\n\n    cd {dir} && export MODELVAULT_HOME={dir}/home\n    vault ls\n");
    }
    text
}
