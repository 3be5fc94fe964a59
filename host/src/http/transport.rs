//! What a connection speaks before HTTP begins: plain TCP, or TLS from a certificate and a key file.
//!
//! Certificates are read at start and again on `reload`; connections that are open keep the certificate they began with. ALPN offers HTTP/2
//! first. Client certificates are not asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::linger::Lingering;

/// Plain, or TLS. Clones share the certificate, so a reload of one reloads all.
#[derive(Clone, Debug)]
pub struct Transport(Option<Arc<Tls>>);

#[derive(Debug)]
struct Tls {
    cert_file: PathBuf,
    key_file: PathBuf,
    /// Swapped by `reload`, read once for each handshake.
    current: ArcSwap<ServerConfig>,
}

/// Certificate or key cannot be used: for the operator, at start or in the log of a reload.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", file.display())]
pub struct TransportError {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it.
    pub detail: String,
}

impl Transport {
    /// No TLS.
    pub fn plain() -> Self {
        Self(None)
    }

    /// TLS from two PEM files: the chain with the server's own certificate first, and its private key. Reads them; blocking.
    pub fn tls(cert_file: &Path, key_file: &Path) -> Result<Self, TransportError> {
        let current = ArcSwap::new(read(cert_file, key_file)?);
        Ok(Self(Some(Arc::new(Tls { cert_file: cert_file.to_owned(), key_file: key_file.to_owned(), current }))))
    }

    /// Does it encrypt?
    pub fn is_tls(&self) -> bool {
        self.0.is_some()
    }

    /// Reads the files again; blocking. On an error the old certificate stays in use. Plain transports have nothing to read.
    pub fn reload(&self) -> Result<(), TransportError> {
        if let Some(tls) = &self.0 {
            tls.current.store(read(&tls.cert_file, &tls.key_file)?);
        }
        Ok(())
    }

    /// Begins a connection: the handshake, if there is one. The caller limits its time.
    pub(crate) async fn begin(&self, tcp: TcpStream) -> io::Result<Stream> {
        match &self.0 {
            None => Ok(Stream::Plain(Lingering::new(tcp))),
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls.current.load_full());
                Ok(Stream::Tls(Box::new(acceptor.accept(Lingering::new(tcp)).await?)))
            }
        }
    }
}

fn read(cert_file: &Path, key_file: &Path) -> Result<Arc<ServerConfig>, TransportError> {
    let failed = |file: &Path, detail: String| TransportError { file: file.to_owned(), detail };
    let chain = CertificateDer::pem_file_iter(cert_file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| failed(cert_file, format!("no certificate can be read ({error})")))?;
    if chain.is_empty() {
        return Err(failed(cert_file, "holds no certificate in PEM form".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| failed(key_file, format!("no private key can be read ({error})")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(cert_file, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| failed(cert_file, format!("does not go with the key in {} ({error})", key_file.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A connection's bytes. Boxed, because the state of TLS is a kilobyte that plain connections need not carry.
pub(crate) enum Stream {
    Plain(Lingering),
    Tls(Box<TlsStream<Lingering>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, parts),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    }

    #[test]
    fn unusable_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = write_pair(dir.path(), "a.example");
        let (_, other_key) = write_pair(dir.path(), "b.example");
        let missing = dir.path().join("missing.crt");
        assert!(Transport::tls(&missing, &key).unwrap_err().to_string().contains("missing.crt"));
        assert_eq!(Transport::tls(&key, &key).unwrap_err().file, key);
        assert_eq!(Transport::tls(&cert, &cert).unwrap_err().file, cert);
        assert!(Transport::tls(&cert, &other_key).unwrap_err().to_string().contains("does not go with the key"));
        assert!(Transport::tls(&cert, &key).unwrap().is_tls());
    }

    #[test]
    fn a_reload_that_fails_keeps_the_old_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = write_pair(dir.path(), "a.example");
        let transport = Transport::tls(&cert, &key).unwrap();
        let before = transport.0.as_ref().unwrap().current.load_full();
        std::fs::write(&cert, "nonsense").unwrap();
        transport.reload().unwrap_err();
        assert!(Arc::ptr_eq(&before, &transport.0.as_ref().unwrap().current.load_full()));
        Transport::plain().reload().unwrap();
    }
}
