//! Which requests are let in: those of the page itself, in the browser that opened the address with the token.
//!
//! Other pages that the browser shows cannot read the page nor act on it: a foreign `Origin` is refused, as is a
//! name other than that of this machine (DNS rebinding), and the cookie is `SameSite=Strict`.

use std::fs::File;
use std::io::Read as _;
use std::sync::Mutex;

use hyper::header::{COOKIE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode, Uri};

/// A refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) &'static str);

/// How a request proved that it may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// By the cookie.
    Cookie,
    /// By the token of the address, which is spent with it; the answer sets the cookie.
    Token,
}

/// What requests are compared with.
#[derive(Debug)]
pub(crate) struct Guard {
    port: u16,
    /// Token of the address; `None` once it is spent.
    token: Mutex<Option<String>>,
    cookie: String,
}

impl Guard {
    pub(crate) fn new(port: u16, token: String, cookie: String) -> Self {
        Self { port, token: Mutex::new(Some(token)), cookie }
    }

    /// Value of the header `Set-Cookie`. Cookies know no ports, so the name of the cookie has the port.
    pub(crate) fn set_cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name(), self.cookie)
    }

    fn cookie_name(&self) -> String {
        format!("facetrack-{}", self.port)
    }

    /// Lets a request in, or says why not.
    pub(crate) fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Admitted, Refused> {
        let hosts = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{}", self.port));
        let forbidden = |sentence| Refused(StatusCode::FORBIDDEN, sentence);
        let host = only(headers, HOST).filter(|host| hosts.iter().any(|known| known == host));
        let host = host.ok_or(forbidden("This page is served under 127.0.0.1 only."))?;
        // A proxy is asked for whole addresses; this server is none.
        if uri.authority().is_some_and(|authority| authority.as_str() != host) {
            return Err(forbidden("This page is served under 127.0.0.1 only."));
        }
        if headers.contains_key(ORIGIN) && only(headers, ORIGIN) != Some(&format!("http://{host}")) {
            return Err(forbidden("Another page asked for this."));
        }
        let site = HeaderName::from_static("sec-fetch-site");
        let is_foreign = headers.contains_key(&site)
            && !only(headers, site).is_some_and(|site| ["same-origin", "none"].contains(&site));
        if is_foreign && (method != Method::GET || uri.path() != "/") {
            return Err(forbidden("Another page asked for this."));
        }
        if self.cookies(headers).any(|value| are_equal(value, &self.cookie)) {
            return Ok(Admitted::Cookie);
        }
        let given = uri.query().and_then(|query| query.strip_prefix("token="));
        if let (Some(given), &Method::GET, "/") = (given, method, uri.path()) {
            let Ok(mut token) = self.token.lock() else { return Err(forbidden("The server has failed.")) };
            if token.as_ref().is_some_and(|token| are_equal(given, token)) {
                *token = None;
                return Ok(Admitted::Token);
            }
        }
        Err(Refused(
            StatusCode::UNAUTHORIZED,
            "Open the address that `facetrack review` printed; it works once, in one browser. \
             For another browser, start `facetrack review` again.",
        ))
    }

    /// Values of our cookie; a browser sends those of other servers of this machine as well.
    fn cookies<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let name = self.cookie_name();
        let pairs = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let pairs = pairs.flat_map(|cookies| cookies.split(';'));
        pairs.filter_map(move |pair| pair.trim().strip_prefix(&name)?.strip_prefix('='))
    }
}

/// The value of a header that stands once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Compares in a time that depends on the lengths alone.
fn are_equal(a: &str, b: &str) -> bool {
    let difference = a.bytes().zip(b.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

/// 256 random bits of the system, hexadecimal.
///
/// # Errors
/// Those of the system.
pub(crate) fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn ask(guard: &Guard, method: Method, uri: &str, headers: &[(&str, &str)]) -> Result<Admitted, u16> {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        let mut map = HeaderMap::new();
        headers.iter().map(pair).for_each(|(name, value)| {
            map.append(name, value);
        });
        guard.admit(&method, &uri.parse().unwrap(), &map).map_err(|refused| refused.0.as_u16())
    }

    fn guard() -> Guard {
        Guard::new(8000, "t".repeat(64), "c".repeat(64))
    }

    #[test]
    fn the_token_works_once_and_the_cookie_from_then_on() {
        let (guard, host) = (guard(), ("host", "127.0.0.1:8000"));
        let address = format!("/?token={}", "t".repeat(64));
        let cookie = guard.set_cookie();
        let cookie = ("cookie", cookie.split(';').next().unwrap());
        assert_eq!(ask(&guard, Method::GET, "/?token=wrong", &[host]), Err(401));
        assert_eq!(ask(&guard, Method::POST, &address, &[host]), Err(401));
        assert_eq!(ask(&guard, Method::GET, &address.replace("/?", "/video?"), &[host]), Err(401));
        assert_eq!(ask(&guard, Method::GET, &address, &[host]), Ok(Admitted::Token));
        assert_eq!(ask(&guard, Method::GET, &address, &[host]), Err(401));
        assert_eq!(ask(&guard, Method::GET, &address, &[host, cookie]), Ok(Admitted::Cookie));
        assert_eq!(ask(&guard, Method::POST, "/api/act", &[host, cookie]), Ok(Admitted::Cookie));
        let others = ("cookie", "facetrack-8001=x; a=b");
        assert_eq!(ask(&guard, Method::GET, "/", &[host, others, cookie]), Ok(Admitted::Cookie));
        assert_eq!(ask(&guard, Method::GET, "/", &[host, ("cookie", "facetrack-8000=cc")]), Err(401));
        assert_eq!(ask(&guard, Method::GET, "/", &[host, ("cookie", "facetrack-80000=x")]), Err(401));
    }

    #[test]
    fn foreign_names_and_origins_are_refused_even_with_the_cookie() {
        let guard = guard();
        let cookie = guard.set_cookie();
        let cookie = ("cookie", cookie.split(';').next().unwrap());
        let (host, own) = (("host", "localhost:8000"), ("origin", "http://localhost:8000"));
        assert_eq!(ask(&guard, Method::POST, "/", &[host, cookie, own]), Ok(Admitted::Cookie));
        for name in
            ["evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "localhost.evil:8000", "[::1]:8000", ""]
        {
            assert_eq!(ask(&guard, Method::GET, "/", &[("host", name), cookie]), Err(403), "{name}");
        }
        assert_eq!(ask(&guard, Method::GET, "/", &[cookie]), Err(403), "no host");
        assert_eq!(ask(&guard, Method::GET, "/", &[host, host, cookie]), Err(403), "two hosts");
        assert_eq!(ask(&guard, Method::GET, "http://evil.example/", &[host, cookie]), Err(403));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8000", "https://localhost:8000", ""] {
            let headers = [host, cookie, ("origin", origin)];
            assert_eq!(ask(&guard, Method::POST, "/api/act", &headers), Err(403), "{origin}");
        }
        assert_eq!(ask(&guard, Method::POST, "/", &[host, cookie, own, own]), Err(403), "two origins");
        let foreign = ("sec-fetch-site", "cross-site");
        assert_eq!(ask(&guard, Method::GET, "/video", &[host, cookie, foreign]), Err(403));
        // A link from elsewhere may open the page, which then has no cookie of this site.
        assert_eq!(ask(&guard, Method::GET, "/", &[host, foreign]), Err(401));
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let (a, b) = (secret().unwrap(), secret().unwrap());
        assert!(a.len() == 64 && a != b);
        assert!(are_equal(&a, &a.clone()) && !are_equal(&a, &b) && !are_equal(&a, &a[1..]));
    }
}
