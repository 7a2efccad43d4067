//! An issuer of tokens for the play: what the CI of a training job and the identity provider of an auditor are elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model_vault::Result;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::SigningIdentity;
use model_vault::names::{Clock as _, Random as _, SystemClock};
use serde_json::json;

/// Seconds that a token is good for.
const LIFETIME: i64 = 600;

/// A key that signs tokens.
pub struct Issuer {
    key: SigningIdentity,
    url: &'static str,
}

impl Issuer {
    /// A new one.
    pub fn new(url: &'static str) -> Result<Self> {
        Ok(Self { key: SigningIdentity::generate(&SystemRandom)?, url })
    }

    /// Its section of the issuers settings; `who` says what its subjects become.
    pub fn section(&self, name: &str, who: &str) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public().as_bytes());
        let url = self.url;
        format!(
            "[[issuer]]\nname = \"{name}\"\nkind = \"oidc\"\nissuer = \"{url}\"\naudience = \"model-vault\"\n\
             algorithms = [\"EdDSA\"]\n{who}\n\
             jwks = {{ inline = '{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}]}}' }}\n"
        )
    }

    /// A token that says who somebody is.
    pub fn token(&self, subject: &str) -> Result<String> {
        let now = SystemClock.now().as_secs();
        let mut id = [0; 16];
        SystemRandom.fill(&mut id)?;
        let header = json!({"alg": "EdDSA", "typ": "JWT"});
        let claims = json!({
            "iss": self.url, "sub": subject, "aud": "model-vault",
            "iat": now, "exp": now + LIFETIME, "jti": URL_SAFE_NO_PAD.encode(id),
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }
}
