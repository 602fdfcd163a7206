//! A server in this process, and a client that sends what it is given.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// A running server.
pub(crate) struct Server {
    /// The address that opens the page.
    pub(crate) address: String,
    /// Port.
    pub(crate) port: u16,
    /// How often tables were made.
    pub(crate) made: Arc<AtomicUsize>,
    /// Acts on a gallery, in their order.
    pub(crate) acts: Arc<Mutex<Vec<review::Act>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a run.
    pub(crate) fn start(run: &Path, is_read_only: bool) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (send, ready) = mpsc::channel();
        let acts = Arc::new(Mutex::new(Vec::new()));
        let options = review::Options {
            run: run.to_path_buf(),
            video: None,
            port: 0,
            is_read_only,
            author: "ann".into(),
        };
        let (stopped, counted, done) = (stop.clone(), made.clone(), acts.clone());
        let thread = std::thread::spawn(move || {
            let make = |_: &Path| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            let ready = |address: &str| send.send(address.to_owned()).unwrap();
            let correct = Box::new(move |act: &review::Act| {
                done.lock().unwrap().push(act.clone());
                Ok("done".to_owned())
            });
            review::serve(&options, &make, correct, &|| stopped.load(Ordering::SeqCst), ready).unwrap();
        });
        let address = ready.recv_timeout(Duration::from_secs(60)).unwrap();
        let port = address.split([':', '/']).nth(4).unwrap().parse().unwrap();
        Self { address, port, made, acts, stop, thread: Some(thread) }
    }

    /// Opens the page; gives the cookie.
    pub(crate) fn open(&self) -> String {
        let path = &self.address[self.address.find("/?").unwrap()..];
        let answer = self.send("GET", path, &[], "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    /// Sends a request with the right host.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n", self.port);
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        text += &format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        self.raw(text.as_bytes(), false)
    }

    /// Sends bytes; status 0 where the server closes the connection without an answer. `is_all` says that nothing
    /// follows, for what may be half a request.
    pub(crate) fn raw(&self, bytes: &[u8], is_all: bool) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = Vec::new();
        // The server may close while it is still being sent to.
        let _ = stream.write_all(bytes);
        if is_all {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }

    /// Acts as the page does.
    pub(crate) fn act(&self, cookie: &str, act: &Value) -> Value {
        let headers = [("cookie", cookie), ("content-type", "application/json")];
        let answer = self.send("POST", "/api/act", &headers, &act.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Gets JSON.
    pub(crate) fn get(&self, cookie: &str, path: &str) -> Value {
        let answer = self.send("GET", path, &[("cookie", cookie)], "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            status,
            headers: lines.filter_map(header).collect(),
            body: bytes[(end + 4).min(bytes.len())..].to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
