//! Fetching, with the checks of docs/trust.md 5. What is proven and by what:
//!
//! - Paths, sizes and bytes of the members, namespace, name, version, kind and file id: by the signature of the artifact
//!   statement, made by a key the caller trusts, and by the tree of each member's digest in it.
//! - Where a tag points: by the tag statement, signed by the identity of the namespace and good for a week; that it is not an
//!   older one than this client saw, by the floor the caller remembers. A server can keep a move back for as long as the
//!   statement before it holds, and no longer.
//! - `b3:`, the sealed root: by the seal statement. The artifact statement lies inside the sealed file, so it cannot name the
//!   root over itself; both name the file id, which is drawn at random for each sealing, and the same key must have signed
//!   both. So whoever signs honestly signs one root and one content for a file id.
//! - Time of publishing, who sealed it, other tags, generation: the server's word.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::floor::Seen;
use super::{Client, request_id};
use crate::crypto::hash::blake3;
use crate::crypto::outboard::{GroupVerifier, Groups};
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::manifest::{ArtifactStatement, MAX_STATEMENT_LEN, MAX_TAG_STATEMENT_LEN, Subject, TagStatement};
use crate::names::{Clock as _, KeyId, Reference, Revision, Root, SystemClock, Tag};
use crate::seal::signatures;
use crate::wire::pb::fetch_response::Part;
use crate::wire::{self, PIECE_LEN, broken, pb};

/// Largest group a client holds in memory: 16 MiB.
const MAX_GROUP_LOG2: u8 = 24;
/// Detail of a failure that was the transport's: asking again from where it stopped is no use against a server that breaks its contract.
pub(super) const CUT: &str = "cut";
/// How long a server may say nothing before the client gives up.
const SILENCE: Duration = Duration::from_secs(120);

/// What to fetch, and whom to believe.
#[derive(Clone, Debug)]
pub struct FetchPlan {
    /// The artifact. Its `member`, if set, is one more selection.
    pub reference: Reference,
    /// Paths with the byte range of the member, in the order to fetch; none: everything.
    pub members: Vec<(String, Option<Range<u64>>)>,
    /// Keys whose artifact statements are accepted. On the Unix socket and in process: [`Client::signers`].
    pub signers: Vec<PublicKey>,
    /// Keys whose word on where a tag points is accepted: the namespace's identity, as the enrolment names it. Of no meaning
    /// where the reference has no tag.
    pub tag_signers: Vec<PublicKey>,
    /// Where the tag was seen last; an older state is refused.
    pub floor: Option<Seen>,
}

impl FetchPlan {
    /// All members of an artifact, signed by one of these keys, as the word on its tag is; whatever was seen before.
    pub fn whole(reference: Reference, signers: Vec<PublicKey>) -> Self {
        Self { reference, members: Vec::new(), tag_signers: signers.clone(), signers, floor: None }
    }
}

/// Takes what was verified.
pub trait FetchSink {
    /// The verified statement, before any byte.
    fn start(&mut self, version: &VersionFacts, statement: &ArtifactStatement) -> Result<()>;
    /// Verified bytes of `member`, in order, cut to the range asked for. `offset` counts from the member's start. An empty
    /// member or range brings no call.
    fn bytes(&mut self, member: &Subject, offset: u64, bytes: &[u8]) -> Result<()>;
}

/// A sink that keeps everything in memory, by path. Use it only after the fetch returned `Ok`: before, it may hold a part.
#[derive(Clone, Debug, Default)]
pub struct InMemory {
    /// Paths and bytes, in the order they came.
    pub members: Vec<(String, Vec<u8>)>,
}

impl FetchSink for InMemory {
    fn start(&mut self, _: &VersionFacts, _: &ArtifactStatement) -> Result<()> {
        self.members.clear();
        Ok(())
    }

    fn bytes(&mut self, member: &Subject, _: u64, bytes: &[u8]) -> Result<()> {
        match self.members.last_mut().filter(|(path, _)| *path == member.path) {
            Some((_, held)) => held.extend_from_slice(bytes),
            None => self.members.push((member.path.clone(), bytes.to_vec())),
        }
        Ok(())
    }
}

/// Keeps the statement.
struct StatementOnly(Option<ArtifactStatement>);

impl FetchSink for StatementOnly {
    fn start(&mut self, _: &VersionFacts, statement: &ArtifactStatement) -> Result<()> {
        self.0 = Some(statement.clone());
        Ok(())
    }

    fn bytes(&mut self, _: &Subject, _: u64, _: &[u8]) -> Result<()> {
        Err(broken("bytes that were not asked for"))
    }
}

/// What a complete fetch brought.
#[derive(Clone, Debug)]
pub struct FetchReport {
    /// The version; see the head of this module's source for what of it is proven.
    pub version: VersionFacts,
    /// Trusted keys that signed the artifact statement and the seal statement.
    pub signers: Vec<KeyId>,
    /// Where the tag points, if one was asked for: to be remembered.
    pub tag: Option<TagStatement>,
    /// Selections that were delivered.
    pub members: u64,
    /// Bytes handed to the sink.
    pub bytes: u64,
    /// Key exchange of the connection.
    pub tls_group: Option<String>,
}

impl Client {
    /// Fetches and checks: the statement first, then each group against its member's digest, then the END. Nothing unverified
    /// reaches the sink; what reached it is complete only if this returns `Ok`. Never retried silently: the sink may ask
    /// again from where it stopped, with a range.
    ///
    /// # Errors
    /// `SignatureMissing`, `SignatureInvalid`, `BindingMismatch` (another artifact, version or tag than asked for), `TagStale`,
    /// `VersionRollback`, `MemberMismatch`, `StreamBroken`, `LimitExceeded`; the server's own; the sink's own.
    pub async fn fetch(&self, plan: FetchPlan, sink: &mut (dyn FetchSink + Send)) -> Result<FetchReport> {
        let wanted = selections(&plan)?;
        self.fetch_selected(&plan, Some(wanted), sink).await
    }

    /// As [`fetch`](Self::fetch), of other members than the plan names.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub(crate) async fn fetch_some(
        &self,
        plan: &FetchPlan,
        wanted: Vec<Selection>,
        sink: &mut (dyn FetchSink + Send),
    ) -> Result<FetchReport> {
        self.fetch_selected(plan, Some(wanted), sink).await
    }

    /// The verified statement of a version, without a byte of it. Checked as in [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_statement(&self, plan: &FetchPlan) -> Result<(FetchReport, ArtifactStatement)> {
        let mut sink = StatementOnly(None);
        let report = self.fetch_selected(plan, None, &mut sink).await?;
        let statement = sink.0.ok_or_else(|| broken("the stream ended before its statement"))?;
        Ok((report, statement))
    }

    /// `wanted`: what to send; none: nothing but the statement.
    async fn fetch_selected(
        &self,
        plan: &FetchPlan,
        wanted: Option<Vec<Selection>>,
        sink: &mut (dyn FetchSink + Send),
    ) -> Result<FetchReport> {
        let request = pb::FetchRequest {
            reference: Reference { member: None, ..plan.reference.clone() }.to_string(),
            request_id: request_id()?,
            members: wanted.iter().flatten().map(selection_to_wire).collect(),
            checks_groups: true,
            statement_only: wanted.is_none(),
        };
        let stream = self.fetches().fetch(request).await;
        let mut stream = stream.map_err(|s| named(self.link.error_of(&s), &plan.reference))?.into_inner();
        let mut check = Check::new(plan, wanted);
        loop {
            let next = tokio::time::timeout(SILENCE, stream.message()).await.map_err(|_| {
                Error::new(ErrorId::DeadlineExceeded, format!("the server sent nothing for {SILENCE:?}"))
            })?;
            match next {
                Ok(Some(message)) => check.take(message, sink)?,
                Ok(None) => return check.finish(self.tls_group()),
                Err(status) if wire::is_from_vault(&status) => {
                    return Err(named(wire::error_of(&status), &plan.reference));
                }
                Err(status) => {
                    let message = format!("the stream was cut: {}", status.message());
                    return Err(Error::new(ErrorId::StreamBroken, message).detail(CUT, "transport").caused_by(status));
                }
            }
        }
    }
}

/// The server tells a workload no more than `NotFound`, alike for what is not there and what it may not see; say of what.
fn named(error: Error, reference: &Reference) -> Error {
    if error.id() != ErrorId::NotFound || error.message() != ErrorId::NotFound.meaning() {
        return error;
    }
    let artifact = format!("{}/{}", reference.namespace, reference.name);
    Error::new(ErrorId::NotFound, format!("the vault shows this workload no {reference}"))
        .hint(format!("check the name; if it is right, ask an operator: vault grant WORKLOAD {artifact}"))
}

/// A member, or several that follow one another in path order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Path of the first.
    pub path: String,
    /// The bytes of it; none: all. It goes to its end where others follow.
    pub range: Option<Range<u64>>,
    /// Path of the last, unless there is one only.
    pub through: Option<String>,
}

fn selections(plan: &FetchPlan) -> Result<Vec<Selection>> {
    let whole = plan.reference.member.iter().map(|path| (path.clone(), None));
    let wanted = plan.members.iter().cloned().chain(whole);
    let wanted: Vec<_> = wanted.map(|(path, range)| Selection { path, range, through: None }).collect();
    for Selection { path, range, .. } in &wanted {
        if range.as_ref().is_some_and(|r| r.start > r.end) {
            return Err(Error::new(ErrorId::RangeInvalid, format!("{path}: the range ends before it starts")));
        }
    }
    Ok(wanted)
}

fn selection_to_wire(Selection { path, range, through }: &Selection) -> pb::MemberSelection {
    let range = range.as_ref().map(|r| pb::ByteRange { from: r.start, to: r.end });
    pb::MemberSelection { path: path.clone(), range, through: through.clone().unwrap_or_default() }
}

/// The checks, fed message by message. Holds at most the statement and one group.
pub(super) struct Check<'a> {
    plan: &'a FetchPlan,
    wanted: Option<Vec<Selection>>,
    state: State,
}

enum State {
    Start,
    Statement {
        version: VersionFacts,
        seal_statements: Bytes,
        tag_statement: Bytes,
        announced: u64,
        collected: Vec<u8>,
    },
    Members(Box<Members>),
    Ended {
        report: FetchReport,
    },
    /// A check failed; nothing more is taken.
    Failed,
}

impl<'a> Check<'a> {
    pub(super) fn new(plan: &'a FetchPlan, wanted: Option<Vec<Selection>>) -> Self {
        Self { plan, wanted, state: State::Start }
    }

    /// The next message of the stream.
    pub(super) fn take(&mut self, message: pb::FetchResponse, sink: &mut dyn FetchSink) -> Result<()> {
        let part = message.part.ok_or_else(|| broken("an empty message"))?;
        self.state = match (std::mem::replace(&mut self.state, State::Failed), part) {
            (State::Start, Part::Start(start)) => {
                let version = wire::version_from_wire(start.version)?;
                if start.statement_len > MAX_STATEMENT_LEN {
                    let message = format!("the server announces a statement of {} bytes", start.statement_len);
                    return Err(Error::new(ErrorId::LimitExceeded, message));
                }
                let seal_statements = start.seal_statements;
                if seal_statements.len() > PIECE_LEN {
                    let message = format!("the server sends {} bytes of seal statements", seal_statements.len());
                    return Err(Error::new(ErrorId::LimitExceeded, message));
                }
                let tag_statement = start.tag_statement;
                if tag_statement.len() > MAX_TAG_STATEMENT_LEN {
                    let message = format!("the server sends a tag statement of {} bytes", tag_statement.len());
                    return Err(Error::new(ErrorId::LimitExceeded, message));
                }
                let (announced, collected) = (start.statement_len, Vec::new());
                State::Statement { version, seal_statements, tag_statement, announced, collected }
            }
            (
                State::Statement { version, seal_statements, tag_statement, announced, mut collected },
                Part::Statement(piece),
            ) => {
                if piece.is_empty() || piece.len() > PIECE_LEN {
                    return Err(broken("a piece of the statement has a wrong length"));
                }
                collected.extend_from_slice(&piece);
                match (collected.len() as u64).cmp(&announced) {
                    std::cmp::Ordering::Less => {
                        State::Statement { version, seal_statements, tag_statement, announced, collected }
                    }
                    std::cmp::Ordering::Equal => {
                        let members = self.accept(version, &collected, &seal_statements, &tag_statement)?;
                        sink.start(&members.version, &members.statement)?;
                        State::Members(Box::new(members))
                    }
                    std::cmp::Ordering::Greater => return Err(broken("the statement is longer than announced")),
                }
            }
            (State::Members(mut members), Part::Chunk(chunk)) => {
                members.take(chunk, sink)?;
                State::Members(members)
            }
            (State::Members(members), Part::End(end)) => State::Ended { report: members.end(end)? },
            (State::Statement { .. }, _) => return Err(broken("the statement is shorter than announced")),
            (State::Ended { .. }, _) => return Err(broken("a message after the end")),
            _ => return Err(broken("messages out of order")),
        };
        Ok(())
    }

    /// The stream ended without an error.
    pub(super) fn finish(self, tls_group: Option<String>) -> Result<FetchReport> {
        match self.state {
            State::Ended { report } => Ok(FetchReport { tls_group, ..report }),
            _ => Err(Error::new(ErrorId::StreamBroken, "the stream ended without its END: what came is incomplete")),
        }
    }

    /// docs/trust.md 5, 2 to 4.
    fn accept(
        &self,
        version: VersionFacts,
        envelope: &[u8],
        seal_statements: &[u8],
        tag_statement: &[u8],
    ) -> Result<Members> {
        let (statement, signers) = ArtifactStatement::verify(envelope, &self.plan.signers)?;
        let asked = &self.plan.reference;
        if (&statement.namespace, &statement.name) != (&asked.namespace, &asked.name) {
            return Err(other(format!(
                "asked for {}/{}, the signed statement is about {}/{}",
                asked.namespace, asked.name, statement.namespace, statement.name
            )));
        }
        match &asked.revision {
            Revision::Version(n) if statement.version != *n => {
                return Err(other(format!("asked for v{n}, the signed statement is about v{}", statement.version)));
            }
            Revision::Root(root) if version.root != *root => {
                return Err(other(format!("asked for b3:{root}, the server offers b3:{}", version.root)));
            }
            _ => {}
        }
        let announced = (&version.namespace, &version.name, version.version, version.kind, version.file_id);
        let signed = (&statement.namespace, &statement.name, statement.version, statement.kind, statement.file_id);
        if announced != signed
            || version.payload_size != statement.payload_size
            || version.member_count != statement.subjects.len() as u64
        {
            return Err(other("the server's own words about the version contradict the signed statement".into()));
        }
        let signers = self.sealers(seal_statements, &signers, &statement, &version.root)?;
        let tag = match &asked.revision {
            Revision::Tag(tag) => Some(self.tag_at(tag, tag_statement, statement.version, &version.root)?),
            _ => None,
        };
        if statement.group_log2 > MAX_GROUP_LOG2 {
            let message = format!("groups of 2^{} bytes; this client takes 2^{MAX_GROUP_LOG2}", statement.group_log2);
            return Err(Error::new(ErrorId::LimitExceeded, message));
        }
        let spans = self.wanted.as_ref().map_or_else(|| Ok(Vec::new()), |wanted| spans(&statement, wanted))?;
        Members::new(version, statement, (signers, tag), spans)
    }

    /// The signed word that `tag` is at this version, with this root, now; and that it is not an older one than was seen.
    fn tag_at(&self, tag: &Tag, envelope: &[u8], version: u64, root: &Root) -> Result<TagStatement> {
        let asked = &self.plan.reference;
        let named = |e: Error| e.on(asked);
        let statement = TagStatement::verify(envelope, &self.plan.tag_signers).map_err(Error::from).map_err(named)?;
        statement.check(asked, tag, SystemClock.now()).map_err(Error::from).map_err(named)?;
        if (statement.version, statement.root) != (version, *root) {
            return Err(other(format!(
                "{asked}: the tag statement names v{} (b3:{}), the server offers v{version} (b3:{root})",
                statement.version, statement.root
            )));
        }
        self.plan.floor.as_ref().map_or(Ok(()), |seen| seen.allows(&statement))?;
        Ok(statement)
    }

    /// Which of the keys that signed the artifact statement also signed that its file has this root; at least one.
    fn sealers(
        &self,
        seal_statements: &[u8],
        signers: &[KeyId],
        statement: &ArtifactStatement,
        root: &Root,
    ) -> Result<Vec<KeyId>> {
        let keys: Vec<_> = self.plan.signers.iter().filter(|k| signers.contains(&k.key_id())).copied().collect();
        signatures::check(seal_statements, &keys, &statement.file_id, root).map_err(|e| {
            Error::new(e.id(), format!("the root b3:{root} is not proven: {e}"))
                .hint("the server claims a root that the signer of the artifact did not seal: ask its operator")
        })
    }
}

fn other(message: String) -> Error {
    Error::new(ErrorId::BindingMismatch, message)
        .hint("the server answers with something else than was asked for: do not use it, ask its operator")
}

/// Bytes of one member that were asked for.
#[derive(Clone, Copy, Debug)]
struct Span {
    member: usize,
    from: u64,
    to: u64,
}

/// What was asked for, in terms of the signed statement.
fn spans(statement: &ArtifactStatement, wanted: &[Selection]) -> Result<Vec<Span>> {
    let subjects = &statement.subjects;
    if wanted.is_empty() {
        return Ok(subjects.iter().enumerate().map(|(member, s)| Span { member, from: 0, to: s.size }).collect());
    }
    let places: HashMap<&str, usize> = subjects.iter().enumerate().map(|(i, s)| (s.path.as_str(), i)).collect();
    let place_of = |path: &str| {
        let place = places.get(path).copied();
        place.ok_or_else(|| Error::new(ErrorId::NotFound, format!("no member {path:?} in the artifact")))
    };
    let mut spans = Vec::with_capacity(wanted.len());
    for Selection { path, range, through } in wanted {
        let member = place_of(path)?;
        let size = subjects[member].size;
        let range = range.clone().unwrap_or(0..size);
        if range.end > size {
            return Err(Error::new(ErrorId::RangeInvalid, format!("{path} has {size} bytes, not {}", range.end)));
        }
        spans.push(Span { member, from: range.start, to: range.end });
        if let Some(through) = through {
            let rest = member + 1..=place_of(through)?;
            spans.extend(rest.map(|member| Span { member, from: 0, to: subjects[member].size }));
        }
    }
    Ok(spans)
}

/// Takes the chunks. What must come next follows from the statement and the plan alone; the server decides nothing.
struct Members {
    version: VersionFacts,
    statement: ArtifactStatement,
    signers: Vec<KeyId>,
    tag: Option<TagStatement>,
    spans: Vec<Span>,
    /// Span and group that are expected now; past the last span when all came.
    span: usize,
    group: u64,
    /// The first pieces of the expected group, if it comes in several.
    pending: Vec<u8>,
    nodes: Bytes,
    /// Member of the last group, with what its groups proved so far.
    verifier: Option<(usize, GroupVerifier)>,
    chunks: u64,
    received: u64,
    delivered: u64,
}

impl Members {
    fn new(
        version: VersionFacts,
        statement: ArtifactStatement,
        (signers, tag): (Vec<KeyId>, Option<TagStatement>),
        spans: Vec<Span>,
    ) -> Result<Self> {
        // An empty member has no chunk that could prove its digest.
        let nothing = blake3(b"");
        if spans
            .iter()
            .any(|s| statement.subjects[s.member].size == 0 && statement.subjects[s.member].blake3 != nothing)
        {
            return Err(Error::new(
                ErrorId::MemberMismatch,
                "an empty member has a digest that is not that of no bytes",
            ));
        }
        let mut members = Self {
            version,
            statement,
            signers,
            tag,
            spans,
            span: 0,
            group: 0,
            pending: Vec::new(),
            nodes: Bytes::new(),
            verifier: None,
            chunks: 0,
            received: 0,
            delivered: 0,
        };
        members.enter_span();
        Ok(members)
    }

    /// Moves to the first span at or after `self.span` that has bytes.
    fn enter_span(&mut self) {
        while self.spans.get(self.span).is_some_and(|s| s.from == s.to) {
            self.span += 1;
        }
        if let Some(span) = self.spans.get(self.span) {
            self.group = span.from >> self.statement.group_log2;
        }
    }

    fn take(&mut self, chunk: pb::FetchChunk, sink: &mut dyn FetchSink) -> Result<()> {
        let span = *self.spans.get(self.span).ok_or_else(|| broken("a chunk that was not asked for"))?;
        let groups = Groups::new(self.statement.subjects[span.member].size, self.statement.group_log2);
        let start = self.group << self.statement.group_log2;
        let len = groups.len_of(self.group);
        let received = self.pending.len() as u64;
        if chunk.member as usize != span.member || chunk.offset != start + received {
            return Err(broken("a chunk that is not the next one"));
        }
        let after = received + chunk.data.len() as u64;
        if chunk.data.is_empty() || chunk.data.len() > PIECE_LEN || after > len {
            return Err(broken("a chunk of a wrong length"));
        }
        if received == 0 {
            self.nodes = chunk.nodes;
        } else if !chunk.nodes.is_empty() {
            return Err(broken("outboard nodes in the middle of a group"));
        }
        self.chunks += 1;
        self.received += chunk.data.len() as u64;
        if received == 0 && after == len {
            return self.group_done(span, groups, &chunk.data, sink);
        }
        self.pending.extend_from_slice(&chunk.data);
        if after == len {
            let mut bytes = std::mem::take(&mut self.pending);
            self.group_done(span, groups, &bytes, sink)?;
            bytes.clear();
            self.pending = bytes;
        }
        Ok(())
    }

    /// Check 5: the group against the digest, and only then on to the sink.
    fn group_done(&mut self, span: Span, groups: Groups, bytes: &[u8], sink: &mut dyn FetchSink) -> Result<()> {
        let subject = &self.statement.subjects[span.member];
        let (_, verifier) = match &mut self.verifier {
            Some(known) if known.0 == span.member => known,
            other => other.insert((span.member, GroupVerifier::new(groups, subject.blake3))),
        };
        verifier.check(self.group, &self.nodes, bytes).map_err(|_| {
            let message = format!("{}: the bytes of group {} are not those that were signed", subject.path, self.group);
            Error::new(ErrorId::MemberMismatch, message)
                .hint("the server or the way to it altered them: fetch again; if it repeats, do not trust this server")
                .detail("member", &subject.path)
                .detail("group", self.group)
        })?;
        let start = self.group << self.statement.group_log2;
        let end = start + bytes.len() as u64;
        let (from, to) = (span.from.max(start), span.to.min(end));
        sink.bytes(subject, from, &bytes[(from - start) as usize..(to - start) as usize])?;
        self.delivered += to - from;
        self.nodes = Bytes::new();
        if end < span.to {
            self.group += 1;
        } else {
            self.span += 1;
            self.enter_span();
        }
        Ok(())
    }

    /// Check 6.
    fn end(self, end: pb::FetchEnd) -> Result<FetchReport> {
        if self.span < self.spans.len() {
            return Err(broken("the END came before everything that was asked for"));
        }
        if (end.chunks, end.bytes) != (self.chunks, self.received) {
            return Err(broken("the totals of the END differ from what came"));
        }
        Ok(FetchReport {
            version: self.version,
            signers: self.signers,
            tag: self.tag,
            members: self.spans.len() as u64,
            bytes: self.delivered,
            tls_group: None,
        })
    }
}
