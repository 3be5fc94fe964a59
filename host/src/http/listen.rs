//! Listening sockets: bound to the configured address, or inherited from whoever started the process.
//!
//! Inheriting follows the protocol of `LISTEN_FDS` (socket activation): the sockets stay open while one process replaces another, so no
//! connection is refused in between. Who may listen where is decided by the settings, not here.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait in the kernel for `accept`; it caps this with a setting of its own (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How many free ports are tried for one that is free on `127.0.0.1` and on `[::1]`.
const PAIR_TRIES: usize = 8;

/// The three doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Producers.
    Events,
    /// Operators.
    Admin,
    /// Probes.
    Status,
}

impl Door {
    /// In the order of inherited sockets without names.
    const ALL: [Self; 3] = [Self::Events, Self::Admin, Self::Status];

    /// The name of the door, of its table of settings, and of its inherited socket.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Admin => "admin",
            Self::Status => "status",
        }
    }
}

/// No socket to listen on: for the operator at start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("{0}")]
    Bind(BindError),
    /// What was inherited is no listening TCP socket.
    #[error("inherited descriptor {index} of LISTEN_FDS: {source}")]
    Inherited {
        /// Counted from 0.
        index: usize,
        /// Why.
        source: io::Error,
    },
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// Whose it is.
    pub door: Door,
    /// Which.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (door, address) = (self.door.as_str(), self.address);
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                write!(out, "{address} is in use by another process; move the {door} listener with --{door}-listen, ")?;
                write!(out, "TENTERHOOK_{}_LISTEN or the setting {door}.listen", door.to_uppercase())?;
                let kong = self.door == Door::Admin && address.port() == 8001;
                if kong { out.write_str(" (a Kong on this machine has its Admin API at the same port)") } else { Ok(()) }
            }
            _ => write!(out, "{address}, from the setting {door}.listen, cannot be listened on: {}", self.source),
        }
    }
}

/// Sockets that the process was started with, by door.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Door, std::net::TcpListener)>);

impl Inherited {
    /// Takes them from the environment. Call once, before the first thread starts: the variables are removed, so that children do not take them.
    pub fn from_env() -> Result<Self, ListenError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self::take(ListenFd::from_env(), &names)
    }

    /// `names` are separated by colons. Without a name of a door among them the sockets are taken in order: events, admin, status.
    fn take(mut fds: ListenFd, names: &str) -> Result<Self, ListenError> {
        let names: Vec<Option<Door>> = names.split(':').map(|name| Door::ALL.into_iter().find(|door| door.as_str() == name)).collect();
        let named = names.iter().any(Option::is_some);
        let mut all = Vec::new();
        for index in 0..fds.len() {
            let door = if named { names.get(index).copied().flatten() } else { Door::ALL.get(index).copied() };
            let Some(door) = door else { continue };
            if let Some(socket) = fds.take_tcp_listener(index).map_err(|source| ListenError::Inherited { index, source })? {
                all.push((door, socket));
            }
        }
        Ok(Self(all))
    }

    /// The sockets of one door; a second call gets none.
    fn of(&mut self, door: Door) -> Vec<std::net::TcpListener> {
        self.0.extract_if(.., |(of, _)| *of == door).map(|(_, socket)| socket).collect()
    }
}

/// One door's listening sockets, usually one or two.
#[derive(Debug)]
pub struct Listener {
    door: Door,
    sockets: Vec<TcpListener>,
    /// Whose turn it is to be asked first.
    turn: usize,
}

impl Listener {
    /// The door's inherited sockets, else new ones at `address`. Needs a runtime around it.
    pub fn open(door: Door, address: SocketAddr, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let sockets = inherited.of(door);
        if sockets.is_empty() { Self::bind(door, address) } else { Self::from_sockets(door, sockets) }
    }

    /// Binds. `127.0.0.1` gets `[::1]` at the same port beside it, because `localhost` may mean either. Needs a runtime around it.
    pub fn bind(door: Door, address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |address: SocketAddr| move |source: io::Error| ListenError::Bind(BindError { door, address, source });
        if address.ip() != Ipv4Addr::LOCALHOST {
            let sockets = vec![listen(address).map_err(failed(address))?];
            return Ok(Self { door, sockets, turn: 0 });
        }
        for tries in 1.. {
            let first = listen(address).map_err(failed(address))?;
            let port = first.local_addr().map_err(failed(address))?.port();
            let beside = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
            let sockets = match listen(beside) {
                Ok(second) => vec![first, second],
                // Somebody else there would get a part of the requests that are meant for this door.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() != 0 => return Err(failed(beside)(error)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < PAIR_TRIES => continue,
                // A machine without IPv6.
                Err(_) => vec![first],
            };
            return Ok(Self { door, sockets, turn: 0 });
        }
        unreachable!("the last try returns")
    }

    /// Sockets that listen already. Needs a runtime around it.
    pub fn from_sockets(door: Door, sockets: Vec<std::net::TcpListener>) -> Result<Self, ListenError> {
        let adopt = |(index, socket): (usize, std::net::TcpListener)| {
            socket
                .set_nonblocking(true)
                .and_then(|()| TcpListener::from_std(socket))
                .map_err(|source| ListenError::Inherited { index, source })
        };
        let sockets = sockets.into_iter().enumerate().map(adopt).collect::<Result<_, _>>()?;
        Ok(Self { door, sockets, turn: 0 })
    }

    /// Whose it is.
    pub fn door(&self) -> Door {
        self.door
    }

    /// Where it listens, with the real port where 0 was asked for; the configured address comes first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// The next connection of any of the sockets. Losing the future loses no connection.
    pub(crate) async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let count = self.sockets.len();
        for at in (0..count).map(|step| (self.turn + step) % count) {
            if let Poll::Ready(accepted) = self.sockets[at].poll_accept(cx) {
                self.turn = (at + 1) % count;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the connections of the process before it to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    fn has_ipv6() -> bool {
        std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
    }

    #[tokio::test]
    async fn a_loopback_address_listens_on_both_families_at_one_port() {
        let mut listener = Listener::bind(Door::Events, loopback(0)).unwrap();
        let addresses = listener.addresses();
        assert_eq!(addresses.len(), if has_ipv6() { 2 } else { 1 });
        assert!(addresses.iter().all(|at| at.port() == addresses[0].port() && at.ip().is_loopback()));
        for address in addresses {
            let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            assert_eq!(connected.unwrap().local_addr().unwrap(), accepted.unwrap().1);
        }
    }

    #[tokio::test]
    async fn a_port_in_use_says_how_to_move() {
        let taken = Listener::bind(Door::Events, loopback(0)).unwrap();
        let address = taken.addresses()[0];
        let message = Listener::bind(Door::Admin, address).unwrap_err().to_string();
        for part in ["in use", "--admin-listen", "TENTERHOOK_ADMIN_LISTEN", "admin.listen", &address.to_string()] {
            assert!(message.contains(part), "{message}");
        }
        let kong = BindError { door: Door::Admin, address: loopback(8001), source: io::ErrorKind::AddrInUse.into() };
        assert!(kong.to_string().contains("Kong"));
        let elsewhere = Listener::bind(Door::Admin, "192.0.2.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(elsewhere.contains("192.0.2.1:0") && elsewhere.contains("admin.listen") && !elsewhere.contains("in use"), "{elsewhere}");
    }

    #[tokio::test]
    async fn a_stranger_on_the_other_family_is_an_error() {
        if !has_ipv6() {
            return;
        }
        let stranger = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = stranger.local_addr().unwrap().port();
        let message = Listener::bind(Door::Events, loopback(port)).unwrap_err().to_string();
        assert!(
            message.contains(&format!("[::1]:{port} is in use")) || message.contains(&format!("127.0.0.1:{port} is in use")),
            "{message}"
        );
    }

    #[tokio::test]
    async fn sockets_that_listen_already_are_taken_as_they_are() {
        let first = std::net::TcpListener::bind(loopback(0)).unwrap();
        let second = std::net::TcpListener::bind(loopback(0)).unwrap();
        let expected = [first.local_addr().unwrap(), second.local_addr().unwrap()];
        let mut inherited = Inherited(vec![(Door::Admin, first), (Door::Admin, second)]);
        let mut listener = Listener::open(Door::Admin, loopback(1), &mut inherited).unwrap();
        assert_eq!(listener.addresses(), expected);
        for address in expected {
            let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            assert_eq!(connected.unwrap().local_addr().unwrap(), accepted.unwrap().1);
        }
        // They are taken once; the next one binds.
        let bound = Listener::open(Door::Admin, loopback(0), &mut inherited).unwrap();
        assert!(!expected.contains(&bound.addresses()[0]));
    }

    /// The test runs itself as the child and gives it the listening socket as descriptor 0.
    #[tokio::test]
    async fn a_child_serves_the_socket_it_inherits() {
        const ME: &str = "TENTERHOOK_TEST_INHERITS";
        const ANSWER: &[u8] = b"hello from the child";
        if std::env::var_os(ME).is_some() {
            let mut inherited = Inherited::from_env().unwrap();
            let mut listener = Listener::open(Door::Status, loopback(1), &mut inherited).unwrap();
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.writable().await.unwrap();
            assert_eq!(tcp.try_write(ANSWER).unwrap(), ANSWER.len());
            return;
        }
        let socket = std::net::TcpListener::bind(loopback(0)).unwrap();
        let address = socket.local_addr().unwrap();
        let module = module_path!().split_once("::").unwrap().1;
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::a_child_serves_the_socket_it_inherits")])
            .envs([(ME, "1"), ("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0"), ("LISTEN_FDNAMES", "status")])
            .env_remove("LISTEN_PID")
            .stdin(std::os::fd::OwnedFd::from(socket))
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut answer = Vec::new();
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut answer).await.unwrap();
        assert_eq!(answer, ANSWER);
        assert!(child.wait().await.unwrap().success());
    }

    #[test]
    fn nothing_inherited_is_no_error() {
        assert!(Inherited::take(ListenFd::empty(), "").unwrap().0.is_empty());
    }
}
