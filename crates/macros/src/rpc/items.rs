//! What a function with the attribute declares of items: those of its caller, and those it returns.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{
    AngleBracketedGenericArguments, Error, GenericArgument, Path, PathArguments, Result,
    ReturnType, Type, TypeImplTrait, TypeParamBound,
};

/// A stream that a function returns.
pub(crate) struct Items {
    /// Of one item.
    pub(crate) item: Type,
    /// What the method fails with, in its own terms.
    pub(crate) error: Option<Type>,
    source: Source,
    /// There is a `Result` around it.
    wrapped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// `impl Stream<Item = T>`.
    Plain,
    /// `impl Stream<Item = Result<T, E>>`.
    Fallible,
    /// `Outgoing<T>`.
    Outgoing,
    /// `Outgoing<T, E>`.
    FallibleOutgoing,
}

impl Items {
    /// The stream in what a function returns, if there is one.
    pub(crate) fn of(output: &ReturnType) -> Result<Option<Self>> {
        let ReturnType::Type(_, output) = output else {
            return Ok(None);
        };
        if let Some((first, Some(second))) = result(output) {
            let Some(mut items) = Self::of_stream(first)? else {
                return Ok(None);
            };
            if let Some(error) = &items.error
                && error.to_token_stream().to_string() != second.to_token_stream().to_string()
            {
                let text = "a method has one error: that of its items and that of its beginning";
                return Err(Error::new(second.span(), text));
            }
            (items.error, items.wrapped) = (Some(second.clone()), true);
            return Ok(Some(items));
        }
        Self::of_stream(output)
    }

    fn of_stream(given: &Type) -> Result<Option<Self>> {
        let (item, error, source) = match given {
            Type::ImplTrait(stream) => {
                let Some(item) = item_of(stream) else {
                    return Ok(None);
                };
                match result(item) {
                    Some((item, Some(error))) => (item, Some(error), Source::Fallible),
                    Some((_, None)) => {
                        let text =
                            "items that may be errors are `Result<T, E>` with both types named";
                        return Err(Error::new(item.span(), text));
                    }
                    None => (item, None, Source::Plain),
                }
            }
            Type::Path(path) => match arguments(&path.path, "Outgoing").as_deref() {
                Some([item]) => (*item, None, Source::Outgoing),
                Some([item, error]) => (*item, Some(*error), Source::FallibleOutgoing),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Self {
            item: item.clone(),
            error: error.cloned(),
            source,
            wrapped: false,
        }))
    }

    /// Sends the items of `returned`; the expression is a `Result<(), E>`.
    pub(crate) fn send(&self) -> TokenStream {
        let send = match self.source {
            Source::Plain => quote!(__context.send_stream(__items).await),
            Source::Fallible => quote!(__context.send_fallible(__items).await),
            Source::Outgoing | Source::FallibleOutgoing => {
                quote!(__context.send_all(__items).await)
            }
        };
        let never_fails = matches!(self.source, Source::Plain | Source::Outgoing);
        match (self.wrapped, never_fails) {
            (false, _) => quote!({ let __items = __returned; #send }),
            (true, false) => quote! {
                match __returned {
                    ::core::result::Result::Ok(__items) => #send,
                    ::core::result::Result::Err(__error) => ::core::result::Result::Err(__error),
                }
            },
            (true, true) => quote! {
                match __returned {
                    ::core::result::Result::Ok(__items) => match #send {
                        ::core::result::Result::Ok(()) => ::core::result::Result::Ok(()),
                        ::core::result::Result::Err(__never) => match __never {},
                    },
                    ::core::result::Result::Err(__error) => ::core::result::Result::Err(__error),
                }
            },
        }
    }
}

/// What a function that takes an `Incoming<T>` has as its type: `T`.
pub(crate) fn incoming(given: &Type) -> Option<Type> {
    let Type::Path(path) = given else {
        return None;
    };
    match arguments(&path.path, "Incoming").as_deref() {
        Some([item]) => Some((*item).clone()),
        _ => None,
    }
}

/// The output of a function in a trait, where nothing is known of `impl Stream` but what is said.
pub(crate) fn in_a_trait(output: &TokenStream) -> TokenStream {
    let Ok(mut given) = syn::parse2::<Type>(output.clone()) else {
        return output.clone();
    };
    if let Type::ImplTrait(stream) = &mut given {
        travels(stream);
    } else if let Type::Path(path) = &mut given
        && let Some(last) = path.path.segments.last_mut()
        && let PathArguments::AngleBracketed(list) = &mut last.arguments
        && let Some(GenericArgument::Type(Type::ImplTrait(stream))) = list.args.first_mut()
    {
        travels(stream);
    }
    given.to_token_stream()
}

fn travels(stream: &mut TypeImplTrait) {
    stream.bounds.push(syn::parse_quote!(::core::marker::Send));
}

/// The types of a `Result`, as far as they are named.
fn result(given: &Type) -> Option<(&Type, Option<&Type>)> {
    let Type::Path(path) = given else {
        return None;
    };
    match arguments(&path.path, "Result")?[..] {
        [first] => Some((first, None)),
        [first, second] => Some((first, Some(second))),
        _ => None,
    }
}

/// The types in `name<..>`.
fn arguments<'a>(path: &'a Path, name: &str) -> Option<Vec<&'a Type>> {
    let last = path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(list) = &last.arguments else {
        return None;
    };
    let types = list.args.iter().map(|argument| match argument {
        GenericArgument::Type(given) => Some(given),
        _ => None,
    });
    types.collect()
}

/// `T` of `impl Stream<Item = T>`.
fn item_of(stream: &TypeImplTrait) -> Option<&Type> {
    stream.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound.path.segments.last()?;
        let PathArguments::AngleBracketed(AngleBracketedGenericArguments { args, .. }) =
            &last.arguments
        else {
            return None;
        };
        args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(item) if last.ident == "Stream" && item.ident == "Item" => {
                Some(&item.ty)
            }
            _ => None,
        })
    })
}
