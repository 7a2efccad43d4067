//! The addresses: a TCP port, a Unix socket that only its owner can reach.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::Addresses;
use super::calls::Phase;
use super::connection::House;
use crate::error::{Error, ErrorId, Result, reason};

/// What a server listens on.
#[derive(Debug)]
pub(super) struct Listeners {
    tcp: Option<(TcpListener, SocketAddr)>,
    unix: Option<Socket>,
}

impl Listeners {
    pub(super) async fn bind(listen: Option<SocketAddr>, socket: Option<&Path>) -> Result<Self> {
        let tcp = match listen {
            Some(address) => Some(bind_tcp(address).await?),
            None => None,
        };
        Ok(Self { tcp, unix: socket.map(Socket::bind).transpose()? })
    }

    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            tcp: self.tcp.as_ref().map(|(_, address)| *address),
            socket: self.unix.as_ref().map(|s| s.path.clone()),
            metrics: None,
        }
    }

    /// Accepts until `shutdown`, drains, cuts.
    pub(super) async fn serve(self, house: &Arc<House>, shutdown: impl Future<Output = ()> + Send) {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = accept_tcp(self.tcp.as_ref()) => match accepted {
                    Ok((stream, peer)) => { connections.spawn(Arc::clone(house).serve_tcp(stream, peer)); }
                    Err(e) => exhausted(&e).await,
                },
                accepted = accept_unix(self.unix.as_ref()) => match accepted {
                    Ok(stream) => { connections.spawn(Arc::clone(house).serve_unix(stream)); }
                    Err(e) => exhausted(&e).await,
                },
            }
        }
        // Nobody new: the port is free, the socket's file gone.
        drop(self);
        house.calls.enter(Phase::Draining).await;
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(house.calls.limits.grace, all).await.is_err() {
            house.calls.enter(Phase::Cut).await;
            while connections.join_next().await.is_some() {}
        }
    }
}

async fn accept_tcp(tcp: Option<&(TcpListener, SocketAddr)>) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    match tcp {
        Some((listener, _)) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn accept_unix(unix: Option<&Socket>) -> io::Result<tokio::net::UnixStream> {
    match unix {
        Some(socket) => Ok(socket.listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

/// No file descriptors left, most likely: without a pause this would be a busy loop.
async fn exhausted(e: &io::Error) {
    tracing::warn!(error = %e, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

pub(super) async fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |e: io::Error| {
        let id = match e.kind() {
            io::ErrorKind::AddrInUse => ErrorId::AddressInUse,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied => ErrorId::InvalidArgument,
            _ => ErrorId::IoError,
        };
        let error = Error::new(id, format!("cannot listen on {address}: {}", reason(&e)));
        let error = match e.kind() {
            io::ErrorKind::AddrNotAvailable => {
                error.hint("name an address of this machine, or 0.0.0.0 for all of them")
            }
            io::ErrorKind::PermissionDenied => {
                error.hint("ports below 1024 are for the administrator: take a higher one")
            }
            _ => error,
        };
        error.caused_by(e)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// A bound Unix socket; its file goes with it.
#[derive(Debug)]
struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file we made: another daemon's file stays.
    file: (u64, u64),
}

impl Socket {
    /// Mode 0600 in a directory of mode 0700 that belongs to us; a file that a dead daemon left behind is replaced.
    fn bind(path: &Path) -> Result<Self> {
        private_directory(path)?;
        remove_stale(path)?;
        let failed = |e: io::Error| {
            let id = match e.kind() {
                io::ErrorKind::AddrInUse => ErrorId::Busy,
                // Longer than the 108 bytes of a socket address.
                io::ErrorKind::InvalidInput => ErrorId::InvalidArgument,
                _ => ErrorId::IoError,
            };
            Error::new(id, format!("cannot listen on {}: {}", path.display(), reason(&e))).caused_by(e)
        };
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let facts = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { listener, path: path.into(), file: (facts.dev(), facts.ino()) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|f| (f.dev(), f.ino()) == self.file);
        if ours && let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!(error = %e, socket = %self.path.display(), "the socket's file stays behind");
        }
    }
}

/// Whoever can write the directory could put a socket of their own there.
fn private_directory(socket: &Path) -> Result<()> {
    let directory = socket.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |e: io::Error| Error::from(e).on(directory.display());
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let facts = fs::symlink_metadata(directory).map_err(failed)?;
    let own = rustix::process::geteuid().as_raw();
    if !facts.is_dir() || facts.uid() != own || facts.mode() & 0o077 != 0 {
        let message = format!("{}: the socket's directory must be yours alone", directory.display());
        return Err(Error::new(ErrorId::InvalidArgument, message)
            .hint(format!("choose another socket, or: chmod 700 {}", directory.display())));
    }
    Ok(())
}

/// Whether somebody answers tells a live daemon from a file that was left behind.
fn remove_stale(path: &Path) -> Result<()> {
    let failed = |e: io::Error| Error::from(e).on(path.display());
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
        Ok(facts) if !facts.file_type().is_socket() => {
            let message = format!("{}: there is something that is not a socket", path.display());
            return Err(Error::new(ErrorId::InvalidArgument, message).hint("move it away, or choose another socket"));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // It answers, or its queue is full: either way somebody is there.
        _ => Err(Error::new(ErrorId::Busy, format!("a daemon answers on {}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_live_socket_is_busy_and_a_dead_one_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run").join("vault.sock");
        let one = Listeners::bind(None, Some(&path)).await.unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(Listeners::bind(None, Some(&path)).await.unwrap_err().id(), ErrorId::Busy);
        drop(one);
        assert!(!path.exists());
        // As a killed daemon leaves it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let two = Listeners::bind(None, Some(&path)).await.unwrap();
        // A file that took the place of ours is not ours to remove.
        fs::rename(&path, home.path().join("elsewhere")).unwrap();
        fs::write(&path, "x").unwrap();
        drop(two);
        assert!(path.exists());
        assert_eq!(Listeners::bind(None, Some(&path)).await.unwrap_err().id(), ErrorId::InvalidArgument);
    }

    #[tokio::test]
    async fn a_directory_that_others_can_enter_is_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        let error = Listeners::bind(None, Some(&home.path().join("s"))).await.unwrap_err();
        assert_eq!(error.id(), ErrorId::InvalidArgument);
        let long = home.path().join("d").join("x".repeat(120));
        assert_eq!(Listeners::bind(None, Some(&long)).await.unwrap_err().id(), ErrorId::InvalidArgument);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let one = Listeners::bind(Some("127.0.0.1:0".parse().unwrap()), None).await.unwrap();
        let error = Listeners::bind(one.addresses().tcp, None).await.unwrap_err();
        assert_eq!(error.id(), ErrorId::AddressInUse);
    }
}
