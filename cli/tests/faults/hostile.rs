//! Strangers and workloads that misuse the port, frame by frame. What holds through all of it: memory is bounded, operators are
//! served, connections end in bounded time, nothing panics, and a decent workload is served afterwards.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpSocket;

use super::support::{Daemon, Machine};

/// Growth of the daemon's resident memory under any of these, at most.
const GROWTH: u64 = 64 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A daemon, a workload that may read `other`, and what memory it took before.
struct Siege {
    machine: Machine,
    daemon: Daemon,
    before: u64,
}

impl Siege {
    fn new() -> Self {
        let machine = super::promise::machine();
        let daemon = Daemon::start(&machine, &["--listen", "127.0.0.1:0"]);
        let siege = Self { machine, daemon, before: 0 };
        siege.a_workload_is_served("before");
        let before = siege.memory();
        Self { before, ..siege }
    }

    fn address(&self) -> &str {
        self.daemon.address.as_deref().unwrap()
    }

    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).expect("the daemon runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    fn operators_are_served(&self) {
        let began = Instant::now();
        self.machine.ok(&["ls"]);
        assert!(began.elapsed() < Duration::from_secs(5), "an operator waited {:?}", began.elapsed());
    }

    fn a_workload_is_served(&self, out: &str) {
        let address = self.address();
        self.machine.ok(&["fetch", "other", "--server", address, "--enrolment", "worker", "-o", out]);
    }

    fn tcp(&self) -> TcpStream {
        self.tcp_from([127, 0, 0, 1])
    }

    /// From another address of this machine.
    fn tcp_from(&self, source: [u8; 4]) -> TcpStream {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connected = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind((source, 0).into())?;
            socket.connect(self.address().parse().unwrap()).await?.into_std()
        });
        let stream = connected.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        stream
    }

    /// A finished handshake; with the certificate of the workload if asked, and the HTTP/2 preface sent.
    fn connect(&self, with_certificate: bool) -> Attacker {
        let bundle = self.machine.path("worker");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(bundle.join("ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if with_certificate {
            let chain = vec![CertificateDer::from_pem_file(bundle.join("client.crt")).unwrap()];
            let key = PrivateKeyDer::from_pem_file(bundle.join("client.key")).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut attacker = Attacker { tls: StreamOwned::new(tls, self.tcp()) };
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        assert!(attacker.send(&hello), "the handshake succeeds and the preface is taken");
        attacker
    }

    /// After the attack, or what was left of it, is over.
    fn ends_well(self) {
        let grown = self.memory().saturating_sub(self.before);
        println!("memory grew by {} KiB", grown >> 10);
        assert!(grown < GROWTH, "memory grew by {} KiB", grown >> 10);
        self.operators_are_served();
        self.a_workload_is_served("after");
        assert_eq!(self.daemon.stop(), Some(0));
        assert!(self.machine.text(&["audit", "verify"]).contains("records"));
    }
}

/// A client above TLS that writes its own frames.
struct Attacker {
    tls: StreamOwned<ClientConnection, TcpStream>,
}

impl Attacker {
    /// Whether the bytes could be sent; a peer that closed, or takes nothing more for 2 s, does not.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.tls.write_all(bytes).and_then(|()| self.tls.flush()).is_ok()
    }

    /// Reads until the connection ends; returns the code of GOAWAY if one came.
    ///
    /// # Panics
    /// If it does not end within 20 s without a byte.
    fn end(mut self) -> Option<u32> {
        let mut bytes = Vec::new();
        match self.tls.read_to_end(&mut bytes) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("it stays open"),
            // Closed or reset.
            _ => {}
        }
        let mut rest = &bytes[..];
        while let Some((head, body)) = rest.split_at_checked(9) {
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            if head[3] == GOAWAY && body.len() >= 8 {
                return Some(u32::from_be_bytes(body[4..8].try_into().unwrap()));
            }
            rest = body.get(len..).unwrap_or_default();
        }
        None
    }
}

/// RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field, literal and not indexed (RFC 7541, section 6.2.2), with names and values below 127 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |s: &str| [&[u8::try_from(s.len()).unwrap()][..], s.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

fn request(path: &str) -> Vec<u8> {
    [
        // From the static table: POST, https.
        vec![0x83, 0x87],
        field(":path", path),
        field(":authority", "localhost"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ]
    .concat()
}

#[test]
fn half_open_connections_and_slow_handshakes_end_and_hinder_nobody() {
    let siege = Siege::new();
    let began = Instant::now();
    let silent: Vec<_> = (0..700).map(|_| siege.tcp_from([127, 0, 0, 9])).collect();
    siege.operators_are_served();
    siege.a_workload_is_served("meanwhile");
    // The first record of a handshake, a byte at a time.
    let mut slow: Vec<_> = (0..20).map(|_| siege.tcp()).collect();
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    for byte in &hello[..24] {
        slow.iter_mut().for_each(|tcp| drop(tcp.write(&[*byte])));
        std::thread::sleep(Duration::from_millis(500));
    }
    for mut tcp in silent.into_iter().chain(slow) {
        let read = tcp.read(&mut [0; 64]);
        assert!(
            !matches!(&read, Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "a connection that does not speak stays open"
        );
    }
    assert!(began.elapsed() < Duration::from_secs(25), "all closed after {:?}", began.elapsed());
    siege.ends_well();
}

#[test]
fn plaintext_on_the_port_is_turned_away_at_once() {
    let siege = Siege::new();
    for text in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], PREFACE, &[0x80; 4096], b"\x16\x03\x01\xff\xff"] {
        let mut tcp = siege.tcp();
        let began = Instant::now();
        tcp.write_all(text).unwrap();
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer);
        assert!(began.elapsed() < Duration::from_secs(3), "{text:?} took {:?}", began.elapsed());
        assert!(answer.len() < 64 && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    siege.ends_well();
}

#[test]
fn rapid_resets_end_the_connection() {
    let siege = Siege::new();
    for with_certificate in [false, true] {
        let mut attacker = siege.connect(with_certificate);
        let mut sent = 0;
        'attack: for burst in 0..400 {
            let pairs = (0..100).flat_map(|i| {
                let stream = 2 * (burst * 100 + i) + 1;
                let open = frame(HEADERS, END_HEADERS, stream, &request(HEALTH));
                [open, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
            });
            if !attacker.send(&pairs.collect::<Vec<_>>()) {
                break 'attack;
            }
            sent += 100;
        }
        siege.operators_are_served();
        // ENHANCE_YOUR_CALM, unless the reset of the closed connection was faster.
        let code = attacker.end();
        assert!(matches!(code, Some(11) | None), "ended with {code:?} after {sent} streams");
        assert!(sent < 40_000, "{sent} streams were opened and reset");
    }
    siege.ends_well();
}

#[test]
fn headers_without_end_and_lists_without_measure_are_refused() {
    let siege = Siege::new();
    for with_certificate in [false, true] {
        // CONTINUATION without END_HEADERS, for as long as it is taken.
        let mut attacker = siege.connect(with_certificate);
        let junk = frame(CONTINUATION, 0, 1, &field("x", &"y".repeat(120)).repeat(100));
        let mut taken = attacker.send(&frame(HEADERS, 0, 1, &request(HEALTH)));
        let mut sent = 0;
        while taken && sent < (64 << 20) {
            taken = attacker.send(&junk);
            sent += junk.len();
        }
        assert!(!taken, "{sent} bytes of one header list were taken");
        attacker.end();
        // A list that ends, but is four times the largest.
        let mut attacker = siege.connect(with_certificate);
        let list = [request(HEALTH), field("x", &"y".repeat(120)).repeat(520)].concat();
        let mut parts = list.chunks(16_000).peekable();
        attacker.send(&frame(HEADERS, END_STREAM, 1, parts.next().unwrap()));
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
            attacker.send(&frame(CONTINUATION, flags, 1, part));
        }
        attacker.send(&frame(GOAWAY, 0, 0, &[0; 8]));
        attacker.end();
    }
    siege.ends_well();
}

#[test]
fn floods_of_settings_and_pings_take_no_memory() {
    let siege = Siege::new();
    let floods = [
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1000),
        frame(PING, 0, 0, &[7; 8]).repeat(1000),
        // Window updates of nothing (RFC 9113, section 6.9: an error) and empty DATA of no stream.
        frame(8, 0, 0, &[0; 4]).repeat(1000),
        frame(DATA, 0, 1, &[]).repeat(1000),
        // Kinds nobody knows, which are passed over.
        frame(0xfe, 0, 0, &[1; 1000]).repeat(20),
    ];
    for with_certificate in [false, true] {
        for flood in &floods {
            let mut attacker = siege.connect(with_certificate);
            let until = Instant::now() + Duration::from_millis(1500);
            // No answer is ever read.
            while Instant::now() < until && attacker.send(flood) {}
            siege.operators_are_served();
        }
    }
    siege.ends_well();
}

#[test]
fn messages_that_announce_too_much_and_bodies_that_never_end_take_no_memory() {
    let siege = Siege::new();
    let paths = [HEALTH, "/modelvault.v1.ArtifactService/Seal", "/modelvault.v1.ArtifactService/List"];
    for with_certificate in [false, true] {
        let mut waiting = Vec::new();
        for path in paths {
            let mut attacker = siege.connect(with_certificate);
            // 4 GiB announced, a part sent.
            let body = [&[0, 0xff, 0xff, 0xff, 0xf0][..], &[7; 8000]].concat();
            let mut open = attacker.send(&frame(HEADERS, END_HEADERS, 1, &request(path)))
                && attacker.send(&frame(DATA, 0, 1, &body));
            for _ in 0..100 {
                open = open && attacker.send(&frame(DATA, 0, 1, &[7; 16_000]));
            }
            waiting.push(attacker);
        }
        // Streams that are opened and then say nothing.
        for _ in 0..20 {
            let mut attacker = siege.connect(with_certificate);
            for stream in 0..200 {
                attacker.send(&frame(HEADERS, END_HEADERS, 2 * stream + 1, &request(HEALTH)));
            }
            waiting.push(attacker);
        }
        siege.operators_are_served();
    }
    siege.ends_well();
}

#[test]
fn descriptors_that_nobody_reads_take_no_memory() {
    let siege = Siege::new();
    // ServerReflectionRequest { file_containing_symbol: "modelvault.v1.ArtifactService" } (field 4).
    let symbol = b"modelvault.v1.ArtifactService";
    let message = [&[0x22, symbol.len() as u8][..], symbol].concat();
    let call = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut attacker = siege.connect(false);
        for stream in [1, 3, 5, 7] {
            let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
            attacker.send(&frame(HEADERS, END_HEADERS, stream, &request(path)));
            for _ in 0..10 {
                attacker.send(&frame(DATA, 0, stream, &call.repeat(20)));
            }
        }
        open.push(attacker);
    }
    siege.operators_are_served();
    drop(open);
    siege.ends_well();
}
