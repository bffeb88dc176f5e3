//! The description of an HTTP request as a message.

mod payload;

use bytes::{Bytes, BytesMut};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use payload::{Members, Shape, payload};

use super::Message;
use super::headers::{HeaderLimits, Headers};
use super::json::put;
use super::reading::Reading;
use crate::base64::Alphabet;
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// What to ask of an HTTP server, as a JSON message whose payload is an object.
///
/// Left out of it are empty `params`, `form`, `files` and `content`, and a `json` that is absent or
/// null. Content and files are base64 in it, whatever they are. There are no more `params`, fields of
/// the `form` and `files` each than there may be headers; see [`HeaderLimits`].
///
/// # Examples
///
/// ```
/// use bowline_codec::{HttpMessage, Message};
///
/// let mut request = HttpMessage::new("POST", "/x");
/// request.json = Some(serde_json::json!([1]));
/// let text = r#"{"headers": {}, "payload": {"method": "POST", "url": "/x", "json": [1]}}"#;
/// assert_eq!(request.to_bytes()?, text);
/// assert_eq!(HttpMessage::from_bytes(&text.into())?, request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HttpMessage {
    /// The method; `GET` unless said otherwise.
    pub method: String,
    /// The URL, whole or relative.
    pub url: String,
    /// The headers of the request.
    pub headers: Headers,
    /// The parameters of the query.
    pub params: Headers,
    /// A body as JSON.
    pub json: Option<Value>,
    /// A body as a form; `data` on the wire.
    pub form: Headers,
    /// Files of a form: names, each once, and contents.
    pub files: Vec<(String, Bytes)>,
    /// A body as it is.
    pub content: Bytes,
}

impl HttpMessage {
    /// A request without headers and without a body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Headers::new(),
            params: Headers::new(),
            json: None,
            form: Headers::new(),
            files: Vec::new(),
            content: Bytes::new(),
        }
    }

    /// Refuses more of anything than who reads it accepts, and files that would be one to them.
    fn check(&self, limits: &HeaderLimits) -> Result<(), EncodeError> {
        let limit = limits.count();
        for (actual, refusal) in [
            (self.params.len(), TOO_MANY_PARAMS),
            (self.form.len(), TOO_MANY_FIELDS),
            (self.files.len(), TOO_MANY_FILES),
        ] {
            if actual > limit {
                let kind = EncodeErrorKind::TooLong { limit, actual };
                return Err(EncodeError::new(kind).with_message(refusal));
            }
        }
        let mut names: Vec<&str> = self.files.iter().map(|(name, _)| &name[..]).collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(EncodeError::new(EncodeErrorKind::Value)
                .with_message("two files have the same name")),
            false => Ok(()),
        }
    }
}

impl Default for HttpMessage {
    fn default() -> Self {
        Self::new(GET, "")
    }
}

/// The payload of the message, in the order of its keys.
struct Payload<'a>(&'a HttpMessage);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("method", &request.method)?;
        map.serialize_entry("url", &request.url)?;
        if !request.params.is_empty() {
            map.serialize_entry("params", &request.params)?;
        }
        if let Some(json) = request.json.as_ref().filter(|json| !json.is_null()) {
            map.serialize_entry("json", json)?;
        }
        if !request.form.is_empty() {
            map.serialize_entry("data", &request.form)?;
        }
        if !request.files.is_empty() {
            map.serialize_entry("files", &Files(&request.files))?;
        }
        if !request.content.is_empty() {
            map.serialize_entry("content", &encoded(&request.content))?;
            map.serialize_entry("content_encoding", BASE64)?;
        }
        map.end()
    }
}

/// Files by name, each written as it is come to.
struct Files<'a>(&'a [(String, Bytes)]);

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.0.iter();
        serializer.collect_map(named.map(|(name, file)| (name, encoded(file))))
    }
}

const BASE64: &str = "base64";
const GET: &str = "GET";
const TOO_MANY_PARAMS: &str = "too many parameters";
const TOO_MANY_FIELDS: &str = "too many form fields";
const TOO_MANY_FILES: &str = "too many files";

fn encoded(content: &[u8]) -> String {
    let mut out = BytesMut::new();
    Alphabet::Standard.encode(content, &mut out);
    out.iter().copied().map(char::from).collect()
}

fn decoded(content: &str) -> Result<Bytes, DecodeError> {
    match Alphabet::Standard.decode(content.as_bytes()) {
        Some(content) => Ok(content.into()),
        None => Err(DecodeError::new(DecodeErrorKind::Integrity)),
    }
}

/// What was to be something else.
fn misshapen(what: &'static str) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Syntax { line: 0, column: 0 }).with_message(what)
}

/// The text that a member is, if it is there.
fn text(member: Shape<()>, what: &'static str) -> Result<Option<String>, DecodeError> {
    match member {
        Shape::Null => Ok(None),
        Shape::Text(text) => Ok(Some(text)),
        Shape::Object(()) | Shape::Other => Err(misshapen(what)),
    }
}

/// The object that a member is, which is empty where it is not there.
fn object(member: Shape<Headers>, what: &'static str) -> Result<Headers, DecodeError> {
    match member {
        Shape::Null => Ok(Headers::new()),
        Shape::Object(object) => Ok(object),
        Shape::Text(_) | Shape::Other => Err(misshapen(what)),
    }
}

/// The contents of files that are base64 so far.
fn files(encoded: Headers) -> Result<Vec<(String, Bytes)>, DecodeError> {
    let named = encoded.into_iter().map(|(name, file)| match file {
        Value::String(file) => Ok((name, decoded(&file)?)),
        _ => Err(misshapen("a file is not text")),
    });
    named.collect()
}

impl Message for HttpMessage {
    const CONTENT_TYPE: &'static str = "application/json";
    const KEEPS_FRAME: bool = false;

    fn headers(&self) -> &Headers {
        &self.headers
    }

    fn put(&self, limits: &HeaderLimits, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        self.check(limits)?;
        put(&self.headers, &Payload(self), limits, out)?;
        Ok(Bytes::new())
    }

    fn get(limits: &HeaderLimits, frame: &Bytes) -> Result<Self, DecodeError> {
        let reading = Reading::new(limits);
        let (headers, read) = reading.message(frame, || payload(&reading))?;
        let Shape::Object(members) = read else {
            return Err(misshapen("the payload is not an object"));
        };
        let Members {
            method,
            url,
            params,
            json,
            data,
            files: encoded,
            content,
            content_encoding,
        } = members;
        let content = match text(content, "the content is not text")? {
            Some(content) => match content_encoding {
                Shape::Text(encoding) if encoding == BASE64 => decoded(&content)?,
                _ => return Err(misshapen("content that is not said to be base64")),
            },
            None => Bytes::new(),
        };
        let method = text(method, "the method is not text")?;
        let url = text(url, "the URL is not text")?;
        Ok(Self {
            method: method.unwrap_or_else(|| GET.to_owned()),
            url: url.unwrap_or_default(),
            headers,
            params: object(params, "the parameters are not an object")?,
            json: Some(json).filter(|json| !json.is_null()),
            form: object(data, "the form is not an object")?,
            files: files(object(encoded, "the files are not an object")?)?,
            content,
        })
    }
}
