//! `$XDG_CONFIG_HOME/modelvault/config.toml`: contexts, each a local vault or a server. Read strictly: a misspelt key that is
//! passed over in silence would send a command to the wrong vault.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use model_vault::{Error, ErrorId, Result};
use serde::Deserialize;

/// No configuration is larger; more is not read.
const CONFIG_MAX: u64 = 1 << 20;

/// The configuration file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The context used where none is named.
    pub context: Option<String>,
    /// All contexts.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// One context as written: `home`, or `server` with `enrolment`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Directory of a local vault.
    pub home: Option<PathBuf>,
    /// `host:port` of a daemon.
    pub server: Option<String>,
    /// Enrolment directory to speak to it with.
    pub enrolment: Option<PathBuf>,
}

/// What a command talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The vault in this directory; `None`: where `Home::resolve` looks.
    Home(Option<PathBuf>),
    /// A daemon, as a workload.
    Server {
        /// `host:port`; `None`: the one in the enrolment.
        address: Option<String>,
        /// Enrolment directory.
        enrolment: PathBuf,
    },
}

impl Config {
    /// Where the file lies: `$XDG_CONFIG_HOME/modelvault/config.toml`, else `~/.config/modelvault/config.toml`.
    pub fn path(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
        Some(base.join("modelvault/config.toml"))
    }

    /// Reads the file; none is an empty configuration.
    ///
    /// # Errors
    /// `ConfigInvalid` if it cannot be read or breaks a rule.
    pub fn read(path: &Path) -> Result<Self> {
        let fail = |e: String| Error::new(ErrorId::ConfigInvalid, format!("{}: {e}", path.display()));
        match crate::files::read_small(path, CONFIG_MAX) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|_| fail("not UTF-8".into()))?;
                Self::parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(fail)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(fail(e.to_string())),
        }
    }

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            format!("line {line}: {}", e.message().lines().next().unwrap_or_default())
        })?;
        for (name, context) in &mut config.contexts {
            match (&context.home, &context.server, &context.enrolment) {
                (Some(_), None, None) | (None, _, Some(_)) => {}
                (None, Some(_), None) => return Err(format!("context {name:?}: server needs enrolment = \"DIR\"")),
                _ => return Err(format!("context {name:?} is either home = \"DIR\" or server with enrolment")),
            }
            // Relative paths are meant from where the file lies, not from where the command runs.
            for path in [&mut context.home, &mut context.enrolment].into_iter().flatten() {
                *path = base.join(&*path);
            }
        }
        if let Some(name) = config.context.as_ref().filter(|name| !config.contexts.contains_key(*name)) {
            return Err(format!("context = {name:?}, but there is no [contexts.{name}]"));
        }
        Ok(config)
    }

    /// The target of a context; `None`: the one the file names, if any.
    pub fn target(&self, name: Option<&str>) -> Result<Option<Target>> {
        let Some(name) = name.or(self.context.as_deref()) else { return Ok(None) };
        let context = self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            let hint = if known.is_empty() {
                "contexts are tables [contexts.NAME] of the configuration file".into()
            } else {
                format!("known contexts: {}", known.join(", "))
            };
            Error::new(ErrorId::InvalidArgument, format!("no context {name:?}")).hint(hint)
        })?;
        Ok(Some(match &context.enrolment {
            Some(enrolment) => Target::Server { address: context.server.clone(), enrolment: enrolment.clone() },
            None => Target::Home(context.home.clone()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/mv"))
    }

    #[test]
    fn a_context_is_a_home_or_a_server() {
        let config = parse(
            "context = \"here\"\n[contexts.here]\nhome = \"vault\"\n\
             [contexts.prod]\nserver = \"vault.example:7443\"\nenrolment = \"/run/enrolment\"\n",
        )
        .unwrap();
        assert_eq!(config.target(None).unwrap(), Some(Target::Home(Some("/etc/mv/vault".into()))));
        let server = Target::Server { address: Some("vault.example:7443".into()), enrolment: "/run/enrolment".into() };
        assert_eq!(config.target(Some("prod")).unwrap(), Some(server));
        let unknown = config.target(Some("stage")).unwrap_err();
        assert_eq!(unknown.id(), ErrorId::InvalidArgument);
        assert_eq!(unknown.hint_text(), Some("known contexts: here, prod"));
        assert_eq!(parse("").unwrap().target(None).unwrap(), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, says) in [
            ("contxt = \"a\"", "contxt"),
            ("[contexts.a]\nhome = \"x\"\nhoem = \"y\"", "line 3"),
            ("[contexts.a]", "is either"),
            ("[contexts.a]\nhome = \"x\"\nserver = \"y\"", "is either"),
            ("[contexts.a]\nserver = \"y\"", "enrolment"),
            ("context = \"b\"", "no [contexts.b]"),
            ("context = ", "line 1"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn the_file_is_where_xdg_says() {
        let path = |vars: &[(&str, &str)]| {
            Config::path(|n| vars.iter().find(|(k, _)| *k == n).map(|(_, v)| OsString::from(v)))
        };
        assert_eq!(path(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")]), Some("/x/modelvault/config.toml".into()));
        assert_eq!(path(&[("XDG_CONFIG_HOME", "x"), ("HOME", "/h")]), Some("/h/.config/modelvault/config.toml".into()));
        assert_eq!(path(&[]), None);
    }
}
