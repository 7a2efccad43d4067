//! Fetch: FetchStart, the statement in pieces, chunks group by group, FetchEnd.
//!
//! The one bulk method does without tonic's codec, which copies every message: the response body hands HTTP/2 the few bytes
//! of framing and then the segment itself, so that the permit of a segment lasts until the transport has written it out, and
//! no copy of plaintext stays in memory that is not wiped. The bytes on the wire are those of the codec.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Frame;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tokio::sync::{Semaphore, mpsc};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::calls::{Call, Calls, Phase, overloaded, panicked};
use super::connection::Cut;
use super::segments::{PER_STREAM, Segment};
use super::standing::{GRACE, lost};
use crate::error::{Error, ErrorId, Kind, Result};
use crate::facts::VersionFacts;
use crate::names::{Reference, RequestId, Timestamp};
use crate::vault::{Caller, OpenArtifact, OpenMember, Standing, Wanted};
use crate::wire::pb::fetch_response::Part;
use crate::wire::{PIECE_LEN, pb, version_to_wire};

/// Most bytes of a request. It is read and decoded before anything is decided about it, and grows some thirty-fold when decoded;
/// thousands of members fit, and whoever wants more of them asks for all, or several times.
const REQUEST_LIMIT: usize = 256 << 10;
/// Most chunks that are read before anybody looks whether they are still wanted.
const CHUNKS_LIMIT: usize = 2048;

/// An artifact that was opened for reading: [`OpenArtifact`], or what a test puts in its place.
pub(super) trait Plaintext: Send + 'static {
    fn version(&self) -> &VersionFacts;
    fn statement(&self) -> &[u8];
    fn seal_statements(&self) -> &[u8];
    fn tag_statement(&self) -> Result<Vec<u8>>;
    fn members(&self) -> &[OpenMember];
    fn group_log2(&self) -> u8;
    fn expires(&self) -> Timestamp;
    fn read(&self, pieces: &mut [Wanted<'_>], client_checks_groups: bool) -> Result<()>;
    fn nodes(&self, member: usize, previous: Option<u64>, index: u64) -> Vec<u8>;
    fn finish(self: Box<Self>, bytes: u64, reason: &str) -> Result<()>;
    /// Whether it may still be read, for whoever can end the stream.
    fn standing(&self) -> Option<Standing> {
        None
    }
}

impl Plaintext for OpenArtifact {
    fn standing(&self) -> Option<Standing> {
        Some(self.standing())
    }
    fn version(&self) -> &VersionFacts {
        self.version()
    }
    fn statement(&self) -> &[u8] {
        self.statement()
    }
    fn seal_statements(&self) -> &[u8] {
        self.seal_statements()
    }
    fn tag_statement(&self) -> Result<Vec<u8>> {
        self.tag_statement()
    }
    fn members(&self) -> &[OpenMember] {
        self.members()
    }
    fn group_log2(&self) -> u8 {
        self.group_log2()
    }
    fn expires(&self) -> Timestamp {
        self.expires()
    }
    fn read(&self, pieces: &mut [Wanted<'_>], client_checks_groups: bool) -> Result<()> {
        self.read_all(pieces, client_checks_groups)
    }
    fn nodes(&self, member: usize, previous: Option<u64>, index: u64) -> Vec<u8> {
        self.nodes(member, previous, index)
    }
    fn finish(self: Box<Self>, bytes: u64, reason: &str) -> Result<()> {
        (*self).finish(bytes, reason)
    }
}

type Opener = dyn Fn(&Caller, &Reference) -> Result<Box<dyn Plaintext>> + Send + Sync;

/// The service, as tonic's routes take it.
#[derive(Clone)]
pub(super) struct Fetches {
    calls: Arc<Calls>,
    open: Arc<Opener>,
}

impl NamedService for Fetches {
    const NAME: &'static str = "modelvault.v1.FetchService";
}

impl<B> tower::Service<Request<B>> for Fetches
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let outcome = if request.uri().path() == "/modelvault.v1.FetchService/Fetch" {
                this.begin(request).await
            } else {
                Err(Status::unimplemented("no such method"))
            };
            Ok(match outcome {
                Ok(body) => {
                    let mut response = Response::new(Body::new(body));
                    let grpc = HeaderValue::from_static("application/grpc");
                    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
                    response
                }
                Err(status) => status.into_http(),
            })
        })
    }
}

impl Fetches {
    pub(super) fn new(
        calls: &Arc<Calls>,
        open: impl Fn(&Caller, &Reference) -> Result<Box<dyn Plaintext>> + Send + Sync + 'static,
    ) -> Self {
        Self { calls: Arc::clone(calls), open: Arc::new(open) }
    }

    /// Opens the artifact; what follows is streamed by a task of its own, which outlives a client that vanishes and writes
    /// the end into the audit log.
    async fn begin<B>(&self, request: Request<B>) -> Result<FetchBody, Status>
    where
        B: hyper::body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let message = read_message(body).await?;
        let request = pb::FetchRequest::decode(message).map_err(|_| Status::invalid_argument("not a FetchRequest"))?;
        let call = Call::new(&parts.extensions, &request.request_id)?;
        let reference = call.reference(&request.reference)?;
        let (open, caller) = (Arc::clone(&self.open), call.caller.clone());
        let opened = self.calls.compute(move || open(&caller, &reference)).await;
        let source = opened.map_err(|e| call.status(&e))?;
        let runs = if request.statement_only { Ok(Vec::new()) } else { runs(&*source, &request.members) };
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) => {
                finish(source, 0, error.id().name().into()).await;
                return Err(call.status(&error));
            }
        };
        let (pieces, taken) = mpsc::channel(1);
        let progress = Arc::new(Progress::default());
        let stream = Stream {
            calls: Arc::clone(&self.calls),
            own: Arc::new(Semaphore::new(PER_STREAM)),
            share: self.calls.segments.share_of(&call.caller.principal),
            client_checks_groups: request.checks_groups,
            pieces,
            progress: Arc::clone(&progress),
        };
        let working = self.calls.working();
        let cut = Cut::of_this_stream();
        tokio::spawn(async move {
            stream.run(source, runs, call, cut).await;
            drop(working);
        });
        Ok(FetchBody { taken, data: None, ended: false, progress })
    }
}

/// The one message of a request.
async fn read_message<B>(body: B) -> Result<Bytes, Status>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = Limited::new(body, REQUEST_LIMIT + 5).collect().await;
    let mut body = collected.map_err(|_| Status::resource_exhausted("the request is too large or was cut"))?.to_bytes();
    let malformed = || Status::invalid_argument("not one gRPC message");
    if body.len() < 5 {
        return Err(malformed());
    }
    let head = body.split_to(5);
    if head[0] != 0 {
        return Err(Status::unimplemented("compressed requests are not taken"));
    }
    let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if body.len() == len as usize { Ok(body) } else { Err(malformed()) }
}

/// Members that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// The first, and which bytes of it; whole groups around them are sent.
    member: usize,
    from: u64,
    to: u64,
    last: usize,
}

/// What to send. All runs of a request together have no more members than there are: what a request costs is in proportion to its length
/// and to what it asks for.
fn runs(source: &dyn Plaintext, wanted: &[pb::MemberSelection]) -> Result<Vec<Run>> {
    let members = source.members();
    if wanted.is_empty() {
        let first = members.first().map(|m| Run { member: 0, from: 0, to: m.size, last: members.len() - 1 });
        return Ok(Vec::from_iter(first));
    }
    let places: HashMap<&str, usize> = members.iter().enumerate().map(|(i, m)| (m.path.as_str(), i)).collect();
    let (mut runs, mut following) = (Vec::with_capacity(wanted.len()), 0);
    for pb::MemberSelection { path, range, through } in wanted {
        let Some(&member) = places.get(path.as_str()) else {
            let message = format!("no member {path:?} in the artifact");
            return Err(Error::new(ErrorId::NotFound, message).hint("vault inspect REF lists the members"));
        };
        let size = members[member].size;
        let (from, to) = range.as_ref().map_or((0, size), |r| (r.from, r.to));
        if from > to || to > size {
            let message = format!("{path}: {from}..{to} is not within its {size} bytes");
            return Err(Error::new(ErrorId::RangeInvalid, message));
        }
        let last = if through.is_empty() { Some(&member) } else { places.get(through.as_str()) };
        let Some(&last) = last.filter(|last| **last == member || (**last > member && to == size)) else {
            let message = format!("no members from {path:?} to {through:?}, one after the other");
            return Err(Error::new(ErrorId::RangeInvalid, message));
        };
        following += last - member;
        if following >= members.len() {
            let message = "a request has members more than once that follow others";
            return Err(Error::new(ErrorId::RangeInvalid, message).hint("ask for them in requests of their own"));
        }
        runs.push(Run { member, from, to, last });
    }
    Ok(runs)
}

/// What the body has handed to the transport.
#[derive(Debug, Default)]
struct Progress {
    bytes: AtomicU64,
    complete: AtomicBool,
}

/// Why a stream ends early.
enum Stop {
    /// The body was dropped: the client is gone, or the connection was cut.
    Gone,
    Stalled,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

/// The producer of one stream.
struct Stream {
    calls: Arc<Calls>,
    /// Permits of this stream.
    own: Arc<Semaphore>,
    /// Permits of its principal.
    share: Arc<Semaphore>,
    client_checks_groups: bool,
    pieces: mpsc::Sender<Piece>,
    progress: Arc<Progress>,
}

impl Stream {
    async fn run(self, source: Box<dyn Plaintext>, runs: Vec<Run>, call: Call, cut: Cut) {
        let standing = source.standing();
        let lost = async {
            match standing {
                Some(standing) => lost(standing).await,
                None => std::future::pending().await,
            }
        };
        let mut lost = std::pin::pin!(lost);
        let mut taken_back = false;
        let mut source = Some(source);
        let outcome = {
            let mut producing = std::pin::pin!(self.produce(&mut source, runs, call.caller.request_id));
            tokio::select! {
                outcome = &mut producing => outcome,
                why = &mut lost => {
                    taken_back = true;
                    // A read that is under way finds out by itself.
                    let ended = tokio::time::timeout(GRACE, producing).await;
                    ended.unwrap_or(Err(Stop::Failed(why)))
                }
            }
        };
        let closing = async {
            match &outcome {
                Ok(()) => self.close(Status::ok("")).await,
                Err(Stop::Failed(error)) => self.close(call.status(error)).await,
                Err(Stop::Gone) => Err(Stop::Gone),
                Err(Stop::Stalled) => Err(Stop::Stalled),
            }
        };
        let refused = |error: &Error| matches!(error.kind(), Kind::Unauthenticated | Kind::Denied);
        let hurry = taken_back || matches!(&outcome, Err(Stop::Failed(error)) if refused(error));
        let closed = if hurry {
            tokio::time::timeout(GRACE, closing).await.unwrap_or(Err(Stop::Stalled))
        } else {
            tokio::select! {
                closed = closing => closed,
                _ = &mut lost => Err(Stop::Stalled),
            }
        };
        if matches!(closed, Err(Stop::Stalled)) {
            cut.now();
        }
        let cut_by_us = *self.calls.phase().borrow() == Phase::Cut;
        let reason = match (outcome, closed) {
            (Err(Stop::Failed(error)), _) => error.id().name(),
            _ if self.progress.complete.load(Ordering::Acquire) => "complete",
            (_, Err(Stop::Stalled)) => "stalled",
            _ if cut_by_us => "drained",
            _ => "client gone",
        };
        // After this the body can hand on nothing more, and the number is final.
        let Self { pieces, progress, .. } = self;
        drop(pieces);
        if let Some(source) = source {
            finish(source, progress.bytes.load(Ordering::Acquire), reason.into()).await;
        }
    }

    async fn produce(
        &self,
        source: &mut Option<Box<dyn Plaintext>>,
        runs: Vec<Run>,
        request_id: RequestId,
    ) -> Result<(), Stop> {
        let open = source.as_ref().expect("the source is only away while a piece is read");
        let mut chunks = Chunks::of(runs, open.members(), open.group_log2());
        let statement = Bytes::copy_from_slice(open.statement());
        let seal_statements = Bytes::copy_from_slice(open.seal_statements());
        if seal_statements.len() > PIECE_LEN {
            let message = format!("{} bytes of seal statements; a stream carries {PIECE_LEN}", seal_statements.len());
            return Err(Error::new(ErrorId::LimitExceeded, message).into());
        }
        let start = pb::FetchStart {
            version: Some(version_to_wire(open.version())),
            statement_len: statement.len() as u64,
            lease: Some(pb::Lease { expires: open.expires().to_string() }),
            request_id: Bytes::copy_from_slice(request_id.as_bytes()),
            seal_statements,
            tag_statement: open.tag_statement()?.into(),
        };
        self.send(Piece::message(Part::Start(start))).await?;
        for from in (0..statement.len()).step_by(PIECE_LEN) {
            let piece = statement.slice(from..statement.len().min(from + PIECE_LEN));
            self.send(Piece::message(Part::Statement(piece))).await?;
        }
        drop(statement);
        while chunks.next.is_some() {
            let (rest, piece) = self.read(source, chunks).await?;
            chunks = rest;
            self.send(piece).await?;
        }
        self.send(Piece::message(Part::End(pb::FetchEnd { chunks: chunks.taken, bytes: chunks.bytes }))).await
    }

    /// Reads what comes next into a segment, as many chunks as it holds, on a blocking thread.
    async fn read(&self, source: &mut Option<Box<dyn Plaintext>>, mut chunks: Chunks) -> Result<(Chunks, Piece), Stop> {
        let own = self.step(Arc::clone(&self.own).acquire_owned()).await?.expect("the semaphore is never closed");
        let room = self.calls.segments.acquire(own, &self.share);
        let segment = tokio::select! {
            biased;
            () = self.pieces.closed() => return Err(Stop::Gone),
            room = tokio::time::timeout(self.calls.limits.segment_wait, room) => {
                room.map_err(|_| overloaded("no room for more plaintext in memory"))?
            }
        };
        let worker = self.calls.worker().await?;
        let open = source.take().expect("the source is only away while a piece is read");
        let checked = self.client_checks_groups;
        let read = move || {
            let piece = chunks.read(&*open, segment, checked);
            drop(worker);
            (open, piece.map(|piece| (chunks, piece)))
        };
        let (open, outcome) = tokio::task::spawn_blocking(read).await.map_err(panicked)?;
        *source = Some(open);
        Ok(outcome?)
    }

    async fn send(&self, piece: Piece) -> Result<(), Stop> {
        self.step(self.pieces.send(piece)).await?.map_err(|_| Stop::Gone)
    }

    /// Waits for something that only the client's reading brings about.
    async fn step<T>(&self, event: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.pieces.closed() => Err(Stop::Gone),
            outcome = tokio::time::timeout(self.calls.limits.stall, event) => outcome.map_err(|_| Stop::Stalled),
        }
    }

    /// The trailers. They wait until the transport has let go of every segment: with them HTTP/2 would take the stream for
    /// done, and a client that opens no window could keep the last segments for as long as it stays connected.
    async fn close(&self, status: Status) -> Result<(), Stop> {
        let all = u32::try_from(PER_STREAM).expect("a small constant");
        drop(self.step(self.own.acquire_many(all)).await?);
        self.send(Piece::Last(status)).await?;
        let gone = tokio::time::timeout(self.calls.limits.stall, self.pieces.closed());
        gone.await.map_err(|_| Stop::Stalled)
    }
}

/// Records the end. The stream is over whether or not that succeeds; a vault that cannot write its log refuses the next one.
async fn finish(source: Box<dyn Plaintext>, bytes: u64, reason: String) {
    let outcome = tokio::task::spawn_blocking(move || source.finish(bytes, &reason)).await;
    if let Err(e) = outcome.map_err(panicked).and_then(|o| o) {
        tracing::error!(error = %e, "the end of a stream could not be recorded");
    }
}

/// What is still to be sent, chunk by chunk.
struct Chunks {
    runs: std::vec::IntoIter<Run>,
    log2: u8,
    /// The chunk that comes next; none after the last.
    next: Option<Chunk>,
    /// Runs that were begun.
    begun: u64,
    /// Member and group of the chunk before.
    previous: Option<(usize, u64)>,
    taken: u64,
    bytes: u64,
}

/// A group of a member, or a piece of one.
#[derive(Clone, Copy)]
struct Chunk {
    /// What is left of its run: it is in the first member.
    run: Run,
    group: u64,
    offset: u64,
    len: usize,
}

impl Chunks {
    fn of(runs: Vec<Run>, members: &[OpenMember], log2: u8) -> Self {
        let mut all = Self { runs: runs.into_iter(), log2, next: None, begun: 0, previous: None, taken: 0, bytes: 0 };
        all.begin(members);
        all
    }

    /// Moves to the next run that has a group.
    fn begin(&mut self, members: &[OpenMember]) {
        while self.next.is_none()
            && let Some(run) = self.runs.next()
        {
            self.begun += 1;
            self.next = self.first_of(run, members);
        }
    }

    /// The first chunk of a run: an empty member or range has none.
    fn first_of(&self, mut run: Run, members: &[OpenMember]) -> Option<Chunk> {
        while run.from == run.to {
            run = after(run, members)?;
        }
        let group = run.from >> self.log2;
        Some(self.chunk(run, group, group << self.log2, members))
    }

    fn chunk(&self, run: Run, group: u64, offset: u64, members: &[OpenMember]) -> Chunk {
        let end = members[run.member].size.min((group + 1) << self.log2);
        Chunk { run, group, offset, len: (end - offset).min(PIECE_LEN as u64) as usize }
    }

    fn advance(&mut self, Chunk { run, group, offset, len }: Chunk, members: &[OpenMember]) {
        (self.taken, self.bytes) = (self.taken + 1, self.bytes + len as u64);
        self.previous = Some((run.member, group));
        let (offset, end) = (offset + len as u64, (group + 1) << self.log2);
        self.next = if offset < members[run.member].size.min(end) {
            Some(self.chunk(run, group, offset, members))
        } else if end < run.to {
            Some(self.chunk(run, group + 1, end, members))
        } else {
            after(run, members).and_then(|run| self.first_of(run, members))
        };
        self.begin(members);
    }

    /// Reads as many chunks of a run as a segment holds: a large one by itself, which goes out as it was decrypted, or several small ones with
    /// their framing, so that thousands of small members are not as many hops from thread to thread. They lie side by side, so that what is
    /// decrypted for them is little more than what they are.
    fn read(&mut self, open: &dyn Plaintext, mut segment: Segment, client_checks_groups: bool) -> Result<Piece> {
        let (members, run) = (open.members(), self.begun);
        let (mut heads, mut len) = (Vec::new(), 0);
        while let Some(chunk) = self.next.filter(|_| self.begun == run && heads.len() < CHUNKS_LIMIT) {
            let Chunk { run: Run { member, .. }, group, offset, .. } = chunk;
            let before = self.previous.filter(|(of, _)| *of == member).map(|(_, group)| group);
            let begins = offset == group << self.log2;
            let nodes = if begins { open.nodes(member, before, group) } else { Vec::new() };
            let number = u32::try_from(member);
            let number = number.map_err(|_| Error::new(ErrorId::LimitExceeded, "too many members"))?;
            let head = head_of(number, offset, nodes.into(), chunk.len);
            if !heads.is_empty() && len + head.len() + chunk.len > PIECE_LEN {
                break;
            }
            len += head.len() + chunk.len;
            heads.push((head, chunk));
            self.advance(chunk, members);
        }
        let plain = heads.iter().map(|(_, chunk)| chunk.len as u64).sum();
        if let [(head, Chunk { run: Run { member, .. }, offset, len, .. })] = &heads[..] {
            let place = segment.fill(*len);
            open.read(&mut [Wanted { member: *member, offset: *offset, place }], client_checks_groups)?;
            return Ok(Piece::Chunks { head: head.clone(), data: segment.into_bytes(), plain });
        }
        let (mut rest, mut wanted) = (segment.fill(len), Vec::with_capacity(heads.len()));
        for (head, Chunk { run: Run { member, .. }, offset, len, .. }) in &heads {
            let (framing, after) = rest.split_at_mut(head.len());
            framing.copy_from_slice(head);
            let (place, after) = after.split_at_mut(*len);
            wanted.push(Wanted { member: *member, offset: *offset, place });
            rest = after;
        }
        open.read(&mut wanted, client_checks_groups)?;
        Ok(Piece::Chunks { head: Bytes::new(), data: segment.into_bytes(), plain })
    }
}

/// What is left of a run after its first member.
fn after(run: Run, members: &[OpenMember]) -> Option<Run> {
    let member = run.member + 1;
    (member <= run.last).then(|| Run { member, from: 0, to: members[member].size, ..run })
}

/// What the body sends next.
enum Piece {
    /// A message without plaintext.
    Message(Bytes),
    /// Framing and fields of a chunk, then its plaintext; or several chunks, each with its own framing, all in one.
    Chunks { head: Bytes, data: Bytes, plain: u64 },
    /// The trailers.
    Last(Status),
}

impl Piece {
    fn message(part: Part) -> Self {
        let message = pb::FetchResponse { part: Some(part) };
        let len = message.encoded_len();
        let mut head = frame(len, len);
        message.encode(&mut head).expect("a BytesMut grows");
        Self::Message(head.freeze())
    }
}

/// The message FetchResponse { chunk { member, offset, nodes, data } }, all but the `data_len` bytes of `data`, which come last.
fn head_of(member: u32, offset: u64, nodes: Bytes, data_len: usize) -> Bytes {
    const CHUNK: u32 = 3; // in FetchResponse
    const DATA: u32 = 4; // in FetchChunk
    let fields = pb::FetchChunk { member, offset, nodes, data: Bytes::new() };
    let chunk_len = fields.encoded_len() + 1 + encoded_len_varint(data_len as u64) + data_len;
    let len = 1 + encoded_len_varint(chunk_len as u64) + chunk_len;
    let mut head = frame(len, len - data_len);
    encode_key(CHUNK, WireType::LengthDelimited, &mut head);
    encode_varint(chunk_len as u64, &mut head);
    fields.encode(&mut head).expect("a BytesMut grows");
    encode_key(DATA, WireType::LengthDelimited, &mut head);
    encode_varint(data_len as u64, &mut head);
    head.freeze()
}

/// A buffer with the gRPC prefix of a message of `len` bytes: not compressed, length.
fn frame(len: usize, capacity: usize) -> BytesMut {
    let mut head = BytesMut::with_capacity(5 + capacity);
    head.put_u8(0);
    head.put_u32(u32::try_from(len).expect("messages are at most a piece and its nodes"));
    head
}

/// The body of the response.
struct FetchBody {
    taken: mpsc::Receiver<Piece>,
    /// What follows the framing sent last, and how many bytes of plaintext are in it.
    data: Option<(Bytes, u64)>,
    ended: bool,
    progress: Arc<Progress>,
}

impl hyper::body::Body for FetchBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some((data, plain)) = self.data.take() {
            self.progress.bytes.fetch_add(plain, Ordering::AcqRel);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.taken.poll_recv(cx)) {
            Some(Piece::Message(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Piece::Chunks { head, data, plain }) if head.is_empty() => {
                self.progress.bytes.fetch_add(plain, Ordering::AcqRel);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Piece::Chunks { head, data, plain }) => {
                self.data = Some((data, plain));
                return Poll::Ready(Some(Ok(Frame::data(head))));
            }
            Some(Piece::Last(status)) => status,
            None => Status::internal("the stream broke off"),
        };
        self.ended = true;
        if status.code() == Code::Ok {
            self.progress.complete.store(true, Ordering::Release);
        }
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }
}

/// A chunk as it goes out, in one piece.
#[cfg(test)]
pub(super) fn framed(chunk: &pb::FetchChunk) -> Vec<u8> {
    let head = head_of(chunk.member, chunk.offset, chunk.nodes.clone(), chunk.data.len());
    [&head[..], &chunk.data[..]].concat()
}
