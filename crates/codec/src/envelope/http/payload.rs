//! The payload of an HTTP message on the wire: an object of members in any order.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::super::headers::Headers;
use super::super::reading::{Entries, Reading};
use super::{TOO_MANY_FIELDS, TOO_MANY_FILES, TOO_MANY_PARAMS};

/// A value of which the shape alone is known yet. It is judged when all was read: of a member that is
/// there twice the last counts, whatever the first was.
#[derive(Default)]
pub(super) enum Shape<O> {
    /// Null, or not there.
    #[default]
    Null,
    Text(String),
    Object(O),
    Other,
}

/// What there is in the payload.
#[derive(Default)]
pub(super) struct Members {
    pub(super) method: Shape<()>,
    pub(super) url: Shape<()>,
    pub(super) params: Shape<Headers>,
    pub(super) json: Value,
    pub(super) data: Shape<Headers>,
    pub(super) files: Shape<Headers>,
    pub(super) content: Shape<()>,
    pub(super) content_encoding: Shape<()>,
}

/// Reads a payload.
pub(super) fn payload<'de>(
    reading: &Reading<'_>,
) -> impl DeserializeSeed<'de, Value = Shape<Members>> {
    ShapeSeed(MembersObject(reading))
}

/// Reads what is inside an object.
trait Object<'de> {
    type Value;

    fn read<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error>;
}

/// Reads any value, and an object by `O`.
struct ShapeSeed<O>(O);

impl<'de, O: Object<'de>> DeserializeSeed<'de> for ShapeSeed<O> {
    type Value = Shape<O::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, O: Object<'de>> Visitor<'de> for ShapeSeed<O> {
    type Value = Shape<O::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Shape::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Shape::Text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.read(map).map(Shape::Object)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shape::Other)
    }
}

struct MembersObject<'a>(&'a Reading<'a>);

impl<'de> Object<'de> for MembersObject<'_> {
    type Value = Members;

    fn read<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        while let Some(key) = map.next_key::<String>()? {
            let entries = |refusal| ShapeSeed(self.0.entries(refusal));
            let text = ShapeSeed(Unread);
            match &key[..] {
                "method" => members.method = map.next_value_seed(text)?,
                "url" => members.url = map.next_value_seed(text)?,
                "params" => members.params = map.next_value_seed(entries(TOO_MANY_PARAMS))?,
                "json" => members.json = map.next_value()?,
                "data" => members.data = map.next_value_seed(entries(TOO_MANY_FIELDS))?,
                "files" => members.files = map.next_value_seed(entries(TOO_MANY_FILES))?,
                "content" => members.content = map.next_value_seed(text)?,
                "content_encoding" => members.content_encoding = map.next_value_seed(text)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

impl<'de> Object<'de> for Entries<'_> {
    type Value = Headers;

    fn read<A: MapAccess<'de>>(self, map: A) -> Result<Headers, A::Error> {
        self.read(map)
    }
}

/// Reads past an object where there should be text.
struct Unread;

impl<'de> Object<'de> for Unread {
    type Value = ();

    fn read<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
