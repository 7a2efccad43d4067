//! The end of a version: its key is destroyed, so nobody opens it again, from whatever copy of its bytes.

use super::gate::Subject;
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{Located, Visibility};
use crate::error::Result;
use crate::facts::VersionFacts;
use crate::names::{Reference, VersionId};
use crate::policy::Action;
use crate::store::BlobId;

impl Vault {
    /// Destroys the key of a version, listed or not, and those of the parts that it names. When this returns its wrapped bytes are in no file of the vault; the sealed
    /// bytes are removed after that. Who reads the version now is cut off.
    ///
    /// # Errors
    /// `Shredded` if it was destroyed before, also by this very request.
    pub fn shred(&self, caller: &Caller, reference: &Reference) -> Result<VersionFacts> {
        let act = Act::ArtifactShred;
        let named = Subject::named(&reference.namespace, &reference.name).with("revision", &reference.revision);
        self.admitted(caller, act, &named)?;
        let found = self.lookup(reference, Visibility::All);
        let Located { artifact, version: record, .. } =
            found.or_else(|e| self.refuse(caller, act, &named, self.veil(caller, e, reference)))?;
        let subject = Subject::version(&reference.namespace, &artifact, &record);
        let resource = super::opening::version_resource(&reference.namespace, &artifact, &record);
        let permit =
            self.permit(caller, act, Action::Shred, resource, &subject).map_err(|e| self.veil(caller, e, reference))?;
        let id = record.facts.version_id;
        let mut gone = self.catalogue.parts_of(artifact.id, record.facts.number)?;
        let subject = if gone.is_empty() { subject } else { subject.with("parts", gone.len()) };
        gone.push(record);
        let request = Request { caller, act, subject, permit: &permit, arguments: &[&id.0] };
        let facts = |id: VersionId| self.version_facts(&reference.namespace, &artifact, &self.catalogue.version(id)?);
        let carry_out = || {
            self.catalogue.shred(id, self.entry(&request, Vec::new()))?;
            facts(id)
        };
        let outcome = self.once(&request, |_| facts(id), carry_out);
        // Also after an error: the version is refused from the first of its commits on.
        self.cut();
        let shredded = outcome?;
        // Without its key it is noise. What stays behind now goes with the next sweep.
        for facts in gone.iter().map(|v| &v.facts) {
            let id = facts.version_id;
            for blob in [BlobId::Header(id, facts.generation), BlobId::Body(id)] {
                if let Err(e) = self.store.delete(blob) {
                    tracing::warn!(error = %e, version = %id, "the bytes of a shredded version could not be removed yet");
                }
            }
        }
        Ok(shredded)
    }
}
