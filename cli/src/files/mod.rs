//! Files the command line reads and makes. What a command makes appears whole, under its name, when the command succeeded; a
//! failed or interrupted one leaves nothing behind.

pub mod beneath;
pub mod destination;
pub mod folding;
pub mod records;
pub mod signature;
pub mod source;
pub mod temporary;
pub mod tree;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model_vault::crypto::hash::Sha256Hasher;
use model_vault::error::reason;
use model_vault::names::{Reference, Sha256};
use model_vault::{Error, ErrorId, Result, regular};
use zeroize::Zeroizing;

/// How the names of portable sealed files end.
const SEALED_SUFFIX: &str = ".mvlt";

/// Reads a whole file of at most `max` bytes. Where a pipe has its name, nobody waits for whoever writes into it.
pub fn read_small(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_up_to(regular::open(path)?, max)
}

fn read_up_to(file: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {max} bytes")));
    }
    Ok(bytes)
}

/// SHA-256 of a file, from where it stands.
pub fn sha256_of(file: &mut File) -> io::Result<Sha256> {
    let (mut hasher, mut buffer) = (Sha256Hasher::default(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Reads a text that somebody wrote, such as a policy; `-` is standard input. Also what another program writes (`<(...)` of a shell);
/// for a pipe that has a name nobody waits.
pub fn read_text(path: &Path) -> Result<String> {
    const MAX: u64 = 1 << 20;
    let bytes = match path == Path::new("-") {
        true => read_up_to(io::stdin().lock(), MAX),
        false => regular::open_or_inherited(path).and_then(|file| read_up_to(file, MAX)),
    };
    let bytes = bytes.map_err(on(path))?;
    String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= MAX).ok_or_else(|| {
        Error::new(ErrorId::InvalidArgument, format!("{}: not UTF-8, or more than {MAX} bytes", path.display()))
    })
}

/// The same for a secret: the buffer never grows, so that no copy is left behind, and is wiped.
pub fn read_secret(path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(max + 1).map_err(io::Error::other)?]);
    let mut file = File::open(path)?;
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    if len as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {max} bytes")));
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// An I/O error with the path it happened on.
pub fn on(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    use io::ErrorKind as K;
    move |e| {
        let (id, hint) = match e.kind() {
            K::NotFound => (ErrorId::NotFound, "check the path"),
            K::IsADirectory => (ErrorId::InvalidArgument, "name a file"),
            K::NotADirectory => (ErrorId::InvalidArgument, "a part of the path is a file: check the path"),
            // Of what is read whole.
            K::InvalidData => (ErrorId::InvalidArgument, "this is not the file that is meant, or it is damaged"),
            _ => return Error::from(e).on(path.display()),
        };
        Error::new(id, format!("{}: {}", path.display(), reason(&e))).hint(hint).caused_by(e)
    }
}

/// Whether the argument means a path: one that exists and is written like one. `vault://` forces a reference.
///
/// # Errors
/// `NotFound` for what can only have been meant as a path, and is not there.
pub fn means_path(argument: &str) -> Result<bool> {
    if Reference::is_url(argument) || !argument.contains(['/', '.']) {
        return Ok(false);
    }
    if Path::new(argument).symlink_metadata().is_ok() {
        return Ok(true);
    }
    if argument.ends_with(SEALED_SUFFIX) || argument.parse::<Reference>().is_err() {
        return Err(Error::new(ErrorId::NotFound, format!("{argument}: no such file"))
            .hint("check the path; artifacts of the vault are named [NAMESPACE/]NAME[@REVISION]: vault ls"));
    }
    Ok(false)
}

/// Refuses an output that is the input, or lies within it, before either is touched.
///
/// # Errors
/// `InvalidArgument`.
pub fn refuse_same(input: &Path, output: &Path) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::new(ErrorId::InvalidArgument, format!("{}: the output {what} the input", output.display()))
            .hint("choose another place with -o"))
    };
    let Ok(facts) = input.metadata() else { return Ok(()) };
    // A device is read and written at will.
    if let Ok(there) = output.metadata().as_ref()
        && !(there.is_file() || there.is_dir())
    {
        return Ok(());
    }
    // The same file under another name, by a link of either kind.
    if output.metadata().is_ok_and(|o| (o.dev(), o.ino()) == (facts.dev(), facts.ino())) {
        return refuse("is");
    }
    let (Ok(input), Ok(parent)) = (input.canonicalize(), destination::parent(output).canonicalize()) else {
        return Ok(());
    };
    if facts.is_dir() && parent.starts_with(&input) { refuse("lies within") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_output_that_would_destroy_its_input_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, other) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        fs::write(&file, "x").unwrap();
        fs::hard_link(&file, &link).unwrap();
        std::os::unix::fs::symlink(&file, &other).unwrap();
        for same in [&file, &link, &other] {
            assert_eq!(refuse_same(&file, same).unwrap_err().id(), ErrorId::InvalidArgument);
        }
        assert!(refuse_same(&file, &dir.path().join("new")).is_ok());
        assert!(refuse_same(dir.path(), &dir.path().join("new")).is_err());
        assert!(refuse_same(&file, Path::new("/dev/null")).is_ok());
    }

    #[test]
    fn what_is_read_whole_is_a_file_and_nothing_waits_for_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pipe) = (dir.path().join("file"), dir.path().join("pipe"));
        fs::write(&file, "12345").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(read_small(&file, 5).unwrap(), b"12345");
        for (path, kind) in [
            (&*file, io::ErrorKind::InvalidData),
            (&pipe, io::ErrorKind::InvalidData),
            (Path::new("/dev/zero"), io::ErrorKind::InvalidData),
            (dir.path(), io::ErrorKind::IsADirectory),
        ] {
            assert_eq!(read_small(path, 4).unwrap_err().kind(), kind, "{path:?}");
        }
    }

    #[test]
    fn a_secret_is_read_whole_up_to_its_limit_in_one_buffer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "12345").unwrap();
        let read = read_secret(&path, 5).unwrap();
        assert_eq!((&read[..], read.capacity()), (&b"12345"[..], 6));
        assert_eq!(read_secret(&path, 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn only_what_looks_like_a_path_and_exists_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resnet");
        fs::write(&path, "").unwrap();
        assert!(means_path(path.to_str().unwrap()).unwrap());
        for reference in ["default/no-such-artifact", "Cargo", "gpt-2.1", "vault://default/a.mvlt"] {
            assert!(!means_path(reference).unwrap(), "{reference}");
        }
        assert!(!means_path(&format!("vault://{}", path.display())).unwrap());
        for missing in ["model.mvlt", "./model", "/no/such", "no/such/file", "Model.onnx"] {
            assert_eq!(means_path(missing).unwrap_err().id(), ErrorId::NotFound, "{missing}");
        }
    }
}
