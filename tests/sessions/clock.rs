//! A clock that steps an hour forth and back: tokens are used once, sessions end when they end, and nothing is refilled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model_vault::ErrorId;
use model_vault::identity::{SessionCertificate, new_key_and_csr};
use model_vault::names::{Clock, RequestId, SystemClock, Timestamp};
use model_vault::settings::SettingKind;
use model_vault::vault::{Caller, Channel, InitSpec, Machine, TokenKeys, Transport, Vault};

use super::tokens::Signer;
use super::{claims, issuer, name, refused, seal_in};

/// Wall clock and running time.
struct Hands(Mutex<(Timestamp, Duration)>);

impl Hands {
    fn step(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        now.0 = Timestamp::from_millis(now.0.as_millis() + seconds * 1000);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn running(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

struct Stepping {
    vault: Arc<Vault>,
    hands: Arc<Hands>,
    _dir: tempfile::TempDir,
}

impl Stepping {
    fn new(signer: &Signer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hands = Arc::new(Hands(Mutex::new((SystemClock.now(), Duration::from_secs(5000)))));
        let machine = Machine { clock: hands.clone(), ..Machine::default() };
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, machine).unwrap());
        let issuers = issuer(&format!("jwks = {{ inline = '{}' }}", signer.jwks("k1")), signer);
        let operator = || vault.local_caller().unwrap();
        vault.change_setting(&operator(), SettingKind::Issuers, &issuers, None).unwrap();
        let quotas = "[[quota]]\nid = \"q\"\nwhom = \"workload:*\"\nbytes_per_hour = \"1 MiB\"\n";
        vault.change_setting(&operator(), SettingKind::Quotas, quotas, None).unwrap();
        let policy = vault.policy(&operator()).unwrap().text;
        let more = "@id(\"ci-reads\") permit (principal == ModelVault::Workload::\"default/ci:repo:acme/model\", \
                    action in ModelVault::Action::\"read\", resource);";
        vault.set_policy(&operator(), &format!("{policy}\n{more}")).unwrap();
        seal_in(&vault, "model", 1 << 20);
        Self { vault, hands, _dir: dir }
    }

    /// Whoever comes with this token, in the session that it is exchanged for.
    fn login(&self, token: &str) -> model_vault::Result<Caller> {
        let stranger = self.vault.local_caller()?;
        let (_, TokenKeys::Known(keys)) = self.vault.token_keys(token)? else {
            panic!("the keys stand in the settings")
        };
        let (_, csr) = new_key_and_csr(&name("session"))?;
        let login = self.vault.login(&stranger, token, &keys, &csr)?;
        let certificate = SessionCertificate::parse(&login.certificate)?;
        let (principal, evidence) = self.vault.session_caller(&certificate)?;
        let certificate = Some((certificate.serial.0.to_vec(), certificate.spki_sha256));
        let channel = Channel { transport: Transport::Mtls, certificate, ..Channel::local() };
        Ok(Caller { principal, channel, evidence, ..stranger })
    }

    fn open(&self, caller: &Caller) -> model_vault::Result<()> {
        let request_id: RequestId = self.vault.local_caller()?.request_id;
        let opened = self.vault.open(&Caller { request_id, ..caller.clone() }, &"model".parse()?)?;
        let outcome = opened.read(0, 0, &mut vec![0; 1 << 20], true);
        opened.finish(if outcome.is_ok() { 1 << 20 } else { 0 }, "complete")?;
        outcome
    }
}

#[test]
fn steps_of_an_hour_revive_no_token_and_no_session_and_refill_no_quota() {
    const HOUR: i64 = 3600;
    let signer = Signer::es256();
    let at = Stepping::new(&signer);
    let token = signer.token("k1", &claims(&[]));
    let session = at.login(&token).unwrap();
    at.open(&session).unwrap();
    let used_up = |caller: &Caller| refused(at.open(caller));
    assert_eq!(used_up(&session), ErrorId::QuotaExceeded);

    // Forth: what was for minutes is over, and an hour of the clock is no hour.
    at.hands.step(HOUR);
    assert_eq!(used_up(&session), ErrorId::BadCredential);
    assert_eq!(refused(at.login(&token)), ErrorId::BadCredential);
    let ahead = |claim: &'static str, seconds: i64| (claim, (super::now() + seconds).to_string());
    let fresh = || signer.token("k1", &claims(&[ahead("iat", HOUR - 5), ahead("exp", HOUR + 300)]));
    let later = at.login(&fresh()).unwrap();
    assert_eq!(used_up(&later), ErrorId::QuotaExceeded);

    // Back to where it was, and further: the token stays used, and the later session has not begun.
    at.hands.step(-HOUR);
    assert_eq!(refused(at.login(&token)), ErrorId::BadCredential);
    assert_eq!(used_up(&session), ErrorId::QuotaExceeded);
    assert_eq!(used_up(&later), ErrorId::BadCredential);
    at.hands.step(-HOUR);
    assert_eq!(refused(at.login(&token)), ErrorId::BadCredential);
    assert_eq!(used_up(&session), ErrorId::BadCredential);
    assert_eq!(refused(at.login(&signer.token("k1", &claims(&[ahead("nbf", -5)])))), ErrorId::BadCredential);
}
