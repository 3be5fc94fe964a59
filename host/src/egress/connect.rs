//! A new connection: resolve, vet every address, connect to a vetted one, TLS. The only place that opens a socket.
//!
//! The name is resolved once and the socket is opened to the address that was vetted, so a name server that changes its answer between the two
//! has nothing to gain.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address;
use super::allow::Rules;
use super::client::Connection;
use super::progress::{Progress, Stage};
use super::request::{Destination, Scheme};
use super::resolve::Resolver;
use super::tls::Tls;
use crate::model::{Clock, Failure, FailureCode};

/// Hyper refuses to read through a smaller one.
const READ_BUFFER_MIN: usize = 8 * 1024;

/// Larger read buffers do not make small answers faster.
const READ_BUFFER_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Connector {
    pub(super) rules: Rules,
    pub(super) resolver: Resolver,
    pub(super) tls: Tls,
    pub(super) clock: Clock,
    pub(super) answer_header_bytes: usize,
}

impl Connector {
    /// A connection that stands within `limit`, which is `whose`.
    pub(super) async fn open(
        &self,
        to: &Destination,
        (limit, whose): (Duration, &'static str),
        progress: &mut Progress,
    ) -> Result<Connection, Failure> {
        let before = progress.elapsed();
        let until = self.clock.instant() + limit;
        let opened = tokio::time::timeout(limit, self.reach(to, until, progress)).await;
        let opened = opened.unwrap_or_else(|_| Err(progress.timed_out(limit, whose)))?;
        progress.connect = progress.elapsed().saturating_sub(before);
        Ok(opened)
    }

    async fn reach(&self, to: &Destination, until: Instant, progress: &mut Progress) -> Result<Connection, Failure> {
        progress.stage = Stage::Addresses;
        let addresses = self.vetted(to).await?;
        let socket = self.connect(to, &addresses, until, progress).await?;
        progress.stage = Stage::Handshake;
        match to.scheme {
            Scheme::Http => self.speak(socket).await,
            Scheme::Https => self.speak(secure(self.tls.verified().await?, to, socket).await?).await,
            Scheme::HttpsUnverified => self.speak(secure(self.tls.unverified(), to, socket).await?).await,
        }
    }

    /// The addresses that may be connected to; refused if that is none of them.
    async fn vetted(&self, to: &Destination) -> Result<Vec<SocketAddr>, Failure> {
        let found: Arc<[IpAddr]> = match to.host.parse::<IpAddr>() {
            Ok(literal) => Arc::new([literal]),
            Err(_) => self.resolver.resolve(&to.host).await?,
        };
        let mut vetted = Vec::with_capacity(found.len());
        let mut refusal = None;
        for address in found.iter().copied().map(address::canonical) {
            match self.rules.judge_address(&to.host, to.port, address) {
                Ok(()) => vetted.push(SocketAddr::new(address, to.port)),
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        match refusal {
            Some(why) if vetted.is_empty() => Err(Failure::new(FailureCode::Denied, why)),
            Some(_) | None => Ok(vetted),
        }
    }

    /// The first address that answers. Each gets an even share of the time that is left, so that a dead one does not cost the others theirs.
    async fn connect(
        &self,
        to: &Destination,
        addresses: &[SocketAddr],
        until: Instant,
        progress: &mut Progress,
    ) -> Result<TcpStream, Failure> {
        let mut errors = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            progress.stage = Stage::Connection(*address);
            let left = until.saturating_duration_since(self.clock.instant());
            let alone = addresses.len() == 1;
            let connecting = TcpStream::connect(address);
            let connected = if alone {
                connecting.await
            } else {
                let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
                tokio::time::timeout(share, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            };
            // Requests are small and written at once: waiting for more to send would only add delay.
            match connected.and_then(|socket| socket.set_nodelay(true).map(|()| socket)) {
                Ok(socket) => return Ok(socket),
                Err(error) => errors.push(format!("{address}: {error}")),
            }
        }
        Err(Failure::new(FailureCode::Connect, format!("no connection to {}:{}: {}", to.host, to.port, errors.join("; "))))
    }

    async fn speak<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, io: T) -> Result<Connection, Failure> {
        let mut builder = http1::Builder::new();
        builder.max_header_size(self.answer_header_bytes);
        builder.max_buf_size(self.answer_header_bytes.clamp(READ_BUFFER_MIN, READ_BUFFER_MAX.max(self.answer_header_bytes)));
        let spoken = builder.handshake(TokioIo::new(io)).await;
        let (sender, driver) = spoken.map_err(|error| Failure::new(FailureCode::Protocol, error.to_string()))?;
        Ok(Connection::new(sender, Box::pin(driver), self.clock.instant()))
    }
}

async fn secure(
    connector: TlsConnector,
    to: &Destination,
    socket: TcpStream,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::new(FailureCode::Tls, format!("TLS with {}:{} failed: {why}", to.host, to.port));
    let name = ServerName::try_from(&*to.host).map_err(|error| failed(&error))?.to_owned();
    connector.connect(name, socket).await.map_err(|error| failed(&explained(&error)))
}

/// What rustls says, and what may be done about it.
fn explained(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(wrong @ rustls::Error::InvalidCertificate(_)) => {
            format!("{wrong}; a certificate authority in egress.ca_file, or the request's verify-tls set to false, would accept it")
        }
        Some(wrong @ rustls::Error::InvalidMessage(_)) => format!("{wrong}; is it an https port?"),
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}
