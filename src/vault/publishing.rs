//! The right to publish: asked before a byte is received, when sealing begins, and again when the version becomes visible.

use std::sync::Arc;

use super::gate::{Asked, Permit, Subject};
use super::{Caller, Standing, Vault};
use crate::audit::Act;
use crate::catalogue::{ArtifactRecord, Visibility};
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::names::{ArtifactId, ArtifactKind, Name, Tag};
use crate::policy::{Action, Resource};

/// What is to be made, as far as it is known before a byte of it: all that is asked about it beforehand is asked of this.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// Where.
    pub namespace: Name,
    /// Name of the artifact.
    pub name: Name,
    /// What it is; `None` while that is not known.
    pub kind: Option<ArtifactKind>,
    /// A tag that moves with it.
    pub tag: Option<Tag>,
    /// Who signs, if not the namespace.
    pub publisher: Option<PublicKey>,
}

impl NewArtifact {
    pub(super) fn subject(&self) -> Subject {
        let subject = Subject::named(&self.namespace, &self.name);
        match &self.publisher {
            Some(key) => subject.with("signer", key.key_id()),
            None => subject,
        }
    }
}

/// All that is asked of whoever makes something.
pub(super) struct Right<'a> {
    vault: &'a Vault,
    caller: &'a Caller,
    act: (Act, Action),
    new: &'a NewArtifact,
    subject: &'a Subject,
    allowed: &'a [&'static str],
    /// The artifact from before: making the first version makes the artifact too, and it is the namespace that is asked about then.
    before: Option<ArtifactRecord>,
    /// A new artifact gets an id that is in no policy.
    id: ArtifactId,
}

impl Right<'_> {
    /// May the caller make it, and move its tag, and is whoever signs it trusted?
    pub fn ask(&self) -> Result<Permit> {
        let permit = self.ask_of(self.caller, self.before.as_ref())?;
        if permit.is_used_up() && self.vault.catalogue.publication(self.caller.request_id)?.is_none() {
            let text = "what others approved was used up, and by another act";
            let used_up =
                Error::new(ErrorId::ApprovalRequired, text).hint("run the command again, and have it approved anew");
            return self.vault.refuse(self.caller, self.act.0, self.subject, used_up);
        }
        Ok(permit)
    }

    /// The same when it is made, of what holds by now. `maker` has what was proved when it began, which counts until the act is done.
    /// An artifact that somebody else has made meanwhile is asked about as such: a right to new names is none to it.
    pub fn ask_again(&self, maker: &Caller) -> Result<()> {
        let Self { vault, new, before, .. } = self;
        let made = match before {
            Some(_) => None,
            None => found(vault.catalogue.artifact_named(&new.namespace, &new.name))?,
        };
        let published = |a: &ArtifactRecord| {
            Ok::<_, Error>(!vault.catalogue.versions_of(a.id, Visibility::All, None, 1)?.rows.is_empty())
        };
        let made = match made {
            Some(artifact) if published(&artifact)? => Some(artifact),
            _ => None,
        };
        self.ask_of(maker, before.as_ref().or(made.as_ref())).map(drop)
    }

    fn ask_of(&self, maker: &Caller, there: Option<&ArtifactRecord>) -> Result<Permit> {
        let Self { vault, caller, act: (act, action), new, subject, allowed, .. } = *self;
        let resource = match there {
            Some(artifact) => super::opening::resource(&new.namespace, artifact),
            None => Resource::Namespace(&new.namespace),
        };
        let tag = new.tag.as_ref();
        let permit = vault.permit_asked(maker, act, action, resource, subject, Asked { tag, allowed })?;
        if let (Some(tag), Some(tagged)) = (tag, self.tagged(there)) {
            let asked = Asked { tag: Some(tag), ..Asked::default() };
            let subject = subject.clone().with("tag", tag);
            let moves = vault.permit_asked(&unapproved(maker), act, Action::Tag, tagged, &subject, asked)?;
            vault.without_approval(caller, act, &subject, &moves)?;
        }
        if let Some(key) = &new.publisher {
            vault.must_trust(caller, act, subject, &new.namespace, &key.key_id())?;
            if vault.holds_key(key)? {
                // It signs for whoever may have it sign, and until the version is made.
                let signs = vault.permit_asked(
                    &unapproved(maker),
                    act,
                    Action::Sign,
                    Resource::Vault,
                    subject,
                    Asked::default(),
                )?;
                vault.without_approval(caller, act, subject, &signs)?;
            }
        }
        Ok(permit)
    }

    /// What the tag is moved on, as far as it is known.
    fn tagged<'b>(&'b self, there: Option<&'b ArtifactRecord>) -> Option<Resource<'b>> {
        let NewArtifact { namespace, name, kind, .. } = self.new;
        match (there, *kind) {
            (Some(artifact), _) => Some(super::opening::resource(namespace, artifact)),
            (None, Some(kind)) => {
                Some(Resource::Artifact { namespace, id: self.id, name, kind, signed: true, version: None })
            }
            (None, None) => None,
        }
    }
}

impl Vault {
    /// The right to make something in place of what is there now.
    pub(super) fn right<'a>(
        &'a self,
        caller: &'a Caller,
        act: (Act, Action),
        new: &'a NewArtifact,
        subject: &'a Subject,
        allowed: &'a [&'static str],
    ) -> Result<Right<'a>> {
        let before = found(self.catalogue.artifact_named(&new.namespace, &new.name))?;
        let id = ArtifactId::generate(self.now(), self.random())?;
        Ok(Right { vault: self, caller, act, new, subject, allowed, before, id })
    }

    /// May this caller make that?
    pub(super) fn permit_new(
        &self,
        caller: &Caller,
        act: (Act, Action),
        new: &NewArtifact,
        subject: &Subject,
    ) -> Result<Permit> {
        self.right(caller, act, new, subject, &[])?.ask()
    }

    /// Asks what [`Self::seal`] will ask, before anything is received, and while it is. Only a denial is recorded.
    pub(crate) fn may_seal(self: &Arc<Self>, caller: &Caller, new: NewArtifact) -> Result<Standing> {
        self.may_make(caller, (Act::ArtifactSeal, Action::Seal), new)
    }

    /// The same for [`Self::import`].
    pub(crate) fn may_import(self: &Arc<Self>, caller: &Caller, new: NewArtifact) -> Result<Standing> {
        self.may_make(caller, (Act::ArtifactImport, Action::Import), new)
    }

    fn may_make(self: &Arc<Self>, caller: &Caller, act: (Act, Action), new: NewArtifact) -> Result<Standing> {
        let subject = new.subject();
        let right = self.right(caller, act, &new, &subject, &[])?;
        let goes_on = self.underway(caller, &right.ask()?);
        // What is being made has a name soon: the question stays what it was before.
        let Right { before, id, .. } = right;
        let caller = caller.clone();
        Ok(self.standing_while(move |vault| {
            let (before, allowed) = (before.clone(), &[][..]);
            let (caller, new, subject) = (&caller, &new, &subject);
            Right { vault, caller, act, new, subject, allowed, before, id }.ask_again(&goes_on)
        }))
    }
}

/// The caller without what others approved: that is the version, neither its tag nor its signature.
fn unapproved(maker: &Caller) -> Caller {
    let mut alone = maker.clone();
    if let Some(underway) = &mut alone.evidence.underway {
        underway.approvals = 0;
    }
    alone
}

/// What is there, or `None`. Any other failure stays one: it must not turn into the weaker question.
pub(super) fn found<T>(answer: crate::catalogue::Result<T>) -> Result<Option<T>> {
    match answer.map_err(Error::from) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.id() == ErrorId::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
