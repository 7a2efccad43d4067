//! Whether what settings name can be sent to at all. Asked when settings are changed, so that a mistake is told to whoever makes it
//! and not to a log; what is away for a while is no mistake.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::error::{Error, ErrorId, Result, reason};
use crate::net::{ClientIdentity, OutboundTls, Roots, Url, is_loopback, split_host_port};
use crate::settings::{Setting as _, SettingKind};
use crate::siem::{Sink, SinkSettings, Target};
use crate::watch::Rules;

/// Longest path of a Unix socket in bytes (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// Whether the addresses in a document are some.
///
/// # Errors
/// `ConfigInvalid` with the name of what cannot be reached by anybody.
pub(super) fn must_be_addresses(kind: SettingKind, text: &str) -> Result<()> {
    match kind {
        SettingKind::Sinks => {
            let settings = SinkSettings::parse(text)?;
            settings.sinks.iter().try_for_each(address)?;
            settings.traces.map_or(Ok(()), |traces| url("traces", &traces.address))
        }
        SettingKind::Alerts => Rules::parse(text)?.webhook.map_or(Ok(()), |hook| url("webhook.url", &hook.url)),
        _ => Ok(()),
    }
}

/// Whether the files that a document names can be used, by this process and now.
///
/// # Errors
/// `ConfigInvalid` with the name of what cannot.
pub(super) fn must_be_usable(kind: SettingKind, text: &str, home: &Path) -> Result<()> {
    match kind {
        SettingKind::Sinks => {
            let settings = SinkSettings::parse(text)?;
            settings.sinks.iter().try_for_each(|sink| files(sink, home))?;
            settings.traces.and_then(|traces| traces.ca).map_or(Ok(()), |ca| trust("traces", Some(&ca), None))
        }
        SettingKind::Alerts => match Rules::parse(text)?.webhook.and_then(|hook| hook.ca) {
            Some(ca) => trust("webhook.ca", Some(&ca), None),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn address(sink: &Sink) -> Result<()> {
    let text = sink.address.as_deref().unwrap_or_default();
    match sink.to {
        Target::File | Target::Stdout | Target::Unix => Ok(()),
        Target::Otlp => url(&sink.name, text),
        Target::Tls | Target::Tcp => {
            let wrong = || invalid(&sink.name, &format!("not HOST:PORT: {text:?}"));
            let (host, _) = split_host_port(text, None).ok_or_else(wrong)?;
            if sink.to == Target::Tcp && !is_loopback(&host) {
                return Err(
                    invalid(&sink.name, "plain TCP is for this machine only").hint("send over TLS: to = \"tls\"")
                );
            }
            Ok(())
        }
    }
}

fn url(name: &str, text: &str) -> Result<()> {
    text.parse::<Url>().map(drop).map_err(|e| invalid(name, e.message()))
}

fn files(sink: &Sink, home: &Path) -> Result<()> {
    if let (Some(path), Target::File) = (&sink.path, sink.to) {
        return file(path, home).map_err(|why| invalid(&sink.name, &format!("{}: {why}", path.display())));
    }
    if let (Some(path), Target::Unix) = (&sink.path, sink.to) {
        let other = path.symlink_metadata().is_ok_and(|facts| !facts.file_type().is_socket());
        if other || path.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(invalid(&sink.name, &format!("{}: not a socket", path.display())));
        }
    }
    let identity = sink.certificate.clone().zip(sink.key.clone());
    let identity = identity.map(|(certificate, key)| ClientIdentity { certificate, key });
    if sink.ca.is_none() && identity.is_none() {
        return Ok(());
    }
    trust(&sink.name, sink.ca.as_deref(), identity.as_ref())
}

/// A file that this process can append to, or make.
fn file(path: &Path, home: &Path) -> Result<(), String> {
    let parent = path.parent().ok_or("not a file")?;
    let directory = parent.canonicalize().map_err(|e| reason(&e))?;
    if home.canonicalize().is_ok_and(|home| directory.starts_with(home)) {
        return Err("not into the vault itself".into());
    }
    let is_there = match path.symlink_metadata() {
        Ok(facts) if facts.is_file() => true,
        Ok(_) => return Err("not a file".into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(reason(&e)),
    };
    // To try it says more than to look at permissions: file systems have a word in it too.
    let links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(!is_there).mode(0o600).custom_flags(links);
    options.open(path).map_err(|e| reason(&e))?;
    if is_there { Ok(()) } else { std::fs::remove_file(path).map_err(|e| reason(&e)) }
}

fn trust(name: &str, ca: Option<&Path>, identity: Option<&ClientIdentity>) -> Result<()> {
    let roots = ca.map_or(Roots::System, |ca| Roots::File(ca.to_owned()));
    OutboundTls::new(&roots, identity).map(drop).map_err(|e| invalid(name, e.message()))
}

fn invalid(name: &str, why: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("{name}: {why}")).hint("docs/monitoring.md has an example of each kind")
}
