//! A small HTTP client: one request, one bounded answer, one connection. For key sets, webhooks and collectors.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ClientIdentity, OutboundTls, Roots, Url, connect, is_loopback};
use crate::error::{Error, ErrorId, Result};

/// Largest head of an answer.
const HEAD_MAX: usize = 64 << 10;

/// What one exchange may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the look-up of the name to the last byte of the answer.
    pub time: Duration,
    /// Bytes of the answer's body; a larger one is an error, not a part of it.
    pub body: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { time: Duration::from_secs(5), body: 1 << 20 }
    }
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status: 200, 404, ...
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, whole.
    pub body: Bytes,
}

impl Answer {
    /// The body of a 2xx answer.
    ///
    /// # Errors
    /// `Unreachable` with the status for every other. What the body says then is not repeated: it may be anything.
    pub fn ok(self, of: &Url) -> Result<Bytes> {
        match self.status {
            200..=299 => Ok(self.body),
            status => Err(Error::new(ErrorId::Unreachable, format!("{}: HTTP status {status}", place(of)))),
        }
    }
}

/// Asks servers that an operator named. Clones share the settings; connections are not kept.
#[derive(Clone, Debug)]
pub struct HttpClient {
    tls: OutboundTls,
    bounds: Bounds,
}

impl HttpClient {
    /// # Errors
    /// `ConfigInvalid` if a file of roots or identity cannot be used.
    pub fn new(roots: &Roots, identity: Option<&ClientIdentity>, bounds: Bounds) -> Result<Self> {
        Ok(Self { tls: OutboundTls::new(roots, identity)?, bounds })
    }

    /// GET. `bearer` is a token for this server alone.
    ///
    /// # Errors
    /// `Unreachable`, `BadCredential` for a certificate that is not believed, `DeadlineExceeded`, `LimitExceeded`.
    pub async fn get(&self, url: &Url, bearer: Option<&str>) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        if let Some(token) = bearer {
            headers.insert(AUTHORIZATION, secret(&format!("Bearer {token}"))?);
        }
        self.ask(Method::GET, url, headers, Bytes::new()).await
    }

    /// POST of `body`. `headers`: further ones, whose values are treated as secrets.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(
        &self,
        url: &Url,
        content_type: &'static str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Answer> {
        let mut all = HeaderMap::new();
        all.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Error::new(ErrorId::ConfigInvalid, format!("not the name of a header: {name:?}")))?;
            all.insert(name, secret(value)?);
        }
        self.ask(Method::POST, url, all, body).await
    }

    async fn ask(&self, method: Method, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Answer> {
        let bounds = self.bounds;
        let asking = async {
            let tcp = connect(url.host(), url.port(), !url.tls() || is_loopback(url.host()), bounds.time).await?;
            if url.tls() {
                let tls = self.tls.secure(tcp, url.host(), bounds.time).await?;
                exchange(tls, method, url, headers, body, bounds).await
            } else {
                exchange(tcp, method, url, headers, body, bounds).await
            }
        };
        let late =
            || Error::new(ErrorId::DeadlineExceeded, format!("{}: no answer within {:?}", place(url), bounds.time));
        tokio::time::timeout(bounds.time, asking).await.unwrap_or_else(|_| Err(late()))
    }
}

async fn exchange<I>(
    io: I,
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Bytes,
    bounds: Bounds,
) -> Result<Answer>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cut = |e: hyper::Error| Error::new(ErrorId::Unreachable, format!("{}: {e}", place(url))).caused_by(e);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .handshake::<_, Full<Bytes>>(TokioIo::new(io))
        .await
        .map_err(cut)?;
    // Driven here and not on a task of its own: when this future goes, so does the connection.
    let mut connection = std::pin::pin!(connection);
    let asked = async {
        let mut request = Request::builder().method(method).uri(url.target());
        if let Some(all) = request.headers_mut() {
            *all = headers;
            let host = HeaderValue::from_str(&url.authority());
            all.insert(HOST, host.map_err(|_| Error::new(ErrorId::InvalidArgument, "not a host"))?);
            all.insert(USER_AGENT, HeaderValue::from_static(concat!("model-vault/", env!("CARGO_PKG_VERSION"))));
        }
        let request = request
            .body(Full::new(body))
            .map_err(|e| Error::new(ErrorId::InvalidArgument, format!("{}: {e}", place(url))))?;
        let (head, body) = sender.send_request(request).await.map_err(cut)?.into_parts();
        let too_long = || {
            Error::new(ErrorId::LimitExceeded, format!("{}: an answer of more than {} bytes", place(url), bounds.body))
                .hint("nothing of it was used; see what answers at this address")
        };
        // Said honestly, it is not even begun.
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|n| n > bounds.body as u64) {
            return Err(too_long());
        }
        let read = Limited::new(body, bounds.body).collect().await;
        let body = read.map_err(|e| match e.downcast::<hyper::Error>() {
            Ok(e) => cut(*e),
            Err(_) => too_long(),
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    };
    let mut asked = std::pin::pin!(asked);
    let mut over = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut asked => return answer,
            // How it ended is what the answer says.
            _ = &mut connection, if !over => over = true,
        }
    }
}

/// The address without its query, which may hold a token.
fn place(url: &Url) -> String {
    let text = url.to_string();
    text.split('?').next().unwrap_or_default().to_owned()
}

fn secret(value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Error::new(ErrorId::ConfigInvalid, "the value of a header has characters it cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one connection with these bytes, then does nothing more; returns what was asked.
    async fn server(answer: Vec<u8>, hold: bool) -> (Url, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a?token=canary", listener.local_addr().unwrap()).parse().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let n = stream.read(&mut asked).await.unwrap();
            // A client that had enough closes before the end.
            let _ = stream.write_all(&answer).await;
            if hold {
                let _ = stream.read(&mut [0; 1]).await;
            }
            String::from_utf8_lossy(&asked[..n]).into_owned()
        });
        (url, task)
    }

    fn client(bounds: Bounds) -> HttpClient {
        HttpClient::new(&Roots::System, None, bounds).unwrap()
    }

    fn short() -> Bounds {
        Bounds { time: Duration::from_millis(400), body: 100 }
    }

    #[tokio::test]
    async fn one_request_gets_one_answer() {
        let (url, task) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec(), true).await;
        let answer = client(Bounds::default()).get(&url, Some("secret")).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hi"[..]));
        let asked = task.await.unwrap();
        assert!(asked.starts_with("GET /a?token=canary HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("authorization: Bearer secret\r\n") && asked.contains("host: 127.0.0.1:"), "{asked}");

        let (url, task) = server(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), true).await;
        let headers = [("x-key".to_owned(), "v".to_owned())];
        let client = client(Bounds::default());
        let posted = client.post(&url, "application/json", &headers, Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(posted.status, 204);
        assert!(task.await.unwrap().ends_with("\r\n\r\n{}"));
    }

    #[tokio::test]
    async fn a_redirection_is_an_answer_and_is_not_followed() {
        let head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec();
        let (url, _) = server(head, true).await;
        let answer = client(Bounds::default()).get(&url, None).await.unwrap();
        assert_eq!(answer.status, 302);
        let error = answer.ok(&url).unwrap_err();
        assert!(!error.message().contains("canary"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_refused_however_it_says_so() {
        let long = [&b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"[..], &[b'x'; 101]].concat();
        let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; 1 << 20]].concat();
        let head = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'x'; 1 << 20]].concat();
        for (answer, id) in [
            (long, ErrorId::LimitExceeded),
            (endless, ErrorId::LimitExceeded),
            (head, ErrorId::Unreachable),
            (b"SSH-2.0-x\r\n".to_vec(), ErrorId::Unreachable),
            (Vec::new(), ErrorId::Unreachable),
        ] {
            let (url, _) = server(answer, false).await;
            let bounds = Bounds { time: Duration::from_secs(5), body: 100 };
            assert_eq!(client(bounds).get(&url, None).await.unwrap_err().id(), id);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_slow_or_gone_costs_no_more_than_the_time_given() {
        let began = std::time::Instant::now();
        let (url, _) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsl".to_vec(), true).await;
        assert_eq!(client(short()).get(&url, None).await.unwrap_err().id(), ErrorId::DeadlineExceeded);
        assert!(began.elapsed() < Duration::from_secs(15));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        assert_eq!(client(short()).get(&url, None).await.unwrap_err().id(), ErrorId::Unreachable);
    }

    #[tokio::test]
    async fn a_certificate_of_another_authority_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for (certificate, good) in [(own.cert.pem(), true), (other.cert.pem(), false)] {
            let ca = dir.path().join("ca.pem");
            std::fs::write(&ca, certificate).unwrap();
            let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
            let config = rustls::ServerConfig::builder_with_provider(crate::net::public_provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![own.cert.der().clone()], key.into())
                .unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url: Url = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
            });
            let client = HttpClient::new(&Roots::File(ca), None, Bounds::default()).unwrap();
            match client.get(&url, None).await {
                Ok(answer) => assert!(good && answer.status == 200),
                Err(e) => assert!(!good && e.id() == ErrorId::BadCredential, "{e}"),
            }
        }
    }
}
