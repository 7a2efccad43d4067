//! Addresses of services: the part of RFC 3986 that configuration files need.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::{Error, ErrorId};

/// Longest address that is read.
const MAX: usize = 2048;

/// `https://HOST[:PORT][/PATH][?QUERY]`; `http://` for this machine only. No user information, no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    target: String,
}

impl Url {
    /// Whether it is `https`.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query: what a request asks for.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The same place with this path and no query.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        Self { target: path.to_owned(), ..self.clone() }
    }

    /// What the `Host` header says.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| {
            Error::new(ErrorId::InvalidArgument, format!("not an address of a service: {text:?}: {why}"))
                .hint("addresses are https://HOST[:PORT][/PATH]; http:// is for 127.0.0.1 and localhost only")
        };
        if text.len() > MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("it is too long, or not plain ASCII"));
        }
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            _ => return Err(bad("it begins neither with https:// nor with http://")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') || target.contains('#') || authority.contains('\\') {
            return Err(bad("it has a user name or a fragment"));
        }
        let usual = if tls { 443 } else { 80 };
        let (host, port) =
            split_host_port(authority, Some(usual)).ok_or_else(|| bad("host and port are not well-formed"))?;
        if !tls && !is_loopback(&host) {
            return Err(bad("without TLS only this machine is reached"));
        }
        let target = match target {
            "" => "/".into(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Self { tls, host, port, target })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.target)
    }
}

/// `HOST:PORT`, `[V6]:PORT`; the port may be left out where there is a usual one.
pub fn split_host_port(text: &str, usual: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    let fine = !host.is_empty() && host.len() <= 253 && (text.starts_with('[') || host.bytes().all(name));
    let port = match port {
        // `parse` alone would take a leading plus.
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().filter(|p| *p != 0)?,
        Some(_) => return None,
        None => usual?,
    };
    fine.then(|| (host.to_ascii_lowercase(), port))
}

/// Whether a host can only be this machine. `localhost` is looked up, and only loopback addresses of it are used.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_what_and_nothing_more() {
        let url: Url = "https://id.example:8443/keys?set=1".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.target(), url.tls()), ("id.example", 8443, "/keys?set=1", true));
        assert_eq!(url.to_string(), "https://id.example:8443/keys?set=1");
        let plain: Url = "https://ID.example".parse().unwrap();
        assert_eq!((plain.to_string().as_str(), plain.port()), ("https://id.example/", 443));
        let six: Url = "http://[::1]:4318/v1/logs".parse().unwrap();
        assert_eq!((six.host(), six.authority().as_str()), ("::1", "[::1]:4318"));
        assert_eq!(six.with_path("/v1/traces").to_string(), "http://[::1]:4318/v1/traces");
    }

    #[test]
    fn what_two_readers_could_read_differently_is_no_address() {
        for bad in [
            "",
            "id.example",
            "ftp://id.example/",
            "https://",
            "https://:443/",
            "https://a b/",
            "https://user@id.example/",
            "https://id.example\\@evil.example/",
            "https://id.example/#part",
            "https://id.example:0/",
            "https://id.example:+1/",
            "https://id.example:99999/",
            "https://[::1/",
            "https://[id.example]/",
            "https://id.example:1:2/",
            "https://ïd.example/",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
        assert!("https://a/".repeat(400).parse::<Url>().is_err());
    }

    #[test]
    fn without_tls_only_this_machine_is_reached() {
        for local in ["http://127.0.0.1:9/", "http://localhost/", "http://[::1]/", "http://127.8.9.1/"] {
            assert!(local.parse::<Url>().is_ok(), "{local}");
        }
        for far in ["http://10.0.0.1/", "http://id.example/", "http://127.0.0.1.example/", "http://localhost.example/"]
        {
            assert!(far.parse::<Url>().is_err(), "{far}");
        }
    }
}
