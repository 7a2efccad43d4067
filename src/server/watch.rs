//! Watches each call from its head to the last byte of its answer: for the counters, and as a span if spans are wanted.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::body::Body;

use crate::names::{Random, RequestId};
use crate::telemetry::{Call, Metrics, Span, SpanContext};
use crate::wire::error_id_of;

/// The id of a call, told by whoever reads it out of the message.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<OnceLock<RequestId>>);

impl Told {
    pub(super) fn id(&self, id: RequestId) {
        // Told twice, the first stays.
        let _ = self.0.set(id);
    }
}

/// Where spans go; nobody takes them as long as no collector is set.
pub(super) type Spans = mpsc::Sender<Span>;

/// A call from its beginning; counted when dropped.
pub(super) struct Watch {
    metrics: Arc<Metrics>,
    spans: Option<(Spans, Span)>,
    told: Told,
    method: String,
    began: Instant,
    sent: u64,
    code: Option<u8>,
    error: Option<String>,
}

impl Watch {
    /// Begins, and leaves in the request where its id is to be told.
    pub(super) fn begin<B>(
        metrics: &Arc<Metrics>,
        spans: Option<Spans>,
        random: &dyn Random,
        request: &mut Request<B>,
    ) -> Self {
        metrics.begin();
        let told = Told::default();
        request.extensions_mut().insert(told.clone());
        let method = request.uri().path().to_owned();
        let spans = spans.and_then(|sender| Some((sender, span(request.headers(), random)?)));
        Self {
            metrics: Arc::clone(metrics),
            spans,
            told,
            method,
            began: Instant::now(),
            sent: 0,
            code: None,
            error: None,
        }
    }

    /// Goes on to watch the answer.
    pub(super) fn over(mut self, response: Response<Body>) -> Response<Body> {
        // An answer without a body has its status in the head.
        self.ended(response.headers());
        response.map(|body| Body::new(Watched { body, watch: self }))
    }

    fn ended(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = u8::try_from(i32::from(status.code())).ok();
            self.error = error_id_of(&status).map(Into::into);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.metrics.end(&Call {
            method: &self.method,
            code: self.code,
            error: self.error.as_deref(),
            sent: self.sent,
            took,
        });
        let Some((sender, mut span)) = self.spans.take() else { return };
        // 12: there is no such method, so its name is the caller's choice.
        span.method = if self.code == Some(12) { "other".into() } else { self.method.trim_start_matches('/').into() };
        span.code = self.code.unwrap_or(1);
        span.error = self.error.take();
        span.request_id = self.told.0.get().map(ToString::to_string);
        span.end = span.start.saturating_add(took.as_nanos().try_into().unwrap_or(u64::MAX));
        if sender.try_send(span).is_err() {
            self.metrics.span_dropped();
        }
    }
}

/// A span that begins now, in the caller's trace if it has one; `None` if the caller wants none, or there is no randomness.
fn span(headers: &HeaderMap, random: &dyn Random) -> Option<Span> {
    let given = headers.get("traceparent").and_then(|v| SpanContext::parse(v.to_str().ok()?));
    if given.is_some_and(|context| !context.sampled) {
        return None;
    }
    let (mut trace, mut id) = ([0; 16], [0; 8]);
    random.fill(&mut trace).and_then(|()| random.fill(&mut id)).ok()?;
    let start = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos().try_into().ok()?;
    Some(Span {
        trace: given.map_or(trace, |context| context.trace),
        id,
        parent: given.map(|context| context.parent),
        method: String::new(),
        code: 0,
        error: None,
        request_id: None,
        start,
        end: start,
    })
}

/// A connection among those that stand.
pub(super) struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    pub(super) fn new(metrics: &'a Metrics) -> Self {
        metrics.connected();
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

/// An answer's body that tells what goes by.
struct Watched {
    body: Body,
    watch: Watch,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.watch.sent += data.len() as u64;
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.watch.ended(trailers);
                }
            }
            Some(Err(status)) => self.watch.code = u8::try_from(i32::from(status.code())).ok(),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
