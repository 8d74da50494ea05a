//! A request, and the BEGIN_REQUEST packet that carries all of it but the body.

mod encode;

pub use encode::EncodeError;

/// A name and its value. LSAPI carries bytes, not text.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The largest BEGIN_REQUEST packet that lsphp reads.
pub const MAX_PACKET: usize = 65535;
/// The most entries that lsphp takes in either list of variables.
pub const MAX_ENTRIES: usize = 8192;

/// The variables that every request has; the packet points at their values.
const SCRIPT_FILENAME: &[u8] = b"SCRIPT_FILENAME";
const SCRIPT_NAME: &[u8] = b"SCRIPT_NAME";
const QUERY_STRING: &[u8] = b"QUERY_STRING";
const REQUEST_METHOD: &[u8] = b"REQUEST_METHOD";

/// Headers that have a place of their own in the packet, in the protocol's order.
const KNOWN_HEADERS: [&[u8]; 25] = [
    b"Accept",
    b"Accept-Charset",
    b"Accept-Encoding",
    b"Accept-Language",
    b"Authorization",
    b"Connection",
    b"Content-Type",
    b"Content-Length",
    b"Cookie",
    b"Cookie2",
    b"Host",
    b"Pragma",
    b"Referer",
    b"User-Agent",
    b"Cache-Control",
    b"If-Modified-Since",
    b"If-Match",
    b"If-None-Match",
    b"If-Range",
    b"If-Unmodified-Since",
    b"Keep-Alive",
    b"Range",
    b"X-Forwarded-For",
    b"Via",
    b"Transfer-Encoding",
];

/// The header that [`Request::encode`] writes itself, from the length of the body.
const CONTENT_LENGTH: &[u8] = b"Content-Length";

/// One request without its body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// `REQUEST_METHOD`, an HTTP token.
    pub method: Vec<u8>,
    /// `SCRIPT_FILENAME`: the script's path in lsphp's file system.
    pub script_filename: Vec<u8>,
    /// `SCRIPT_NAME`: the script's path below the document root, decoded.
    pub script_name: Vec<u8>,
    /// `QUERY_STRING`, as in the URI.
    pub query_string: Vec<u8>,
    /// The other CGI variables (`DOCUMENT_ROOT`, `REQUEST_URI`, …); PHP sees them in `$_SERVER`.
    pub environment: Vec<Pair>,
    /// Entries for lsphp itself: a name `\x01\x04NAME` sets the ini directive NAME at system level.
    pub special_environment: Vec<Pair>,
    /// HTTP headers besides `Content-Length`, in order.
    /// Those of one name reach PHP as one, joined as RFC 3875 section 4.1.18 wants.
    pub headers: Vec<Pair>,
}

impl Request {
    /// A request for one script, without query, variables or headers.
    pub fn new(
        method: impl Into<Vec<u8>>,
        script_filename: impl Into<Vec<u8>>,
        script_name: impl Into<Vec<u8>>,
    ) -> Self {
        Request {
            method: method.into(),
            script_filename: script_filename.into(),
            script_name: script_name.into(),
            ..Request::default()
        }
    }
}

fn is_required_variable(name: &[u8]) -> bool {
    [SCRIPT_FILENAME, SCRIPT_NAME, QUERY_STRING, REQUEST_METHOD].contains(&name)
}

fn known_header(name: &[u8]) -> Option<usize> {
    KNOWN_HEADERS.iter().position(|known| known.eq_ignore_ascii_case(name))
}
