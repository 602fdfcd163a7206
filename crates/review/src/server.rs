//! The server: admits requests and answers them. No part of a request becomes the name of a file.

use std::convert::Infallible;
use std::fs;
use std::io::{Read, Seek as _, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, HeaderValue, RANGE, SET_COOKIE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use run::RunReader;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::Error;
use crate::guard::{Admitted, Guard, Refused};
use crate::library::{self, Gallery};
use crate::range::{Wanted, wanted};
use crate::remake::Remake;
use crate::session::{Act, Session, Static};
use crate::video::VideoSource;

/// Most bytes of the body of a request: thousands of track numbers.
const MOST_BODY: usize = 256 * 1024;
/// Time for a request to be sent.
const SEND_TIME: Duration = Duration::from_secs(10);
/// Connections at a time.
const MOST_CONNECTIONS: usize = 128;
/// Conversions at a time: each window plays one video.
const MOST_CONVERSIONS: usize = 4;
/// Bytes of a video that are read at a time.
const CHUNK: usize = 256 * 1024;
/// Length of a piece of boxes, seconds.
const BOXES_SECS: f64 = 10.0;

/// Nothing comes from elsewhere, and nothing is written into the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const GALLERY_PAGE: &str = include_str!("gallery.html");
const GALLERY_SCRIPT: &str = include_str!("gallery.js");
const COMMON_SCRIPT: &str = include_str!("common.js");
const ICON: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='6' r='4' \
                    fill='#3b62c9'/><path d='M1 16a7 6 0 0 1 14 0z' fill='#3b62c9'/></svg>";

/// Data that all connections share.
#[derive(Debug)]
pub(crate) struct App {
    guard: Guard,
    home: Home,
    remake: Arc<Remake>,
    conversions: Arc<Semaphore>,
}

/// What the server shows.
#[derive(Debug)]
pub(crate) enum Home {
    /// A run.
    Run(Arc<RunApp>),
    /// A gallery; its runs are below `/run/<video_id>/`.
    Gallery(Box<Gallery>),
}

/// A run and its video.
#[derive(Debug)]
pub(crate) struct RunApp {
    root: PathBuf,
    session: Mutex<Session>,
    fixed: Static,
    video: VideoSource,
}

impl RunApp {
    /// Reads a run.
    ///
    /// # Errors
    /// When the run or its video cannot be read, and when a file of the run is a link to a file outside.
    pub(crate) fn open(
        root: &Path,
        video: Option<&Path>,
        author: String,
        is_read_only: bool,
    ) -> Result<Self, Error> {
        let run = RunReader::open(root)?;
        check_links(run.root())?;
        let frames: Vec<schema::tables::Frame> = run.read()?;
        let video = VideoSource::find(&run, video, &frames)?;
        let session = Session::open(&run, &frames, author, is_read_only)?;
        let fixed = session.fixed(&video);
        Ok(Self { root: root.to_path_buf(), session: Mutex::new(session), fixed, video })
    }
}

impl App {
    pub(crate) fn new(guard: Guard, home: Home, remake: Arc<Remake>) -> Self {
        Self { guard, home, remake, conversions: Arc::new(Semaphore::new(MOST_CONVERSIONS)) }
    }

    fn page(&self) -> &'static str {
        match self.home {
            Home::Run(_) => PAGE,
            Home::Gallery(_) => GALLERY_PAGE,
        }
    }
}

/// Fails if a file of the run is a link to a file outside the run.
fn check_links(root: &Path) -> Result<(), Error> {
    let whole = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() && !path.canonicalize().is_ok_and(|target| target.starts_with(&whole)) {
            return Err(Error::Outside { path });
        }
    }
    Ok(())
}

/// Binds a port of this machine that only this machine reaches; 0 for a free one.
pub(crate) fn bind(port: u16) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers until `is_stopped`.
pub(crate) fn serve(
    listener: std::net::TcpListener,
    app: Arc<App>,
    is_stopped: &dyn Fn() -> bool,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        while !is_stopped() {
            let Ok(accepted) = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await
            else {
                continue;
            };
            // Too many open files, or a connection that is gone already.
            let Ok((stream, _)) = accepted else { continue };
            let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
            let app = app.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let app = app.clone();
                    async move { Ok::<_, Infallible>(answer(app, request).await) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(SEND_TIME).max_buf_size(64 * 1024);
                // A connection that breaks off concerns only the browser.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
                drop(permit);
            });
        }
        Ok(())
    });
    // Conversions and waiting threads end with the process.
    runtime.shutdown_background();
    result
}

/// The body of an answer: bytes, or pieces that a thread reads.
#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Bytes>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|p| Ok(Frame::data(p)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

type Answer = Response<Content>;

/// Answers a request, with the headers that every answer has.
async fn answer(app: Arc<App>, request: Request<Incoming>) -> Answer {
    let mut answer = match app.guard.admit(request.method(), request.uri(), request.headers()) {
        Err(Refused(status, sentence)) => plain(status, sentence),
        Ok(Admitted::Token) => {
            let mut answer = whole("text/html; charset=utf-8", app.page());
            if let Ok(cookie) = HeaderValue::from_str(&app.guard.set_cookie()) {
                answer.headers_mut().insert(SET_COOKIE, cookie);
            }
            answer
        }
        Ok(Admitted::Cookie) => route(app, request).await,
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

async fn route(app: Arc<App>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (&app.home, parts.as_slice()) {
        (Home::Run(run), parts) => of_run(app.clone(), run.clone(), parts, request).await,
        (Home::Gallery(_), ["run", video_id, rest @ ..]) if !rest.is_empty() => {
            let (shared, video_id) = (app.clone(), (*video_id).to_owned());
            let run = tokio::task::spawn_blocking(move || match &shared.home {
                Home::Gallery(gallery) => gallery.run(&video_id),
                Home::Run(_) => None,
            });
            match run.await {
                Ok(Some(run)) => of_run(app, run, rest, request).await,
                _ => not_found(),
            }
        }
        (Home::Gallery(_), parts) => of_gallery(app.clone(), parts, request).await,
    }
}

/// Answers a request about a gallery.
async fn of_gallery(app: Arc<App>, parts: &[&str], request: Request<Incoming>) -> Answer {
    let with = |work: fn(&Gallery, &App, String) -> Answer, text: String| {
        let app = app.clone();
        blocking(move || match &app.home {
            Home::Gallery(gallery) => work(gallery, &app, text),
            Home::Run(_) => not_found(),
        })
    };
    match (request.method(), parts) {
        (&Method::GET, [""]) => whole("text/html; charset=utf-8", GALLERY_PAGE),
        (&Method::GET, [file]) => fixed(file),
        (&Method::GET, ["api", "state"]) => {
            let polled = |gallery: &Gallery, app: &App, since: String| {
                let state = gallery.state(since.parse().ok());
                json(&serde_json::json!({ "state": state, "tables": app.remake.status() }))
            };
            let since =
                request.uri().query().and_then(|query| query.strip_prefix("since=")).unwrap_or_default();
            with(polled, since.to_owned()).await
        }
        (&Method::GET, ["face", video_id, cluster]) if cluster.parse::<i64>().is_ok() => {
            let face = |gallery: &Gallery, _: &App, place: String| {
                let place = place.split_once('/').and_then(|(video, id)| Some((video, id.parse().ok()?)));
                let face = place.and_then(|(video, id)| gallery.face(video, id));
                face.map_or_else(not_found, |jpeg| whole("image/jpeg", jpeg))
            };
            with(face, format!("{video_id}/{cluster}")).await
        }
        (&Method::POST, ["api", "act"]) => match body::<library::Act>(request).await {
            Ok(act) => {
                let app = app.clone();
                blocking(move || match &app.home {
                    Home::Gallery(gallery) => json(&gallery.act(&act)),
                    Home::Run(_) => not_found(),
                })
                .await
            }
            Err(answer) => answer,
        },
        (&Method::GET, _) => not_found(),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "The server accepts only GET, and POST for acts."),
    }
}

/// Answers a request about a run.
async fn of_run(app: Arc<App>, run: Arc<RunApp>, parts: &[&str], request: Request<Incoming>) -> Answer {
    match (request.method(), parts) {
        (&Method::GET, [""]) => whole("text/html; charset=utf-8", PAGE),
        (&Method::GET, ["api", "run"]) => json(&run.fixed),
        (&Method::GET, ["api", "state"]) => {
            let since = request.uri().query().and_then(|query| query.strip_prefix("since=")?.parse().ok());
            blocking(move || state(&app, &run, since)).await
        }
        (&Method::GET, ["api", "boxes", piece]) => match piece.parse::<u32>() {
            Ok(piece) => blocking(move || boxes(&run, piece)).await,
            Err(_) => not_found(),
        },
        (&Method::GET, ["face", track, rank]) => match (track.parse(), rank.parse()) {
            (Ok(track), Ok(rank)) => blocking(move || face(&run, track, rank)).await,
            _ => not_found(),
        },
        (&Method::GET, ["video"]) => {
            let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
            blocking(move || original(&run, range.as_deref())).await
        }
        (&Method::GET, [file]) => fixed(file),
        (&Method::GET, ["video", how @ ("copy" | "encode"), from]) => match from.parse::<f64>() {
            Ok(from) if from.is_finite() => converted(&app, &run, from, *how == "encode"),
            _ => not_found(),
        },
        (&Method::POST, ["api", "act"]) => act(app, run, request).await,
        (&Method::GET, _) => not_found(),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "The server accepts only GET, and POST for acts."),
    }
}

/// Answers with a file of the program.
fn fixed(file: &str) -> Answer {
    match file {
        "page.css" => whole("text/css; charset=utf-8", STYLE),
        "page.js" => whole("text/javascript; charset=utf-8", SCRIPT),
        "gallery.js" => whole("text/javascript; charset=utf-8", GALLERY_SCRIPT),
        "common.js" => whole("text/javascript; charset=utf-8", COMMON_SCRIPT),
        "icon.svg" => kept(whole("image/svg+xml", ICON)),
        _ => not_found(),
    }
}

fn state(app: &App, run: &RunApp, since: Option<u64>) -> Answer {
    let Ok(mut session) = run.session.lock() else { return failed() };
    let state = (since != Some(session.version())).then(|| session.state());
    drop(session);
    json(&serde_json::json!({ "state": state, "tables": app.remake.status() }))
}

fn boxes(run: &RunApp, piece: u32) -> Answer {
    let Ok(session) = run.session.lock() else { return failed() };
    let from = f64::from(piece) * BOXES_SECS;
    kept(json(&session.boxes(from, from + BOXES_SECS)))
}

fn face(run: &RunApp, track: i64, rank: i64) -> Answer {
    let Ok(session) = run.session.lock() else { return failed() };
    let typed = |image: Vec<u8>| Some((picture::Format::of(&image)?, image));
    let found = session.picture(track, rank).and_then(typed);
    found.map_or_else(not_found, |(format, image)| kept(whole(format.media_type(), image)))
}

/// Reads an act from the body of a request.
async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Answer> {
    // A form of another page cannot send this type without being asked for.
    let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !is_json {
        return Err(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "An act must be application/json."));
    }
    let body = Limited::new(request.into_body(), MOST_BODY).collect();
    let Ok(Ok(body)) = tokio::time::timeout(SEND_TIME, body).await else {
        let sentence = "The act is too large, or the transfer took too long.";
        return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, sentence));
    };
    serde_json::from_slice(&body.to_bytes())
        .map_err(|_| plain(StatusCode::BAD_REQUEST, "The request is not a valid act of the page."))
}

async fn act(app: Arc<App>, run: Arc<RunApp>, request: Request<Incoming>) -> Answer {
    let act = match body::<Act>(request).await {
        Ok(act) => act,
        Err(answer) => return answer,
    };
    blocking(move || {
        let Ok(mut session) = run.session.lock() else { return failed() };
        let before = session.version();
        let done = session.act(act);
        if done.problem.is_none() && done.state.version != before {
            app.remake.request(&run.root);
        }
        json(&done)
    })
    .await
}

/// The original file, or a part of it.
fn original(run: &RunApp, range: Option<&str>) -> Answer {
    let Some((mut file, length, kind)) = run.video.open() else { return not_found() };
    let (status, part) = match wanted(range, length) {
        Wanted::All => (StatusCode::OK, 0..length),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Beyond => {
            let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE, "The range is outside the video file.");
            insert(&mut answer, CONTENT_RANGE, &format!("bytes */{length}"));
            return answer;
        }
    };
    if file.seek(SeekFrom::Start(part.start)).is_err() {
        return failed();
    }
    let count = part.end - part.start;
    let mut answer = Response::new(pieces(Read::take(file, count), ()));
    *answer.status_mut() = status;
    insert(&mut answer, CONTENT_TYPE, kind);
    insert(&mut answer, ACCEPT_RANGES, "bytes");
    insert(&mut answer, CONTENT_LENGTH, &count.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1));
        insert(&mut answer, CONTENT_RANGE, &range);
    }
    answer
}

/// The video from a time on, as `ffmpeg` writes it.
fn converted(app: &App, run: &RunApp, from_secs: f64, encode: bool) -> Answer {
    let Ok(permit) = app.conversions.clone().try_acquire_owned() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "Too many windows play the video; close one of them.");
    };
    let Some(converted) = run.video.convert(from_secs, encode) else { return not_found() };
    let mut answer = Response::new(pieces(converted, permit));
    insert(&mut answer, CONTENT_TYPE, "video/mp4");
    answer
}

/// Reads in a thread of its own, as fast as the browser takes the pieces; `held` is let go at the end.
fn pieces(mut from: impl Read + Send + 'static, held: impl Send + 'static) -> Content {
    let (send, pieces) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    if send.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                        break;
                    }
                }
                _ => break,
            }
        }
        drop(held);
    });
    Content::Pieces(pieces)
}

/// Runs what waits for the disk or for another request, beside the connections.
async fn blocking(work: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| failed())
}

fn whole(kind: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Content::Whole(Some(content.into())));
    insert(&mut answer, CONTENT_TYPE, kind);
    answer
}

fn json(value: &impl Serialize) -> Answer {
    serde_json::to_vec(value).map_or_else(|_| failed(), |text| whole("application/json", text))
}

/// Lets the browser keep an answer that does not change while the server runs.
fn kept(mut answer: Answer) -> Answer {
    if answer.status() == StatusCode::OK {
        insert(&mut answer, CACHE_CONTROL, "private, max-age=3600");
    }
    answer
}

fn plain(status: StatusCode, sentence: &'static str) -> Answer {
    let mut answer = whole("text/plain; charset=utf-8", sentence);
    *answer.status_mut() = status;
    answer
}

fn not_found() -> Answer {
    plain(StatusCode::NOT_FOUND, "The page has no such address.")
}

fn failed() -> Answer {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "The server has failed; start `facetrack review` again.")
}

fn insert(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
