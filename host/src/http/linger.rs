//! A socket that closes so that the peer can still read the last answer.
//!
//! An answer may go out before its request has been read: 413 for a body over the limit. To close a socket with unread bytes resets the
//! connection, and a reset takes the answer from the peer's own buffer, so the client would see a broken connection instead of the reason.
//! So `shutdown` ends our half, then throws away what still arrives, until the peer closes or a limit is met (nginx calls it lingering close).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a closing connection waits for the peer's end, whatever arrives. Then it is reset.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes thrown away of one connection. Then it is reset.
const LINGER_BYTES: usize = 64 << 20;

/// A connection's socket.
pub(crate) struct Lingering {
    tcp: TcpStream,
    /// Set when our half is closed.
    closing: Option<Closing>,
}

struct Closing {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Lingering {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, closing: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closing = match &mut this.closing {
            Some(closing) => closing,
            none => {
                ready!(Pin::new(&mut this.tcp).poll_shutdown(cx))?;
                none.insert(Closing { until: Box::pin(tokio::time::sleep(LINGER)), bytes_left: LINGER_BYTES })
            }
        };
        let mut scratch = [std::mem::MaybeUninit::uninit(); 8 * 1024];
        while closing.until.as_mut().poll(cx).is_pending() {
            let mut thrown_away = ReadBuf::uninit(&mut scratch);
            // A peer that reset the connection is gone as much as one that closed it.
            let over = ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut thrown_away)).is_err() || thrown_away.filled().is_empty();
            closing.bytes_left = closing.bytes_left.saturating_sub(thrown_away.filled().len());
            if over || closing.bytes_left == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Lingering) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Lingering::new(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn the_last_answer_is_read_by_a_peer_that_is_still_writing() {
        let (mut client, mut server) = pair().await;
        // More than the socket's buffers hold, so that the client is writing when the server closes.
        #[allow(clippy::disallowed_methods, reason = "a test waits for its own task")]
        let writes = tokio::spawn(async move {
            client.write_all(&vec![b'x'; 32 << 20]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        });
        server.write_all(b"413").await.unwrap();
        server.shutdown().await.unwrap();
        drop(server);
        assert_eq!(writes.await.unwrap(), "413");
    }

    #[tokio::test]
    async fn a_peer_that_never_closes_is_given_up() {
        let (client, mut server) = pair().await;
        tokio::time::timeout(LINGER * 20, server.shutdown()).await.expect("it does not wait for ever").unwrap();
        drop(client);
    }
}
