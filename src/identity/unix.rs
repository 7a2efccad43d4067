//! Who is at the other end of a Unix socket, as the kernel saw it connect (SO_PEERCRED, unix(7)).

use std::os::fd::AsFd;

use crate::error::Result;
use crate::names::Principal;

/// What the kernel shows for every user this user namespace does not know (user_namespaces(7)): nobody in particular.
const OVERFLOW_UID: u32 = 65_534;

/// The peer of a connected Unix socket at the time it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its process: for the log only, a number that is reused.
    pub pid: i32,
}

impl PeerCredentials {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `IoError` if `socket` is no Unix socket.
    pub fn of(socket: impl AsFd) -> Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(socket).map_err(std::io::Error::from)?;
        Ok(Self { uid: peer.uid.as_raw(), gid: peer.gid.as_raw(), pid: peer.pid.as_raw_nonzero().get() })
    }

    /// The owner of the home and root are operators; anybody else is nobody.
    pub fn principal(&self, owner_uid: u32) -> Principal {
        if (self.uid == owner_uid || self.uid == 0) && self.uid != OVERFLOW_UID {
            Principal::unix_operator(self.uid)
        } else {
            Principal::anonymous()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_who_is_there() {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = PeerCredentials::of(&near).unwrap();
        assert_eq!((peer.uid, peer.gid), (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
        assert_eq!(peer.pid, i32::try_from(std::process::id()).unwrap());
        assert!(PeerCredentials::of(std::fs::File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn only_the_owner_and_root_are_operators() {
        let of = |uid| PeerCredentials { uid, gid: 0, pid: 1 };
        assert_eq!(of(1000).principal(1000), Principal::unix_operator(1000));
        assert_eq!(of(0).principal(1000), Principal::unix_operator(0));
        assert_eq!(of(1001).principal(1000), Principal::anonymous());
        // Unmapped users all look like one; a home of that uid must not be everybody's.
        assert_eq!(of(OVERFLOW_UID).principal(OVERFLOW_UID), Principal::anonymous());
    }
}
