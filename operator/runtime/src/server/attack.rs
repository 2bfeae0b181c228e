//! Clients that hold what they can of a server, in every form known to us.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// What one hostile connection does until the server ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Sends nothing.
    Silent,
    /// Sends half of a head.
    HalfHead,
    /// Sends a byte a second.
    Drips,
    /// Asks fifty times at once, again and again, and reads nothing.
    NeverReads,
    /// Announces a body and sends it for ever.
    EndlessBody,
    /// Sends headers for ever.
    EndlessHead,
    /// Asks, closes its writing half, and reads nothing.
    HalfCloses,
    /// Comes and goes as fast as it can.
    Churns,
}

impl Form {
    /// Those that hold a connection.
    pub(crate) const HOLDING: [Self; 7] = [
        Self::Silent,
        Self::HalfHead,
        Self::Drips,
        Self::NeverReads,
        Self::EndlessBody,
        Self::EndlessHead,
        Self::HalfCloses,
    ];

    async fn act(self, stream: &mut TcpStream, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        match self {
            Self::Silent => {}
            Self::HalfHead => stream.write_all(&request.as_bytes()[..request.len() / 2]).await?,
            Self::Drips => {
                for byte in request.bytes().cycle() {
                    stream.write_all(&[byte]).await?;
                    sleep(Duration::from_secs(1)).await;
                }
            }
            Self::NeverReads => loop {
                stream.write_all(request.repeat(50).as_bytes()).await?;
            },
            Self::EndlessBody => {
                let head =
                    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                loop {
                    stream.write_all(&[0; 4096]).await?;
                }
            }
            Self::EndlessHead => {
                stream.write_all(&request.as_bytes()[..request.len() - 2]).await?;
                loop {
                    stream.write_all(b"A: b\r\n").await?;
                }
            }
            Self::HalfCloses => {
                stream.write_all(request.as_bytes()).await?;
                stream.shutdown().await?;
                // The server closes too, which is no error; and what it said is not read.
                while !stream.ready(io::Interest::READABLE).await?.is_read_closed() {
                    sleep(Duration::from_millis(10)).await;
                }
                return Ok(());
            }
            Self::Churns => return Ok(()),
        }
        // Waits for the server to end it, without reading: an error is an end too.
        stream.ready(io::Interest::ERROR).await.map(drop)
    }
}

/// An attack that goes on until it is dropped.
#[derive(Debug)]
pub(crate) struct Attack {
    stop: CancellationToken,
    made: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// Holds `each` connections of each form, coming from these addresses in turn. One that the server ends is made anew at once.
    pub(crate) fn begin(
        target: SocketAddr,
        path: &'static str,
        sources: Vec<IpAddr>,
        forms: Vec<Form>,
        each: usize,
    ) -> Self {
        let (stop, made) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (token, counter) = (stop.clone(), made.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (index, form) in forms.iter().cycle().take(each * forms.len()).enumerate() {
                    tokio::spawn(hold(*form, target, path, sources[index % sources.len()], counter.clone()));
                }
                token.cancelled().await;
            });
        });
        Self { stop, made, thread: Some(thread) }
    }

    /// How many connections were made until now.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Waits until so many connections were made.
    pub(crate) async fn has_made(&self, connections: u64) {
        while self.made() < connections {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn hold(form: Form, target: SocketAddr, path: &str, source: IpAddr, made: Arc<AtomicU64>) {
    loop {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            socket.set_zero_linger()?;
            socket.bind((source, 0).into())?;
            socket.connect(target).await
        };
        match connect.await {
            Ok(mut stream) => {
                made.fetch_add(1, Ordering::Relaxed);
                // Each ends by the server's doing.
                let _: io::Result<()> = form.act(&mut stream, path).await;
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Asks as a kubelet or a Prometheus does. The status, and the whole answer.
pub(crate) async fn ask(target: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    ask_over(TcpStream::connect(target).await?, path, "").await
}

/// The same over any stream, with further header lines.
pub(crate) async fn ask_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    lines: &str,
) -> io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status
        .map(|status| (status, answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "that is not HTTP"))
}
