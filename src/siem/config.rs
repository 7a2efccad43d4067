//! The settings document `sinks`: where the audit log goes besides this vault, and where traces go.
//!
//! ```toml
//! [[sink]]
//! name = "siem"
//! format = "ocsf"
//! to = "tls"
//! address = "siem.example:6514"
//! ca = "/etc/modelvault/siem-ca.pem"
//! acts = ["artifact.*", "auth.refused"]
//! ```

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Format;
use crate::error::{Error, ErrorId, Result};
use crate::settings::{Setting, SettingKind};

/// More sinks than this are a mistake.
const SINKS_MAX: usize = 16;
const ACTS_MAX: usize = 64;

/// The whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSettings {
    /// Where events go.
    #[serde(default, rename = "sink", skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<Sink>,
    /// Where spans of calls go; nowhere if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
}

/// One receiver of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// Its name, for its place in the log and for people.
    pub name: String,
    /// Form of the events.
    #[serde(with = "as_text")]
    pub format: Format,
    /// What kind of receiver.
    pub to: Target,
    /// `file`: where. `unix`: the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `tls`, `tcp`: `HOST:PORT`. `otlp`: the address of the collector, `http://127.0.0.1:4318`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// PEM file of the authorities that vouch for the receiver; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// PEM file of the certificate to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Only these acts: whole names, or beginnings with `*`. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<String>,
    /// Only what was refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denied_only: bool,
    /// Where a sink of a new name begins.
    #[serde(default)]
    pub from: Origin,
}

/// What kind of receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A file, appended to.
    File,
    /// The daemon's standard output.
    Stdout,
    /// Syslog over TLS (RFC 5425).
    Tls,
    /// Syslog over TCP, on this machine only.
    Tcp,
    /// Syslog over a Unix socket.
    Unix,
    /// Log records over OTLP/HTTP. The form is the text of the record.
    Otlp,
}

impl Target {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Stdout => "stdout",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::Otlp => "otlp",
        }
    }
}

/// Where a sink begins that has sent nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// At the first record of the log: nothing is missed.
    #[default]
    Beginning,
    /// At what comes next.
    Now,
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The collector: `https://HOST:4318`, or `http://127.0.0.1:4318`.
    pub address: String,
    /// As of a sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Setting for SinkSettings {
    const KIND: SettingKind = SettingKind::Sinks;
    const BUILTIN: &'static str =
        "# Where the audit log is sent: docs/monitoring.md. Nothing is sent as long as there is no [[sink]].\n";

    fn parse(text: &str) -> Result<Self> {
        Self::read(text)
    }
}

impl SinkSettings {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// `ConfigInvalid` with what is wrong and where.
    pub fn read(text: &str) -> Result<Self> {
        let invalid = |e: toml::de::Error| Error::new(ErrorId::ConfigInvalid, e.to_string().trim_end().to_owned());
        let text = &*crate::settings::without_form_version(text)?;
        let settings: Self = toml::from_str(text).map_err(invalid)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        if self.sinks.len() > SINKS_MAX {
            return Err(invalid("sinks", &format!("more than {SINKS_MAX}")));
        }
        for (i, sink) in self.sinks.iter().enumerate() {
            sink.check()?;
            if self.sinks[..i].iter().any(|other| other.name == sink.name) {
                return Err(invalid(&sink.name, "two sinks have this name"));
            }
        }
        if let Some(traces) = &self.traces {
            absolute("traces", [&traces.ca])?;
        }
        Ok(())
    }
}

impl Sink {
    /// Where it sends to, for people.
    pub fn target(&self) -> String {
        let path = self.path.as_ref().map(|p| p.display().to_string());
        path.or_else(|| self.address.clone()).unwrap_or_else(|| "-".into())
    }

    /// Whether it wants the event of this act.
    pub fn wants(&self, act: &str, denied: bool) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => act.starts_with(beginning),
            None => act == pattern,
        };
        (denied || !self.denied_only) && (self.acts.is_empty() || self.acts.iter().any(matches))
    }

    fn check(&self) -> Result<()> {
        let wrong = |why: &str| Err(invalid(&self.name, why));
        let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.bytes().all(name) {
            return wrong("names of sinks are 1 to 32 small letters, digits and hyphens");
        }
        let (path, address) = match self.to {
            Target::File | Target::Unix => (true, false),
            Target::Stdout => (false, false),
            Target::Tls | Target::Tcp | Target::Otlp => (false, true),
        };
        if self.path.is_some() != path {
            return wrong(if path {
                "a file or Unix socket needs its path"
            } else {
                "only files and Unix sockets have a path"
            });
        }
        if self.address.is_some() != address {
            return wrong(if address {
                "it needs the address it sends to"
            } else {
                "only tls, tcp and otlp have an address"
            });
        }
        let tls = matches!(self.to, Target::Tls | Target::Otlp);
        if !tls && (self.ca.is_some() || self.certificate.is_some()) || self.certificate.is_some() != self.key.is_some()
        {
            return wrong("ca is for tls and otlp; certificate and key are for them too, and go together");
        }
        absolute(&self.name, [&self.path, &self.ca, &self.certificate, &self.key])?;
        if self.acts.len() > ACTS_MAX
            || self.acts.iter().any(|a| a.len() > 64 || a[..a.len().saturating_sub(1)].contains('*'))
        {
            return wrong("acts are names such as artifact.seal, or beginnings such as artifact.*");
        }
        Ok(())
    }
}

/// The daemon may be started anywhere.
fn absolute<const N: usize>(name: &str, paths: [&Option<PathBuf>; N]) -> Result<()> {
    match paths.into_iter().flatten().find(|p| !p.is_absolute()) {
        Some(path) => Err(invalid(name, &format!("{}: paths begin with /", path.display()))),
        None => Ok(()),
    }
}

fn invalid(name: &str, why: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("sink {name:?}: {why}"))
        .hint("docs/monitoring.md has an example of each kind")
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::siem::Format;

    pub(super) fn serialize<S: Serializer>(format: &Format, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(format.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Format, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[sink]]
name = "siem"
format = "ocsf"
to = "tls"
address = "siem.example:6514"
ca = "/etc/ca.pem"
acts = ["artifact.*", "auth.refused"]
denied_only = true
[[sink]]
name = "local"
format = "jsonl"
to = "file"
path = "/var/log/vault.jsonl"
from = "now"
[traces]
address = "http://127.0.0.1:4318"
"#;

    #[test]
    fn a_document_says_what_goes_where() {
        let settings = SinkSettings::parse(GOOD).unwrap();
        assert_eq!((settings.sinks.len(), settings.sinks[1].from), (2, Origin::Now));
        let siem = &settings.sinks[0];
        assert!(siem.wants("artifact.open", true) && siem.wants("auth.refused", true));
        assert!(!siem.wants("artifact.open", false) && !siem.wants("auth.refused2", true));
        assert!(settings.sinks[1].wants("vault.init", false));
        let written = toml::to_string(&settings).unwrap();
        assert_eq!(SinkSettings::parse(&written).unwrap(), settings);
        assert_eq!(SinkSettings::parse("").unwrap(), SinkSettings::default());
    }

    #[test]
    fn a_mistake_is_refused_with_the_sinks_name() {
        for (from, to) in [
            ("to = \"tls\"", "to = \"udp\""),
            ("\"ocsf\"", "\"xml\""),
            ("denied_only", "denied-only"),
            ("address = \"siem", "path = \"/siem"),
            ("\"local\"", "\"siem\""),
            ("\"local\"", "\"Local!\""),
            ("\"/var/log", "\"var/log"),
            ("\"artifact.*\"", "\"*.open\""),
            ("from = \"now\"", "ca = \"/etc/ca.pem\""),
            ("ca = \"/etc/ca.pem\"", "key = \"/etc/key.pem\""),
            ("[traces]", "[trace]"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = SinkSettings::parse(&text).unwrap_err();
            assert_eq!(error.id(), ErrorId::ConfigInvalid, "{to}");
        }
    }
}
