//! What the policies promise.

mod decisions;
mod grants;
mod roles;
mod texts;

use std::time::{Duration, Instant};

use super::*;
use crate::error::{Error, ErrorId};
use crate::marks::Marks;
use crate::names::{ArtifactId, ArtifactKind, Name, Principal, Timestamp, VersionId};

const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);
const MODEL: ArtifactId = ArtifactId([7; 16]);
const VERSION: VersionId = VersionId([8; 16]);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn serve() -> Principal {
    Principal::workload(name("default"), &name("serve-1"))
}

/// Everything a request needs to borrow from.
struct World {
    namespace: Name,
    model: Name,
    workload: Name,
}

impl World {
    fn new() -> Self {
        Self { namespace: name("default"), model: name("resnet"), workload: name("serve-1") }
    }

    fn artifact(&self) -> Resource<'_> {
        Resource::Artifact {
            namespace: &self.namespace,
            id: MODEL,
            name: &self.model,
            kind: ArtifactKind::Model,
            signed: false,
            version: None,
        }
    }

    fn own(&self) -> Resource<'_> {
        Resource::Workload { namespace: &self.namespace, name: &self.workload }
    }

    /// A resource that `action` applies to.
    fn any_resource(&self, action: Action) -> Resource<'_> {
        use Action::{Approve, ChangeSettings, ImportIntel, Quarantine, ReadSettings, ResetFactor, RevokeSession};
        use Action::{Enroll, Init, List, ListWorkloads, ReadAudit, ReadPolicy, ReadSigners};
        use Action::{NewKey, Serve, SetPolicy, Sign, Status, TrustSigner, Whoami};
        use Action::{ReadApprovals, ReadHolds, ReadSessions};
        match action {
            List | Enroll | ListWorkloads => Resource::Namespace(&self.namespace),
            Action::Revoke | Action::Renew => self.own(),
            Init | Serve | Status | SetPolicy | ReadPolicy | TrustSigner | ReadSigners | NewKey | Sign | ReadAudit
            | Whoami | Approve | ChangeSettings | ImportIntel | Quarantine | ReadSettings | ResetFactor
            | RevokeSession | ReadApprovals | ReadHolds | ReadSessions => Resource::Vault,
            _ => self.artifact(),
        }
    }
}

fn ask<'a>(
    principal: &'a Principal,
    transport: Transport,
    action: Action,
    resource: Resource<'a>,
    granted: bool,
) -> Request<'a> {
    Request {
        principal,
        action,
        resource,
        groups: Vec::new(),
        marks: Marks::default(),
        context: Context::new(transport),
        granted,
        now: NOW,
    }
}
