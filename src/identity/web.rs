//! Fetching an issuer's keys: two bounded requests at most, and only where the settings name an issuer whose keys are on the web.

use super::issuers::WebSource;
use super::jwt::{KeySet, MAX_SET_BYTES};
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value};
use crate::net::{Bounds, HttpClient, Roots, Url};

/// The keys that an issuer publishes now.
///
/// # Errors
/// `Unreachable`, `DeadlineExceeded`, `LimitExceeded`, or `ConfigInvalid` for what is no JWK set.
pub async fn fetch_keys(source: &WebSource) -> Result<KeySet> {
    let bounds = Bounds { body: MAX_SET_BYTES, ..Bounds::default() };
    let ca = source.ca.clone();
    let prepared = move || {
        let roots = ca.map_or(Roots::System, Roots::File);
        HttpClient::new(&roots, None, bounds)
    };
    let client = tokio::task::spawn_blocking(prepared).await;
    let client = client.map_err(|e| Error::new(ErrorId::Internal, e.to_string()))??;
    let jwks: Url = match &source.jwks {
        Some(url) => url.parse()?,
        None => discover(&client, &source.issuer).await?,
    };
    KeySet::parse(&get(&client, &jwks).await?)
}

/// Where an issuer says its keys are (OpenID Connect Discovery 1.0).
async fn discover(client: &HttpClient, issuer: &str) -> Result<Url> {
    let bad = |what: &str| Error::new(ErrorId::ConfigInvalid, format!("the configuration of {issuer} {what}"));
    let place: Url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')).parse()?;
    let found = json::parse(&get(client, &place).await?, 16).map_err(|e| bad(&format!("is not JSON: {e}")))?;
    let word = |name| found.get(name).and_then(Value::as_str);
    if word("issuer") != Some(issuer) {
        return Err(bad("is of another issuer"));
    }
    let jwks: Url = word("jwks_uri").ok_or_else(|| bad("names no keys"))?.parse()?;
    // An issuer elsewhere does not choose what on this machine is asked.
    if place.tls() && !jwks.tls() {
        return Err(bad("names keys without TLS"));
    }
    Ok(jwks)
}

/// A redirection too is no answer: where keys come from is said by the settings.
async fn get(client: &HttpClient, url: &Url) -> Result<bytes::Bytes> {
    client.get(url, None).await?.ok(url)
}
