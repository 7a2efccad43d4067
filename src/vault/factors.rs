//! Second factors: how a person gets one, what it opens, and how it counts in decisions.
//!
//! The secret of an app lies sealed under the keyring. Recovery codes are kept as digests under a key of the keyring, not by a
//! slow hash: they have 80 random bits, and a thief of the catalogue alone cannot even test a guess.

use std::time::Duration;

use super::gate::Subject;
use super::{Caller, Factor, Underway, Vault};
use crate::audit::Act;
use crate::catalogue::{Attempt, AttemptRows, FactorRecord, NewFactor, NewStepUp, Shown, Tried};
use crate::crypto;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{EnrolmentFacts, FactorFacts};
use crate::identity::totp::{Proof, RECOVERY_CODES, RecoveryCode, Secret};
use crate::identity::{Person, StepUpToken, SteppedUp, holder_of_certificate};
use crate::names::{PrincipalKind, Sha256};
use crate::policy::{Action, Context, Resource};

/// How long a second factor counts at all; policies ask for less where it matters.
pub const STEP_UP_LASTS: Duration = Duration::from_secs(15 * 60);
/// A clock set back by up to this much is none.
const CLOCK_STEP: Duration = Duration::from_secs(5);
const SECRET_LABEL: &[u8] = b"modelvault.operators/v1/totp";
const RECOVERY_LABEL: &[u8] = b"modelvault.operators/v1/recovery";
/// What an app shows above its codes.
const ISSUER: &str = "Model Vault";

impl Vault {
    /// Begins the enrolment of the caller's own second factor. It counts once a first code confirmed it.
    ///
    /// # Errors
    /// `AlreadyExists` for a caller who has one: that is taken away first.
    pub fn enroll_factor(&self, caller: &Caller) -> Result<EnrolmentFacts> {
        let (person, subject) = self.enrolling(caller)?;
        let secret = Secret::generate(self.random())?;
        let mut enrolment = [0; 16];
        self.random().fill(&mut enrolment)?;
        let sealed = crypto::record::seal(
            self.keyring().catalogue_key(),
            SECRET_LABEL,
            &self.place(&person, &enrolment),
            secret.expose(),
            self.random(),
        )?;
        let row = self.row(caller, Act::MfaEnroll, &subject.clone().with("step", "begun"), None);
        let new = NewFactor { person: person.to_string(), enrolment, secret: sealed };
        self.catalogue.begin_factor(new, row.to_leaf().into()).or_else(|e| {
            let error = match Error::from(e) {
                e if e.id() == ErrorId::AlreadyExists => e.hint("to change it: vault mfa reset, then vault mfa enroll"),
                e => e,
            };
            self.refuse(caller, Act::MfaEnroll, &subject, error)
        })?;
        let uri = secret.uri(ISSUER, person.as_str());
        Ok(EnrolmentFacts { person: person.to_string(), uri: uri.to_string(), secret: secret.base32().to_string() })
    }

    /// Confirms it with a first code, and returns the recovery codes: they are shown this once.
    pub fn confirm_factor(&self, caller: &Caller, proof: &Proof) -> Result<Vec<String>> {
        let (person, subject) = self.enrolling(caller)?;
        let factor = self.catalogue.factor(person.as_str())?;
        let factor = factor
            .ok_or_else(|| Error::new(ErrorId::NotFound, "no enrolment was begun").hint("begin one: vault mfa enroll"));
        let factor = factor.or_else(|e| self.refuse(caller, Act::MfaEnroll, &subject, e))?;
        let codes: Vec<RecoveryCode> =
            (0..RECOVERY_CODES).map(|_| RecoveryCode::generate(self.random())).collect::<Result<_>>()?;
        let digests = codes.iter().map(|code| self.recovery_digest(&factor.enrolment, code)).collect();
        self.try_proof(caller, Act::MfaEnroll, &person, &factor, proof, Some(digests), None)?;
        Ok(codes.iter().map(|code| code.text().to_string()).collect())
    }

    /// What the caller's second factor is at; with the right to see the vault's state, who else has one.
    pub fn factor_status(&self, caller: &Caller) -> Result<FactorFacts> {
        let (person, _) = self.person(caller, Act::MfaVerify)?;
        let factor = self.catalogue.factor(person.as_str())?.filter(|f| f.confirmed.is_some());
        let used = match &factor {
            Some(factor) => self.factor_of(caller, &person, factor)?,
            None => caller.evidence.factor,
        };
        let mut people = Vec::new();
        if self.decide(caller, Action::Status, Resource::Vault)?.allows() {
            let all = self.catalogue.factors()?.into_iter().filter(|f| f.confirmed.is_some());
            people = all.map(|f| f.person).collect();
        }
        Ok(FactorFacts {
            person: person.to_string(),
            enrolled: factor.as_ref().and_then(|f| f.confirmed),
            recovery_codes: factor.as_ref().map_or(0, |f| f.recovery.len()),
            locked_until: factor.as_ref().and_then(|f| f.locked(self.now())),
            used: used.map(|f| f.at),
            method: used.map(|f| f.method.into()),
            people,
        })
    }

    /// Takes a second factor away: the caller's own, or that of another person.
    pub fn reset_factor(&self, caller: &Caller, whose: Option<&Person>) -> Result<String> {
        let act = Act::MfaReset;
        let own = Person::of(&caller.principal);
        let person = whose.unwrap_or(&own);
        let subject = Subject::vault().with("person", person);
        let permit = self.permit(caller, act, Action::ResetFactor, Resource::Vault, &subject)?;
        let arguments = [person.as_str().as_bytes()];
        let request = super::once::Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let carry_out = || {
            let dropped = self.catalogue.drop_factor(person.as_str(), self.entry(&request, Vec::new()));
            dropped.map(drop).map_err(|e| match Error::from(e) {
                e if e.id() == ErrorId::NotFound => {
                    Error::new(ErrorId::NotFound, format!("{person} has no second factor"))
                        .hint("vault mfa status shows who has one")
                }
                e => e,
            })
        };
        self.once(&request, |_| Ok(()), carry_out)?;
        self.cut();
        Ok(person.to_string())
    }

    /// Uses the caller's second factor. A caller with a certificate of its own is stepped up by that; others get a token to show
    /// from then on.
    pub fn step_up(&self, caller: &Caller, proof: &Proof) -> Result<SteppedUp> {
        let (person, subject) = self.person(caller, Act::MfaVerify)?;
        let factor = self.catalogue.factor(person.as_str())?.filter(|f| f.confirmed.is_some());
        let factor = factor.ok_or_else(|| {
            Error::new(ErrorId::NotFound, format!("{person} has no second factor")).hint("enrol one: vault mfa enroll")
        });
        let factor = factor.or_else(|e| self.refuse(caller, Act::MfaVerify, &subject, e))?;
        let (holder, token) = match &caller.channel.certificate {
            Some((serial, _)) => (holder_of_certificate(serial), None),
            None => {
                let token = StepUpToken::generate(self.random())?;
                (token.holder(), Some(token))
            }
        };
        let method = method_of(proof);
        let opens = NewStepUp { holder, method, lasts: STEP_UP_LASTS };
        let expires = self.now().plus(STEP_UP_LASTS);
        self.try_proof(caller, Act::MfaVerify, &person, &factor, proof, None, Some(opens))?;
        let left = factor.recovery.len() - usize::from(matches!(proof, Proof::Recovery(_)));
        Ok(SteppedUp { person: person.to_string(), method: method.into(), expires, recovery_codes: left, token })
    }

    /// Ends what the caller's second factor opened for it; whether there was something to end.
    pub fn end_step_up(&self, caller: &Caller) -> Result<bool> {
        let (person, subject) = self.person(caller, Act::SessionLogout)?;
        let Some(holder) = holder_of(caller) else { return Ok(false) };
        // Nobody ends what belongs to somebody else, should they have come by its token.
        if self.catalogue.step_up(holder)?.is_none_or(|opened| opened.person != person.as_str()) {
            return Ok(false);
        }
        let row = self.row(caller, Act::SessionLogout, &subject.with("session", "step-up"), None);
        Ok(self.catalogue.end_step_up(holder, row.to_leaf())?)
    }

    /// Fills in what a decision sees of the caller's second factor.
    pub(super) fn put_factor(&self, caller: &Caller, context: &mut Context) -> Result<()> {
        if caller.principal.kind != PrincipalKind::Operator {
            return Ok(());
        }
        let person = Person::of(&caller.principal);
        let enrolled = self.catalogue.factor(person.as_str())?.filter(|f| f.confirmed.is_some());
        context.mfa_enrolled = enrolled.is_some();
        let used = match &enrolled {
            Some(factor) => self.factor_of(caller, &person, factor)?,
            None => caller.evidence.factor,
        };
        // An act that takes long was permitted by a factor that was fresh then.
        let at = caller.evidence.underway.map_or_else(|| self.now(), |act| act.since);
        if let Some(factor) = used.filter(|f| at.plus(CLOCK_STEP) >= f.at) {
            context.mfa_age = Some(at.since(factor.at));
            context.mfa_method = Some(factor.method);
        }
        Ok(())
    }

    /// The caller of an act that was just permitted, as it goes on: what was proved counts until it ends.
    pub(super) fn underway(&self, caller: &Caller, permit: &super::gate::Permit) -> Caller {
        let mut goes_on = caller.clone();
        if caller.evidence.underway.is_some() || caller.principal.kind == PrincipalKind::Anonymous {
            return goes_on;
        }
        let person = Person::of(&caller.principal);
        let factor = match self.catalogue.factor(person.as_str()) {
            Ok(Some(factor)) => self.factor_of(caller, &person, &factor),
            _ => Ok(caller.evidence.factor),
        };
        // What cannot be read now counts as not proved: then the next decision is stricter, not milder.
        goes_on.evidence.factor = factor.unwrap_or_default();
        let approvals = permit.approval().map_or(0, |spend| spend.approvals);
        goes_on.evidence.underway = Some(Underway { since: self.now(), approvals });
        goes_on
    }

    /// The second factor that a caller used, if it still counts.
    fn factor_of(&self, caller: &Caller, person: &Person, enrolled: &FactorRecord) -> Result<Option<Factor>> {
        if caller.evidence.factor.is_some() {
            return Ok(caller.evidence.factor);
        }
        let Some(holder) = holder_of(caller) else { return Ok(None) };
        let (now, opened) = (self.now(), self.catalogue.step_up(holder)?);
        let counts = opened.filter(|opened| {
            opened.person == person.as_str()
                && opened.enrolment == enrolled.enrolment
                && now < opened.expires
                // A clock set back must not prolong it.
                && now.plus(CLOCK_STEP) >= opened.at
        });
        Ok(counts.map(|opened| Factor { at: opened.at, method: known_method(&opened.method) }))
    }

    /// Tries a proof, with its outcome on record.
    #[allow(clippy::too_many_arguments, reason = "one try, named part by part")]
    fn try_proof(
        &self,
        caller: &Caller,
        act: Act,
        person: &Person,
        factor: &FactorRecord,
        proof: &Proof,
        confirms: Option<Vec<Sha256>>,
        opens: Option<NewStepUp>,
    ) -> Result<()> {
        let shown = match proof {
            Proof::Code(code) => Shown::Step(self.secret_of(person, factor)?.step_of(*code, self.now())),
            Proof::Recovery(code) => Shown::Recovery(self.recovery_digest(&factor.enrolment, code)),
        };
        let subject = Subject::vault().with("person", person).with("method", method_of(proof));
        let row = |outcome: &str, refused: Option<ErrorId>| {
            let record = self.row(caller, act, &subject.clone().with("outcome", outcome), None);
            refused.map_or_else(|| record.clone(), |id| record.clone().denied(id.name())).to_leaf()
        };
        let rows = AttemptRows {
            used: row(if confirms.is_some() { "confirmed" } else { "used" }, None),
            refused: row("refused", Some(ErrorId::BadCredential)),
            replayed: row("used before", Some(ErrorId::BadCredential)),
            locked: row("locked", Some(ErrorId::QuotaExceeded)),
        };
        let enrolment = factor.enrolment;
        let attempt = Attempt { person: person.to_string(), enrolment, shown, confirms, opens, rows };
        let refused = |text: String| Error::new(ErrorId::BadCredential, text);
        match self.catalogue.try_factor(attempt)? {
            Tried::Used => Ok(()),
            Tried::Wrong(0) => Err(refused("the code is wrong; too many were".into())
                .hint("codes are refused for 15 minutes; a recovery code counts all the same")),
            Tried::Wrong(left) => {
                let tries = if left == 1 { "1 more try".into() } else { format!("{left} more tries") };
                Err(refused("the code is wrong".into())
                    .hint(format!("{tries}; check the clocks of this machine and of the telephone")))
            }
            Tried::Replayed => Err(refused("this code, or a later one, was used already".into())
                .hint("wait for the next code; if the clock was set back, use a recovery code")),
            Tried::Locked(until) => {
                let text = format!("too many wrong codes: none counts before {until}");
                Err(Error::new(ErrorId::QuotaExceeded, text)
                    .hint("wait, or use a recovery code")
                    .retry_after(until.since(self.now())))
            }
        }
    }

    fn secret_of(&self, person: &Person, factor: &FactorRecord) -> Result<Secret> {
        let place = self.place(person, &factor.enrolment);
        let damaged = || Error::new(ErrorId::CatalogueDamaged, format!("the second factor of {person} does not open"));
        let bytes = crypto::record::open(self.keyring().catalogue_key(), SECRET_LABEL, &place, &factor.secret);
        let bytes = zeroize::Zeroizing::new(bytes.map_err(|_| damaged())?);
        Secret::from_bytes(&bytes).ok_or_else(damaged)
    }

    /// No two enrolments share it: a sealed secret moved elsewhere does not open.
    fn place(&self, person: &Person, enrolment: &[u8; 16]) -> Vec<u8> {
        [&self.vault_id().0[..], enrolment, person.as_str().as_bytes()].concat()
    }

    fn recovery_digest(&self, enrolment: &[u8; 16], code: &RecoveryCode) -> Sha256 {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        crypto::kdf::hkdf(&*self.keyring().catalogue_key().expose(), &[], &[RECOVERY_LABEL], &mut *key);
        Sha256(crypto::hash::hmac(&key, &[enrolment, code.expose()]))
    }

    /// The person behind a caller who may have a second factor.
    /// Whose second factor is to be made. While a hold asks for one, that is one from before: whoever stole the first credential
    /// would pass by making the second.
    fn enrolling(&self, caller: &Caller) -> Result<(Person, Subject)> {
        let (person, subject) = self.person(caller, Act::MfaEnroll)?;
        if self.is_stepped_up(&caller.principal) {
            let held = Error::new(ErrorId::Denied, format!("{} is on hold", caller.principal))
                .hint("an operator can undo it: vault quarantine ls; vault release principal NAME");
            return self.refuse(caller, Act::MfaEnroll, &subject, held);
        }
        Ok((person, subject))
    }

    fn person(&self, caller: &Caller, act: Act) -> Result<(Person, Subject)> {
        let person = Person::of(&caller.principal);
        let subject = Subject::vault().with("person", &person);
        self.admitted(caller, act, &subject)?;
        if caller.principal.kind != PrincipalKind::Operator {
            let denied = Error::new(ErrorId::Denied, "second factors are for people: workloads have certificates");
            return self.refuse(caller, act, &subject, denied);
        }
        Ok((person, subject))
    }
}

/// What a caller shows for a second factor that was used.
fn holder_of(caller: &Caller) -> Option<Sha256> {
    let certificate = caller.channel.certificate.as_ref().map(|(serial, _)| holder_of_certificate(serial));
    caller.evidence.shown.or(certificate)
}

fn method_of(proof: &Proof) -> &'static str {
    match proof {
        Proof::Code(_) => "totp",
        Proof::Recovery(_) => "recovery",
    }
}

fn known_method(text: &str) -> &'static str {
    if text == "recovery" { "recovery" } else { "totp" }
}
