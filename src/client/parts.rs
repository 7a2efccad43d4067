//! Datasets that are sealed in parts (docs/datasets.md): the version that is asked for names others, each by its sealed root in a
//! member that was signed. So which parts there are is the word of whoever sealed the dataset; a server that lied while it was sealed
//! is found out by its `dataset.sig`, not here.

use super::fetch::{FetchPlan, FetchReport, FetchSink};
use super::{Client, InMemory};
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::manifest::{ArtifactStatement, MAX_PARTS_LEN, PARTS_NAME, Part, Parts, Subject};
use crate::names::{Reference, Revision};
use crate::wire::broken;

impl Client {
    /// As [`fetch`](Self::fetch) of a whole version, and then of each of the parts that it names: the sink is started once for each, and
    /// the list of them is left out.
    /// The report is that of the version, with members and bytes of all.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch); `BindingMismatch` for a part that is not the one that was named; `ManifestInvalid`.
    pub async fn fetch_with_parts(&self, plan: FetchPlan, sink: &mut (dyn FetchSink + Send)) -> Result<FetchReport> {
        let mut first = Named { sink: &mut *sink, list: None };
        let mut report = self.fetch(plan.clone(), &mut first).await?;
        let Some(list) = first.list else { return Ok(report) };
        // The list is no file of the dataset.
        report.members = report.members.saturating_sub(1);
        report.bytes = report.bytes.saturating_sub(list.len() as u64);
        for part in Parts::from_json(&list)?.as_slice() {
            let mut checked = Checked { part, sink: &mut *sink };
            let brought = self.fetch(plan_of(&plan, part), &mut checked).await?;
            report.members += brought.members;
            report.bytes += brought.bytes;
        }
        Ok(report)
    }

    /// The parts that a version names, each with its signed statement; none if it names none.
    ///
    /// # Errors
    /// As [`fetch_with_parts`](Self::fetch_with_parts).
    pub(super) async fn parts(
        &self,
        plan: &FetchPlan,
        head: &ArtifactStatement,
    ) -> Result<Vec<(FetchPlan, ArtifactStatement)>> {
        if !names_parts(head) {
            return Ok(Vec::new());
        }
        if head.subjects.iter().any(|s| s.path == PARTS_NAME && s.size > MAX_PARTS_LEN) {
            return Err(too_long());
        }
        let mut list = InMemory::default();
        let only = FetchPlan { members: vec![(PARTS_NAME.to_owned(), None)], ..plan.clone() };
        self.fetch(only, &mut list).await?;
        let list = list.members.pop().map(|(_, bytes)| bytes).unwrap_or_default();
        let mut parts = Vec::new();
        for part in Parts::from_json(&list)?.as_slice() {
            let plan = plan_of(plan, part);
            let (report, statement) = self.fetch_statement(&plan).await?;
            part.check(&report.version.root, &statement)?;
            parts.push((plan, statement));
        }
        Ok(parts)
    }
}

fn names_parts(statement: &ArtifactStatement) -> bool {
    let has = |path: &str| statement.subjects.binary_search_by(|s| s.path.as_str().cmp(path)).is_ok();
    Parts::are_named(statement.kind, has)
}

/// The whole of a part. No tag is at it, so nothing is to be remembered of where one was.
fn plan_of(plan: &FetchPlan, part: &Part) -> FetchPlan {
    let revision = Revision::Version(part.version);
    let reference = Reference { revision, member: None, ..plan.reference.clone() };
    FetchPlan { reference, members: Vec::new(), floor: None, ..plan.clone() }
}

fn too_long() -> Error {
    Error::new(ErrorId::LimitExceeded, format!("{PARTS_NAME}: longer than {MAX_PARTS_LEN} bytes"))
}

/// Keeps the list of parts as it comes by, if the version names any, and hands on the others.
struct Named<'a> {
    sink: &'a mut (dyn FetchSink + Send),
    list: Option<Vec<u8>>,
}

impl FetchSink for Named<'_> {
    fn start(&mut self, version: &VersionFacts, statement: &ArtifactStatement) -> Result<()> {
        if !names_parts(statement) {
            return self.sink.start(version, statement);
        }
        self.list = Some(Vec::new());
        let mut beside = statement.clone();
        beside.subjects.retain(|s| s.path != PARTS_NAME);
        self.sink.start(version, &beside)
    }

    fn bytes(&mut self, member: &Subject, offset: u64, bytes: &[u8]) -> Result<()> {
        if let Some(list) = self.list.as_mut().filter(|_| member.path == PARTS_NAME) {
            if list.len() as u64 != offset {
                return Err(broken("bytes of a member out of order"));
            }
            if offset + bytes.len() as u64 > MAX_PARTS_LEN {
                return Err(too_long());
            }
            list.extend_from_slice(bytes);
            return Ok(());
        }
        self.sink.bytes(member, offset, bytes)
    }
}

/// Lets through the part that was named, and no other. Its root was proven when this is started.
struct Checked<'a> {
    part: &'a Part,
    sink: &'a mut (dyn FetchSink + Send),
}

impl FetchSink for Checked<'_> {
    fn start(&mut self, version: &VersionFacts, statement: &ArtifactStatement) -> Result<()> {
        self.part.check(&version.root, statement)?;
        self.sink.start(version, statement)
    }

    fn bytes(&mut self, member: &Subject, offset: u64, bytes: &[u8]) -> Result<()> {
        self.sink.bytes(member, offset, bytes)
    }
}
