//! Nesting of what is decoded, and the number of elements a peer declares, which must not become an
//! allocation.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::DecodeErrorKind;
use crate::limits::DEPTH;

/// How deep one message is at the moment, and whether it went too deep.
pub(crate) struct Nesting {
    /// Bytes of the whole message. No more elements are made room for at once, whatever number is
    /// declared: an element that is there takes at least one.
    frame: usize,
    limit: usize,
    depth: Cell<usize>,
    exceeded: Cell<bool>,
    huge: Option<RefCell<BTreeSet<u64>>>,
    /// A null is the unit, too.
    null_units: bool,
}

impl Nesting {
    /// Deepest nesting of one message, unless said otherwise.
    pub(crate) const DEFAULT: usize = DEPTH;

    /// Nothing is nested yet, of a message of `frame` bytes that may be nested `limit` deep.
    pub(crate) fn of(frame: usize, limit: usize) -> Self {
        Self {
            frame,
            limit,
            depth: Cell::new(0),
            exceeded: Cell::new(false),
            huge: None,
            null_units: false,
        }
    }

    /// The same, for a format in which the unit may be a null as well.
    #[cfg(feature = "cbor")]
    pub(crate) fn with_null_units(mut self) -> Self {
        self.null_units = true;
        self
    }

    /// The same, which notes every float that no integer of 64 bits comes near, and that nobody asked
    /// to be a float: it may have been an integer.
    #[cfg(feature = "json")]
    pub(crate) fn noting_huge(mut self) -> Self {
        self.huge = Some(RefCell::default());
        self
    }

    /// The bits of the floats that were noted.
    #[cfg(feature = "json")]
    pub(crate) fn huge(self) -> BTreeSet<u64> {
        self.huge.map(RefCell::into_inner).unwrap_or_default()
    }

    fn note(&self, value: f64) {
        /// 2^63: anything smaller would have been an integer, were it written as one.
        const HUGE: f64 = 9_223_372_036_854_775_808.0;
        if let Some(huge) = &self.huge
            && value.abs() >= HUGE
        {
            huge.borrow_mut().insert(value.to_bits());
        }
    }

    /// How many elements to make room for when `declared` are said to come.
    fn room(&self, declared: Option<usize>) -> Option<usize> {
        declared.map(|elements| elements.min(self.frame))
    }

    /// `inner`, failing when a value is nested too deeply.
    pub(crate) fn limit<D>(&self, inner: D) -> Limited<'_, D> {
        Limited {
            inner,
            nesting: self,
            asked: Asked::One,
        }
    }

    /// The kind of error, if the limit was passed.
    pub(crate) fn exceeded(&self) -> Option<DecodeErrorKind> {
        self.exceeded
            .get()
            .then_some(DecodeErrorKind::Depth { limit: self.limit })
    }

    /// Runs `body` one level deeper.
    fn deeper<R, E: Error>(&self, body: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let depth = self.depth.get();
        if depth == self.limit {
            self.exceeded.set(true);
            return Err(E::custom("nested too deeply"));
        }
        self.depth.set(depth + 1);
        let result = body();
        // Not restored by a panic, which ends this message and its `Nesting` with it.
        self.depth.set(depth);
        result
    }
}

/// Any of serde's decoding halves, with what is nested in it limited.
pub(crate) struct Limited<'n, I> {
    inner: I,
    nesting: &'n Nesting,
    /// Of a visitor.
    asked: Asked,
}

/// What kind of value a visitor was given to.
enum Asked {
    Any,
    One,
    /// A unit, of a deserializer that was asked for an option.
    Unit,
}

macro_rules! forward {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($arg,)* self.nesting.limit(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let asked = Asked::Any;
        self.inner.deserialize_any(Limited {
            asked,
            ..self.nesting.limit(visitor)
        })
    }

    forward! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.nesting.limit(visitor);
        if self.nesting.null_units {
            let asked = Asked::Unit;
            return self.inner.deserialize_option(Limited { asked, ..visitor });
        }
        self.inner.deserialize_unit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if self.nesting.null_units {
            return self.deserialize_unit(visitor);
        }
        let visitor = self.nesting.limit(visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident: $type:ty;)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<'_, V> {
    type Value = V::Value;

    visit! {
        visit_bool: bool;
        visit_i8: i8;
        visit_i16: i16;
        visit_i32: i32;
        visit_i64: i64;
        visit_i128: i128;
        visit_u8: u8;
        visit_u16: u16;
        visit_u32: u32;
        visit_u64: u64;
        visit_u128: u128;
        visit_f32: f32;
        visit_char: char;
        visit_str: &str;
        visit_borrowed_str: &'de str;
        visit_string: String;
        visit_bytes: &[u8];
        visit_borrowed_bytes: &'de [u8];
        visit_byte_buf: Vec<u8>;
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        if let Asked::Any = self.asked {
            self.nesting.note(value);
        }
        self.inner.visit_f64(value)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        match self.asked {
            Asked::Unit => self.inner.visit_unit(),
            Asked::Any | Asked::One => self.inner.visit_none(),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let nesting = self.nesting;
        if let Asked::Unit = self.asked {
            return inner.deserialize_unit(nesting.limit(self.inner));
        }
        nesting.deeper(|| self.inner.visit_some(nesting.limit(inner)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let nesting = self.nesting;
        nesting.deeper(|| self.inner.visit_newtype_struct(nesting.limit(inner)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let nesting = self.nesting;
        nesting.deeper(|| self.inner.visit_seq(nesting.limit(seq)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let nesting = self.nesting;
        nesting.deeper(|| self.inner.visit_map(nesting.limit(map)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        let nesting = self.nesting;
        nesting.deeper(|| self.inner.visit_enum(nesting.limit(data)))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.nesting.limit(inner))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_element_seed(self.nesting.limit(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.nesting.room(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.inner.next_key_seed(self.nesting.limit(seed))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(self.nesting.limit(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.nesting.room(self.inner.size_hint())
    }
}

impl<'de, 'n, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'n, A> {
    type Error = A::Error;
    type Variant = Limited<'n, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let nesting = self.nesting;
        let (value, variant) = self.inner.variant_seed(nesting.limit(seed))?;
        Ok((value, nesting.limit(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(self.nesting.limit(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, self.nesting.limit(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner
            .struct_variant(fields, self.nesting.limit(visitor))
    }
}
