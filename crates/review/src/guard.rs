//! Access control: the server answers only requests of the page itself, in the browser that opened the address with
//! the token.
//!
//! Other pages in the browser can neither read the page nor send acts: the server refuses a foreign `Origin` and a
//! host name other than that of this machine (DNS rebinding), and the cookie is `SameSite=Strict`.

use std::sync::Mutex;

use hyper::header::{COOKIE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode, Uri};

/// A refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) &'static str);

/// Proof by which a request was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// The cookie.
    Cookie,
    /// The token of the address, which works once; the answer sets the cookie.
    Token,
}

/// Port, token and cookie with which requests are compared.
#[derive(Debug)]
pub(crate) struct Guard {
    port: u16,
    /// Token of the address; `None` after its use.
    token: Mutex<Option<String>>,
    cookie: String,
}

impl Guard {
    pub(crate) fn new(port: u16, token: String, cookie: String) -> Self {
        Self { port, token: Mutex::new(Some(token)), cookie }
    }

    /// Returns the value of the header `Set-Cookie`. The name of the cookie contains the port, because a browser
    /// sends cookies to all ports of a host.
    pub(crate) fn set_cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name(), self.cookie)
    }

    fn cookie_name(&self) -> String {
        format!("facetrack-{}", self.port)
    }

    /// Admits a request, or returns the reason why the request is refused.
    pub(crate) fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Admitted, Refused> {
        let hosts = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{}", self.port));
        let forbidden = |sentence| Refused(StatusCode::FORBIDDEN, sentence);
        let host = only(headers, HOST).filter(|host| hosts.iter().any(|known| known == host));
        let host = host.ok_or(forbidden("This page is served under 127.0.0.1 only."))?;
        // Requests with a whole address are for a proxy, and this server is no proxy.
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

    /// Returns the values of the cookie of this server; a browser also sends the cookies of other servers of this
    /// machine.
    fn cookies<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let name = self.cookie_name();
        let pairs = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let pairs = pairs.flat_map(|cookies| cookies.split(';'));
        pairs.filter_map(move |pair| pair.trim().strip_prefix(&name)?.strip_prefix('='))
    }
}

/// Returns the value of a header that occurs once; `None` otherwise.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Compares two texts in a time that depends only on their lengths.
fn are_equal(a: &str, b: &str) -> bool {
    let difference = a.bytes().zip(b.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

/// Returns 256 random bits of the operating system, as hexadecimal digits.
///
/// # Errors
/// When the operating system returns no random bits.
pub(crate) fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
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
        // A link on another page may open this page, but the browser then sends no cookie.
        assert_eq!(ask(&guard, Method::GET, "/", &[host, foreign]), Err(401));
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let (a, b) = (secret().unwrap(), secret().unwrap());
        assert!(a.len() == 64 && a != b);
        assert!(are_equal(&a, &a.clone()) && !are_equal(&a, &b) && !are_equal(&a, &a[1..]));
    }
}
