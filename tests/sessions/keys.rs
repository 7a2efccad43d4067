//! Keys of issuers that are fetched: from servers that answer, that do not, and that answer too much.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model_vault::ErrorId;

use super::tokens::Signer;
use super::{World, claims, refused};

/// An HTTP server on this machine.
struct Web {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
}

#[derive(Clone)]
enum Answer {
    Keys(String),
    Status(&'static str),
    Silence,
    /// More than anybody should read, without an end.
    Endless,
    Elsewhere(String),
}

impl Web {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, answer) = (Arc::<AtomicUsize>::default(), Arc::new(Mutex::new(answer)));
        let web = Self { address, asked: Arc::clone(&asked), answer: Arc::clone(&answer) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), address, &asked, &answer));
            }
        });
        web
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn now(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr, asked: &AtomicUsize, answer: &Mutex<Answer>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else { return };
    for line in lines {
        if line.unwrap_or_default().is_empty() {
            break;
        }
    }
    let json = |stream: &mut TcpStream, text: &str| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
    };
    let answer = answer.lock().unwrap().clone();
    if request.contains("/.well-known/openid-configuration") {
        let text = format!("{{\"issuer\":\"http://{address}\",\"jwks_uri\":\"http://{address}/keys\"}}");
        return json(&mut stream, &text);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    match answer {
        Answer::Keys(text) => json(&mut stream, &text),
        Answer::Status(line) => {
            drop(stream.write_all(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").as_bytes()))
        }
        Answer::Silence => std::thread::sleep(Duration::from_secs(30)),
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while stream.write_all(format!("10000\r\n{}\r\n", " ".repeat(0x10000)).as_bytes()).is_ok() {}
        }
        Answer::Elsewhere(url) => {
            let text = format!("HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(text.as_bytes());
        }
    }
}

/// A world whose one issuer is this server, found by discovery.
async fn world(web: &Web, signer: &Signer) -> World {
    let world = World::new().await;
    world.issuers(&super::issuer("", signer).replace(super::ISSUER, &web.url()));
    world
}

fn token(web: &Web, signer: &Signer, kid: &str) -> String {
    signer.token(kid, &claims(&[("iss", format!("\"{}\"", web.url()))]))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_discovered_fetched_once_and_used_while_the_issuer_is_down() {
    let signer = Signer::es256();
    let web = Web::start(Answer::Keys(signer.jwks("k1")));
    let world = world(&web, &signer).await;
    for _ in 0..5 {
        world.login(&token(&web, &signer, "k1")).await.unwrap();
    }
    assert_eq!(web.asked(), 1);
    web.now(Answer::Status("503 Service Unavailable"));
    world.login(&token(&web, &signer, "k1")).await.unwrap();
    // Strangers with unknown kids do not make the vault ask again and again.
    for n in 0..20 {
        assert_eq!(refused(world.login(&token(&web, &signer, &format!("k{n}x"))).await), ErrorId::BadCredential);
    }
    assert_eq!(web.asked(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_slow_huge_or_gone_costs_a_bounded_time_and_is_not_asked_again_at_once() {
    for (what, answer, limit) in [
        ("slow", Answer::Silence, 8),
        ("huge", Answer::Endless, 5),
        ("broken", Answer::Keys("{\"keys\":[]}".into()), 3),
        ("absent", Answer::Status("404 Not Found"), 3),
        ("elsewhere", Answer::Elsewhere("http://127.0.0.1:1/".into()), 3),
    ] {
        let signer = Signer::es256();
        let web = Web::start(answer);
        let world = world(&web, &signer).await;
        let began = Instant::now();
        assert_eq!(refused(world.login(&token(&web, &signer, "k1")).await), ErrorId::IssuerUnreachable, "{what}");
        assert!(began.elapsed() < Duration::from_secs(limit), "{what}: {:?}", began.elapsed());
        let again = Instant::now();
        assert_eq!(refused(world.login(&token(&web, &signer, "k1")).await), ErrorId::IssuerUnreachable, "{what}");
        assert!(again.elapsed() < Duration::from_secs(4), "{what}: {:?}", again.elapsed());
        assert_eq!(web.asked(), 1, "{what}");
        // Others are served meanwhile and afterwards.
        assert!(world.vault.status(&world.operator()).is_ok());
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_file_are_those_that_are_in_it_now() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let world = World::new().await;
    let path = world.dir.path().join("keys.json");
    std::fs::write(&path, old.jwks("old")).unwrap();
    world.issuers(&super::issuer(&format!("jwks = {{ file = \"{}\" }}", path.display()), &old));
    world.login(&old.token("old", &claims(&[]))).await.unwrap();
    std::fs::write(&path, new.jwks("new")).unwrap();
    world.login(&new.token("new", &claims(&[]))).await.unwrap();
    assert_eq!(refused(world.login(&old.token("old", &claims(&[]))).await), ErrorId::BadCredential);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(refused(world.login(&new.token("new", &claims(&[]))).await), ErrorId::IssuerUnreachable);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_wait_for_a_silent_issuer_keep_nobody_else_out() {
    let signer = Signer::es256();
    let web = Web::start(Answer::Silence);
    let world = World::new().await;
    let silent = super::issuer("", &signer).replace(super::ISSUER, &web.url()).replace("\"ci\"", "\"silent\"");
    let good = super::issuer(&format!("jwks = {{ inline = '{}' }}", signer.jwks("k1")), &signer);
    world.issuers(&format!("{good}{}", silent.replace("version = 1", "")));
    let eight_logins = async || {
        let began = Instant::now();
        for _ in 0..8 {
            world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
        }
        began.elapsed()
    };
    let alone = eight_logins().await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        let (stranger, token) = (world.stranger().await, token(&web, &signer, "k1"));
        let (_, csr) = model_vault::identity::new_key_and_csr(&super::name("session")).unwrap();
        waiting.push(tokio::spawn(async move { stranger.login(&token, csr).await.map(drop) }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(waiting.iter().all(|login| !login.is_finished()), "they wait");
    let beside = eight_logins().await;
    assert!(beside < Duration::from_secs(1) + 4 * alone, "{beside:?} where they took {alone:?} before");
    for login in waiting {
        let outcome = tokio::time::timeout(Duration::from_secs(16), login).await.unwrap().unwrap();
        assert!(matches!(refused(outcome), ErrorId::IssuerUnreachable | ErrorId::DeadlineExceeded));
    }
    assert_eq!(web.asked(), 1, "one of them asked for all");
    world.stop().await;
}
