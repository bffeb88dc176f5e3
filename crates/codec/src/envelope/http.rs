//! The description of an HTTP request as a message.

use bytes::{Bytes, BytesMut};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Message;
use super::headers::{HeaderLimits, Headers};
use super::json::{JsonMessage, put};
use crate::base64::Alphabet;
use crate::{DecodeError, DecodeErrorKind, EncodeError};

/// What to ask of an HTTP server, as a JSON message whose payload is an object.
///
/// Left out of it are empty `params`, `form`, `files` and `content`, and a `json` that is absent or
/// null. Content and files are base64 in it, whatever they are.
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
    /// Files of a form: names and contents.
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
}

impl Default for HttpMessage {
    fn default() -> Self {
        Self::new("GET", "")
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
            let named = request.files.iter();
            let files: Headers = named
                .map(|(name, file)| (&name[..], encoded(file)))
                .collect();
            map.serialize_entry("files", &files)?;
        }
        if !request.content.is_empty() {
            map.serialize_entry("content", &encoded(&request.content))?;
            map.serialize_entry("content_encoding", BASE64)?;
        }
        map.end()
    }
}

const BASE64: &str = "base64";

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

fn text(value: Value, what: &'static str) -> Result<String, DecodeError> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(misshapen(what)),
    }
}

fn object(value: Value, what: &'static str) -> Result<Map<String, Value>, DecodeError> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(misshapen(what)),
    }
}

impl Message for HttpMessage {
    const CONTENT_TYPE: &'static str = "application/json";
    const KEEPS_FRAME: bool = false;

    fn headers(&self) -> &Headers {
        &self.headers
    }

    fn put(&self, limits: &HeaderLimits, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        put(&self.headers, &Payload(self), limits, out)?;
        Ok(Bytes::new())
    }

    fn get(limits: &HeaderLimits, frame: &Bytes) -> Result<Self, DecodeError> {
        let JsonMessage { headers, payload } = JsonMessage::<Value>::get(limits, frame)?;
        let mut request = Self {
            headers,
            ..Self::default()
        };
        let mut content = None;
        let mut encoding = None;
        for (key, value) in object(payload, "the payload is not an object")? {
            if value.is_null() {
                continue;
            }
            match &key[..] {
                "method" => request.method = text(value, "the method is not text")?,
                "url" => request.url = text(value, "the URL is not text")?,
                "params" => {
                    request.params = object(value, "the parameters are not an object")?
                        .into_iter()
                        .collect();
                }
                "json" => request.json = Some(value),
                "data" => {
                    request.form = object(value, "the form is not an object")?
                        .into_iter()
                        .collect();
                }
                "files" => {
                    for (name, file) in object(value, "the files are not an object")? {
                        let file = decoded(&text(file, "a file is not text")?)?;
                        request.files.push((name, file));
                    }
                }
                "content" => content = Some(text(value, "the content is not text")?),
                "content_encoding" => encoding = Some(value),
                _ => {}
            }
        }
        if let Some(content) = content {
            if encoding.is_none_or(|encoding| encoding != BASE64) {
                return Err(misshapen("content that is not said to be base64"));
            }
            request.content = decoded(&content)?;
        }
        Ok(request)
    }
}
