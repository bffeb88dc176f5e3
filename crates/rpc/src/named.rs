//! Arguments that stand with their names.

pub(crate) mod postcard;

use std::fmt;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Codec;
use crate::codec::FormatError;

/// Arguments with their names, for [`Caller::call_named_with`](crate::Caller::call_named_with).
///
/// ```
/// use bowline_rpc::named;
///
/// let arguments = named! { height: 2.5, name: "rope" };
/// assert_eq!(format!("{arguments:?}"), "named!(height, name)");
/// ```
#[macro_export]
macro_rules! named {
    ($($name:ident : $value:expr),* $(,)?) => {
        $crate::NamedValues::new(($(($crate::__private::plain(stringify!($name)), $value),)*))
    };
}

/// What [`named!`](crate::named) makes: at most 12 values with their names.
pub struct NamedValues<T>(T);

impl<T: Pairs> NamedValues<T> {
    #[doc(hidden)]
    pub fn new(pairs: T) -> Self {
        Self(pairs)
    }
}

impl<T: Pairs> NamedValues<T> {
    /// As arguments of a call.
    pub(crate) fn encode(&self, codec: Codec) -> Result<Bytes, FormatError> {
        match codec {
            Codec::Postcard => postcard::encode(&self.0),
            codec => codec.encode(self),
        }
    }
}

impl<T: Pairs> Serialize for NamedValues<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(T::NUMBER))?;
        self.0.write(&mut map)?;
        map.end()
    }
}

impl<T: Pairs> fmt::Debug for NamedValues<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "named!({})", self.0.names().join(", "))
    }
}

/// A tuple of names and values.
#[doc(hidden)]
pub trait Pairs {
    /// How many.
    const NUMBER: usize;

    /// Their names.
    fn names(&self) -> Vec<&'static str>;

    /// Writes them.
    ///
    /// # Errors
    /// The first that does not encode.
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Each with its value as postcard.
    ///
    /// # Errors
    /// The first that does not encode, in words.
    fn encoded(&self) -> Result<Vec<(&'static str, Bytes)>, String>;
}

fn value<T: Serialize>(value: &T) -> Result<Bytes, String> {
    Codec::Postcard
        .encode(value)
        .map_err(|error| error.to_string())
}

macro_rules! pairs {
    ($($value:ident $place:tt)*) => {
        impl<$($value: Serialize),*> Pairs for ($((&'static str, $value),)*) {
            const NUMBER: usize = 0 $(+ { let _ = $place; 1 })*;

            fn names(&self) -> Vec<&'static str> {
                vec![$(self.$place.0),*]
            }

            fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                let _ = &map;
                $(map.serialize_entry(self.$place.0, &self.$place.1)?;)*
                Ok(())
            }

            fn encoded(&self) -> Result<Vec<(&'static str, Bytes)>, String> {
                Ok(vec![$((self.$place.0, value(&self.$place.1)?)),*])
            }
        }
    };
}

pairs!();
pairs!(A 0);
pairs!(A 0 B 1);
pairs!(A 0 B 1 C 2);
pairs!(A 0 B 1 C 2 D 3);
pairs!(A 0 B 1 C 2 D 3 E 4);
pairs!(A 0 B 1 C 2 D 3 E 4 F 5);
pairs!(A 0 B 1 C 2 D 3 E 4 F 5 G 6);
pairs!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
pairs!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
pairs!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
pairs!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
pairs!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);
