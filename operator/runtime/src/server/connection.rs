//! One connection: one request, one answer, one deadline.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{Limits, Pages};
use crate::BoxError;

/// Answers one request, and returns when the client has closed or the time is over.
pub(crate) async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: IpAddr,
    limits: Limits,
    pages: &impl Pages,
) -> Result<(), BoxError> {
    timeout(limits.deadline, async {
        match tls {
            Some(tls) => {
                let stream = timeout(limits.head, tls.accept(stream)).await??;
                converse(stream, peer, limits, pages).await
            }
            None => converse(stream, peer, limits, pages).await,
        }
    })
    .await?
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: IpAddr,
    limits: Limits,
    pages: &impl Pages,
) -> Result<(), BoxError> {
    let service = service_fn(move |request: Request<Incoming>| {
        let (head, _) = request.into_parts();
        async move { Ok::<_, Infallible>(pages.answer(peer, &head).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Farewell { stream, said: false, rest: 0 }), service)
        .await?;
    Ok(())
}

/// How much of what a peer sends after its request is read, and thrown away, before it is hung up on.
const REST: usize = 4 << 10;

/// A stream whose shutdown lasts until the peer closes too, so that it is not dropped while its answer is on the way.
struct Farewell<S> {
    stream: S,
    /// Whether the peer has been told that nothing more comes.
    said: bool,
    /// How much has been read since.
    rest: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Farewell<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.said = true;
        }
        let mut bytes = [0; 1024];
        while self.rest < REST {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                more => self.rest += more,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Farewell<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}
