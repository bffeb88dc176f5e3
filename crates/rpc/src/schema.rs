//! The types that a call was made for, and how it goes to who has others.

use bytes::Bytes;

use crate::broker::encode_arguments;
use crate::codec::FormatError;
use crate::proto::Extensions;
use crate::{Call, CallError, Certainty, Code, Codec};

/// The types of the arguments and the reply of a typed call.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) hash: u64,
    pub(crate) is_strict: bool,
    recode: Recode,
}

/// Makes of arguments in the first codec such in the second.
type Recode = fn(Codec, &[u8], Codec) -> Result<Bytes, CallError>;

impl Schema {
    /// That of calls of type `C`, if it is known.
    pub(crate) const fn of<C: Call>() -> Option<Self> {
        match C::SPEC.schema_hash() {
            0 => None,
            hash => Some(Self {
                hash,
                is_strict: C::SPEC.is_strict_schema(),
                recode: recode::<C>,
            }),
        }
    }
}

fn recode<C: Call>(from: Codec, body: &[u8], to: Codec) -> Result<Bytes, CallError> {
    let arguments: Result<C::Args, FormatError> = from.decode(body);
    let arguments = arguments.map_err(|error| {
        CallError::new(Code::BadArguments, Certainty::NeverSent).with_message(error.to_string())
    })?;
    encode_arguments(to, &arguments)
}

/// What a caller knows of the types of its call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) schema: Option<&'static Schema>,
    /// Who takes the call passes it on: to anybody, unless it says that all of them have the same types.
    pub(crate) is_passed_on: bool,
}

impl Expected {
    /// What is known of a call of type `C`.
    pub(crate) const fn of<C: Call>() -> Self {
        Self {
            schema: const { &Schema::of::<C>() }.as_ref(),
            is_passed_on: false,
        }
    }

    /// Whether a call in `codec` is taken for what it is by a method with types `theirs`, which are 0 if
    /// that is not known. `said` is what goes with the call.
    pub(crate) fn fits(&self, codec: Codec, theirs: u64, said: &Extensions) -> bool {
        if codec != Codec::Postcard {
            return true;
        }
        match self.schema {
            Some(ours) => ours.hash == theirs || theirs == 0 && !self.is_passed_on,
            // One that is passed on may say what it expects.
            None => theirs == 0 || said.schema().is_none_or(|ours| ours == theirs),
        }
    }

    /// The arguments `body`, which are in postcard, in a codec that carries types: `to`, if there is one.
    #[cold]
    pub(crate) fn recoded(
        &self,
        body: &[u8],
        to: Option<Codec>,
    ) -> Result<(Codec, Bytes), CallError> {
        match (self.schema, to) {
            (Some(schema), Some(to)) => Ok((to, (schema.recode)(Codec::Postcard, body, to)?)),
            _ => {
                let error = CallError::new(Code::WrongSchema, Certainty::NeverSent);
                Err(error.with_message(
                    "its types are others where it would go, and no format there carries types",
                ))
            }
        }
    }

    /// The hash that who takes the call is told: where it differs, or is not to.
    pub(crate) fn told(&self, fits: bool) -> Option<u64> {
        let schema = self.schema.filter(|schema| schema.is_strict || !fits);
        schema.map(|schema| schema.hash)
    }
}
