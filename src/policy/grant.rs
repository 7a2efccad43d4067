//! The proof of a permit. Whatever opens an artifact of the catalogue takes a [`Grant`]; only a [`Decided`] request makes one.

use std::fmt;
use std::time::Duration;

use super::policies::{Decision, explain};
use super::request::{Action, Request, Resource};
use crate::error::{Error, ErrorId, Result};
use crate::names::{ArtifactId, Principal, Timestamp, VersionId};

/// How long, and for how many plaintext bytes, a grant lasts before policy is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Time; cut to [`Lease::LONGEST`].
    pub duration: Duration,
    /// Bytes; the stream counts them.
    pub bytes: u64,
}

impl Lease {
    /// The most any grant lasts: a revoked right is never older than this.
    pub const LONGEST: Duration = Duration::from_secs(3600);
}

impl Default for Lease {
    /// 60 seconds or 1 GiB.
    fn default() -> Self {
        Self { duration: Duration::from_secs(60), bytes: 1 << 30 }
    }
}

/// A permit for one action on one version of one artifact, for the length of a lease.
///
/// Nothing outside this room can make one, and it cannot be copied:
///
/// ```compile_fail,E0451
/// use model_vault::policy::{Action, Grant};
/// fn forged(real: Grant) -> Grant {
///     Grant { action: Action::Open, ..real }
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn twice(grant: model_vault::policy::Grant) -> [model_vault::policy::Grant; 2] {
///     [grant.clone(), grant]
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Grant {
    principal: Principal,
    action: Action,
    artifact: ArtifactId,
    version: VersionId,
    decision: Decision,
    issued_at: Timestamp,
    expires_at: Timestamp,
    lease_bytes: u64,
}

impl Grant {
    /// A wall clock set back by up to this much does not end a grant.
    const CLOCK_STEP: Duration = Duration::from_secs(5);

    /// The one place a grant is made; the caller has just seen `decision` permit it.
    fn new(
        principal: Principal,
        action: Action,
        artifact: ArtifactId,
        version: VersionId,
        decision: Decision,
        now: Timestamp,
        lease: Lease,
    ) -> Self {
        debug_assert!(decision.allowed);
        let expires_at = now.plus(lease.duration.min(Lease::LONGEST));
        Self { principal, action, artifact, version, decision, issued_at: now, expires_at, lease_bytes: lease.bytes }
    }

    /// Whom it was given to.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What for.
    pub fn action(&self) -> Action {
        self.action
    }

    /// On which artifact.
    pub fn artifact(&self) -> ArtifactId {
        self.artifact
    }

    /// On which of its versions.
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// Why: determining policies and their version.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// When it was given.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The first moment it no longer holds.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Plaintext bytes until policy must be asked again.
    pub fn lease_bytes(&self) -> u64 {
        self.lease_bytes
    }

    /// Whether it holds at `now`.
    ///
    /// # Errors
    /// `Denied` once it has expired, or when `now` lies well before it was given: a clock set back must not prolong it.
    pub fn check(&self, now: Timestamp) -> Result<()> {
        if now >= self.expires_at || now.plus(Self::CLOCK_STEP) < self.issued_at {
            return Err(Error::new(ErrorId::Denied, format!("the lease of {} has ended", self.principal))
                .hint("ask again: the policy decides anew"));
        }
        Ok(())
    }

    /// Whether it holds at `now` for this action on this version. What opens an artifact asks this.
    ///
    /// # Errors
    /// `Denied` for any other action or version, and as [`Grant::check`].
    pub fn check_for(&self, action: Action, version: VersionId, now: Timestamp) -> Result<()> {
        if action != self.action || version != self.version {
            return Err(Error::new(
                ErrorId::Denied,
                format!("the grant is for {} of version {}, not for {action} of {version}", self.action, self.version),
            ));
        }
        self.check(now)
    }
}

/// A request with what the policies in force said to it. Only [`Policies::decide_on`](super::Policies::decide_on) makes one.
#[derive(Debug)]
pub struct Decided<'a> {
    pub(super) request: Request<'a>,
    pub(super) decision: Decision,
}

impl<'a> Decided<'a> {
    /// What they said.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What was asked.
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// What was asked, to ask again.
    pub fn into_request(self) -> Request<'a> {
        self.request
    }

    /// Where that is a permit: the proof that opens this version of the artifact.
    ///
    /// # Errors
    /// [`Denied`], with the decision; also for another version than was asked about, an action that opens nothing, or a resource that is
    /// no artifact.
    pub fn grant(self, version: VersionId, lease: Lease) -> Result<Grant, Denied> {
        let Self { request, mut decision } = self;
        let opens = matches!(request.action, Action::Open | Action::OpenRange | Action::Verify | Action::Export);
        match request.resource {
            Resource::Artifact { id, version: of, .. } if opens && of.is_none_or(|of| of == version) => {
                if decision.allowed {
                    let (principal, action, now) = (request.principal.clone(), request.action, request.now);
                    return Ok(Grant::new(principal, action, id, version, decision, now, lease));
                }
            }
            _ => {
                decision.allowed = false;
                decision.errors.push(format!("{} opens nothing here", request.action));
            }
        }
        Err(Denied { decision, asked: request.to_string() })
    }
}

/// Policy said no.
#[derive(Debug)]
pub struct Denied {
    /// Why, for the audit log and `vault policy explain`.
    pub decision: Decision,
    /// What was asked, in words.
    pub(super) asked: String,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.asked, explain(&self.decision))
    }
}

impl std::error::Error for Denied {}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorId::Denied, denied.to_string())
            .detail("policies", denied.decision.determining.join(","))
            .detail("policy_version", denied.decision.policy_version)
    }
}
