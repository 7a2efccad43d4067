//! Promises to operators: a second factor counts once and not for ever, and what needs four eyes gets them, for one act.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::SigningIdentity;
use model_vault::facts::ApprovalFacts;
use model_vault::identity::signers::Trusting;
use model_vault::identity::totp::{Proof, Secret, step_at};
use model_vault::identity::{Person, SteppedUp};
use model_vault::names::{
    ApprovalId, ArtifactKind, Clock, Name, Principal, Reference, RequestId, Sha256, SystemClock, Timestamp,
};
use model_vault::vault::{
    Caller, Channel, Counted, Evidence, HoldSpec, HoldTarget, InitSpec, Machine, RootCredential, SealInput, SealMember,
    Sealing, Transport, Vault,
};
use model_vault::{Error, ErrorId, Result};

/// Everything is permitted to operators, destructive acts of those with a second factor only when it is fresh.
const STEP_UP: &str = r#"
@id("operators") permit (principal is ModelVault::Operator, action, resource);
@id("step-up") forbid (principal is ModelVault::Operator, action in ModelVault::Action::"destructive", resource)
when { context.mfa_enrolled && context.mfa_age_s > 300 };
"#;

/// And shredding needs the approval of one other person, exports that of two.
const FOUR_EYES: &str = r#"
@id("shred") forbid (principal, action == ModelVault::Action::"shred", resource) unless { context.approvals >= 1 };
@id("export") forbid (principal, action == ModelVault::Action::"export", resource) unless { context.approvals >= 2 };
@id("settings") forbid (principal, action == ModelVault::Action::"setPolicy", resource) unless { context.approvals >= 1 };
"#;

/// And whom to believe, and where tags point.
const TRUSTED_BY_TWO: &str = r#"
@id("trust") forbid (principal, action == ModelVault::Action::"trustSigner", resource) unless { context.approvals >= 1 };
"#;
const TAGGED_BY_TWO: &str = r#"
@id("tag") forbid (principal, action == ModelVault::Action::"tag", resource) unless { context.approvals >= 1 };
"#;

struct Hands(Mutex<Timestamp>);

impl Hands {
    fn step(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now = Timestamp::from_millis(now.as_millis() + 1000 * seconds);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    vault: Arc<Vault>,
    clock: Arc<Hands>,
}

impl Fixture {
    fn new(policies: &[&str]) -> Self {
        let clock = Arc::new(Hands(Mutex::new(SystemClock.now())));
        let machine = Machine { clock: clock.clone(), ..Machine::default() };
        let dir = tempfile::tempdir().unwrap();
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, machine).unwrap());
        let fixture = Self { dir, vault, clock };
        if !policies.is_empty() {
            fixture.vault.set_policy(&fixture.alice(), &policies.concat()).unwrap();
        }
        fixture
    }

    fn reopened(self) -> Self {
        let Self { dir, vault, clock } = self;
        drop(vault);
        let machine = Machine { clock: clock.clone(), ..Machine::default() };
        let key = RootCredential::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::unlock(&dir.path().join("home"), Some(key), machine).unwrap());
        Self { dir, vault, clock }
    }

    fn operator(&self, principal: Principal) -> Caller {
        Caller {
            principal,
            request_id: RequestId::generate(self.clock.now(), &SystemRandom).unwrap(),
            channel: Channel { transport: Transport::Unix, ..Channel::local() },
            evidence: Evidence::default(),
            counted: Counted::default(),
        }
    }

    fn alice(&self) -> Caller {
        self.operator(Principal::unix_operator(1000))
    }

    fn bob(&self) -> Caller {
        self.operator(Principal::unix_operator(1001))
    }

    fn carol(&self) -> Caller {
        self.operator(Principal::unix_operator(1002))
    }

    /// The caller's secret and recovery codes. The code that confirmed it is used up: time goes on.
    fn enrolled(&self, caller: &Caller) -> (Secret, Vec<Proof>) {
        let secret = decode(&self.vault.enroll_factor(caller).unwrap().secret);
        let codes = self.vault.confirm_factor(caller, &self.code(&secret)).unwrap();
        self.clock.step(60);
        (secret, codes.iter().map(|code| code.parse().unwrap()).collect())
    }

    fn code(&self, secret: &Secret) -> Proof {
        Proof::Code(secret.code(step_at(self.clock.now())))
    }

    /// A code of no step around now.
    fn wrong(&self, secret: &Secret) -> Proof {
        let now = step_at(self.clock.now());
        let near: Vec<_> = (now - 3..now + 4).map(|step| secret.code(step)).collect();
        let wrong = (now + 4..).map(|step| secret.code(step)).find(|code| !near.contains(code));
        Proof::Code(wrong.unwrap())
    }

    /// The caller, showing what a second factor opened.
    fn showing(&self, caller: Caller, opened: &SteppedUp) -> Caller {
        let shown = opened.token.as_ref().map(|token| token.holder());
        Caller { evidence: Evidence { shown, ..Evidence::default() }, ..caller }
    }

    fn seal(&self, name: &str) {
        let member = SealMember { path: "model.onnx".into(), source: Box::new(name.as_bytes().to_vec()) };
        let sealing = Sealing {
            members: vec![member],
            kind: ArtifactKind::Model,
            sha256: true,
            sequential: false,
            signer: None,
            allow_unsigned: None,
            progress: Box::new(|_| {}),
        };
        let (namespace, name): (Name, Name) = ("default".parse().unwrap(), name.parse().unwrap());
        self.vault.seal(&self.alice(), SealInput { namespace, name, tag: None, sealing }).unwrap();
    }

    fn shred(&self, by: &Caller, what: &str) -> Result<()> {
        // Each time as another request.
        let request_id = RequestId::generate(self.clock.now(), &SystemRandom).unwrap();
        self.vault.shred(&Caller { request_id, ..by.clone() }, &reference(what)).map(drop)
    }

    fn rows(&self, act: &str) -> Vec<String> {
        let rows = self.vault.audit_rows(&self.alice(), 0, 10_000).unwrap();
        let rows = rows.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap());
        rows.filter(|row| row.contains(&format!(r#""act":"{act}""#))).collect()
    }

    fn approve(&self, by: &Caller, waiting: &ApprovalFacts, yes: bool) -> Result<ApprovalFacts> {
        self.vault.approve(by, waiting.id, waiting.digest, yes)
    }

    fn waiting(&self) -> Vec<ApprovalFacts> {
        self.vault.approvals(&self.bob()).unwrap()
    }
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// What an app makes of the letters it is given.
fn decode(base32: &str) -> Secret {
    let bits = base32.bytes().flat_map(|c| {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|a| *a == c).unwrap();
        (0..5).rev().map(move |bit| value >> bit & 1 == 1)
    });
    let bits: Vec<bool> = bits.collect();
    let bytes: Vec<u8> = bits.chunks(8).map(|byte| byte.iter().fold(0, |b, bit| b << 1 | u8::from(*bit))).collect();
    Secret::from_bytes(&bytes).unwrap()
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorId {
    outcome.unwrap_err().id()
}

fn waits_as(error: &Error) -> ApprovalId {
    assert_eq!(error.id(), ErrorId::ApprovalRequired, "{error}");
    let id = error.details().iter().find(|(key, _)| *key == "approval").unwrap();
    assert!(error.hint_text().unwrap().contains(&format!("vault approve {}", id.1)));
    id.1.parse().unwrap()
}

// Second factors

#[test]
fn without_a_second_factor_nothing_changes() {
    let f = Fixture::new(&[]);
    f.seal("model");
    let owner = f.vault.local_caller().unwrap();
    f.vault.shred(&owner, &reference("model")).unwrap();
    let status = f.vault.factor_status(&owner).unwrap();
    assert_eq!((status.enrolled, status.people.len(), status.used), (None, 0, None));
    assert_eq!(refused(f.vault.step_up(&owner, &"123456".parse().unwrap())), ErrorId::NotFound);
}

#[test]
fn who_has_a_second_factor_uses_it_before_destructive_acts() {
    let f = Fixture::new(&[STEP_UP]);
    f.seal("model");
    let (secret, _) = f.enrolled(&f.alice());
    let error = f.vault.shred(&f.alice(), &reference("model")).unwrap_err();
    assert_eq!(error.id(), ErrorId::MfaRequired);
    assert!(error.hint_text().unwrap().contains("vault login"));
    // What destroys nothing goes on.
    f.vault.policy(&f.alice()).unwrap();
    f.shred(&f.bob(), "other").unwrap_err();
    let opened = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    let alice = || f.showing(f.alice(), &opened);
    // The token is worth nothing to anybody else, or beside another person's factor.
    assert_eq!(f.vault.factor_status(&f.showing(f.bob(), &opened)).unwrap().used, None);
    f.enrolled(&f.bob());
    assert_eq!(refused(f.shred(&f.showing(f.bob(), &opened), "model")), ErrorId::MfaRequired);
    f.clock.step(230);
    assert_eq!(f.vault.factor_status(&alice()).unwrap().method.as_deref(), Some("totp"));
    // The minute that bob's enrolment took, and these: 290 s.
    f.shred(&alice(), "model").unwrap();
    f.seal("next");
    f.clock.step(11);
    assert_eq!(refused(f.shred(&alice(), "next")), ErrorId::MfaRequired, "after 301 s");
    assert!(f.rows("artifact.shred").iter().any(|row| row.contains("MfaRequired")));
    assert!(f.rows("mfa.verify").iter().any(|row| row.contains(r#""method":"totp""#) && row.contains("allow")));
}

#[test]
fn a_step_up_ends_by_time_logout_and_reset() {
    let f = Fixture::new(&[STEP_UP]);
    let (secret, _) = f.enrolled(&f.alice());
    let open = || {
        f.clock.step(30);
        let opened = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
        f.showing(f.alice(), &opened)
    };
    let used = |caller: &Caller| f.vault.factor_status(caller).unwrap().used;
    let by_time = open();
    assert!(used(&by_time).is_some());
    f.clock.step(15 * 60);
    assert_eq!(used(&by_time), None);
    let left = open();
    // A token that leaked is not ended, nor used, by who found it.
    let found = Caller { principal: f.bob().principal, ..left.clone() };
    assert!(!f.vault.end_step_up(&found).unwrap());
    assert!(f.vault.end_step_up(&left).unwrap());
    assert!(!f.vault.end_step_up(&left).unwrap());
    assert_eq!(used(&left), None);
    let (one, other) = (open(), open());
    assert!(used(&one).is_some() && used(&other).is_some());
    f.vault.reset_factor(&other, None).unwrap();
    // Enrolled anew, what the old factor had opened stays shut.
    f.enrolled(&f.alice());
    assert_eq!((used(&one), used(&other)), (None, None));
}

#[test]
fn a_code_counts_once_also_after_a_restart() {
    let f = Fixture::new(&[]);
    let (secret, _) = f.enrolled(&f.alice());
    let before = f.code(&secret);
    f.clock.step(30);
    let code = f.code(&secret);
    f.vault.step_up(&f.alice(), &code).unwrap();
    assert_eq!(refused(f.vault.step_up(&f.alice(), &code)), ErrorId::BadCredential);
    assert_eq!(refused(f.vault.step_up(&f.alice(), &before)), ErrorId::BadCredential, "an earlier one was to be seen");
    let f = f.reopened();
    assert_eq!(refused(f.vault.step_up(&f.alice(), &code)), ErrorId::BadCredential);
    f.clock.step(30);
    f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
}

#[test]
fn of_a_hundred_uses_of_one_code_at_once_exactly_one_wins() {
    let f = Fixture::new(&[]);
    let (secret, codes) = f.enrolled(&f.alice());
    for proof in [f.code(&secret), codes[0].clone()] {
        let won: usize = std::thread::scope(|s| {
            let tries: Vec<_> =
                (0..100).map(|_| s.spawn(|| usize::from(f.vault.step_up(&f.alice(), &proof).is_ok()))).collect();
            tries.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn five_wrong_codes_lock_for_a_quarter_of_an_hour_also_after_a_restart() {
    let f = Fixture::new(&[]);
    let (secret, codes) = f.enrolled(&f.alice());
    for _ in 0..5 {
        assert_eq!(refused(f.vault.step_up(&f.alice(), &f.wrong(&secret))), ErrorId::BadCredential);
    }
    let locked = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap_err();
    assert_eq!(locked.id(), ErrorId::QuotaExceeded);
    assert!(locked.retry_after_hint().is_some_and(|wait| wait <= Duration::from_secs(900)));
    let f = f.reopened();
    f.clock.step(890);
    assert_eq!(refused(f.vault.step_up(&f.alice(), &f.code(&secret))), ErrorId::QuotaExceeded);
    assert!(f.vault.factor_status(&f.alice()).unwrap().locked_until.is_some());
    // Nobody else is locked out; nor is who holds a recovery code, once.
    f.enrolled(&f.bob());
    f.clock.step(-60);
    f.vault.step_up(&f.alice(), &codes[0]).unwrap();
    assert_eq!(refused(f.vault.step_up(&f.alice(), &codes[0])), ErrorId::BadCredential);
    // It ended the lock as well.
    f.clock.step(30);
    f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    assert_eq!(f.vault.factor_status(&f.alice()).unwrap().recovery_codes, 9);
    assert_eq!(f.rows("mfa.verify").iter().filter(|row| row.contains("QuotaExceeded")).count(), 2);
}

#[test]
fn a_thousand_guesses_at_once_are_five_tries() {
    let f = Fixture::new(&[]);
    let (secret, _) = f.enrolled(&f.alice());
    let wrong = f.wrong(&secret);
    let guesses = || (0..20).filter(|_| refused(f.vault.step_up(&f.alice(), &wrong)) == ErrorId::BadCredential).count();
    let tried: usize = std::thread::scope(|s| {
        let guessing: Vec<_> = (0..50).map(|_| s.spawn(guesses)).collect();
        guessing.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(tried, 5);
}

#[test]
fn wrong_codes_far_apart_do_not_lock() {
    let f = Fixture::new(&[]);
    let (secret, _) = f.enrolled(&f.alice());
    for _ in 0..4 {
        refused(f.vault.step_up(&f.alice(), &f.wrong(&secret)));
    }
    f.clock.step(901);
    for _ in 0..4 {
        refused(f.vault.step_up(&f.alice(), &f.wrong(&secret)));
    }
    f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
}

#[test]
fn a_clock_that_steps_neither_revives_codes_nor_prolongs_a_step_up() {
    let f = Fixture::new(&[STEP_UP]);
    f.seal("model");
    let (secret, codes) = f.enrolled(&f.alice());
    let opened = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    let alice = f.showing(f.alice(), &opened);
    let used = |caller: &Caller| f.vault.factor_status(caller).unwrap().used.is_some();
    // Back: what was used an hour from now is not in force yet, and no code of before it counts again.
    f.clock.step(-3600);
    assert!(!used(&alice));
    assert_eq!(refused(f.shred(&alice, "model")), ErrorId::MfaRequired);
    let again = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap_err();
    assert!(again.hint_text().unwrap().contains("recovery code"), "{again}");
    f.vault.step_up(&f.alice(), &codes[0]).unwrap();
    // Right again.
    f.clock.step(3600 + 30);
    assert!(used(&alice));
    // Forward: it has ended, and stays ended for destructive acts when the clock is right again.
    f.clock.step(3600);
    assert!(!used(&alice));
    let ahead = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    f.clock.step(-3600);
    assert!(!used(&f.showing(f.alice(), &ahead)), "from the future");
    assert_eq!(refused(f.shred(&f.showing(f.alice(), &ahead), "model")), ErrorId::MfaRequired);
}

#[test]
fn a_clock_set_back_does_not_end_a_lock() {
    let f = Fixture::new(&[]);
    let (secret, _) = f.enrolled(&f.alice());
    for _ in 0..4 {
        refused(f.vault.step_up(&f.alice(), &f.wrong(&secret)));
    }
    f.clock.step(-3600);
    refused(f.vault.step_up(&f.alice(), &f.wrong(&secret)));
    assert_eq!(refused(f.vault.step_up(&f.alice(), &f.wrong(&secret))), ErrorId::QuotaExceeded);
    f.clock.step(-3600);
    assert_eq!(refused(f.vault.step_up(&f.alice(), &f.wrong(&secret))), ErrorId::QuotaExceeded);
}

#[test]
fn an_enrolment_counts_once_a_code_confirmed_it() {
    let f = Fixture::new(&[STEP_UP]);
    f.seal("model");
    let first = decode(&f.vault.enroll_factor(&f.alice()).unwrap().secret);
    assert_eq!(refused(f.vault.step_up(&f.alice(), &f.code(&first))), ErrorId::NotFound);
    f.shred(&f.alice(), "model").unwrap();
    // Begun anew, the first secret is void; wrong codes are counted over both.
    let second = decode(&f.vault.enroll_factor(&f.alice()).unwrap().secret);
    assert_eq!(refused(f.vault.confirm_factor(&f.alice(), &f.wrong(&second))), ErrorId::BadCredential);
    let code = f.code(&second);
    assert_eq!(f.vault.confirm_factor(&f.alice(), &code).unwrap().len(), 10);
    assert_eq!(refused(f.vault.confirm_factor(&f.alice(), &code)), ErrorId::AlreadyExists);
    assert_eq!(refused(f.vault.step_up(&f.alice(), &code)), ErrorId::BadCredential, "it was used to confirm");
    assert_eq!(refused(f.vault.enroll_factor(&f.alice())), ErrorId::AlreadyExists);
    let local = f.operator(Principal::local_operator(1000));
    assert_eq!(refused(f.vault.enroll_factor(&local)), ErrorId::AlreadyExists, "the same person by another way");
}

#[test]
fn resetting_is_destructive_and_another_operator_can_help_out() {
    let f = Fixture::new(&[STEP_UP]);
    let (secret, _) = f.enrolled(&f.alice());
    assert_eq!(refused(f.vault.reset_factor(&f.alice(), None)), ErrorId::MfaRequired);
    let alice: Person = "1000".parse().unwrap();
    assert_eq!(f.vault.reset_factor(&f.bob(), Some(&alice)).unwrap(), "uid:1000");
    assert_eq!(refused(f.vault.reset_factor(&f.bob(), Some(&alice))), ErrorId::NotFound);
    assert_eq!(refused(f.vault.step_up(&f.alice(), &f.code(&secret))), ErrorId::NotFound);
    assert!(f.rows("mfa.reset").iter().any(|row| row.contains("uid:1000") && row.contains("uid:1001")));
}

#[test]
fn a_thief_of_the_catalogue_finds_neither_secret_nor_codes_nor_tokens() {
    let f = Fixture::new(&[]);
    let (secret, codes) = f.enrolled(&f.alice());
    let opened = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    let token = opened.token.unwrap();
    let mut needles: Vec<Vec<u8>> = vec![secret.expose().to_vec(), secret.base32().as_bytes().to_vec()];
    needles.extend([token.expose().to_vec(), token.text().as_bytes().to_vec()]);
    for code in &codes {
        let Proof::Recovery(code) = code else { panic!("a recovery code") };
        needles.extend([code.expose().to_vec(), code.text().as_bytes().to_vec()]);
    }
    let mut looked = 0;
    for file in std::fs::read_dir(f.dir.path().join("home")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            looked += bytes.len();
            for needle in &needles {
                assert!(!bytes.windows(needle.len()).any(|w| w == needle), "{}", path.display());
            }
        }
    }
    assert!(looked > 100_000);
}

#[test]
fn workloads_and_strangers_have_no_second_factor() {
    let f = Fixture::new(&[]);
    let nobody = f.operator(Principal::anonymous());
    assert_eq!(refused(f.vault.enroll_factor(&nobody)), ErrorId::NoCredential);
    assert_eq!(refused(f.vault.step_up(&nobody, &"123456".parse().unwrap())), ErrorId::NoCredential);
    assert_eq!(refused(f.vault.approvals(&nobody)), ErrorId::NoCredential);
}

// Four eyes

#[test]
fn an_act_waits_for_another_person_and_is_then_carried_out_once() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    f.seal("other");
    let error = f.shred(&f.alice(), "model").unwrap_err();
    let id = waits_as(&error);
    assert_eq!(waits_as(&f.shred(&f.alice(), "model").unwrap_err()), id, "the same act waits once");
    let [waiting] = &f.waiting()[..] else { panic!("one act waits") };
    assert_eq!((waiting.id, waiting.needed, waiting.approvals), (id, 1, 0));
    assert_eq!((&*waiting.action, &*waiting.what), ("shred", "default/model@v1"));
    assert_eq!(waiting.requester, "operator unix:uid:1000");
    // Not by the same person, whatever the way in.
    for own in [f.alice(), f.operator(Principal::local_operator(1000))] {
        assert_eq!(refused(f.approve(&own, waiting, true)), ErrorId::Denied);
    }
    assert_eq!(f.approve(&f.bob(), waiting, true).unwrap().approvals, 1);
    assert_eq!(refused(f.approve(&f.bob(), waiting, true)), ErrorId::AlreadyExists);
    // For this act of this person alone.
    waits_as(&f.shred(&f.alice(), "other").unwrap_err());
    waits_as(&f.shred(&f.carol(), "model").unwrap_err());
    f.shred(&f.alice(), "model").unwrap();
    assert_eq!(refused(f.shred(&f.alice(), "model")), ErrorId::Shredded);
    assert_eq!(f.waiting().len(), 2, "it is used up");
    for (act, rows) in [("approval.request", 3), ("approval.give", 4)] {
        assert_eq!(f.rows(act).len(), rows, "{act}");
    }
}

#[test]
fn other_parameters_are_another_act() {
    let f = Fixture::new(&[STEP_UP]);
    let four = [STEP_UP, FOUR_EYES].concat();
    f.vault.set_policy(&f.alice(), &four).unwrap();
    let (harmless, harmful) = (format!("{four}// a comment\n"), format!("{four}// another\n"));
    waits_as(&f.vault.set_policy(&f.alice(), &harmless).unwrap_err());
    let waiting = f.waiting();
    f.approve(&f.bob(), &waiting[0], true).unwrap();
    waits_as(&f.vault.set_policy(&f.alice(), &harmful).unwrap_err());
    f.vault.set_policy(&f.alice(), &harmless).unwrap();
    waits_as(&f.vault.set_policy(&f.alice(), &harmless).unwrap_err());
    // A vote is for what was seen.
    let stale = ApprovalFacts { digest: Sha256([7; 32]), ..f.waiting()[0].clone() };
    assert_eq!(refused(f.approve(&f.bob(), &stale, true)), ErrorId::ApprovalRequired);
}

#[test]
fn what_was_approved_to_be_removed_is_not_put_back() {
    let by_two = "@id(\"rm\") forbid (principal, action == ModelVault::Action::\"rm\", resource) unless { context.approvals >= 1 };";
    let f = Fixture::new(&[STEP_UP, by_two]);
    f.seal("model");
    let model = reference("model@v1");
    waits_as(&f.vault.remove(&f.alice(), &model, false).unwrap_err());
    f.approve(&f.bob(), &f.waiting()[0], true).unwrap();
    waits_as(&f.vault.restore(&f.alice(), &model, false).unwrap_err());
    assert!(f.waiting().iter().any(|w| w.what.contains("act=artifact.restore")), "{:?}", f.waiting());
    assert_eq!(f.vault.remove(&f.alice(), &model, false).unwrap(), 1);
    assert!(f.rows("artifact.rm").last().unwrap().contains("\"approval\":"));
}

#[test]
fn an_approved_act_whose_answer_was_lost_is_answered_again_and_done_once() {
    let f = Fixture::new(&[STEP_UP, TAGGED_BY_TWO]);
    let four = [STEP_UP, FOUR_EYES, TAGGED_BY_TWO].concat();
    f.seal("model");
    f.vault.set_policy(&f.alice(), &four).unwrap();
    let next = format!("{four}// a comment\n");
    waits_as(&f.vault.set_policy(&f.alice(), &next).unwrap_err());
    f.approve(&f.bob(), &f.waiting()[0], true).unwrap();
    // The same request three times: the first is carried out.
    let request = f.alice();
    let rows = f.rows("policy.set").len();
    for _ in 0..3 {
        assert_eq!(f.vault.set_policy(&request, &next).unwrap(), 3);
    }
    assert_eq!((f.rows("policy.set").len(), f.waiting().len()), (rows + 1, 0));
    // Under its id nothing else is, whether or not it is an act that is remembered.
    let other = format!("{next}// another\n");
    assert_eq!(refused(f.vault.set_policy(&request, &other)), ErrorId::AlreadyExists);
    assert_eq!(f.vault.policy(&f.alice()).unwrap().version, 3);
    let shred = f.vault.shred(&request, &reference("model"));
    assert!(matches!(refused(shred), ErrorId::AlreadyExists | ErrorId::ApprovalRequired));
    let exported = f.vault.export(&request, &reference("model"));
    assert_eq!(refused(exported.map(drop)), ErrorId::ApprovalRequired);
    // Nor by somebody else.
    let carol = Caller { request_id: request.request_id, ..f.carol() };
    assert_eq!(refused(f.vault.set_policy(&carol, &next)), ErrorId::AlreadyExists);
}

#[test]
fn who_may_look_sees_what_others_do_and_does_nothing_of_it() {
    const LOOKS: &str = r#"
@id("looks") forbid (
  principal == ModelVault::Operator::"unix:uid:1002",
  action in [ModelVault::Action::"approve", ModelVault::Action::"revokeSession", ModelVault::Action::"quarantine"],
  resource
);
"#;
    let f = Fixture::new(&[STEP_UP, FOUR_EYES, LOOKS]);
    f.seal("model");
    waits_as(&f.shred(&f.alice(), "model").unwrap_err());
    let target = HoldTarget::parse("artifact", "model").unwrap();
    let hold = HoldSpec { target: target.clone(), kind: "suspend".into(), reason: "a test".into(), lasts: None };
    f.vault.quarantine(&f.alice(), &hold).unwrap();
    assert_eq!(f.vault.approvals(&f.carol()).unwrap().len(), 1);
    assert_eq!(f.vault.list_holds(&f.carol()).unwrap().len(), 1);
    assert_eq!(f.vault.sessions(&f.carol()).unwrap().sessions.len(), 0);
    assert_eq!(refused(f.approve(&f.carol(), &f.waiting()[0], true)), ErrorId::Denied);
    assert_eq!(refused(f.vault.release_hold(&f.carol(), &target)), ErrorId::Denied);
    assert_eq!(refused(f.vault.quarantine(&f.carol(), &hold)), ErrorId::Denied);
    assert_eq!(refused(f.vault.refuse_subject(&f.carol(), "corp", "x", false)), ErrorId::Denied);
}

#[test]
fn names_that_nobody_has_are_neither_held_nor_refused() {
    let f = Fixture::new(&[]);
    for name in ["nobody", "prod/nobody", "default/ci:repo:acme/train", "operator:corp:eve"] {
        let target = HoldTarget::parse("principal", name).unwrap();
        let hold = HoldSpec { target, kind: "suspend".into(), reason: "a test".into(), lasts: None };
        assert_eq!(refused(f.vault.quarantine(&f.alice(), &hold)), ErrorId::NotFound, "{name}");
    }
    assert_eq!(refused(f.vault.refuse_subject(&f.alice(), "corp", "eve", false)), ErrorId::NotFound);
    assert_eq!(f.vault.list_holds(&f.alice()).unwrap().len(), 0);
}

#[test]
fn who_approves_a_signer_approves_the_keys() {
    let f = Fixture::new(&[STEP_UP, TRUSTED_BY_TWO]);
    let key = || SigningIdentity::generate(&SystemRandom).unwrap();
    let trust = |key: &SigningIdentity| {
        let change = Trusting::keys("partner".parse().unwrap(), vec![(*key.public()).into()]);
        f.vault.trust_signer(&f.alice(), &change).map(drop)
    };
    let (shown, other) = (key(), key());
    waits_as(&trust(&shown).unwrap_err());
    f.approve(&f.bob(), &f.waiting()[0], true).unwrap();
    waits_as(&trust(&other).unwrap_err());
    trust(&shown).unwrap();
}

#[test]
fn an_approved_tag_is_not_moved_along_with_other_acts() {
    let f = Fixture::new(&[STEP_UP, TAGGED_BY_TWO]);
    f.seal("model");
    let seal = || {
        let member = SealMember { path: "w".into(), source: Box::new(b"other".to_vec()) };
        let sealing = Sealing {
            members: vec![member],
            kind: ArtifactKind::Model,
            sha256: true,
            sequential: false,
            signer: None,
            allow_unsigned: None,
            progress: Box::new(|_| {}),
        };
        let (namespace, name) = ("default".parse().unwrap(), "model".parse().unwrap());
        let input = SealInput { namespace, name, tag: Some("prod".parse().unwrap()), sealing };
        f.vault.seal(&f.alice(), input).map(drop)
    };
    waits_as(&seal().unwrap_err());
    f.approve(&f.bob(), &f.waiting()[0], true).unwrap();
    for _ in 0..2 {
        assert_eq!(seal().unwrap_err().id(), ErrorId::ApprovalRequired);
    }
    let prod = reference("model@prod");
    assert_eq!(f.vault.inspect(&f.alice(), &prod).map(drop).unwrap_err().id(), ErrorId::NotFound);
}

#[test]
fn a_tag_that_moved_is_another_version() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let first = waits_as(&f.shred(&f.alice(), "model@latest").unwrap_err());
    f.approve(&f.bob(), &f.waiting()[0], true).unwrap();
    f.seal("model");
    assert_ne!(waits_as(&f.shred(&f.alice(), "model@latest").unwrap_err()), first);
    f.shred(&f.alice(), "model@v1").unwrap();
}

#[test]
fn two_approvals_are_those_of_two_persons() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let export = || f.vault.export(&f.alice(), &reference("model")).map(drop);
    waits_as(&export().unwrap_err());
    let waiting = f.waiting();
    assert_eq!(waiting[0].needed, 2);
    f.approve(&f.bob(), &waiting[0], true).unwrap();
    let again = f.operator(Principal::local_operator(1001));
    assert_eq!(refused(f.approve(&again, &waiting[0], true)), ErrorId::AlreadyExists, "bob by another way");
    waits_as(&export().unwrap_err());
    f.approve(&f.carol(), &waiting[0], true).unwrap();
    export().unwrap();
    waits_as(&export().unwrap_err());
}

#[test]
fn an_approval_ends_after_an_hour_and_no_clock_revives_it() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let id = waits_as(&f.shred(&f.alice(), "model").unwrap_err());
    let waiting = f.waiting();
    f.approve(&f.bob(), &waiting[0], true).unwrap();
    f.clock.step(3600);
    assert_ne!(waits_as(&f.shred(&f.alice(), "model").unwrap_err()), id);
    assert_eq!(refused(f.approve(&f.carol(), &waiting[0], true)), ErrorId::ApprovalRequired);
    // Set back to before it was asked for: it does not count either.
    f.clock.step(-2 * 3600);
    assert_ne!(waits_as(&f.shred(&f.alice(), "model").unwrap_err()), id);
}

#[test]
fn a_no_ends_it_and_the_requester_may_withdraw() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    f.shred(&f.alice(), "model").unwrap_err();
    let waiting = f.waiting();
    f.approve(&f.bob(), &waiting[0], false).unwrap();
    assert_eq!(refused(f.approve(&f.carol(), &waiting[0], true)), ErrorId::ApprovalRequired);
    assert_ne!(waits_as(&f.shred(&f.alice(), "model").unwrap_err()), waiting[0].id);
    let again = f.waiting();
    f.approve(&f.alice(), &again[0], false).unwrap();
    assert!(f.waiting().is_empty());
}

#[test]
fn an_approver_with_a_second_factor_uses_it_first() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let (secret, _) = f.enrolled(&f.bob());
    f.shred(&f.alice(), "model").unwrap_err();
    let waiting = f.waiting();
    assert_eq!(refused(f.approve(&f.bob(), &waiting[0], true)), ErrorId::MfaRequired);
    let opened = f.vault.step_up(&f.bob(), &f.code(&secret)).unwrap();
    f.clock.step(301);
    assert_eq!(refused(f.approve(&f.showing(f.bob(), &opened), &waiting[0], true)), ErrorId::MfaRequired);
    let opened = f.vault.step_up(&f.bob(), &f.code(&secret)).unwrap();
    f.approve(&f.showing(f.bob(), &opened), &waiting[0], true).unwrap();
    f.shred(&f.alice(), "model").unwrap();
}

#[test]
fn a_second_factor_is_asked_for_before_others_are() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let (secret, _) = f.enrolled(&f.alice());
    assert_eq!(refused(f.shred(&f.alice(), "model")), ErrorId::MfaRequired);
    assert!(f.waiting().is_empty());
    let opened = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    let alice = f.showing(f.alice(), &opened);
    waits_as(&f.shred(&alice, "model").unwrap_err());
    f.approve(&f.bob(), &f.waiting()[0], true).unwrap();
    // Approved, and the factor has grown old meanwhile.
    f.clock.step(400);
    assert_eq!(refused(f.shred(&alice, "model")), ErrorId::MfaRequired);
    let opened = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    f.shred(&f.showing(f.alice(), &opened), "model").unwrap();
}

#[test]
fn of_a_hundred_uses_of_one_approval_at_once_exactly_one_wins() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let export = || f.vault.export(&f.alice(), &reference("model")).map(drop);
    waits_as(&export().unwrap_err());
    let waiting = f.waiting();
    f.approve(&f.bob(), &waiting[0], true).unwrap();
    f.approve(&f.carol(), &waiting[0], true).unwrap();
    let outcomes: Vec<_> = std::thread::scope(|s| {
        let uses: Vec<_> = (0..100).map(|_| s.spawn(|| export().map_err(|e| e.id()))).collect();
        uses.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
    let denied = outcomes.iter().filter(|o| **o == Err(ErrorId::ApprovalRequired)).count();
    assert_eq!(denied, 99, "{outcomes:?}");
    let granted = f.rows("artifact.export").into_iter().filter(|row| row.contains(r#""decision":"allow""#)).count();
    assert_eq!(granted, 1);
}

#[test]
fn a_long_export_goes_on_with_what_was_proved_when_it_began() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let (secret, _) = f.enrolled(&f.alice());
    let opened = f.vault.step_up(&f.alice(), &f.code(&secret)).unwrap();
    let alice = f.showing(f.alice(), &opened);
    waits_as(&f.vault.export(&alice, &reference("model")).map(drop).unwrap_err());
    for by in [f.bob(), f.carol()] {
        f.approve(&by, &f.waiting()[0], true).unwrap();
    }
    let mut export = f.vault.export(&alice, &reference("model")).unwrap();
    let mut buffer = vec![0; 16];
    for _ in 0..40 {
        f.clock.step(30);
        export.read(0, &mut buffer).unwrap();
    }
    let size = export.size();
    export.finish(size, &Ok(())).unwrap();
}

#[test]
fn what_a_person_wants_approved_is_bounded() {
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    let text = |n: usize| format!("{STEP_UP}{FOUR_EYES}// {n}\n");
    for n in 0..32 {
        waits_as(&f.vault.set_policy(&f.alice(), &text(n)).unwrap_err());
    }
    assert_eq!(refused(f.vault.set_policy(&f.alice(), &text(99))), ErrorId::InvalidArgument);
    waits_as(&f.vault.set_policy(&f.carol(), &text(99)).unwrap_err());
    f.clock.step(3601);
    waits_as(&f.vault.set_policy(&f.alice(), &text(99)).unwrap_err());
}

#[test]
fn approving_takes_the_permission_to() {
    let f = Fixture::new(&[
        STEP_UP,
        FOUR_EYES,
        r#"@id("not-carol") forbid (principal == ModelVault::Operator::"unix:uid:1002", action in [ModelVault::Action::"approve", ModelVault::Action::"readApprovals"], resource);"#,
    ]);
    f.seal("model");
    f.shred(&f.alice(), "model").unwrap_err();
    let waiting = f.waiting();
    assert_eq!(refused(f.approve(&f.carol(), &waiting[0], true)), ErrorId::Denied);
    assert_eq!(refused(f.vault.approvals(&f.carol())), ErrorId::Denied);
    assert_eq!(
        refused(f.approve(&f.bob(), &ApprovalFacts { id: ApprovalId([1; 16]), ..waiting[0].clone() }, true)),
        ErrorId::NotFound
    );
}

// Shredding

#[test]
fn a_shredded_version_is_gone_for_good() {
    let f = Fixture::new(&[]);
    f.seal("model");
    let owner = f.vault.local_caller().unwrap();
    let home = f.dir.path().join("home");
    let keys = rusqlite::Connection::open(home.join("keys.db")).unwrap();
    let slot: Vec<u8> = keys.query_row("SELECT bytes FROM slots", [], |row| row.get(0)).unwrap();
    drop(keys);
    assert!(files(&home).iter().any(|bytes| bytes.windows(slot.len()).any(|w| w == slot)), "the key lies there");
    let open = f.vault.open(&owner, &reference("model")).unwrap();
    let mut byte = [0];
    open.read(0, 0, &mut byte, false).unwrap();
    let facts = f.vault.shred(&owner, &reference("model")).unwrap();
    assert!(facts.shredded);
    assert_eq!(refused(f.vault.open(&owner, &reference("model@v1")).map(drop)), ErrorId::Shredded);
    assert_eq!(refused(f.vault.export(&owner, &reference("model@v1")).map(drop)), ErrorId::Shredded);
    // Who was reading reads nothing more.
    assert_eq!(refused(open.read(0, 0, &mut byte, false)), ErrorId::Shredded);
    drop(open);
    let f = f.reopened();
    assert_eq!(
        refused(f.vault.open(&f.vault.local_caller().unwrap(), &reference("model@v1")).map(drop)),
        ErrorId::Shredded
    );
    // Nothing is left of key and content.
    let wrapped = &slot[32..];
    assert!(!files(&home).iter().any(|bytes| bytes.windows(wrapped.len()).any(|w| w == wrapped)));
    assert!(files(&home.join("blobs")).is_empty());
    assert_eq!(f.rows("artifact.shred").len(), 1);
}

/// The content of every file below a directory.
fn files(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![std::fs::read(path).unwrap()] }).collect()
}

// Over the wire

#[test]
fn over_the_wire_a_token_shows_the_factor_and_approvals_count() {
    use model_vault::client::{Client, Endpoint};
    let f = Fixture::new(&[STEP_UP, FOUR_EYES]);
    f.seal("model");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = |who: Caller| {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let vault = Arc::clone(&f.vault);
        runtime.spawn(model_vault::server::serve_connection(vault, theirs, who.principal, who.channel));
        runtime.block_on(Client::connect(Endpoint::InProcess(ours))).unwrap()
    };
    let (alice, bob) = (client(f.alice()), client(f.bob()));
    runtime.block_on(async {
        let begun = alice.enroll_factor().await.unwrap();
        let secret = decode(&begun.secret);
        let code = |later: i64| {
            let wanted = secret.code(step_at(f.clock.now()) + later);
            let same = |digits: &String| matches!(digits.parse(), Ok(Proof::Code(code)) if code == wanted);
            (0..1_000_000).map(|n| format!("{n:06}")).find(same).unwrap()
        };
        assert_eq!(alice.confirm_factor(&code(0)).await.unwrap().len(), 10);
        assert_eq!(refused(alice.shred(&reference("model")).await), ErrorId::MfaRequired);
        assert_eq!(refused(alice.step_up("no code").await), ErrorId::InvalidArgument);
        let opened = alice.step_up(&code(1)).await.unwrap();
        let token = opened.token.unwrap();
        let alice = alice.showing(&token);
        assert!(alice.factor_status().await.unwrap().used.is_some());
        // Bob with her token is bob.
        assert_eq!(bob.clone().showing(&token).factor_status().await.unwrap().used, None);
        let id = waits_as(&alice.shred(&reference("model")).await.unwrap_err());
        let waiting = bob.approvals().await.unwrap();
        assert_eq!(waiting[0].id, id);
        assert_eq!(refused(alice.approve(id, waiting[0].digest, true).await), ErrorId::Denied);
        assert_eq!(bob.approve(id, waiting[0].digest, true).await.unwrap().approvals, 1);
        assert!(alice.shred(&reference("model")).await.unwrap().shredded);
        assert!(alice.end_step_up().await.unwrap());
        assert_eq!(alice.factor_status().await.unwrap().used, None);
        assert_eq!(bob.approvals().await.unwrap(), []);
    });
}

#[test]
fn a_certificate_of_ones_own_is_what_a_factor_is_used_for() {
    let f = Fixture::new(&[STEP_UP]);
    f.seal("model");
    let dora = |serial: u8| {
        let who =
            Principal { issuer: "https://id.example".into(), subject: "dora".into(), ..Principal::unix_operator(0) };
        let channel = Channel {
            // Whether a certificate is one of the vault's sessions is asked elsewhere.
            transport: Transport::Unix,
            certificate: Some((vec![serial; 16], Sha256([serial; 32]))),
            ..Channel::local()
        };
        Caller { channel, ..f.operator(who) }
    };
    let secret = decode(&f.vault.enroll_factor(&dora(1)).unwrap().secret);
    f.vault.confirm_factor(&dora(1), &f.code(&secret)).unwrap();
    f.clock.step(30);
    let opened = f.vault.step_up(&dora(1), &f.code(&secret)).unwrap();
    assert!(opened.token.is_none() && opened.person == "https://id.example dora");
    assert_eq!(refused(f.shred(&dora(2), "model")), ErrorId::MfaRequired, "another session of hers");
    f.shred(&dora(1), "model").unwrap();
    assert!(f.vault.end_step_up(&dora(1)).unwrap());
    assert_eq!(f.vault.factor_status(&dora(1)).unwrap().used, None);
}
