//! What has a fixed place for each of its bytes.

use bytes::BytesMut;

use crate::{DecodeError, DecodeErrorKind};

/// Most significant byte first: network order.
#[derive(Clone, Copy, Debug)]
pub struct BigEndian;

/// Least significant byte first.
#[derive(Clone, Copy, Debug)]
pub struct LittleEndian;

/// The order of the bytes of a number: [`BigEndian`] or [`LittleEndian`].
pub trait ByteOrder: sealed::Sealed + Send + Sync + 'static {
    /// Whether a big-endian number is to be turned round.
    #[doc(hidden)]
    const REVERSED: bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::BigEndian {}
    impl Sealed for super::LittleEndian {}
}

impl ByteOrder for BigEndian {
    const REVERSED: bool = false;
}

impl ByteOrder for LittleEndian {
    const REVERSED: bool = true;
}

/// A value that always takes the same number of bytes, each at a fixed place.
///
/// Numbers, `bool` (one byte, 0 or 1), arrays, [`FixedStr`](crate::FixedStr), and structs of these
/// written by [`fixed_layout!`](crate::fixed_layout).
///
/// # Examples
///
/// ```
/// use bowline_codec::FixedLayout;
///
/// assert_eq!(<[u16; 3]>::SIZE, 6);
/// ```
pub trait FixedLayout: Sized {
    /// How many bytes a value takes.
    const SIZE: usize;

    /// Appends exactly [`SIZE`](Self::SIZE) bytes.
    fn write<E: ByteOrder>(&self, out: &mut BytesMut);

    /// Reads the value at `frame[at..at + SIZE]`, which is there.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind`] `Syntax` with the place in `frame` for bytes that are no such value,
    /// `Text` for text that is not UTF-8.
    ///
    /// # Panics
    ///
    /// If `frame` is too short.
    fn read<E: ByteOrder>(frame: &[u8], at: usize) -> Result<Self, DecodeError>;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl FixedLayout for $number {
            const SIZE: usize = size_of::<$number>();

            fn write<E: ByteOrder>(&self, out: &mut BytesMut) {
                let bytes = if E::REVERSED { self.to_le_bytes() } else { self.to_be_bytes() };
                out.extend_from_slice(&bytes);
            }

            fn read<E: ByteOrder>(frame: &[u8], at: usize) -> Result<Self, DecodeError> {
                let mut bytes = [0; size_of::<$number>()];
                bytes.copy_from_slice(&frame[at..at + Self::SIZE]);
                Ok(if E::REVERSED {
                    Self::from_le_bytes(bytes)
                } else {
                    Self::from_be_bytes(bytes)
                })
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 }

impl FixedLayout for bool {
    const SIZE: usize = 1;

    fn write<E: ByteOrder>(&self, out: &mut BytesMut) {
        out.extend_from_slice(&[u8::from(*self)]);
    }

    fn read<E: ByteOrder>(frame: &[u8], at: usize) -> Result<Self, DecodeError> {
        match frame[at] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::new(DecodeErrorKind::Syntax {
                line: 0,
                column: at,
            })
            .with_message("a truth value is neither 0 nor 1")),
        }
    }
}

impl<T: FixedLayout, const N: usize> FixedLayout for [T; N] {
    const SIZE: usize = T::SIZE * N;

    fn write<E: ByteOrder>(&self, out: &mut BytesMut) {
        for element in self {
            element.write::<E>(out);
        }
    }

    fn read<E: ByteOrder>(frame: &[u8], at: usize) -> Result<Self, DecodeError> {
        let mut failed = None;
        let elements: [Option<T>; N] = std::array::from_fn(|index| {
            if failed.is_some() {
                return None;
            }
            T::read::<E>(frame, at + index * T::SIZE)
                .map_err(|error| failed = Some(error))
                .ok()
        });
        match failed {
            Some(error) => Err(error),
            // Nothing failed, so every element is there.
            None => Ok(elements.map(|element| element.expect("every element was read"))),
        }
    }
}

/// Declares a struct whose fields all have a fixed layout, and gives it one: the fields in order,
/// without padding.
///
/// # Examples
///
/// ```
/// use bowline_codec::{FixedLayout, FixedStr, fixed_layout};
///
/// fixed_layout! {
///     /// Where a ship is.
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Position {
///         /// In degrees.
///         pub latitude: f64,
///         /// In degrees.
///         pub longitude: f64,
///         moored: bool,
///         call_sign: FixedStr<8>,
///     }
/// }
///
/// assert_eq!(Position::SIZE, 25);
/// ```
#[macro_export]
macro_rules! fixed_layout {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $(
                $(#[$field_attribute:meta])*
                $field_visibility:vis $field:ident: $type:ty
            ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $(
                $(#[$field_attribute])*
                $field_visibility $field: $type,
            )*
        }

        impl $crate::FixedLayout for $name {
            const SIZE: usize = 0 $(+ <$type as $crate::FixedLayout>::SIZE)*;

            #[allow(unused_variables)]
            fn write<E: $crate::ByteOrder>(&self, out: &mut $crate::__BytesMut) {
                $(<$type as $crate::FixedLayout>::write::<E>(&self.$field, out);)*
            }

            #[allow(unused_variables, unused_mut, unused_assignments)]
            fn read<E: $crate::ByteOrder>(
                frame: &[u8],
                at: usize,
            ) -> ::core::result::Result<Self, $crate::DecodeError> {
                let mut next = at;
                $(
                    let $field = <$type as $crate::FixedLayout>::read::<E>(frame, next)?;
                    next += <$type as $crate::FixedLayout>::SIZE;
                )*
                ::core::result::Result::Ok(Self { $($field),* })
            }
        }
    };
}
