//! Names over postcard, which has none: a sequence of each name and the bytes of its value.

use std::marker::PhantomData;

use bowline_codec::Postcard;
use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{Serialize, SerializeSeq, SerializeTuple, Serializer};

use super::Pairs;
use crate::Codec;
use crate::codec::FormatError;
use bytes::Bytes;

/// Encodes values with their names.
pub(crate) fn encode(pairs: &impl Pairs) -> Result<Bytes, FormatError> {
    let encoded = pairs.encoded().map_err(FormatError::new)?;
    Codec::Postcard.encode(&Named(&encoded))
}

/// Decodes the fields of `T`, in any order.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FormatError> {
    let pairs = Postcard::<Vec<(&str, &[u8])>>::new().decode_with(PhantomData, body);
    let pairs = pairs.map_err(FormatError::new)?;
    let named = Fields {
        pairs: pairs.into_iter(),
        value: None,
    };
    T::deserialize(named).map_err(FormatError::new)
}

struct Named<'a>(&'a [(&'static str, Bytes)]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0 {
            seq.serialize_element(&Pair(name, value))?;
        }
        seq.end()
    }
}

struct Pair<'a>(&'a str, &'a [u8]);

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(self.0)?;
        pair.serialize_element(&Raw(self.1))?;
        pair.end()
    }
}

struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Names and encoded values as what a struct is made of.
struct Fields<'de> {
    pairs: std::vec::IntoIter<(&'de str, &'de [u8])>,
    /// Of the name that was taken.
    value: Option<(&'de str, &'de [u8])>,
}

impl<'de> Deserializer<'de> for Fields<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.value = self.pairs.next();
        let name = self
            .value
            .map(|(name, _)| BorrowedStrDeserializer::new(name));
        name.map(|name| seed.deserialize(name)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((name, value)) = self.value.take() else {
            return Err(Error::custom("a value without its name"));
        };
        let decoded = Postcard::<V::Value>::new().decode_with(seed, value);
        decoded.map_err(|error| Error::custom(format_args!("`{name}`: {error}")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}
