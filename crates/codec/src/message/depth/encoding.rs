//! Nesting of what is encoded, counted as the decoder will.

use std::cell::Cell;
use std::fmt::Display;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::{EncodeError, EncodeErrorKind};

/// How deep one message may be, and whether it went too deep.
pub(crate) struct EncodeDepth {
    limit: usize,
    /// Of them, what the message is inside of already.
    taken: usize,
    #[cfg(feature = "json")]
    bytes: Bytes,
    exceeded: Cell<bool>,
}

/// What a format makes of a byte string.
#[cfg(feature = "json")]
#[derive(Clone, Copy)]
enum Bytes {
    /// One value.
    Whole,
    /// A list of numbers, which is one more level.
    Listed,
}

impl EncodeDepth {
    /// A message that may be nested `limit` deep.
    pub(crate) fn of(limit: usize) -> Self {
        Self {
            limit,
            taken: 0,
            #[cfg(feature = "json")]
            bytes: Bytes::Whole,
            exceeded: Cell::new(false),
        }
    }

    /// The same for a format that writes byte strings as lists.
    #[cfg(feature = "json")]
    pub(crate) fn listing_bytes(mut self) -> Self {
        self.bytes = Bytes::Listed;
        self
    }

    /// The same for a value inside of `levels` others, which are written without it.
    #[cfg(feature = "json")]
    pub(crate) fn inside(mut self, levels: usize) -> Self {
        self.taken = levels;
        self
    }

    /// `value`, which fails to be serialised when something in it is nested too deeply.
    pub(crate) fn within<'d, T: ?Sized>(&'d self, value: &'d T) -> Within<'d, T> {
        let left = self.limit.saturating_sub(self.taken);
        Within {
            value,
            room: Room { left, depth: self },
        }
    }

    /// What is wrong with a message that was not serialised, unless it was something else than this.
    pub(crate) fn refused(&self, otherwise: impl FnOnce() -> EncodeError) -> EncodeError {
        match self.exceeded.get() {
            true => EncodeError::new(EncodeErrorKind::Depth { limit: self.limit }),
            false => otherwise(),
        }
    }
}

/// How many levels are left where a value is.
#[derive(Clone, Copy)]
struct Room<'d> {
    left: usize,
    depth: &'d EncodeDepth,
}

impl Room<'_> {
    /// One level deeper.
    #[inline]
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => {
                self.depth.exceeded.set(true);
                Err(E::custom("nested too deeply"))
            }
        }
    }
}

/// A value, with what is nested in it limited.
pub(crate) struct Within<'d, T: ?Sized> {
    value: &'d T,
    room: Room<'d>,
}

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(self.room.limit(serializer))
    }
}

impl<'d> Room<'d> {
    #[inline]
    fn limit<I>(self, inner: I) -> Limited<'d, I> {
        Limited { inner, room: self }
    }

    #[inline]
    fn within<'v, T: ?Sized>(self, value: &'v T) -> Within<'v, T>
    where
        'd: 'v,
    {
        Within { value, room: self }
    }
}

/// Any of serde's encoding halves, with what is nested in it limited.
pub(crate) struct Limited<'d, I> {
    inner: I,
    room: Room<'d>,
}

macro_rules! plain {
    ($($method:ident: $type:ty;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

/// Values of elements or of fields, each one level deeper.
macro_rules! compound {
    ($($method:ident($($arg:ident: $type:ty),*) -> $compound:ident;)*) => {$(
        #[inline]
        fn $method(self, $($arg: $type),*) -> Result<Self::$compound, S::Error> {
            let room = self.room.deeper()?;
            Ok(room.limit(self.inner.$method($($arg),*)?))
        }
    )*};
}

/// The same inside of a variant, which is a level of its own.
macro_rules! compound_variant {
    ($($method:ident -> $compound:ident;)*) => {$(
        #[inline]
        fn $method(
            self,
            name: &'static str,
            index: u32,
            variant: &'static str,
            len: usize,
        ) -> Result<Self::$compound, S::Error> {
            let room = self.room.deeper()?.deeper()?;
            Ok(room.limit(self.inner.$method(name, index, variant, len)?))
        }
    )*};
}

impl<'d, S: Serializer> Serializer for Limited<'d, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Limited<'d, S::SerializeSeq>;
    type SerializeTuple = Limited<'d, S::SerializeTuple>;
    type SerializeTupleStruct = Limited<'d, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Limited<'d, S::SerializeTupleVariant>;
    type SerializeMap = Limited<'d, S::SerializeMap>;
    type SerializeStruct = Limited<'d, S::SerializeStruct>;
    type SerializeStructVariant = Limited<'d, S::SerializeStructVariant>;

    plain! {
        serialize_bool: bool;
        serialize_i8: i8;
        serialize_i16: i16;
        serialize_i32: i32;
        serialize_i64: i64;
        serialize_i128: i128;
        serialize_u8: u8;
        serialize_u16: u16;
        serialize_u32: u32;
        serialize_u64: u64;
        serialize_u128: u128;
        serialize_f32: f32;
        serialize_f64: f64;
        serialize_char: char;
        serialize_str: &str;
        serialize_unit_struct: &'static str;
    }

    compound! {
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
    }

    compound_variant! {
        serialize_tuple_variant -> SerializeTupleVariant;
        serialize_struct_variant -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "json")]
        if let Bytes::Listed = self.room.depth.bytes {
            self.room.deeper::<S::Error>()?;
        }
        self.inner.serialize_bytes(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let room = self.room.deeper()?;
        self.inner.serialize_some(&room.within(value))
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let room = self.room.deeper()?;
        let value = room.within(value);
        self.inner.serialize_newtype_struct(name, &value)
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.room.deeper::<S::Error>()?;
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let room = self.room.deeper()?;
        let value = room.within(value);
        self.inner
            .serialize_newtype_variant(name, index, variant, &value)
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident;)*) => {$(
        impl<I: $trait> $trait for Limited<'_, I> {
            type Ok = I::Ok;
            type Error = I::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), I::Error> {
                self.inner.$method(&self.room.within(value))
            }

            #[inline]
            fn end(self) -> Result<I::Ok, I::Error> {
                self.inner.end()
            }
        }
    )*};
}

elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! fields {
    ($($trait:ident;)*) => {$(
        impl<I: $trait> $trait for Limited<'_, I> {
            type Ok = I::Ok;
            type Error = I::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), I::Error> {
                self.inner.serialize_field(key, &self.room.within(value))
            }

            #[inline]
            fn skip_field(&mut self, key: &'static str) -> Result<(), I::Error> {
                self.inner.skip_field(key)
            }

            #[inline]
            fn end(self) -> Result<I::Ok, I::Error> {
                self.inner.end()
            }
        }
    )*};
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl<I: SerializeMap> SerializeMap for Limited<'_, I> {
    type Ok = I::Ok;
    type Error = I::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), I::Error> {
        self.inner.serialize_key(&self.room.within(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), I::Error> {
        self.inner.serialize_value(&self.room.within(value))
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), I::Error> {
        let room = self.room;
        self.inner
            .serialize_entry(&room.within(key), &room.within(value))
    }

    #[inline]
    fn end(self) -> Result<I::Ok, I::Error> {
        self.inner.end()
    }
}
